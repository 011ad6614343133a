//! Clients that send requests without pause while the service is restarted, crashed and stopped,
//! and count the outcomes.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::peer::{GOING_AWAY, SYNC, V1_0, envelope, frame, take_frame};
use crate::support::{CEILING, wait_until};

/// Outcomes of requests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    /// Requests that were answered with a result.
    pub(super) answered: u64,
    /// Requests that were answered with GOING_AWAY.
    pub(super) rejected: u64,
    /// Connections that were refused, or whose socket did not exist.
    pub(super) refused: u64,
    /// Requests that were sent, and whose connection was closed without a reply.
    pub(super) lost: u64,
    /// Requests that could not be sent, because their connection was closed before.
    pub(super) unsent: u64,
    /// The longest time until a reply.
    pub(super) longest: Duration,
}

/// The running clients.
pub(super) struct ContinuousClients {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Tally>>,
}

impl ContinuousClients {
    /// Starts `count` clients that open a connection for each request, and as many that keep
    /// theirs.
    pub(super) fn start(socket: &Path, count: usize) -> Self {
        let (is_over, answered): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let client = |number: usize| {
            let (socket, is_over, answered) =
                (socket.to_owned(), Arc::clone(&is_over), Arc::clone(&answered));
            thread::spawn(move || send_continuously(&socket, number % 2 == 1, &is_over, &answered))
        };
        let threads = (0..2 * count).map(client).collect();
        Self { is_over, answered, threads }
    }

    /// Waits until this many further requests are answered.
    #[track_caller]
    pub(super) fn wait_for(&self, more: u64) {
        let before = self.answered.load(SeqCst);
        wait_until("requests are answered", || self.answered.load(SeqCst) >= before + more);
    }

    /// Stops the clients and returns the sum of their outcomes.
    pub(super) fn stop(self) -> Tally {
        self.is_over.store(true, SeqCst);
        self.threads.into_iter().map(|thread| thread.join().expect("a client does not panic")).fold(
            Tally::default(),
            |sum, one| Tally {
                answered: sum.answered + one.answered,
                rejected: sum.rejected + one.rejected,
                refused: sum.refused + one.refused,
                lost: sum.lost + one.lost,
                unsent: sum.unsent + one.unsent,
                longest: sum.longest.max(one.longest),
            },
        )
    }
}

/// The outcome of one request.
enum Outcome {
    Answered,
    Rejected,
    Lost,
    Unsent,
}

fn send_continuously(
    socket: &PathBuf,
    keeps_connection: bool,
    is_over: &AtomicBool,
    answered: &AtomicU64,
) -> Tally {
    let mut tally = Tally::default();
    let mut kept: Option<UnixStream> = None;
    while !is_over.load(SeqCst) {
        let began = Instant::now();

        let stream = match kept.take().map_or_else(|| UnixStream::connect(socket), Ok) {
            Ok(stream) => stream,
            Err(_) => {
                tally.refused += 1;
                continue;
            }
        };

        match send_ping(&stream) {
            Outcome::Answered => {
                tally.answered += 1;
                answered.fetch_add(1, SeqCst);
                tally.longest = tally.longest.max(began.elapsed());
                kept = keeps_connection.then_some(stream);
            }
            Outcome::Rejected => tally.rejected += 1,
            Outcome::Lost => tally.lost += 1,
            Outcome::Unsent => tally.unsent += 1,
        }
    }
    tally
}

fn send_ping(mut stream: &UnixStream) -> Outcome {
    stream.set_read_timeout(Some(CEILING)).expect("a read time-out");
    if stream.write_all(&frame(V1_0, SYNC, envelope("system.ping", &Value::Null))).is_err() {
        return Outcome::Unsent;
    }

    let mut bytes = Vec::new();
    let mut chunk = [0; 1024];

    loop {
        if let Some(reply) = take_frame(&mut bytes) {
            return match reply.code() {
                None => Outcome::Answered,
                Some(GOING_AWAY) => Outcome::Rejected,
                Some(_) => panic!("an error that a restart does not explain: {reply:?}"),
            };
        }

        match stream.read(&mut chunk) {
            Ok(0) => return Outcome::Lost,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Outcome::Lost,
            Err(error) => panic!("no reply: {error}"),
        }
    }
}

//! Clients that ask without pause while the service is restarted, crashed and stopped, and the
//! books on what they got.

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

/// What became of requests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    /// Answered with a result.
    pub(super) answered: u64,
    /// Told to ask again, on another connection.
    pub(super) sent_away: u64,
    /// Connections that were refused, or had no socket to go to.
    pub(super) refused: u64,
    /// Requests that were sent, whose connection ended without a reply.
    pub(super) lost: u64,
    /// Requests that could not be sent: the connection had ended before.
    pub(super) unsent: u64,
    /// The longest wait for an answer.
    pub(super) longest: Duration,
}

/// Clients at work.
pub(super) struct Customers {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Customers {
    /// So many clients with a connection for each request, and as many that keep theirs.
    pub(super) fn at(socket: &Path, count: usize) -> Self {
        let (stop, answered): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let customer = |number: usize| {
            let (socket, stop, answered) = (socket.to_owned(), Arc::clone(&stop), Arc::clone(&answered));
            thread::spawn(move || ask_on(&socket, number % 2 == 1, &stop, &answered))
        };
        let threads = (0..2 * count).map(customer).collect();
        Self { stop, answered, threads }
    }

    /// Returns when so many more requests were answered.
    #[track_caller]
    pub(super) fn wait_for(&self, more: u64) {
        let before = self.answered.load(SeqCst);
        wait_until("requests are answered", || self.answered.load(SeqCst) >= before + more);
    }

    /// Ends their work; all of it together.
    pub(super) fn end(self) -> Tally {
        self.stop.store(true, SeqCst);
        self.threads.into_iter().map(|thread| thread.join().expect("a customer")).fold(
            Tally::default(),
            |sum, one| Tally {
                answered: sum.answered + one.answered,
                sent_away: sum.sent_away + one.sent_away,
                refused: sum.refused + one.refused,
                lost: sum.lost + one.lost,
                unsent: sum.unsent + one.unsent,
                longest: sum.longest.max(one.longest),
            },
        )
    }
}

/// How one request went.
enum Went {
    Answered,
    SentAway,
    Lost,
    Unsent,
}

fn ask_on(socket: &PathBuf, keeps: bool, stop: &AtomicBool, answered: &AtomicU64) -> Tally {
    let mut tally = Tally::default();
    let mut kept: Option<UnixStream> = None;
    while !stop.load(SeqCst) {
        let began = Instant::now();
        let stream = match kept.take().map_or_else(|| UnixStream::connect(socket), Ok) {
            Ok(stream) => stream,
            Err(_) => {
                tally.refused += 1;
                continue;
            }
        };
        match ask(&stream) {
            Went::Answered => {
                tally.answered += 1;
                answered.fetch_add(1, SeqCst);
                tally.longest = tally.longest.max(began.elapsed());
                kept = keeps.then_some(stream);
            }
            Went::SentAway => tally.sent_away += 1,
            Went::Lost => tally.lost += 1,
            Went::Unsent => tally.unsent += 1,
        }
    }
    tally
}

fn ask(mut stream: &UnixStream) -> Went {
    stream.set_read_timeout(Some(CEILING)).expect("a read time-out");
    if stream.write_all(&frame(V1_0, SYNC, envelope("system.ping", &Value::Null))).is_err() {
        return Went::Unsent;
    }
    let mut bytes = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        if let Some(reply) = take_frame(&mut bytes) {
            return match reply.code() {
                None => Went::Answered,
                Some(GOING_AWAY) => Went::SentAway,
                Some(_) => panic!("an answer that a restart does not explain: {reply:?}"),
            };
        }
        match stream.read(&mut chunk) {
            Ok(0) => return Went::Lost,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Went::Lost,
            Err(error) => panic!("no reply: {error}"),
        }
    }
}

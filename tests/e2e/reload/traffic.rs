//! Clients that keep the books while plugins are replaced: which version may answer each request,
//! and how long it took.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::{HostProcess, Peer};

/// Async requests that one connection has under way.
const WINDOW: usize = 24;

/// What the clients and the one who reloads tell each other.
#[derive(Default)]
pub(super) struct Shared {
    /// The newest version of which the host has said that it serves.
    pub(super) acknowledged: AtomicU64,
    /// The newest version that was put there.
    pub(super) newest: AtomicU64,
    /// Whether plugins are being replaced now: what took how long is told apart by that.
    pub(super) reloading: AtomicBool,
    pub(super) answered: AtomicU64,
    stop: AtomicBool,
}

/// What one client came to.
#[derive(Default)]
pub(super) struct Books {
    pub(super) requests: u64,
    /// How long requests took, in the time without reloads and in that with them.
    pub(super) took: [Vec<Duration>; 2],
}

/// A request on its way.
struct Sent {
    at: Instant,
    least: u64,
    reloading: bool,
}

/// Clients at work.
pub(super) struct Traffic {
    pub(super) shared: Arc<Shared>,
    clients: Vec<JoinHandle<Books>>,
}

impl Traffic {
    /// As many sync clients as async ones, each on a connection of its own, all of `numbered`.
    pub(super) fn start(host: &HostProcess, clients: usize, first: u64) -> Self {
        let shared = Arc::new(Shared::default());
        shared.acknowledged.store(first, Ordering::SeqCst);
        shared.newest.store(first, Ordering::SeqCst);
        let client = |number: usize| {
            let (peer, shared) = (host.peer(), Arc::clone(&shared));
            let work = if number.is_multiple_of(2) { sync_client } else { async_client };
            thread::spawn(move || work(peer, &shared))
        };
        let clients = (0..2 * clients).map(client).collect();
        Self { shared, clients }
    }

    /// Nobody gave up.
    #[track_caller]
    pub(super) fn assert_alive(&self) {
        assert!(self.clients.iter().all(|client| !client.is_finished()), "a client gave up");
    }

    /// Lets the last replies come, and closes the books.
    #[track_caller]
    pub(super) fn stop(self) -> Books {
        self.shared.stop.store(true, Ordering::SeqCst);
        let mut all = Books::default();
        for client in self.clients {
            let books = client.join().expect("the books of every client are in order");
            all.requests += books.requests;
            for (all, took) in all.took.iter_mut().zip(books.took) {
                all.extend(took);
            }
        }
        all
    }
}

impl Shared {
    fn send(&self) -> Sent {
        Sent {
            least: self.acknowledged.load(Ordering::SeqCst),
            reloading: self.reloading.load(Ordering::Relaxed),
            at: Instant::now(),
        }
    }

    /// A reply came: by no code older than what was acknowledged before the request, and by none
    /// that is not there.
    fn record_reply(&self, sent: &Sent, number: &Value, books: &mut Books) {
        let took = sent.at.elapsed();
        let newest = self.newest.load(Ordering::SeqCst);
        let number = number.as_u64().expect("a number");
        assert!(
            (sent.least..=newest).contains(&number),
            "answered by version {number}, and it was {} to {newest} that may",
            sent.least
        );
        if sent.reloading == self.reloading.load(Ordering::Relaxed) {
            books.took[usize::from(sent.reloading)].push(took);
        }
        books.requests += 1;
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}

fn sync_client(mut peer: Peer, shared: &Shared) -> Books {
    let mut books = Books::default();
    let mut turn = 0_u32;
    while !shared.stop.load(Ordering::SeqCst) {
        let method = if turn.is_multiple_of(4) { "numbered.blocking" } else { "numbered.inline" };
        turn += 1;
        let sent = shared.send();
        let number = peer.result(method, &Value::Null);
        shared.record_reply(&sent, &number, &mut books);
    }
    books
}

fn async_client(mut peer: Peer, shared: &Shared) -> Books {
    let (mut books, mut accounting) = (Books::default(), ReplyAccounting::default());
    let mut under_way: BTreeMap<String, Sent> = BTreeMap::new();
    let mut number = 0_u64;
    loop {
        let stopped = shared.stop.load(Ordering::SeqCst);
        while !stopped && under_way.len() < WINDOW {
            let id = number.to_string();
            accounting.record_request(&id);
            under_way.insert(id.clone(), shared.send());
            match number % 6 {
                0 => peer.send_async(&id, "numbered.blocking", &Value::Null),
                1 => peer.send_async(&id, "numbered.later", &json!(number % 5)),
                _ => peer.send_async(&id, "numbered.inline", &Value::Null),
            }
            number += 1;
        }
        if under_way.is_empty() {
            accounting.check().expect("each was answered once");
            return books;
        }
        let frame = peer.receive();
        accounting.record_reply(&frame);
        let sent = frame.id().and_then(|id| under_way.remove(&id)).expect("a reply to a request under way");
        shared.record_reply(&sent, &frame.result(), &mut books);
    }
}

/// The value that so many of a thousand are not above.
pub(super) fn quantile(sorted: &[Duration], of_a_thousand: usize) -> Duration {
    let at = (sorted.len() * of_a_thousand / 1000).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

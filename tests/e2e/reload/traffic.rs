//! Clients that call plugins during reloads and check which version may answer each request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::{HostProcess, Peer};

/// Async requests in flight per connection.
const WINDOW: usize = 24;

/// State that the clients share with the test.
#[derive(Default)]
pub(super) struct SharedState {
    /// The newest version that the host has acknowledged.
    pub(super) acknowledged: AtomicU64,
    /// The newest version that was put into the plugin directory.
    pub(super) newest: AtomicU64,
    /// Whether plugins are being reloaded. Latencies are collected separately for both phases.
    pub(super) is_reloading: AtomicBool,
    pub(super) answered: AtomicU64,
    stop: AtomicBool,
}

/// The results of the clients.
#[derive(Default)]
pub(super) struct Results {
    pub(super) requests: u64,
    /// Latencies without reloads and with reloads.
    pub(super) latencies: [Vec<Duration>; 2],
}

/// A request in flight.
struct Pending {
    sent_at: Instant,
    oldest: u64,
    is_reloading: bool,
}

/// The running clients.
pub(super) struct Traffic {
    pub(super) shared: Arc<SharedState>,
    clients: Vec<JoinHandle<Results>>,
}

impl Traffic {
    /// Starts `clients` sync and as many async clients, each with its own connection, which call
    /// `numbered`.
    pub(super) fn start(host: &HostProcess, clients: usize, first: u64) -> Self {
        let shared = Arc::new(SharedState::default());
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

    /// Asserts that no client has failed.
    #[track_caller]
    pub(super) fn assert_alive(&self) {
        assert!(self.clients.iter().all(|client| !client.is_finished()), "a client has failed");
    }

    /// Waits for the last replies and returns the results.
    #[track_caller]
    pub(super) fn stop(self) -> Results {
        self.shared.stop.store(true, Ordering::SeqCst);
        let mut all = Results::default();

        for client in self.clients {
            let results = client.join().expect("every client succeeds");
            all.requests += results.requests;
            for (all, latencies) in all.latencies.iter_mut().zip(results.latencies) {
                all.extend(latencies);
            }
        }
        all
    }
}

impl SharedState {
    fn send(&self) -> Pending {
        Pending {
            oldest: self.acknowledged.load(Ordering::SeqCst),
            is_reloading: self.is_reloading.load(Ordering::Relaxed),
            sent_at: Instant::now(),
        }
    }

    /// Records a reply, whose version must be at least the one that was acknowledged before the
    /// request was sent, and at most the newest one.
    fn record_reply(&self, pending: &Pending, number: &Value, results: &mut Results) {
        let latency = pending.sent_at.elapsed();
        let newest = self.newest.load(Ordering::SeqCst);

        let number = number.as_u64().expect("a number");
        assert!(
            (pending.oldest..=newest).contains(&number),
            "answered by version {number}, but only {} to {newest} are permitted",
            pending.oldest
        );

        if pending.is_reloading == self.is_reloading.load(Ordering::Relaxed) {
            results.latencies[usize::from(pending.is_reloading)].push(latency);
        }
        results.requests += 1;
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}

fn sync_client(mut peer: Peer, shared: &SharedState) -> Results {
    let mut results = Results::default();
    let mut turn = 0_u32;

    while !shared.stop.load(Ordering::SeqCst) {
        let method = if turn.is_multiple_of(4) { "numbered.blocking" } else { "numbered.inline" };
        turn += 1;
        let pending = shared.send();

        let number = peer.result(method, &Value::Null);
        shared.record_reply(&pending, &number, &mut results);
    }
    results
}

fn async_client(mut peer: Peer, shared: &SharedState) -> Results {
    let (mut results, mut accounting) = (Results::default(), ReplyAccounting::default());
    let mut in_flight: BTreeMap<String, Pending> = BTreeMap::new();
    let mut number = 0_u64;

    loop {
        let stopped = shared.stop.load(Ordering::SeqCst);
        while !stopped && in_flight.len() < WINDOW {
            let id = number.to_string();
            accounting.record_request(&id);
            in_flight.insert(id.clone(), shared.send());
            match number % 6 {
                0 => peer.send_async(&id, "numbered.blocking", &Value::Null),
                1 => peer.send_async(&id, "numbered.later", &json!(number % 5)),
                _ => peer.send_async(&id, "numbered.inline", &Value::Null),
            }
            number += 1;
        }

        if in_flight.is_empty() {
            accounting.check().expect("each request is answered once");
            return results;
        }

        let frame = peer.receive();
        accounting.record_reply(&frame);

        let pending =
            frame.id().and_then(|id| in_flight.remove(&id)).expect("a reply to a request in flight");
        shared.record_reply(&pending, &frame.result(), &mut results);
    }
}

/// Returns a quantile, in thousandths.
pub(super) fn quantile(sorted: &[Duration], thousandths: usize) -> Duration {
    let index = (sorted.len() * thousandths / 1000).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

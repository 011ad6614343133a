//! What a client counts, and the snapshot of it that users get.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the client was made, and what it holds now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Sockets open now, idle and busy ones.
    pub connections: usize,
    /// Sockets that no call uses now.
    pub idle: usize,
    /// Requests in flight now, those included whose callers have given up but whose replies may still come.
    pub in_flight: usize,
    /// Calls that wait for a connection now.
    pub waiting: usize,
    /// Connections made so far.
    pub connects: u64,
    /// Attempts to connect that failed so far.
    pub connect_failures: u64,
    /// Requests sent again so far.
    pub retries: u64,
    /// Replies that came after their caller had given up, and were dropped.
    pub late_replies: u64,
    /// Frames that belonged to nobody: replies to unknown ids, kinds of later versions, heartbeat answers that nobody
    /// asked for.
    pub stray_frames: u64,
}

/// The counters behind [`Stats`], shared by a client's connections.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connects: Counter,
    pub(crate) connect_failures: Counter,
    pub(crate) retries: Counter,
    pub(crate) late_replies: Counter,
    pub(crate) stray_frames: Counter,
}

/// One number that only grows. It orders nothing else, so relaxed is enough.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

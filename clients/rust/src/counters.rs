//! The counters of a client, and the snapshot of them that users get.

use std::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of what a client holds, and of its counters since it was built.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Open sockets, idle and busy.
    pub connections: usize,
    /// Sockets that no call uses.
    pub idle: usize,
    /// Requests in flight, including abandoned ones, whose callers gave up.
    pub in_flight: usize,
    /// Calls that wait for a connection.
    pub waiting: usize,
    /// Connections made so far.
    pub connects: u64,
    /// Attempts to connect that failed so far.
    pub connect_failures: u64,
    /// Requests sent again so far.
    pub retries: u64,
    /// Replies that arrived after their caller had given up, and were dropped.
    pub late_replies: u64,
    /// Frames that belong to no request of this client.
    ///
    /// These are replies to unknown ids, kinds of later versions and unrequested heartbeat replies.
    pub stray_frames: u64,
}

/// The counters behind [`Stats`], shared by the connections of a client.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connects: Counter,
    pub(crate) connect_failures: Counter,
    pub(crate) retries: Counter,
    pub(crate) late_replies: Counter,
    pub(crate) stray_frames: Counter,
}

/// A number that only grows. No other access is ordered by it, so relaxed ordering suffices.
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

//! The counters of one host, shared by its threads.

use std::sync::Arc;

use super::counters::SharedCounters;
use super::method_names::MethodNames;
use super::open_connections::OpenConnections;
use super::plugin_metrics::PluginMetrics;
use super::slow_log::SlowLog;
use super::thread_cells::{ShardPool, ThreadCells};

/// The counters of one host, shared by its threads. [`Metrics::snapshot`] reads them.
#[derive(Default)]
pub(crate) struct Metrics {
    /// The methods that are counted by name.
    pub(crate) method_names: MethodNames,

    /// Events that are rare enough for all threads to share one counter.
    pub(crate) counters: SharedCounters,

    pub(crate) open_connections: Arc<OpenConnections>,

    /// The plugins, as their owner last reported them.
    pub(crate) plugins: PluginMetrics,

    /// The slowest requests and the failed ones of the last minutes.
    pub(crate) slow_log: SlowLog,

    pub(super) shards: Arc<ShardPool>,
}

impl Metrics {
    /// Returns the cells of one thread, which keeps them for as long as it counts.
    pub(crate) fn cells(&self) -> ThreadCells {
        ThreadCells::new(&self.shards)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Duration;

    use super::super::{MethodId, Outcome, RequestKind, ThreadTotal};
    use super::*;

    const ROUNDS: u64 = 200_000;

    /// Every 16th request ends on another thread, like a request whose connection has migrated.
    const MIGRATES_EVERY: u64 = 16;

    fn accept_and_end(metrics: &Metrics, methods: [MethodId; 2], migrated: &SyncSender<MethodId>) {
        let cells = metrics.cells();

        for round in 0..ROUNDS {
            let method = methods[usize::try_from(round % 2).unwrap()];
            cells.count_accepted(method, RequestKind::Async);
            if round.is_multiple_of(MIGRATES_EVERY) {
                migrated.send(method).unwrap();
            } else {
                cells.count_run(method, Duration::from_micros(round));
                cells.count_ended(method, RequestKind::Async, Outcome::OK);
            }
        }
    }

    fn end_migrated(metrics: &Metrics, migrated: &Receiver<MethodId>) {
        let cells = metrics.cells();

        while let Ok(method) = migrated.recv() {
            cells.count_ended(method, RequestKind::Async, Outcome::ABANDONED);
        }
    }

    fn check_snapshots(metrics: &Metrics, stop: &AtomicBool) {
        let mut last = 0;

        while !stop.load(Ordering::Relaxed) {
            let snapshot = metrics.snapshot();
            for method in &snapshot.methods {
                assert!(method.accepted(RequestKind::Async) >= method.ended_in(RequestKind::Async));
            }
            let accepted = snapshot.accepted();
            assert!(accepted >= last, "a counter has decreased");
            last = accepted;
        }
    }

    #[test]
    fn never_counts_more_ended_than_accepted_requests() {
        let metrics = Metrics::default();
        let methods = ["a", "b"].map(|name| metrics.method_names.intern(name));
        let stop = AtomicBool::new(false);

        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(8);
            let metrics = &metrics;
            scope.spawn(move || accept_and_end(metrics, methods, &sender));
            let ends = scope.spawn(move || end_migrated(metrics, &receiver));
            scope.spawn(|| check_snapshots(metrics, &stop));
            ends.join().unwrap();
            stop.store(true, Ordering::Relaxed);
        });

        let snapshot = metrics.snapshot();
        assert_eq!((snapshot.accepted(), snapshot.in_flight()), (ROUNDS, 0));
        assert_eq!(snapshot.of_outcome(Outcome::ABANDONED), ROUNDS / MIGRATES_EVERY);
        assert_eq!(snapshot.of_outcome(Outcome::OK), ROUNDS - ROUNDS / MIGRATES_EVERY);
        let ran: u64 = snapshot.methods.iter().map(|method| method.seconds.count()).sum();
        assert_eq!(ran, ROUNDS - ROUNDS / MIGRATES_EVERY);
    }

    #[test]
    fn keeps_the_counts_of_a_thread_that_has_ended() {
        let metrics = Metrics::default();
        let method = metrics.method_names.intern("a.b");

        for round in 1..=3 {
            let cells = metrics.cells();
            cells.count_accepted(method, RequestKind::Sync);
            cells.count_ended(method, RequestKind::Sync, Outcome::OK);
            cells.add(ThreadTotal::BytesIn, 7);
            drop(cells);
            let snapshot = metrics.snapshot();
            assert_eq!((snapshot.accepted(), snapshot.total(ThreadTotal::BytesIn)), (round, 7 * round));
        }

        assert_eq!(metrics.shards.with_all(<[_]>::len), 1, "threads that follow one another share a shard");
    }
}

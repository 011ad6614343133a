//! What the host counts of itself: told by `system.info`, by the operators' methods and to Prometheus.
//!
//! A request is counted by the I/O thread that has it in hand, in cells that no other thread writes: no lock, no
//! contended cache line, no look-up by name. Who wants to know adds the threads' cells up, and pays for it.

mod histogram;
mod method_names;
mod open_connections;
mod outcome;
mod plugin_metrics;
mod prometheus;
mod shared_counters;
mod slow_log;
mod snapshot;
mod thread_cells;

use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) use self::method_names::{MethodId, MethodNames};
pub(crate) use self::open_connections::{ConnectionHandle, OpenConnections, PeerIdentity};
pub(crate) use self::outcome::{Outcome, RejectionReason, RequestKind};
pub(crate) use self::plugin_metrics::{GenerationCounts, PluginCounts, PluginMetrics, ReloadOutcome};
pub(crate) use self::prometheus::{CONTENT_TYPE, CrashGauge, Gauges, PluginGauges, page};
pub(crate) use self::shared_counters::SharedCounters;
pub(crate) use self::slow_log::{SlowLog, SlowLogEntry, kept};
pub(crate) use self::snapshot::{MethodCounts, MetricsSnapshot};
pub(crate) use self::thread_cells::{ThreadCells, ThreadTotal};

use self::thread_cells::Shard;
use crate::sync::lock;

/// Everything that one host counts.
#[derive(Default)]
pub(crate) struct Metrics {
    /// The methods that are counted by name.
    pub(crate) names: MethodNames,
    /// What is rare enough to be counted in one place.
    pub(crate) counters: SharedCounters,
    /// The connections that are open.
    pub(crate) callers: OpenConnections,
    /// The plugins, as their owner last told.
    pub(crate) plugins: PluginMetrics,
    /// The slowest requests and the failed ones, lately.
    pub(crate) slowlog: SlowLog,
    shards: Mutex<Shards>,
}

/// One shard for each thread that counts; a thread that ends leaves its shard, and what is in it, to the next one.
#[derive(Default)]
struct Shards {
    all: Vec<Arc<Shard>>,
    idle: Vec<Arc<Shard>>,
}

impl Metrics {
    fn shards(&self) -> MutexGuard<'_, Shards> {
        lock(&self.shards)
    }

    /// Cells for one thread, to be held there for as long as it counts.
    pub(crate) fn cells(self: &Arc<Self>) -> ThreadCells {
        let mut shards = self.shards();
        let shard = shards.idle.pop().unwrap_or_else(|| {
            let shard = Arc::<Shard>::default();
            shards.all.push(Arc::clone(&shard));
            shard
        });
        drop(shards);
        ThreadCells::new(shard, Arc::clone(self))
    }

    fn take_back(&self, shard: Arc<Shard>) {
        self.shards().idle.push(shard);
    }

    /// All of it, as it is now.
    pub(crate) fn snapshot(&self) -> MetricsSnapshot {
        // Held meanwhile, so that the shards are the same from first to last; only a thread that starts or ends waits.
        let shards = self.shards();
        MetricsSnapshot::of(self, &shards.all)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn accepted_is_ended_and_in_flight_whenever_it_is_looked_at() {
        let metrics = Arc::<Metrics>::default();
        let methods = ["a", "b"].map(|name| metrics.names.intern(name));
        let stop = AtomicBool::new(false);
        const ROUNDS: u64 = 200_000;
        std::thread::scope(|scope| {
            // One thread accepts, the other one ends, as when connections move from thread to thread.
            let (moves, moved) = std::sync::mpsc::sync_channel(8);
            scope.spawn({
                let metrics = &metrics;
                move || {
                    let cells = metrics.cells();
                    for round in 0..ROUNDS {
                        let method = methods[usize::try_from(round % 2).unwrap()];
                        cells.accepted(method, RequestKind::Async);
                        if round % 16 == 0 {
                            moves.send(method).unwrap();
                        } else {
                            cells.ran(method, Duration::from_micros(round));
                            cells.ended(method, RequestKind::Async, Outcome::OK);
                        }
                    }
                }
            });
            let ends = scope.spawn({
                let metrics = &metrics;
                move || {
                    let cells = metrics.cells();
                    while let Ok(method) = moved.recv() {
                        cells.ended(method, RequestKind::Async, Outcome::ABANDONED);
                    }
                }
            });
            scope.spawn(|| {
                let mut last = 0;
                while !stop.load(Ordering::Relaxed) {
                    let snapshot = metrics.snapshot();
                    for method in &snapshot.methods {
                        assert!(method.accepted(RequestKind::Async) >= method.ended_in(RequestKind::Async));
                    }
                    let accepted = snapshot.accepted();
                    assert!(accepted >= last, "never less than before");
                    last = accepted;
                }
            });
            ends.join().unwrap();
            stop.store(true, Ordering::Relaxed);
        });
        let snapshot = metrics.snapshot();
        assert_eq!((snapshot.accepted(), snapshot.in_flight()), (ROUNDS, 0));
        assert_eq!(snapshot.of_outcome(Outcome::ABANDONED), ROUNDS / 16);
        assert_eq!(snapshot.of_outcome(Outcome::OK), ROUNDS - ROUNDS / 16);
        let ran: u64 = snapshot.methods.iter().map(|method| method.seconds.count()).sum();
        assert_eq!(ran, ROUNDS - ROUNDS / 16);
    }

    #[test]
    fn what_a_thread_counted_stays_when_it_ends() {
        let metrics = Arc::<Metrics>::default();
        let method = metrics.names.intern("a.b");
        for round in 1..=3 {
            let cells = metrics.cells();
            cells.accepted(method, RequestKind::Sync);
            cells.ended(method, RequestKind::Sync, Outcome::OK);
            cells.add(ThreadTotal::BytesIn, 7);
            drop(cells);
            let snapshot = metrics.snapshot();
            assert_eq!((snapshot.accepted(), snapshot.total(ThreadTotal::BytesIn)), (round, 7 * round));
        }
        assert_eq!(metrics.shards().all.len(), 1, "one after another need one shard");
    }
}

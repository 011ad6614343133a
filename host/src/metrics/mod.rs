//! What the host counts of itself: told by `system.info`, by the operators' methods and to Prometheus.
//!
//! A request is counted by the I/O thread that has it in hand, in cells that no other thread writes: no lock, no
//! contended cache line, no look-up by name. Who wants to know adds the threads' cells up, and pays for it.

mod callers;
mod cells;
mod counters;
mod histogram;
mod names;
mod outcome;
mod plugins;
mod slowlog;
mod snapshot;
mod text;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use self::callers::{Caller, Callers, Peer};
pub(crate) use self::cells::{Cells, Total};
pub(crate) use self::counters::Counters;
pub(crate) use self::names::{MethodId, Names};
pub(crate) use self::outcome::{Outcome, Rejection, RequestKind};
pub(crate) use self::plugins::{Generations, PluginFigures, PluginNumbers, ReloadOutcome};
pub(crate) use self::slowlog::{SlowEntry, SlowLog, kept};
pub(crate) use self::snapshot::{MethodNumbers, Snapshot};
pub(crate) use self::text::{CONTENT_TYPE, DeathGauge, Gauges, PluginGauges, page};

use self::cells::Shard;

/// Everything that one host counts.
#[derive(Default)]
pub(crate) struct Metrics {
    /// The methods that are counted by name.
    pub(crate) names: Names,
    /// What is rare enough to be counted in one place.
    pub(crate) counters: Counters,
    /// The connections that are open.
    pub(crate) callers: Callers,
    /// The plugins, as their owner last told.
    pub(crate) plugins: PluginFigures,
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
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cells for one thread, to be held there for as long as it counts.
    pub(crate) fn cells(self: &Arc<Self>) -> Cells {
        let mut shards = self.shards();
        let shard = shards.idle.pop().unwrap_or_else(|| {
            let shard = Arc::<Shard>::default();
            shards.all.push(Arc::clone(&shard));
            shard
        });
        drop(shards);
        Cells::new(shard, Arc::clone(self))
    }

    fn take_back(&self, shard: Arc<Shard>) {
        self.shards().idle.push(shard);
    }

    /// All of it, as it is now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        // Held meanwhile, so that the shards are the same from first to last; only a thread that starts or ends waits.
        let shards = self.shards();
        Snapshot::of(self, &shards.all)
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
            cells.add(Total::BytesIn, 7);
            drop(cells);
            let snapshot = metrics.snapshot();
            assert_eq!((snapshot.accepted(), snapshot.total(Total::BytesIn)), (round, 7 * round));
        }
        assert_eq!(metrics.shards().all.len(), 1, "one after another need one shard");
    }
}

//! Everything that is counted, as it was at one moment: what `jackfield stats` and a scrape are made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::histogram::Histogram;
use super::open_connections::ConnectionStats;
use super::plugin_metrics::PluginCounts;
use super::thread_cells::Shard;
use super::{Metrics, Outcome, RejectionReason, RequestKind, ThreadTotal};
use crate::clock::Time;

const KINDS: usize = RequestKind::ALL.len();

/// What was counted of one method.
#[derive(Debug, Clone)]
pub(crate) struct MethodCounts {
    /// Its name, or one in parentheses for methods that are not counted by name.
    pub(crate) name: Arc<str>,
    /// From acceptance to reply, of the requests that were begun.
    pub(crate) seconds: Histogram,
    accepted: [u64; KINDS],
    ended: [[u64; Outcome::COUNT]; KINDS],
}

impl MethodCounts {
    /// Adds up what the threads have counted of the method; `None` when there was no request.
    ///
    /// What has ended is read before what was accepted: a request is accepted before it ends, so more are never seen
    /// to have ended, whatever the threads do meanwhile.
    fn of(name: Arc<str>, place: usize, shards: &[Arc<Shard>]) -> Option<Self> {
        // Looked up twice: a thread may count the method for the first time in between, and another one its end.
        let cells = || shards.iter().filter_map(|shard| shard.method(place));
        let mut seconds = Histogram::default();
        cells().for_each(|cells| seconds.add_all(&cells.seconds));
        let mut ended = [[0; Outcome::COUNT]; KINDS];
        for cells in cells() {
            for (sums, cells) in ended.iter_mut().zip(&cells.ended) {
                sums.iter_mut().zip(cells).for_each(|(sum, cell)| *sum += cell.read());
            }
        }
        let mut accepted = [0; KINDS];
        for cells in cells() {
            accepted.iter_mut().zip(&cells.accepted).for_each(|(sum, cell)| *sum += cell.read());
        }
        (accepted != [0; KINDS]).then_some(Self { name, seconds, accepted, ended })
    }

    /// Requests accepted.
    pub(crate) fn accepted(&self, kind: RequestKind) -> u64 {
        self.accepted[kind as usize]
    }

    /// Those of them that ended in this way.
    pub(crate) fn ended(&self, kind: RequestKind, outcome: Outcome) -> u64 {
        self.ended[kind as usize][outcome.place()]
    }

    /// Those of them that ended, in any way.
    pub(crate) fn ended_in(&self, kind: RequestKind) -> u64 {
        self.ended[kind as usize].iter().sum()
    }

    /// Those of them that have not ended.
    pub(crate) fn in_flight(&self, kind: RequestKind) -> u64 {
        self.accepted(kind).saturating_sub(self.ended_in(kind))
    }

    fn of_outcome(&self, outcome: Outcome) -> u64 {
        RequestKind::ALL.iter().map(|kind| self.ended(*kind, outcome)).sum()
    }
}

/// Everything that is counted.
pub(crate) struct MetricsSnapshot {
    /// When.
    pub(crate) at: Time,
    /// The methods that had requests. Those without a name of their own are among them.
    pub(crate) methods: Vec<MethodCounts>,
    /// The open connections.
    pub(crate) callers: Vec<ConnectionStats>,
    pub(crate) plugins: BTreeMap<String, PluginCounts>,
    rejected: Vec<u64>,
    totals: [u64; ThreadTotal::COUNT],
    /// The host's rare counters by name.
    pub(crate) counters: BTreeMap<&'static str, u64>,
}

impl MetricsSnapshot {
    /// Adds up what the threads have counted.
    pub(super) fn of(metrics: &Metrics, shards: &[Arc<Shard>]) -> Self {
        let names = metrics.names.all().into_iter().enumerate();
        let methods = names.filter_map(|(place, name)| MethodCounts::of(name, place, shards));
        let mut counters: BTreeMap<_, _> = metrics.counters.all().collect();
        let methods: Vec<_> = methods.collect();
        let sum_of = |place: usize| shards.iter().map(|shard| shard.rejected[place].read()).sum();
        let mut rejected: Vec<u64> = (0..RejectionReason::ALL.len()).map(sum_of).collect();
        // Connections are refused by who accepts them, not by a thread that serves.
        rejected[RejectionReason::Connections as usize] += counters["connections_refused"];
        rejected[RejectionReason::Denied as usize] += counters["connections_denied"];
        let mut totals = [0; ThreadTotal::COUNT];
        for shard in shards {
            totals.iter_mut().zip(&shard.totals).for_each(|(sum, cell)| *sum += cell.read());
        }
        let late = counters.entry("late_results").or_default();
        *late += totals[ThreadTotal::LateResults as usize];
        Self {
            at: Time::now(),
            methods,
            callers: metrics.callers.all(),
            plugins: metrics.plugins.all(),
            rejected,
            totals,
            counters,
        }
    }

    /// So much of something, over all threads.
    pub(crate) fn total(&self, total: ThreadTotal) -> u64 {
        self.totals[total as usize]
    }

    /// How often something was turned away for this reason.
    pub(crate) fn rejected(&self, why: RejectionReason) -> u64 {
        self.rejected[why as usize]
    }

    /// Requests accepted.
    pub(crate) fn accepted(&self) -> u64 {
        RequestKind::ALL.iter().map(|kind| self.accepted_in(*kind)).sum()
    }

    fn accepted_in(&self, kind: RequestKind) -> u64 {
        self.methods.iter().map(|method| method.accepted(kind)).sum()
    }

    /// Requests that ended in this way.
    pub(crate) fn of_outcome(&self, outcome: Outcome) -> u64 {
        self.methods.iter().map(|method| method.of_outcome(outcome)).sum()
    }

    /// Requests accepted and not ended.
    pub(crate) fn in_flight(&self) -> u64 {
        RequestKind::ALL.iter().map(|kind| self.in_flight_in(*kind)).sum()
    }

    /// Those of them that were asked in this way.
    pub(crate) fn in_flight_in(&self, kind: RequestKind) -> u64 {
        self.methods.iter().map(|method| method.in_flight(kind)).sum()
    }

    /// The counters of `system.info`, by name.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        use jackfield_protocol::Code;
        let code = |code| self.of_outcome(Outcome::of(code));
        let (results, abandoned) = (self.of_outcome(Outcome::OK), self.of_outcome(Outcome::ABANDONED));
        let ended: u64 = Outcome::all().map(|outcome| self.of_outcome(outcome)).sum();
        let mut counts = self.counters.clone();
        counts.extend([
            ("requests", self.accepted()),
            ("results", results),
            ("errors", ended - results - abandoned),
            ("abandoned", abandoned),
            ("deadlines_exceeded", code(Code::DeadlineExceeded)),
            ("overloaded", code(Code::Overloaded)),
            ("denied", code(Code::PermissionDenied)),
            ("panics", code(Code::PluginPanicked)),
            ("heartbeats", self.total(ThreadTotal::Heartbeats)),
            ("unknown_kinds", self.total(ThreadTotal::UnknownKinds)),
            ("bytes_in", self.total(ThreadTotal::BytesIn)),
            ("bytes_out", self.total(ThreadTotal::BytesOut)),
        ]);
        counts
    }
}

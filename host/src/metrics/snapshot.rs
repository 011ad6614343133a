//! All counts at one moment: the source of `jackfield stats` and of a Prometheus scrape.

use std::collections::BTreeMap;
use std::sync::Arc;

use jackfield_protocol::Code;

use super::histogram::Histogram;
use super::host_metrics::Metrics;
use super::open_connections::ConnectionStats;
use super::outcome::{Outcome, RejectionReason, RequestKind};
use super::plugin_metrics::PluginCounts;
use super::thread_cells::{Shard, ThreadTotal};
use crate::clock::Time;

const KINDS: usize = RequestKind::ALL.len();

/// The counts of one method.
#[derive(Debug, Clone)]
pub(crate) struct MethodCounts {
    /// The name of the method, or a name in parentheses for all methods that are not counted by
    /// name.
    pub(crate) name: Arc<str>,

    /// The time from acceptance to reply, of the requests that were started.
    pub(crate) seconds: Histogram,

    accepted: [u64; KINDS],
    ended: [[u64; Outcome::COUNT]; KINDS],
}

impl MethodCounts {
    /// Adds up what the threads have counted of the method; `None` if there was no request.
    ///
    /// The ends are read before the acceptances. A request is accepted before it ends, so the sums
    /// never show more ended than accepted requests, although the threads continue to count.
    fn sum(name: Arc<str>, index: usize, shards: &[Arc<Shard>]) -> Option<Self> {
        // Looked up for each pass: between two passes, one thread may count the method for the
        // first time, and another thread the end of that request.
        let cells = || shards.iter().filter_map(|shard| shard.method(index));

        let mut seconds = Histogram::default();
        cells().for_each(|cells| seconds.add_cells(&cells.seconds));

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

    /// Returns the number of accepted requests.
    pub(crate) fn accepted(&self, kind: RequestKind) -> u64 {
        self.accepted[kind as usize]
    }

    /// Returns the number of requests with this outcome.
    pub(crate) fn ended(&self, kind: RequestKind, outcome: Outcome) -> u64 {
        self.ended[kind as usize][outcome.index()]
    }

    /// Returns the number of requests that have ended, with any outcome.
    pub(crate) fn ended_in(&self, kind: RequestKind) -> u64 {
        self.ended[kind as usize].iter().sum()
    }

    /// Returns the number of requests that have not ended.
    pub(crate) fn in_flight(&self, kind: RequestKind) -> u64 {
        self.accepted(kind).saturating_sub(self.ended_in(kind))
    }

    fn of_outcome(&self, outcome: Outcome) -> u64 {
        RequestKind::ALL.iter().map(|kind| self.ended(*kind, outcome)).sum()
    }
}

/// All counts at one moment.
pub(crate) struct MetricsSnapshot {
    pub(crate) at: Time,

    /// The methods that had requests, including the ones that stand for several names.
    pub(crate) methods: Vec<MethodCounts>,

    /// The open connections.
    pub(crate) callers: Vec<ConnectionStats>,

    pub(crate) plugins: BTreeMap<String, PluginCounts>,
    rejected: Vec<u64>,
    totals: [u64; ThreadTotal::COUNT],

    /// The shared counters by name.
    pub(crate) counters: BTreeMap<&'static str, u64>,
}

impl Metrics {
    /// Adds up what all threads have counted.
    pub(crate) fn snapshot(&self) -> MetricsSnapshot {
        self.shards.with_all(|shards| MetricsSnapshot::sum(self, shards))
    }
}

impl MetricsSnapshot {
    fn sum(metrics: &Metrics, shards: &[Arc<Shard>]) -> Self {
        let names = metrics.method_names.all().into_iter().enumerate();
        let mut counters: BTreeMap<_, _> = metrics.counters.all().collect();
        let methods = names.filter_map(|(index, name)| MethodCounts::sum(name, index, shards)).collect();

        let rejections_of = |index: usize| shards.iter().map(|shard| shard.rejected[index].read()).sum();
        let mut rejected: Vec<u64> = (0..RejectionReason::ALL.len()).map(rejections_of).collect();
        // Connections are refused by the thread that accepts them, which has no cells.
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
            callers: metrics.open_connections.snapshot(),
            plugins: metrics.plugins.all(),
            rejected,
            totals,
            counters,
        }
    }

    /// Returns a total over all threads.
    pub(crate) fn total(&self, total: ThreadTotal) -> u64 {
        self.totals[total as usize]
    }

    /// Returns how often something was rejected for this reason.
    pub(crate) fn rejected(&self, reason: RejectionReason) -> u64 {
        self.rejected[reason as usize]
    }

    /// Returns the number of accepted requests.
    pub(crate) fn accepted(&self) -> u64 {
        RequestKind::ALL.iter().map(|kind| self.accepted_in(*kind)).sum()
    }

    fn accepted_in(&self, kind: RequestKind) -> u64 {
        self.methods.iter().map(|method| method.accepted(kind)).sum()
    }

    /// Returns the number of requests with this outcome.
    pub(crate) fn of_outcome(&self, outcome: Outcome) -> u64 {
        self.methods.iter().map(|method| method.of_outcome(outcome)).sum()
    }

    /// Returns the number of requests in flight.
    pub(crate) fn in_flight(&self) -> u64 {
        RequestKind::ALL.iter().map(|kind| self.in_flight_in(*kind)).sum()
    }

    /// Returns the number of requests in flight that were sent in this way.
    pub(crate) fn in_flight_in(&self, kind: RequestKind) -> u64 {
        self.methods.iter().map(|method| method.in_flight(kind)).sum()
    }

    /// Returns the counters of `system.info` by name.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let of_code = |code| self.of_outcome(Outcome::of(code));
        let results = self.of_outcome(Outcome::OK);
        let abandoned = self.of_outcome(Outcome::ABANDONED);
        let ended: u64 = Outcome::all().map(|outcome| self.of_outcome(outcome)).sum();

        let mut counts = self.counters.clone();
        counts.extend([
            ("requests", self.accepted()),
            ("results", results),
            ("errors", ended - results - abandoned),
            ("abandoned", abandoned),
            ("deadlines_exceeded", of_code(Code::DeadlineExceeded)),
            ("overloaded", of_code(Code::Overloaded)),
            ("denied", of_code(Code::PermissionDenied)),
            ("panics", of_code(Code::PluginPanicked)),
            ("crashes", of_code(Code::PluginCrashed)),
            ("heartbeats", self.total(ThreadTotal::Heartbeats)),
            ("hellos", self.total(ThreadTotal::Hellos)),
            ("cancels", self.total(ThreadTotal::Cancels)),
            ("unknown_cancels", self.total(ThreadTotal::UnknownCancels)),
            ("unknown_kinds", self.total(ThreadTotal::UnknownKinds)),
            ("bytes_in", self.total(ThreadTotal::BytesIn)),
            ("bytes_out", self.total(ThreadTotal::BytesOut)),
        ]);
        counts
    }
}

//! What operators are shown of a running host: everything that is counted, and the requests that were slow or failed.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::dispatcher::Dispatcher;
use crate::clock::Time;
use crate::metrics::{
    MethodCounts, MetricsSnapshot, Outcome, PeerIdentity, RejectionReason, RequestKind, SlowLogContents,
    SlowLogEntry,
};

/// So many callers are shown, those with the most in flight first.
const MOST_CALLERS: usize = 100;

/// A host in numbers.
#[derive(Debug, Serialize)]
pub(crate) struct StatsReply {
    version: &'static str,
    pid: u32,
    /// Since 1970, in milliseconds, by the host's clock.
    at_ms: u64,
    uptime_ms: u64,
    connections: usize,
    in_flight: u64,
    /// Those of them that were asked asynchronously.
    async_in_flight: u64,
    buffered_bytes: u64,
    limits: LimitsReply,
    /// As `system.info` has them.
    counts: BTreeMap<&'static str, u64>,
    /// How requests ended, but for outcomes that none had.
    outcomes: BTreeMap<String, u64>,
    /// What was turned away, but for reasons that there were not.
    rejected: BTreeMap<&'static str, u64>,
    methods: Vec<MethodReply>,
    callers: Vec<ConnectionReply>,
    /// Callers that are not shown.
    more_callers: usize,
    plugins: Vec<PluginReply>,
}

#[derive(Debug, Serialize)]
struct LimitsReply {
    connections: usize,
    in_flight: usize,
    buffers: u64,
}

#[derive(Debug, Serialize)]
struct MethodReply {
    name: String,
    accepted: u64,
    ok: u64,
    failed: u64,
    in_flight: u64,
    /// From acceptance to reply, of the requests that were begun; right to an eighth.
    p50_us: Option<u64>,
    p90_us: Option<u64>,
    p99_us: Option<u64>,
    mean_us: Option<u64>,
    /// How many took up to so many nanoseconds and longer than the one before: since the host's start, as all of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lengths: Vec<(u64, u64)>,
}

#[derive(Debug, Serialize)]
struct ConnectionReply {
    /// Null when the kernel would not say.
    uid: Option<u32>,
    gid: Option<u32>,
    pid: Option<u32>,
    connections: u64,
    in_flight: u64,
}

#[derive(Debug, Serialize)]
struct PluginReply {
    name: String,
    generation: Option<u64>,
    version: Option<String>,
    /// `serving`, `probation`, `unhealthy` or `gone`.
    state: &'static str,
    draining: u64,
    retained: u64,
    lost_threads: usize,
    loaded: u64,
    refused: u64,
    rolled_back: u64,
}

/// The slowest and the failed, lately.
#[derive(Debug, Serialize)]
pub(crate) struct SlowLogReply {
    /// The slowest first.
    slow: Vec<SlowLogEntryReply>,
    /// The last one first.
    failed: Vec<SlowLogEntryReply>,
    /// Requests that were not kept because others were just being kept or shown.
    missed: u64,
}

#[derive(Debug, Serialize)]
struct SlowLogEntryReply {
    /// When it was answered, since 1970 in milliseconds.
    at_ms: u64,
    conn: u64,
    id: String,
    method: String,
    plugin: Option<String>,
    generation: Option<u64>,
    uid: Option<u32>,
    pid: Option<u32>,
    queued_us: u64,
    ran_us: u64,
    outcome: String,
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

fn since_1970(at: SystemTime) -> u64 {
    millis(at.duration_since(UNIX_EPOCH).unwrap_or_default())
}

impl MethodReply {
    fn of(numbers: &MethodCounts, with_lengths: bool) -> Self {
        let sum = |count: &dyn Fn(RequestKind) -> u64| RequestKind::ALL.iter().map(|kind| count(*kind)).sum();
        let (accepted, ended) = (sum(&|kind| numbers.accepted(kind)), sum(&|kind| numbers.ended_in(kind)));
        let ok: u64 = sum(&|kind| numbers.ended(kind, Outcome::OK));
        let seconds = &numbers.seconds;
        let quantile = |part| seconds.quantile(part).map(micros);
        let count = u32::try_from(seconds.count()).unwrap_or(u32::MAX);
        Self {
            name: numbers.name.to_string(),
            accepted,
            ok,
            failed: ended - ok,
            in_flight: accepted - ended,
            p50_us: quantile(0.5),
            p90_us: quantile(0.9),
            p99_us: quantile(0.99),
            mean_us: (count > 0).then(|| micros(seconds.sum() / count)),
            lengths: if with_lengths { seconds.non_empty_buckets().collect() } else { Vec::new() },
        }
    }
}

/// One row for each peer, however many connections it has.
fn callers(snapshot: &MetricsSnapshot) -> Vec<ConnectionReply> {
    let mut callers: BTreeMap<Option<PeerIdentity>, (u64, u64)> = BTreeMap::new();
    for open in &snapshot.callers {
        let (connections, in_flight) = callers.entry(open.peer).or_default();
        *connections += 1;
        *in_flight += open.in_flight;
    }
    let row = |(peer, (connections, in_flight)): (Option<PeerIdentity>, (u64, u64))| ConnectionReply {
        uid: peer.map(|peer| peer.uid),
        gid: peer.map(|peer| peer.gid),
        pid: peer.map(|peer| peer.pid),
        connections,
        in_flight,
    };
    let mut rows: Vec<_> = callers.into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.in_flight, row.connections)));
    rows
}

impl SlowLogEntryReply {
    fn of(entry: SlowLogEntry) -> Self {
        Self {
            at_ms: since_1970(entry.at),
            conn: entry.connection,
            id: entry.id.into(),
            method: entry.method.into(),
            plugin: entry.ran_by.as_ref().map(|(plugin, _)| plugin.to_string()),
            generation: entry.ran_by.map(|(_, generation)| generation),
            uid: entry.peer.map(|peer| peer.uid),
            pid: entry.peer.map(|peer| peer.pid),
            queued_us: micros(entry.queued),
            ran_us: micros(entry.ran),
            outcome: entry.outcome.label(),
        }
    }
}

impl Dispatcher {
    /// Everything that is counted; `with_lengths` also how many requests took how long, to find out what was added
    /// since another time.
    pub(crate) fn stats(&self, with_lengths: bool) -> StatsReply {
        let snapshot = self.metrics.snapshot();
        let limits = &self.rules.load().limits;
        let mut methods: Vec<_> =
            snapshot.methods.iter().map(|method| MethodReply::of(method, with_lengths)).collect();
        methods.sort_by(|one, other| one.name.cmp(&other.name));
        let mut callers = callers(&snapshot);
        let more_callers = callers.len().saturating_sub(MOST_CALLERS);
        callers.truncate(MOST_CALLERS);
        let outcomes = Outcome::all().map(|outcome| (outcome.label(), snapshot.of_outcome(outcome)));
        let rejected = RejectionReason::ALL.iter().map(|why| (why.label(), snapshot.rejected(*why)));
        StatsReply {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            at_ms: since_1970(SystemTime::now()),
            // The process's clock begins with it.
            uptime_ms: millis(snapshot.at.since(Time(0))),
            connections: self.connections.held(),
            in_flight: snapshot.in_flight(),
            async_in_flight: snapshot.in_flight_in(RequestKind::Async),
            buffered_bytes: self.budget.held(),
            limits: LimitsReply {
                connections: limits.connections,
                in_flight: limits.in_flight,
                buffers: limits.buffers,
            },
            outcomes: outcomes.filter(|(_, count)| *count > 0).collect(),
            rejected: rejected.filter(|(_, count)| *count > 0).collect(),
            methods,
            callers,
            more_callers,
            plugins: self.plugin_rows(&snapshot),
            counts: snapshot.counts(),
        }
    }

    fn plugin_rows(&self, snapshot: &MetricsSnapshot) -> Vec<PluginReply> {
        // The table goes back at once: who replaces it waits until nobody holds it.
        let health: BTreeMap<_, _> = {
            let table = self.table.load();
            let facts = |generation: &std::sync::Arc<crate::plugin::Generation>| {
                let identity = &generation.identity;
                (identity.plugin.to_string(), (generation.health(), identity.version.clone()))
            };
            table.generations().map(facts).collect()
        };
        let row = |(name, numbers): (&String, &crate::metrics::PluginCounts)| {
            let generations = &numbers.generations;
            let found = health.get(name);
            let state = match found {
                Some((health, _)) if !health.is_healthy => "unhealthy",
                _ if generations.on_probation => "probation",
                _ if generations.serving.is_some() => "serving",
                _ => "gone",
            };
            let [loaded, refused, rolled_back] = numbers.reloads;
            PluginReply {
                name: name.clone(),
                generation: generations.serving,
                version: found.map(|(_, version)| version.clone()),
                state,
                draining: generations.draining,
                retained: generations.retained,
                lost_threads: found.map_or(0, |(health, _)| health.lost_threads),
                loaded,
                refused,
                rolled_back,
            }
        };
        snapshot.plugins.iter().map(row).collect()
    }

    /// The requests that were slow or failed, lately.
    pub(crate) fn slowest(&self) -> SlowLogReply {
        self.metrics.slow_log.remove_expired(Time::now());
        let SlowLogContents { slow, failed, missed } = self.metrics.slow_log.contents();
        let entries = |entries: Vec<SlowLogEntry>| entries.into_iter().map(SlowLogEntryReply::of).collect();
        SlowLogReply { slow: entries(slow), failed: entries(failed), missed }
    }
}

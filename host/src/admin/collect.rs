//! Collects what a host reports about itself: the replies of `admin.stats` and `admin.slowlog`, and
//! the counters of `system.info`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jackfield_contract::Contract;
use jackfield_plugin_api::Caller;

use super::{
    CallerStats, HostStats, LimitStats, MethodStats, PluginState, PluginStats, SlowLogReport, SlowRequest,
    StatsParams, isolation_of,
};
use crate::clock::Time;
use crate::loader::LoadErrorReason;
use crate::metrics::{
    MethodCounts, MetricsSnapshot, Outcome, PeerIdentity, PluginCounts, RejectionReason, RequestKind,
    SlowLogContents, SlowLogEntry,
};
use crate::plugin::{Generation, HostInfo, PluginInfo};
use crate::routing::Dispatcher;

/// The most peers that a reply contains. A reply must stay far below the frame limit however many
/// processes are connected.
const CALLERS_MAX: usize = 100;

/// The reason of a plugin whose newest content was running in too many crashes.
const QUARANTINED: &str = LoadErrorReason::TooManyCrashes.code();

impl HostInfo for Dispatcher {
    fn counts(&self) -> BTreeMap<&'static str, u64> {
        let gauges = [
            ("connections_open", self.connections.held() as u64),
            ("in_flight", self.in_flight.held() as u64),
            ("buffered_bytes", self.budget.held()),
            ("deaths", self.crash_record.crashes().len() as u64),
            ("plugins_left_out", self.crash_record.quarantined_count() as u64),
        ];

        let mut counts = self.metrics.snapshot().counts();
        counts.extend(gauges);
        counts
    }

    fn plugins(&self) -> Vec<PluginInfo> {
        self.table.load().plugins()
    }

    fn unhealthy(&self) -> Vec<String> {
        self.table.load().unhealthy()
    }

    fn methods(&self) -> Vec<String> {
        self.table.load().method_names()
    }

    fn contract(&self, caller: &Caller) -> Contract {
        self.contract_for(caller)
    }
}

/// Collects the counters and gauges of the host behind `dispatcher`.
pub(super) fn host_stats(dispatcher: &Dispatcher, params: &StatsParams) -> HostStats {
    let snapshot = dispatcher.metrics.snapshot();
    let limits = &dispatcher.rules.load().limits;

    let mut methods: Vec<_> =
        snapshot.methods.iter().map(|counts| method_stats(counts, params.lengths)).collect();
    methods.sort_by(|one, other| one.name.cmp(&other.name));

    let mut callers = caller_stats(&snapshot);
    let more_callers = callers.len().saturating_sub(CALLERS_MAX) as u64;
    callers.truncate(CALLERS_MAX);

    let outcomes = Outcome::all().map(|outcome| (outcome.label(), snapshot.of_outcome(outcome)));
    let rejected =
        RejectionReason::ALL.iter().map(|reason| (reason.label().to_owned(), snapshot.rejected(*reason)));
    let counts = snapshot.counts().into_iter().map(|(name, count)| (name.to_owned(), count));

    HostStats {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        at_ms: since_1970(SystemTime::now()),
        // The clock of the process starts at zero.
        uptime_ms: millis(snapshot.at.since(Time(0))),
        connections: dispatcher.connections.held() as u64,
        in_flight: snapshot.in_flight(),
        async_in_flight: snapshot.in_flight_in(RequestKind::Async),
        buffered_bytes: dispatcher.budget.held(),
        limits: LimitStats {
            connections: limits.connections as u64,
            in_flight: limits.in_flight as u64,
            buffers: limits.buffers,
        },
        counts: counts.collect(),
        outcomes: outcomes.filter(|(_, count)| *count > 0).collect(),
        rejected: rejected.filter(|(_, count)| *count > 0).collect(),
        methods,
        callers,
        more_callers,
        plugins: plugin_stats(dispatcher, &snapshot),
    }
}

/// Collects the slow log of the host behind `dispatcher`.
pub(super) fn slow_log(dispatcher: &Dispatcher) -> SlowLogReport {
    let log = &dispatcher.metrics.slow_log;
    log.remove_expired(Time::now());

    let SlowLogContents { slow, failed, missed } = log.contents();
    let requests = |entries: Vec<SlowLogEntry>| entries.into_iter().map(slow_request).collect();

    SlowLogReport { slow: requests(slow), failed: requests(failed), missed }
}

fn method_stats(counts: &MethodCounts, with_histogram: bool) -> MethodStats {
    let sum = |count: &dyn Fn(RequestKind) -> u64| RequestKind::ALL.iter().map(|kind| count(*kind)).sum();
    let accepted: u64 = sum(&|kind| counts.accepted(kind));
    let ended: u64 = sum(&|kind| counts.ended_in(kind));
    let ok: u64 = sum(&|kind| counts.ended(kind, Outcome::OK));

    let histogram = &counts.seconds;
    let quantile = |part| histogram.quantile(part).map(micros);
    let count = u32::try_from(histogram.count()).unwrap_or(u32::MAX);

    MethodStats {
        name: counts.name.to_string(),
        accepted,
        ok,
        failed: ended - ok,
        in_flight: accepted - ended,
        p50_us: quantile(0.5),
        p90_us: quantile(0.9),
        p99_us: quantile(0.99),
        mean_us: (count > 0).then(|| micros(histogram.sum() / count)),
        lengths: if with_histogram { histogram.non_empty_buckets().collect() } else { Vec::new() },
    }
}

/// Returns one row for each peer, however many connections it has open.
fn caller_stats(snapshot: &MetricsSnapshot) -> Vec<CallerStats> {
    let mut by_peer: BTreeMap<Option<PeerIdentity>, (u64, u64)> = BTreeMap::new();
    for connection in &snapshot.callers {
        let (connections, in_flight) = by_peer.entry(connection.peer).or_default();
        *connections += 1;
        *in_flight += connection.in_flight;
    }

    let mut callers: Vec<_> = by_peer
        .into_iter()
        .map(|(peer, (connections, in_flight))| CallerStats {
            uid: peer.map(|peer| peer.uid),
            gid: peer.map(|peer| peer.gid),
            pid: peer.map(|peer| peer.pid),
            connections,
            in_flight,
        })
        .collect();
    callers.sort_by_key(|caller| Reverse((caller.in_flight, caller.connections)));
    callers
}

fn plugin_stats(dispatcher: &Dispatcher, snapshot: &MetricsSnapshot) -> Vec<PluginStats> {
    // The table is released before the rows are made: a publish waits until no thread holds the
    // previous table.
    let (serving, quarantined): (BTreeMap<_, _>, BTreeSet<_>) = {
        let table = dispatcher.table.load();
        let quarantined = table.unavailable().iter().filter(|plugin| plugin.reason == QUARANTINED);
        let quarantined = quarantined.map(|plugin| plugin.plugin.clone()).collect();
        let entry = |generation: &Arc<Generation>| {
            let identity = &generation.identity;
            let facts = (generation.health(), identity.version.clone(), generation.worker_report());
            (identity.plugin.to_string(), facts)
        };
        (table.generations().map(entry).collect(), quarantined)
    };

    let row = |(name, counts): (&String, &PluginCounts)| {
        let generations = &counts.generations;
        let found = serving.get(name);
        let state = match found {
            Some((health, ..)) if !health.is_healthy => PluginState::Unhealthy,
            _ if generations.on_probation => PluginState::Probation,
            _ if generations.serving.is_some() => PluginState::Serving,
            _ => PluginState::Gone,
        };
        let [loaded, refused, rolled_back] = counts.reloads;

        PluginStats {
            name: name.clone(),
            generation: generations.serving,
            version: found.map(|(_, version, _)| version.clone()),
            state,
            draining: generations.draining,
            retained: generations.retained,
            lost_threads: found.map_or(0, |(health, ..)| health.lost_threads as u64),
            held_threads: found.map_or(0, |(health, ..)| health.stalled_io_threads as u64),
            quarantined: quarantined.contains(name),
            loaded,
            refused,
            rolled_back,
            isolation: found.map(|(_, _, worker)| isolation_of(worker.as_ref())),
            isolated_by: generations.isolated_by.map(str::to_owned),
            worker: found.and_then(|(_, _, worker)| worker.clone()).map(Into::into),
        }
    };
    snapshot.plugins.iter().map(row).collect()
}

fn slow_request(entry: SlowLogEntry) -> SlowRequest {
    let (plugin, generation) = entry.ran_by.unzip();

    SlowRequest {
        at_ms: since_1970(entry.at),
        conn: entry.connection,
        id: entry.id.into(),
        method: entry.method.into(),
        plugin: plugin.map(|plugin| plugin.to_string()),
        generation,
        uid: entry.peer.map(|peer| peer.uid),
        pid: entry.peer.map(|peer| peer.pid),
        queued_us: micros(entry.queued),
        ran_us: micros(entry.ran),
        outcome: entry.outcome.label(),
    }
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

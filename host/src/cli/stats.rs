//! `jackfield stats`: prints the counters and gauges of a running host.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jackfield::admin::{CallerStats, HostStats, MethodStats, PluginStats, method};
use serde_json::Value;

use super::admin_client::{OperatorArgs, call, print};
use super::table::{format_cell, format_count, format_duration, format_micros, format_table};
use super::workers::{format_workers, isolation_cell};

const METHOD_HEAD: [&str; 8] = ["METHOD", "REQUESTS", "OK", "FAILED", "IN FLIGHT", "P50", "P90", "P99"];
const CALLER_HEAD: [&str; 5] = ["UID", "GID", "PID", "CONNECTIONS", "IN FLIGHT"];
const PLUGIN_HEAD: [&str; 11] = [
    "PLUGIN",
    "STATE",
    "GENERATION",
    "VERSION",
    "DRAINING",
    "RETAINED",
    "LOST THREADS",
    "LOADED",
    "REFUSED",
    "ROLLED BACK",
    "ISOLATION",
];

/// The arguments of `jackfield stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Prints the counters and gauges.
pub(crate) fn stats(args: &StatsArgs, config: Option<&Path>) -> ExitCode {
    let reply = call(&args.operator, config, method::STATS, &Value::Null);
    print(reply, args.operator.json, |stats: HostStats| (render(&stats), ExitCode::SUCCESS))
}

fn render(stats: &HostStats) -> String {
    let mut text = render_totals(stats);

    text += "\n";
    text += &format_table(&METHOD_HEAD, stats.methods.iter().map(method_row));

    text += "\n";
    text += &format_table(&CALLER_HEAD, stats.callers.iter().map(caller_row));
    if stats.more_callers > 0 {
        text += &format!("and {} more\n", stats.more_callers);
    }

    text += "\n";
    text += &format_table(&PLUGIN_HEAD, stats.plugins.iter().map(plugin_row));
    text + &format_workers(stats.plugins.iter().map(|plugin| (&*plugin.name, plugin.worker.as_ref())))
}

fn render_totals(stats: &HostStats) -> String {
    let HostStats { version, pid, connections, in_flight, async_in_flight, limits, .. } = stats;
    let uptime = format_duration(Duration::from_millis(stats.uptime_ms));
    let number = |name: &str| stats.counts.get(name).copied().unwrap_or(0);

    let lines = [
        format!("jackfield {version}, process {pid}, up {uptime}"),
        format!(
            "connections  {connections} of {}; {} accepted, {} refused, {} denied, {} cut",
            limits.connections,
            number("connections"),
            number("connections_refused"),
            number("connections_denied"),
            number("connections_cut"),
        ),
        format!("in flight    {in_flight} of {}, {async_in_flight} asynchronous", limits.in_flight),
        format!("buffered     {} of {} bytes", stats.buffered_bytes, limits.buffers),
        format!("bytes        {} in, {} out", number("bytes_in"), number("bytes_out")),
        format!("requests     {}: {}", number("requests"), named_counts(&stats.outcomes)),
        format!("turned away  {}", named_counts(&stats.rejected)),
    ];
    lines.map(|line| line + "\n").concat()
}

/// Returns every count with its name.
fn named_counts(counts: &BTreeMap<String, u64>) -> String {
    let named: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if named.is_empty() { "nothing".to_owned() } else { named.join(", ") }
}

fn method_row(method: &MethodStats) -> Vec<String> {
    let counts = [method.accepted, method.ok, method.failed, method.in_flight].map(|count| count.to_string());
    let latencies =
        [method.p50_us, method.p90_us, method.p99_us].map(|latency| format_cell(latency.map(format_micros)));
    [vec![method.name.clone()], counts.to_vec(), latencies.to_vec()].concat()
}

fn caller_row(caller: &CallerStats) -> Vec<String> {
    let identity = [caller.uid, caller.gid, caller.pid].map(format_cell);
    let counts = [caller.connections, caller.in_flight].map(|count| count.to_string());
    [identity.to_vec(), counts.to_vec()].concat()
}

/// Returns the state of a plugin in one word.
pub(super) fn plugin_state(plugin: &PluginStats) -> String {
    if plugin.quarantined { "quarantined".to_owned() } else { plugin.state.to_string() }
}

fn plugin_row(plugin: &PluginStats) -> Vec<String> {
    let identity = [
        plugin.name.clone(),
        plugin_state(plugin),
        format_cell(plugin.generation),
        format_cell(plugin.version.as_ref()),
    ];
    let counts = [
        plugin.draining,
        plugin.retained,
        plugin.lost_threads,
        plugin.loaded,
        plugin.refused,
        plugin.rolled_back,
    ];
    let isolation = isolation_cell(plugin.isolation.as_deref(), plugin.isolated_by.as_deref());
    [identity.to_vec(), counts.map(format_count).to_vec(), vec![isolation]].concat()
}

#[cfg(test)]
mod tests {
    use jackfield::admin::{LimitStats, PluginState, WorkerStats};

    use super::*;

    #[test]
    fn prints_totals_methods_callers_and_plugins() {
        let stats = HostStats {
            version: "0.1.0".to_owned(),
            pid: 42,
            uptime_ms: 63_000,
            connections: 3,
            in_flight: 5,
            async_in_flight: 2,
            buffered_bytes: 100,
            limits: LimitStats { connections: 4096, in_flight: 16384, buffers: 1000 },
            counts: [("requests".to_owned(), 7)].into(),
            rejected: [("queue".to_owned(), 1), ("route".to_owned(), 2)].into(),
            methods: vec![MethodStats {
                name: "a.b".to_owned(),
                accepted: 7,
                ok: 6,
                failed: 1,
                p50_us: Some(14),
                ..MethodStats::default()
            }],
            callers: vec![CallerStats {
                uid: Some(33),
                gid: Some(34),
                pid: None,
                connections: 2,
                in_flight: 5,
            }],
            more_callers: 8,
            plugins: vec![PluginStats {
                name: "device".to_owned(),
                generation: None,
                version: None,
                state: PluginState::Gone,
                draining: 1,
                retained: 2,
                lost_threads: 3,
                held_threads: 0,
                quarantined: true,
                loaded: 4,
                refused: 5,
                rolled_back: 6,
                isolation: Some("worker".to_owned()),
                isolated_by: Some("operator".to_owned()),
                worker: Some(WorkerStats::default()),
            }],
            ..HostStats::default()
        };

        let expected = "\
jackfield 0.1.0, process 42, up 63s
connections  3 of 4096; 0 accepted, 0 refused, 0 denied, 0 cut
in flight    5 of 16384, 2 asynchronous
buffered     100 of 1000 bytes
bytes        0 in, 0 out
requests     7: nothing
turned away  queue 1, route 2

METHOD  REQUESTS  OK  FAILED  IN FLIGHT  P50   P90  P99
a.b     7         6   1       0          14us  -    -

UID  GID  PID  CONNECTIONS  IN FLIGHT
33   34   -    2            5
and 8 more

PLUGIN  STATE        GENERATION  VERSION  DRAINING  RETAINED  LOST THREADS  LOADED  REFUSED  ROLLED BACK  ISOLATION
device  quarantined  -           -        1         2         3             4       5        6            worker (by command)

WORKERS OF  PIDS  RESIDENT  IN FLIGHT  RESTARTS  LAST CAUSE
device      -     0B        0          -         -
";
        assert_eq!(render(&stats), expected);
    }
}

//! `jackfield stats` and `jackfield slowlog`: what a running host counts, and which requests were slow or failed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::Value;

use super::plugin_commands::{OperatorArgs, ask, print};
use super::stats_types::{HostStats, SlowRequest, SlowRequests};
use super::table::{cell, count, length, micros, table};

/// The words of `stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    operate: OperatorArgs,
}

/// The words of `slowlog`.
#[derive(Debug, Args)]
pub(crate) struct SlowLogArgs {
    #[command(flatten)]
    operate: OperatorArgs,
}

/// Prints everything that the host counts.
pub(crate) fn stats(words: &StatsArgs, config: Option<&Path>) -> ExitCode {
    let asked = ask(&words.operate, config, "admin.stats", &Value::Null);
    print(asked, words.operate.json, |figures: HostStats| (told(&figures), ExitCode::SUCCESS))
}

/// Prints the slowest requests and the failed ones, lately.
pub(crate) fn slowlog(words: &SlowLogArgs, config: Option<&Path>) -> ExitCode {
    let asked = ask(&words.operate, config, "admin.slowlog", &Value::Null);
    print(asked, words.operate.json, |slowest: SlowRequests| {
        (slowest_told(&slowest, now_ms()), ExitCode::SUCCESS)
    })
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Every count with its name.
fn listed(counts: &BTreeMap<String, u64>) -> String {
    let listed: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if listed.is_empty() { "nothing".to_owned() } else { listed.join(", ") }
}

fn told(figures: &HostStats) -> String {
    let HostStats { version, pid, connections, in_flight, async_in_flight, limits, .. } = figures;
    let up = length(Duration::from_millis(figures.uptime_ms));
    let number = |name: &str| figures.counts.get(name).copied().unwrap_or(0);
    let mut text = format!("jackfield {version}, process {pid}, up {up}\n");
    text += &format!(
        "connections  {connections} of {}; {} accepted, {} refused, {} denied, {} cut\n",
        limits.connections,
        number("connections"),
        number("connections_refused"),
        number("connections_denied"),
        number("connections_cut"),
    );
    text += &format!("in flight    {in_flight} of {}, {async_in_flight} asynchronous\n", limits.in_flight);
    text += &format!("buffered     {} of {} bytes\n", figures.buffered_bytes, limits.buffers);
    text += &format!("bytes        {} in, {} out\n", number("bytes_in"), number("bytes_out"));
    text += &format!("requests     {}: {}\n", number("requests"), listed(&figures.outcomes));
    text += &format!("turned away  {}\n\n", listed(&figures.rejected));
    let methods = figures.methods.iter().map(|method| {
        let numbers = [method.accepted, method.ok, method.failed, method.in_flight];
        let lengths = [method.p50_us, method.p90_us, method.p99_us];
        let cells = numbers.iter().map(ToString::to_string);
        let cells = cells.chain(lengths.iter().map(|length| cell(length.map(micros))));
        std::iter::once(method.name.clone()).chain(cells).collect()
    });
    text += &table(&["METHOD", "REQUESTS", "OK", "FAILED", "IN FLIGHT", "P50", "P90", "P99"], methods);
    let callers = figures.callers.iter().map(|caller| {
        let who = [caller.uid, caller.gid, caller.pid].map(cell);
        who.into_iter().chain([caller.connections.to_string(), caller.in_flight.to_string()]).collect()
    });
    text += "\n";
    text += &table(&["UID", "GID", "PID", "CONNECTIONS", "IN FLIGHT"], callers);
    if figures.more_callers > 0 {
        text += &format!("and {} more\n", figures.more_callers);
    }
    let plugins = figures.plugins.iter().map(|plugin| {
        let numbers = [
            plugin.draining,
            plugin.retained,
            plugin.lost_threads,
            plugin.loaded,
            plugin.refused,
            plugin.rolled_back,
        ];
        let start = [
            plugin.name.clone(),
            plugin.state.clone(),
            cell(plugin.generation),
            cell(plugin.version.as_ref()),
        ];
        start.into_iter().chain(numbers.map(count)).collect()
    });
    text += "\n";
    let head = [
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
    ];
    text + &table(&head, plugins)
}

/// The columns of one request, in the order of [`HEAD`].
fn row(entry: &SlowRequest, now_ms: u64) -> Vec<String> {
    vec![
        length(Duration::from_millis(now_ms.saturating_sub(entry.at_ms))),
        if entry.method.is_empty() { "-".to_owned() } else { entry.method.clone() },
        entry.outcome.clone(),
        micros(entry.queued_us),
        micros(entry.ran_us),
        cell(entry.plugin.as_ref()),
        cell(entry.generation),
        cell(entry.uid),
        cell(entry.pid),
        entry.conn.to_string(),
        if entry.id.is_empty() { "-".to_owned() } else { entry.id.clone() },
    ]
}

const HEAD: [&str; 11] =
    ["AGO", "METHOD", "OUTCOME", "QUEUED", "RAN", "PLUGIN", "GENERATION", "UID", "PID", "CONN", "ID"];

fn slowest_told(slowest: &SlowRequests, now_ms: u64) -> String {
    let rows = |entries: &[SlowRequest]| table(&HEAD, entries.iter().map(|entry| row(entry, now_ms)));
    let mut text = format!("the slowest of the last ten minutes\n{}\n", rows(&slowest.slow));
    text += &format!("the last that failed\n{}", rows(&slowest.failed));
    if slowest.missed > 0 {
        text += &format!("\n{} more were not kept: others were just being kept or shown\n", slowest.missed);
    }
    text
}

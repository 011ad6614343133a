//! `jackfield top`: a running host as a live screen; where there is no terminal, as a line of JSON at each interval.

mod live;
mod screen;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use jackfield::config::parse_duration;
use jackfield_client::blocking::Client;
use serde::Serialize;
use serde_json::{Value, json};

use super::command_error::CommandError;
use super::exit_code::fail;
use super::plugin_commands::{OperatorArgs, client};
use super::stats_types::{ConnectionRow, HostRates, HostStats, PluginRow, SlowRequest, SlowRequests};

/// How many failed requests are shown.
const FAILED: usize = 20;

/// The words of `top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    operate: OperatorArgs,
    /// How often the host is asked
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    interval: Duration,
    /// End after so many intervals [default: when you press q, or never without a terminal]
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// Shows the host until told to end.
pub(crate) fn top(words: &TopArgs, config: Option<&Path>) -> ExitCode {
    let watched = match client(&words.operate, config) {
        Ok((client, socket)) => ObservedHost { client, socket },
        Err(failure) => return fail(failure.exit_code(), &failure),
    };
    let shown = if words.operate.json || !io::stdout().is_terminal() {
        print_each(&watched, words)
    } else {
        live::show(&watched, words)
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read it has seen enough.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => fail(failure.exit_code(), &failure),
    }
}

/// The host that is looked at.
struct ObservedHost {
    client: Client,
    socket: PathBuf,
}

impl ObservedHost {
    fn look(&self) -> Result<Sample, CommandError> {
        let failure = |error| CommandError::Call { socket: self.socket.clone(), error };
        let figures = self.client.call("admin.stats", &json!({ "lengths": true })).map_err(failure)?;
        let slowest: SlowRequests = self.client.call("admin.slowlog", &Value::Null).map_err(failure)?;
        Ok(Sample { figures, failed: slowest.failed })
    }
}

/// A host at one moment.
#[derive(Debug, Clone, Default)]
struct Sample {
    figures: HostStats,
    /// The last one first.
    failed: Vec<SlowRequest>,
}

/// One interval, as JSON.
#[derive(Serialize)]
struct IntervalReport<'a> {
    at_ms: u64,
    pid: u32,
    uptime_ms: u64,
    connections: u64,
    in_flight: u64,
    async_in_flight: u64,
    #[serde(flatten)]
    pace: HostRates,
    callers: &'a [ConnectionRow],
    plugins: &'a [PluginRow],
    /// Requests that failed in this interval, the last one first.
    failed: Vec<&'a SlowRequest>,
}

fn print_each(watched: &ObservedHost, words: &TopArgs) -> Result<(), CommandError> {
    let mut before = watched.look()?;
    let mut next = Instant::now();
    let mut printed = 0;
    while words.count.is_none_or(|count| printed < count) {
        next += words.interval;
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let now = watched.look()?;
        let figures = &now.figures;
        let is_new = |entry: &&SlowRequest| entry.at_ms > before.figures.at_ms;
        let snapshot = IntervalReport {
            at_ms: figures.at_ms,
            pid: figures.pid,
            uptime_ms: figures.uptime_ms,
            connections: figures.connections,
            in_flight: figures.in_flight,
            async_in_flight: figures.async_in_flight,
            pace: HostRates::between(&before.figures, figures),
            callers: &figures.callers,
            plugins: &figures.plugins,
            failed: now.failed.iter().take_while(is_new).take(FAILED).collect(),
        };
        let mut line = serde_json::to_vec(&snapshot).map_err(|error| CommandError::Output(error.into()))?;
        line.push(b'\n');
        // One write, flushed: whoever reads lines has a whole one.
        let mut out = io::stdout().lock();
        out.write_all(&line).and_then(|()| out.flush()).map_err(CommandError::Output)?;
        before = now;
        printed += 1;
    }
    Ok(())
}

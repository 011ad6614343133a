//! `jackfield top`: shows a running host live. Without a terminal, it prints a line of JSON for
//! each interval.

#[cfg(feature = "top")]
mod live;
#[cfg(feature = "top")]
mod screen;
#[cfg(test)]
#[cfg(feature = "top")]
mod tests;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use jackfield::admin::{
    CallerStats, HostStats, PluginStats, SlowLogReport, SlowRequest, StatsParams, method,
};
use jackfield::config::parse_duration;
use jackfield_client::blocking::Client;
use serde::Serialize;
use serde_json::Value;

use super::admin_client::{OperatorArgs, client};
use super::command_error::CommandError;
use super::exit_code::fail;
use super::rates::HostRates;

/// The most failed requests in one line of JSON.
const MAX_FAILED: usize = 20;

/// The arguments of `jackfield top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    operator: OperatorArgs,

    /// Time between two samples, such as 500ms or 5s
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    interval: Duration,

    /// Number of intervals to show [default: until q is pressed; without a terminal, until a
    /// signal]
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// Shows the host until the user ends it.
pub(crate) fn top(args: &TopArgs, config: Option<&Path>) -> ExitCode {
    let host = match client(&args.operator, config) {
        Ok((client, socket)) => ObservedHost { client, socket },
        Err(failure) => return fail(failure.exit_code(), &failure),
    };

    let ended = if args.operator.json || !io::stdout().is_terminal() {
        print_intervals(&host, args)
    } else {
        show(&host, args)
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output, such as `head`, has read enough.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => fail(failure.exit_code(), &failure),
    }
}

#[cfg(feature = "top")]
use live::show;

/// Stands for the live screen in a program that was built without it.
#[cfg(not(feature = "top"))]
fn show(_: &ObservedHost, _: &TopArgs) -> Result<(), CommandError> {
    Err(CommandError::NoScreen)
}

/// The host that is shown.
struct ObservedHost {
    client: Client,
    socket: PathBuf,
}

impl ObservedHost {
    fn sample(&self) -> Result<Sample, CommandError> {
        let failure = |error| CommandError::Call { socket: self.socket.clone(), error };

        let stats = self.client.call(method::STATS, &StatsParams { lengths: true }).map_err(failure)?;
        let slow_log: SlowLogReport = self.client.call(method::SLOW_LOG, &Value::Null).map_err(failure)?;
        Ok(Sample { stats, failed: slow_log.failed })
    }
}

/// The state of a host at one time.
#[derive(Debug, Clone, Default)]
struct Sample {
    stats: HostStats,

    /// The failed requests, the most recent first.
    failed: Vec<SlowRequest>,
}

/// One interval as JSON.
#[derive(Serialize)]
struct IntervalReport<'a> {
    at_ms: u64,
    pid: u32,
    uptime_ms: u64,
    connections: u64,
    in_flight: u64,
    async_in_flight: u64,
    #[serde(flatten)]
    rates: HostRates,
    callers: &'a [CallerStats],
    plugins: &'a [PluginStats],

    /// The requests that failed in this interval, the most recent first.
    failed: Vec<&'a SlowRequest>,
}

impl<'a> IntervalReport<'a> {
    fn between(before: &Sample, now: &'a Sample) -> Self {
        let stats = &now.stats;
        let is_new = |request: &&SlowRequest| request.at_ms > before.stats.at_ms;

        Self {
            at_ms: stats.at_ms,
            pid: stats.pid,
            uptime_ms: stats.uptime_ms,
            connections: stats.connections,
            in_flight: stats.in_flight,
            async_in_flight: stats.async_in_flight,
            rates: HostRates::between(&before.stats, stats),
            callers: &stats.callers,
            plugins: &stats.plugins,
            failed: now.failed.iter().take_while(is_new).take(MAX_FAILED).collect(),
        }
    }
}

fn print_intervals(host: &ObservedHost, args: &TopArgs) -> Result<(), CommandError> {
    let mut before = host.sample()?;
    let mut next = Instant::now();
    let mut printed = 0;

    while args.count.is_none_or(|count| printed < count) {
        next += args.interval;
        thread::sleep(next.saturating_duration_since(Instant::now()));

        let now = host.sample()?;
        let report = IntervalReport::between(&before, &now);
        let mut line = serde_json::to_vec(&report).map_err(|error| CommandError::Output(error.into()))?;
        line.push(b'\n');

        // One write, flushed: the reader gets whole lines.
        let mut out = io::stdout().lock();
        out.write_all(&line).and_then(|()| out.flush()).map_err(CommandError::Output)?;
        before = now;
        printed += 1;
    }
    Ok(())
}

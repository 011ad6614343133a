//! `jackfield bench`: a load generator for any host of this protocol, which checks every reply that it counts.

mod drive;
mod peer;
mod report;
mod tally;
mod template;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jackfield::config::parse_duration;
use jackfield_protocol::RequestTooLarge;

use self::drive::LoadDriver;
use self::report::BenchReport;
use self::template::RequestTemplate;
use super::call::{params, socket};
use super::error::CommandError;
use super::failed;

/// Connections of one run: each needs a descriptor, and the host's default limit is 4,096.
const MOST_CONNECTIONS: u32 = 65_536;
/// Requests in flight on one connection: their number is part of an id.
const MOST_IN_FLIGHT: u32 = 1 << template::SLOT_BITS;

/// The words of `bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without --rate, each reply is followed by the next request at once: what the host can do. With --rate, requests are due \
at even intervals whatever the host does, and latency counts from when a request was due: what clients would see.

Exit codes: 0 every request was answered, not all of them with errors; 1 something was lost, wrong or never answered, or \
every reply was an error; 64 bad PARAMS; 69 no host; 78 no usable configuration.")]
pub(crate) struct BenchArgs {
    /// The method to call
    #[arg(default_value = "system.ping")]
    method: String,
    /// The params as JSON; `-` reads them from standard input
    params: Option<String>,
    /// The host's socket [default: the configuration's]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Send async requests instead of sync ones
    #[arg(long = "async")]
    is_async: bool,
    /// Connections to open
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_CONNECTIONS)))]
    connections: u32,
    /// Requests in flight on each connection, at most [default: 1, with --rate 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_IN_FLIGHT)))]
    window: Option<u32>,
    /// How long to send, such as 10s
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// How many requests to send, instead of --duration
    #[arg(long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Requests a second over all connections, due at even intervals
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// How long to wait for the replies that are still to come at the end
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    timeout: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is to be done, every default filled in.
#[derive(Debug, Clone)]
struct Plan {
    connections: u32,
    window: u32,
    until: StopCondition,
    /// Time between one request and the next; `None`: as soon as there is room.
    interval: Option<Duration>,
    timeout: Duration,
}

/// When no further request is sent.
#[derive(Debug, Clone, Copy)]
enum StopCondition {
    Elapsed(Duration),
    Sent(u64),
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("{0}")]
    Words(#[from] CommandError),
    #[error("{0}")]
    Request(#[from] RequestTooLarge),
    #[error("no host at {}: {source}", .socket.display())]
    Unreachable { socket: PathBuf, source: io::Error },
    #[error("this program could not go on: {0}")]
    System(io::Error),
}

impl BenchError {
    fn code(&self) -> u8 {
        match self {
            Self::Words(failure) => failure.code(),
            Self::Request(_) => super::error::USAGE,
            Self::Unreachable { .. } => super::UNAVAILABLE,
            Self::System(_) => super::SYSTEM,
        }
    }
}

/// More than a machine could send; less than one a day is no load.
fn rate(word: &str) -> Result<f64, String> {
    let rate: f64 = word.parse().map_err(|_| "not a number".to_owned())?;
    if (1e-3..=1e9).contains(&rate) { Ok(rate) } else { Err("not within 0.001 to 1000000000".to_owned()) }
}

/// Sends the load and prints what came of it.
pub(crate) fn bench(words: &BenchArgs, config: Option<&Path>) -> ExitCode {
    let measured = measure(words, config).and_then(|report| {
        let printed = if words.json { report.print_json() } else { report.print_text() };
        printed.map_err(CommandError::Output)?;
        Ok(report)
    });
    match measured {
        Ok(report) if report.is_good() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(unmeasured) => failed(unmeasured.code(), &unmeasured),
    }
}

fn measure(words: &BenchArgs, config: Option<&Path>) -> Result<BenchReport, BenchError> {
    let params = words.params.as_deref().map(params).transpose()?;
    let socket = socket(words.socket.as_deref(), config)?;
    let interval = words.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
    let plan = Plan {
        connections: words.connections,
        window: words.window.unwrap_or(if interval.is_some() { 256 } else { 1 }),
        until: words.count.map_or(StopCondition::Elapsed(words.duration), StopCondition::Sent),
        interval,
        timeout: words.timeout,
    };
    let template = RequestTemplate::new(words.is_async, &words.method, params.as_deref())?;
    let peers = peer::connect_all(&socket, &plan)
        .map_err(|source| BenchError::Unreachable { socket: socket.clone(), source })?;
    let run = LoadDriver::new(plan.clone(), template, peers)
        .and_then(LoadDriver::run)
        .map_err(BenchError::System)?;
    Ok(BenchReport::new(words, &socket, &plan, run))
}

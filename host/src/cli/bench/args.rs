//! The arguments of `jackfield bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jackfield::config::parse_duration;

use super::request_template::SLOT_BITS;

/// Upper bound for the connections of one run. Each of them needs a descriptor, and the default
/// limit of the host is 4,096.
const MAX_CONNECTIONS: u32 = 65_536;

/// Upper bound for the requests in flight on one connection: their slot is part of the id.
const MAX_IN_FLIGHT: u32 = 1 << SLOT_BITS;

/// The arguments of `jackfield bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without --rate, a connection sends its next request as soon as a reply arrives; this measures the throughput of the \
host. With --rate, requests are due at even intervals, whether the host keeps up or not, and the latency of a request \
counts from when it was due; this measures what clients would see.

Exit codes: 0 every request was answered, and at least one with a result; 1 a request was lost, answered wrongly or not \
answered, or every reply was an error; 64 PARAMS cannot be sent; 69 no connection to a host; 78 the configuration cannot be used.")]
pub(crate) struct BenchArgs {
    /// Method to call
    #[arg(default_value = "system.ping")]
    pub(super) method: String,

    /// Params as JSON; `-` reads them from standard input [default: no params]
    pub(super) params: Option<String>,

    /// Socket of the host [default: the first `[[listener]]` with binary framing in the
    /// configuration]
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,

    /// Send async requests instead of sync requests
    #[arg(long = "async")]
    pub(super) is_async: bool,

    /// Number of connections to open, at most 65536
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CONNECTIONS)))]
    pub(super) connections: u32,

    /// Upper bound for the requests in flight on each connection, at most 65536 [default: 1; with
    /// --rate 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_IN_FLIGHT)))]
    pub(super) window: Option<u32>,

    /// Time to send requests for, such as 500ms or 10s
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub(super) duration: Duration,

    /// Number of requests to send, instead of --duration
    #[arg(long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,

    /// Requests per second over all connections, due at even intervals [default: as many as the
    /// host answers]
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    pub(super) rate: Option<f64>,

    /// Time to wait for outstanding replies after the last request, such as 500ms or 30s
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub(super) timeout: Duration,

    /// Print the report as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Parses requests per second. The upper bound is more than a machine can send; less than the lower
/// bound, about 86 requests a day, is no load.
fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (1e-3..=1e9).contains(&rate) { Ok(rate) } else { Err("not within 0.001 to 1000000000".to_owned()) }
}

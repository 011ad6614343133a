//! Load generators for the servers that do not speak the framed protocol.

mod closed_loop;
mod redis;
mod report;
mod tarpc;
mod tonic;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use report::Report;

/// The protocol of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    Redis,
    Tarpc,
    Tonic,
}

/// The arguments of `load`.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArguments {
    protocol: Protocol,
    #[arg(long)]
    socket: PathBuf,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Requests in flight on each connection
    #[arg(long, default_value_t = 1)]
    window: usize,
    #[arg(long, default_value_t = 1000)]
    duration_ms: u64,
}

/// Runs the load and prints its report.
pub(crate) fn run(arguments: &LoadArguments) -> io::Result<()> {
    let LoadArguments { protocol, socket, connections, window, duration_ms } = arguments;
    let duration = Duration::from_millis(*duration_ms);

    let report = match protocol {
        Protocol::Redis => redis::run(socket, *connections, *window, duration),
        Protocol::Tarpc => tarpc::run(socket, *connections, *window, duration),
        Protocol::Tonic => tonic::run(socket, *connections, *window, duration),
    }?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

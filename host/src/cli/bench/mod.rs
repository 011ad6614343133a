//! `jackfield bench`: a load generator for any host of the protocol. It checks every reply that it
//! counts.

mod args;
mod connection;
mod driver;
mod plan;
mod poller;
mod progress;
mod report;
mod request_template;
mod tally;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use jackfield_protocol::RequestTooLarge;

pub(crate) use self::args::BenchArgs;

use self::driver::LoadDriver;
use self::plan::LoadPlan;
use self::report::BenchReport;
use self::request_template::RequestTemplate;
use super::call::parse_params;
use super::command_error::CommandError;
use super::exit_code::{self, fail};
use super::request_socket::find_socket;

/// The reason why there is no report.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("{0}")]
    Command(#[from] CommandError),
    #[error("{0}")]
    Request(#[from] RequestTooLarge),
    #[error("cannot generate the load: {0}")]
    System(io::Error),
}

impl BenchError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Command(error) => error.exit_code(),
            Self::Request(_) => exit_code::USAGE,
            Self::System(_) => exit_code::SYSTEM,
        }
    }
}

/// Sends the load and prints the report.
pub(crate) fn bench(args: &BenchArgs, config: Option<&Path>) -> ExitCode {
    let report = run_load(args, config).and_then(|report| {
        let printed = if args.json { report.print_json() } else { report.print_text() };
        printed.map_err(CommandError::Output)?;
        Ok(report)
    });

    match report {
        Ok(report) if report.is_success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => fail(error.exit_code(), &error),
    }
}

fn run_load(args: &BenchArgs, config: Option<&Path>) -> Result<BenchReport, BenchError> {
    let params = args.params.as_deref().map(parse_params).transpose()?;
    let socket = find_socket(args.socket.as_deref(), config)?;
    let plan = LoadPlan::of(args);
    let template = RequestTemplate::new(args.is_async, &args.method, params.as_deref())?;

    let connections = connection::connect_all(&socket, &plan)
        .map_err(|source| CommandError::Connect { socket: socket.clone(), source })?;
    let result = LoadDriver::new(plan.clone(), template, connections)
        .and_then(LoadDriver::run)
        .map_err(BenchError::System)?;

    Ok(BenchReport::new(args, &socket, &plan, result))
}

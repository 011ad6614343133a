//! `jackfield call`: sends one request with the client library and prints its result.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jackfield::config::{Framing, parse_duration};
use jackfield_client::blocking::Client;
use jackfield_client::{Error, Mode};
use serde_json::value::RawValue;

use super::command_error::CommandError;
use super::config_file::load_config;
use super::exit_code::fail;

/// Default of `--timeout`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// The arguments of `jackfield call`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 result on standard output; 1 error reply on standard error; 64 PARAMS cannot be sent; 69 no \
connection to a host, or it ended before the reply; 75 time-out; 76 the peer does not speak the protocol; 78 the configuration cannot be \
used.")]
pub(crate) struct CallArgs {
    /// Method to call, such as `system.info`
    method: String,

    /// Params as JSON; `-` reads them from standard input [default: no params]
    params: Option<String>,

    /// Socket of the host [default: the first `[[listener]]` with binary framing in the
    /// configuration]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Send an async request instead of a sync request
    #[arg(long = "async")]
    is_async: bool,

    /// Time for the whole call, such as 250ms or 5s [default: 5s]. If this option is
    /// passed, wait for a host that is not running yet
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

/// Sends the request. Prints exactly the bytes of the result, and a newline.
pub(crate) fn call(args: &CallArgs, config: Option<&Path>) -> ExitCode {
    match try_call(args, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.exit_code(), &error),
    }
}

fn try_call(args: &CallArgs, config: Option<&Path>) -> Result<(), CommandError> {
    // First, because a request that cannot be sent needs neither configuration nor host.
    let params = args.params.as_deref().map(parse_params).transpose()?;
    let socket = find_socket(args.socket.as_deref(), config)?;

    let result =
        send(args, &socket, params.as_deref()).map_err(|error| CommandError::Call { socket, error })?;

    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{result}").and_then(|()| stdout.flush()).map_err(CommandError::Output)
}

/// Parses the argument PARAMS; `-` stands for standard input.
pub(super) fn parse_params(argument: &str) -> Result<Box<RawValue>, CommandError> {
    if argument != "-" {
        return serde_json::from_str(argument).map_err(CommandError::Params);
    }
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text).map_err(CommandError::Stdin)?;
    serde_json::from_str(&text).map_err(CommandError::Params)
}

/// Returns the socket that was passed, or that of the first listener whose framing the client
/// supports.
pub(super) fn find_socket(passed: Option<&Path>, config: Option<&Path>) -> Result<PathBuf, CommandError> {
    if let Some(socket) = passed {
        return Ok(socket.to_owned());
    }
    let mut listeners = load_config(config)?.listeners.into_iter();
    let binary = listeners.find(|listener| listener.framing == Framing::Binary);
    Ok(binary.ok_or(CommandError::NoListener)?.socket)
}

/// Sends the request and returns its result.
///
/// With `--timeout`, waits that long for a host to start. Without it, a missing host is reported at
/// once. A full backlog means that there is a host, so that is waited for in both cases.
fn send(args: &CallArgs, socket: &Path, params: Option<&RawValue>) -> Result<Box<RawValue>, Error> {
    let mode = if args.is_async { Mode::Multiplexed } else { Mode::Exclusive };
    let timeout = args.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let call_with = |connect_timeout: Duration| {
        let builder = Client::builder(socket).connect_timeout(connect_timeout).mode(mode).timeout(timeout);
        builder.build().call(&args.method, &params)
    };

    if args.timeout.is_some() {
        return call_with(Duration::MAX);
    }
    match call_with(Duration::ZERO) {
        Err(Error::Connect { source, .. }) if source.kind() == ErrorKind::WouldBlock => {
            call_with(Duration::MAX)
        }
        result => result,
    }
}

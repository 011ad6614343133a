//! `jackfield call`: one request from the command line, with the client that programs use.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jackfield::config::{Framing, parse_duration};
use jackfield_client::blocking::Client;
use jackfield_client::{Error, Mode};
use serde_json::value::RawValue;

use super::error::CommandError;
use super::{failed, load};

/// What a call may take where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The words of `call`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without --socket, the socket is that of the first listener with binary framing in the configuration.

Exit codes: 0 result on standard output; 1 error reply on standard error; 64 bad PARAMS; 69 no host, or it went away; \
75 time-out; 76 no host of this protocol; 78 no usable configuration.")]
pub(crate) struct CallArgs {
    /// The method, such as `system.info`
    method: String,
    /// The params as JSON; `-` reads them from standard input
    params: Option<String>,
    /// The host's socket [default: the configuration's]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Send an async request instead of a sync one
    #[arg(long = "async")]
    is_async: bool,
    /// What the call may take in all, such as 250ms or 5s [default: 5s]. If it is given, a host that is not there yet
    /// is waited for as long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

/// Sends the request and prints its result, exactly the result's bytes and a line's end.
pub(crate) fn call(words: &CallArgs, config: Option<&Path>) -> ExitCode {
    match try_call(words, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failed(failure.code(), &failure),
    }
}

fn try_call(words: &CallArgs, config: Option<&Path>) -> Result<(), CommandError> {
    // Before anything is asked of anybody: a request that cannot be sent needs no host.
    let params = words.params.as_deref().map(params).transpose()?;
    let socket = socket(words.socket.as_deref(), config)?;
    let result =
        send(words, &socket, params.as_deref()).map_err(|error| CommandError::Call { socket, error })?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{result}").and_then(|()| stdout.flush()).map_err(CommandError::Output)
}

pub(super) fn params(word: &str) -> Result<Box<RawValue>, CommandError> {
    if word != "-" {
        return serde_json::from_str(word).map_err(CommandError::Params);
    }
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text).map_err(CommandError::Unreadable)?;
    serde_json::from_str(&text).map_err(CommandError::Params)
}

/// The socket that is said, or that of the first listener that this program can talk to.
pub(super) fn socket(said: Option<&Path>, file: Option<&Path>) -> Result<PathBuf, CommandError> {
    if let Some(said) = said {
        return Ok(said.to_owned());
    }
    let mut listeners = load(file)?.listeners.into_iter();
    let binary = listeners.find(|listener| listener.framing == Framing::Binary);
    Ok(binary.ok_or(CommandError::NoListener)?.socket)
}

/// Somebody who says how long waits that long for a host to come up; somebody who does not is told at once that none
/// is there. A full backlog is a host that is there, and is waited for by both.
fn send(words: &CallArgs, socket: &Path, params: Option<&RawValue>) -> Result<Box<RawValue>, Error> {
    let mode = if words.is_async { Mode::Multiplexed } else { Mode::Exclusive };
    let try_for = |connect: Duration| {
        let builder = Client::builder(socket).connect_timeout(connect).mode(mode);
        builder.timeout(words.timeout.unwrap_or(TIMEOUT)).build().call(&words.method, &params)
    };
    if words.timeout.is_some() {
        return try_for(Duration::MAX);
    }
    match try_for(Duration::ZERO) {
        Err(Error::Connect { source, .. }) if source.kind() == ErrorKind::WouldBlock => {
            try_for(Duration::MAX)
        }
        outcome => outcome,
    }
}

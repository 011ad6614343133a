//! Calls the admin API of a running host, and prints its replies as text or JSON.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jackfield_client::blocking::Client;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::command_error::{CommandError, InSentences};
use super::config_file::load_config;
use super::exit_code::{self, fail};
use super::output::print_text;

/// The time-out of a call. A reload probes plugins first, for which the host gives each of them
/// `plugins.probe`, by default 10 s.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The arguments of all commands that use the admin socket.
#[derive(Debug, Args)]
pub(crate) struct OperatorArgs {
    /// Admin socket of the host [default: `admin.socket` of the configuration]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Print the reply of the host as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Returns a client of the admin socket, and the path of the socket. Connects with the first call.
///
/// # Errors
///
/// The configuration cannot be used, or has no admin socket.
pub(super) fn client(args: &OperatorArgs, config: Option<&Path>) -> Result<(Client, PathBuf), CommandError> {
    let socket = match &args.socket {
        Some(socket) => socket.clone(),
        None => load_config(config)?.admin.ok_or(CommandError::NoAdmin)?.socket,
    };
    let client = Client::builder(&socket).connect_timeout(Duration::ZERO).timeout(TIMEOUT).build();
    Ok((client, socket))
}

/// Calls a method of the admin API.
///
/// # Errors
///
/// As for [`client`], and every error of the call.
pub(super) fn call<R: DeserializeOwned>(
    args: &OperatorArgs,
    config: Option<&Path>,
    method: &str,
    params: &impl Serialize,
) -> Result<R, CommandError> {
    let (client, socket) = client(args, config)?;
    client.call(method, params).map_err(|error| CommandError::Call { socket, error })
}

/// Prints the failure of a call, as sentences or as the JSON of the error reply.
pub(super) fn fail_call(failure: &CommandError, as_json: bool) -> ExitCode {
    if as_json {
        return fail(failure.exit_code(), failure);
    }
    fail(failure.exit_code(), &InSentences(failure))
}

/// Prints a reply: as it came, or as the text of `render`, which also returns the exit code.
pub(super) fn print<T: DeserializeOwned>(
    reply: Result<Value, CommandError>,
    as_json: bool,
    render: impl FnOnce(T) -> (String, ExitCode),
) -> ExitCode {
    let reply = match reply {
        Ok(reply) => reply,
        Err(failure) => return fail_call(&failure, as_json),
    };

    let json = format!("{reply}\n");
    let (text, code) = match serde_json::from_value(reply) {
        Ok(reply) => render(reply),
        Err(error) => {
            let error =
                format_args!("cannot read the reply of the host: {error}; use the program of its version");
            return fail(exit_code::FAILURE, &error);
        }
    };

    print_text(if as_json { &json } else { &text }, code)
}

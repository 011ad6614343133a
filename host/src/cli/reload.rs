//! `jackfield reload`: the running host reads its configuration and its plugins anew, and says how that went.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jackfield_protocol::Outcome;

use super::{CONFIGURATION, UNAVAILABLE, failed, load};

/// The words of `reload`.
#[derive(Debug, Args)]
pub(crate) struct Reload {
    /// The operators' socket [default: what the configuration says]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// How long to wait for it
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = jackfield::config::parse_duration)]
    timeout: Duration,
}

/// Asks, waits, and says what the host says; exit code 0 if all of it is applied, 1 if nothing is.
pub(crate) fn reload(words: &Reload, file: Option<&Path>) -> ExitCode {
    let socket = match words.socket.clone().map_or_else(|| operators(file), Ok) {
        Ok(socket) => socket,
        Err(refused) => return refused,
    };
    let answer = match jackfield::ask::ask_at(&socket, "admin.reload", "null", words.timeout) {
        Ok(answer) => answer,
        Err(error) => {
            return failed(UNAVAILABLE, &format_args!("{}: {error}; does the host run?", socket.display()));
        }
    };
    match answer.reply() {
        Ok(reply) => match reply.outcome {
            Outcome::Result(_) => ExitCode::SUCCESS,
            Outcome::Error(error) => failed(1, &error.message),
        },
        Err(error) => failed(UNAVAILABLE, &format_args!("{}: {error}", socket.display())),
    }
}

fn operators(file: Option<&Path>) -> Result<PathBuf, ExitCode> {
    let config = load(file).map_err(|unusable| failed(CONFIGURATION, &unusable))?;
    Ok(config.admin.unwrap_or_default().socket)
}

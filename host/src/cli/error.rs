//! Why a command that asks a running host has no result: each cause with its words and its exit code.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use jackfield_client::{Error, RemoteError};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{CONFIGURATION, UNAVAILABLE, UnusableConfig};

/// The host answered with an error.
const ANSWERED_WITH_AN_ERROR: u8 = 1;
/// sysexits.h, `EX_USAGE`: the request cannot be sent as it was given.
pub(super) const USAGE: u8 = 64;
/// sysexits.h, `EX_IOERR`: the result could not be printed.
const INPUT_OUTPUT: u8 = 74;
/// sysexits.h, `EX_TEMPFAIL`: the time-out passed.
const TRY_AGAIN: u8 = 75;
/// sysexits.h, `EX_PROTOCOL`: what listens there is no host.
const PROTOCOL: u8 = 76;

/// Why there is no result, each with an exit code of its own.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error("{0}")]
    Unusable(#[from] UnusableConfig),
    #[error("the configuration has no listener with binary framing; say --socket")]
    NoListener,
    #[error("the configuration has no socket for operators; say --socket")]
    NoAdmin,
    #[error("PARAMS: {0}")]
    Unreadable(io::Error),
    #[error("PARAMS: not JSON: {0}")]
    Params(serde_json::Error),
    #[error("standard output: {0}")]
    Output(io::Error),
    #[error("{}", FailedCall(.socket, .error))]
    Call { socket: PathBuf, error: Error },
}

impl CommandError {
    /// The exit code that says so.
    pub(super) fn code(&self) -> u8 {
        match self {
            CommandError::Unusable(_) | CommandError::NoListener | CommandError::NoAdmin => CONFIGURATION,
            CommandError::Unreadable(_) | CommandError::Params(_) => USAGE,
            CommandError::Output(_) => INPUT_OUTPUT,
            CommandError::Call { error, .. } => match error {
                Error::Remote(_) | Error::GoingAway(_) => ANSWERED_WITH_AN_ERROR,
                Error::Encode(_) => USAGE,
                Error::Timeout { .. } => TRY_AGAIN,
                Error::Protocol(_) | Error::Decode(_) => PROTOCOL,
                _ => UNAVAILABLE,
            },
        }
    }
}

/// A failed call in one line: an error reply as the JSON that it was.
struct FailedCall<'a>(&'a Path, &'a Error);

impl fmt::Display for FailedCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FailedCall(socket, error) = *self;
        let socket = socket.display();
        match error {
            Error::Remote(remote) | Error::GoingAway(remote) => {
                f.write_str(&serde_json::to_string(&ErrorMember::from(remote)).map_err(|_| fmt::Error)?)
            }
            Error::Connect { source, .. } => write!(f, "no host at {socket}: {source}"),
            Error::Timeout { sent: true, .. } => {
                write!(f, "{socket}: {error}; the host may execute the request all the same")
            }
            Error::ConnectionLost { sent: true, .. } => {
                write!(f, "{socket}: {error}; the host may have executed the request")
            }
            _ => write!(f, "{socket}: {error}"),
        }
    }
}

/// The `error` member of a reply.
#[derive(Serialize)]
struct ErrorMember<'a> {
    code: i64,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl<'a> From<&'a RemoteError> for ErrorMember<'a> {
    fn from(remote: &'a RemoteError) -> Self {
        ErrorMember { code: remote.code, message: &remote.message, data: remote.data.as_deref() }
    }
}

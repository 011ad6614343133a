//! The reasons why a command has no result, with their messages and exit codes.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use jackfield_client::{Error, ProtocolError, RemoteError};
use jackfield_contract::openrpc::OpenRpcFault;
use jackfield_protocol::FrameError;
use serde::Serialize;
use serde_json::value::RawValue;

use super::config_file::ConfigError;
use super::exit_code;
use super::shown_text::shown_line;

/// The reason why there is no result. Each has an exit code.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error(
        "no [[listener]] of the configuration has binary framing; pass --socket or set framing = \"binary\""
    )]
    NoListener,
    #[error("the configuration has no admin socket; pass --socket or set admin.socket")]
    NoAdmin,
    #[error("PARAMS: cannot read standard input: {0}")]
    Stdin(io::Error),
    #[error("--bytes: cannot read {}: {source}", file.display())]
    Bytes { file: PathBuf, source: io::Error },
    #[error("PARAMS: not JSON: {0}")]
    Params(serde_json::Error),
    #[error("{}: cannot read it: {source}", file.display())]
    File { file: PathBuf, source: io::Error },
    #[error("{}: {fault}", file.display())]
    Document { file: PathBuf, fault: OpenRpcFault },
    #[error("{0}")]
    Refused(String),
    #[error("no method is named {}{}", shown_line(name), is_meant(nearest.as_deref()))]
    NoMethod { name: String, nearest: Option<String> },
    #[error("{}: the method {method:?} is in an earlier file, too; pass one of the two files", file.display())]
    MethodTwice { file: PathBuf, method: String },
    #[error(
        "{}: the host is older than this program and has no method rpc.discover; pass its plugin files instead",
        socket.display()
    )]
    NoDiscovery { socket: PathBuf },
    #[error("the params of {method} are not described, and its author shows no example")]
    NoExample { method: String },
    #[error(
        "{}\nnot sent; jackfield call --example {method} prints a call that fits, and --no-check sends this one",
        faults.join("\n")
    )]
    InvalidParams { method: String, faults: Vec<String> },
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    #[cfg(not(feature = "top"))]
    #[error("top: this program was built without the live screen; pass --json, or build it with make build")]
    NoScreen,
    #[error("{0}")]
    Signals(io::Error),
    #[error("interrupted: {0}")]
    Interrupted(Interrupted),
    #[error("{}", FailedConnect(.socket, .source))]
    Connect { socket: PathBuf, source: io::Error },
    #[error("{}", FailedCall(.socket, .error))]
    Call { socket: PathBuf, error: Error },
}

impl CommandError {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::NoListener | Self::NoAdmin => exit_code::CONFIGURATION,
            Self::Refused(_) | Self::MethodTwice { .. } => exit_code::FAILURE,
            Self::NoDiscovery { .. } | Self::NoMethod { .. } | Self::NoExample { .. } => exit_code::FAILURE,
            Self::File { .. } | Self::Document { .. } => exit_code::FAILURE,
            Self::Stdin(_) | Self::Bytes { .. } | Self::Params(_) | Self::InvalidParams { .. } => {
                exit_code::USAGE
            }
            #[cfg(not(feature = "top"))]
            Self::NoScreen => exit_code::USAGE,
            Self::Output(_) => exit_code::INPUT_OUTPUT,
            Self::Signals(_) => exit_code::SYSTEM,
            Self::Interrupted(_) => exit_code::INTERRUPTED,
            Self::Connect { .. } => exit_code::UNAVAILABLE,
            Self::Call { error, .. } => match error {
                Error::Remote(_) | Error::GoingAway(_) => exit_code::FAILURE,
                Error::Encode(_) => exit_code::USAGE,
                Error::Timeout { .. } => exit_code::TIMED_OUT,
                Error::Protocol(_) | Error::Decode(_) | Error::BytesUnsupported => exit_code::PROTOCOL,
                _ => exit_code::UNAVAILABLE,
            },
        }
    }
}

fn is_meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; is {name:?} meant?"))
}

/// The outcome of a call that was interrupted, as far as it is known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    #[error("the method had a result before it was cancelled")]
    Answered,
    #[error("{0}")]
    Failed(Error),
    #[error("the host has not answered and may still execute the request")]
    Unanswered,
}

/// A failure in sentences, for an operator who did not pass `--json`. Of an error reply, only the
/// message is shown.
pub(super) struct InSentences<'a>(pub(super) &'a CommandError);

impl fmt::Display for InSentences<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            CommandError::Call { error: Error::Remote(remote) | Error::GoingAway(remote), .. } => {
                f.write_str(remote.message.trim_end())
            }
            other => other.fmt(f),
        }
    }
}

/// A failed connect in one line, with the remedy where it is known.
struct FailedConnect<'a>(&'a Path, &'a io::Error);

impl fmt::Display for FailedConnect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FailedConnect(socket, error) = *self;
        let socket = socket.display();

        match error.kind() {
            ErrorKind::PermissionDenied => write!(
                f,
                "may not connect to {socket}: permission denied; run as root or as the user of the host, \
                 for the packaged service jackfield"
            ),
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                write!(f, "no host at {socket}: {error}; start the host, or pass --socket or --config")
            }
            _ => write!(f, "cannot connect to {socket}: {error}"),
        }
    }
}

/// A failed call in one line. An error reply is shown as the JSON that it is.
struct FailedCall<'a>(&'a Path, &'a Error);

impl fmt::Display for FailedCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FailedCall(socket, error) = *self;
        let path = socket.display();

        match error {
            Error::Remote(remote) | Error::GoingAway(remote) => {
                f.write_str(&serde_json::to_string(&ErrorMember::from(remote)).map_err(|_| fmt::Error)?)
            }
            Error::Connect { source, .. } => FailedConnect(socket, source).fmt(f),
            Error::Protocol(ProtocolError::Header(fault)) if is_line(fault) => {
                write!(f, "{path}: {SPEAKS_LINES}")
            }
            Error::Timeout { sent: true, .. } => {
                write!(f, "{path}: {error}; the host may still execute the request")
            }
            Error::ConnectionLost { sent: true, .. } => {
                write!(f, "{path}: {error}; the host may have executed the request")
            }
            _ => write!(f, "{path}: {error}"),
        }
    }
}

/// The fault of a socket whose replies are lines, with its remedy.
pub(super) const SPEAKS_LINES: &str =
    "this socket speaks lines (framing = \"line\"); pass --socket with a socket of binary framing";

/// Returns whether a header that cannot be accepted is the beginning of a line: a reply in line
/// framing begins with `{"`.
pub(super) fn is_line(fault: &FrameError) -> bool {
    matches!(fault, FrameError::UnsupportedVersion { version } if version.to_be_bytes() == *b"{\"")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_a_socket_that_speaks_lines() {
        let message = |version: &[u8; 2]| {
            let fault = FrameError::UnsupportedVersion { version: u16::from_be_bytes(*version) };
            let error = Error::Protocol(ProtocolError::Header(fault));
            CommandError::Call { socket: "run/a.sock".into(), error }.to_string()
        };

        assert!(message(b"{\"").starts_with("run/a.sock: this socket speaks lines"));
        assert!(message(b"HT").contains("violated the protocol"), "another peer");
    }

    #[test]
    fn reports_a_missing_host_and_a_missing_permission_with_their_remedies() {
        let message = |kind: ErrorKind| {
            CommandError::Connect { socket: "run/a.sock".into(), source: kind.into() }.to_string()
        };

        assert_eq!(
            message(ErrorKind::NotFound),
            "no host at run/a.sock: entity not found; start the host, or pass --socket or --config"
        );
        assert_eq!(
            message(ErrorKind::PermissionDenied),
            "may not connect to run/a.sock: permission denied; run as root or as the user of the host, \
             for the packaged service jackfield"
        );
    }
}

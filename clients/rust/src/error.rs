//! The errors of a call, and whether the same request may be sent again.

mod encode;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jackfield_protocol::{Code, FrameError, InvalidReply, Json, Kind, Retry, limits};
use serde::Deserialize;
use serde_json::value::RawValue;

pub use encode::EncodeError;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection could be made before the deadline; the request never left this process.
    #[error("cannot connect to {}: {source}{}", path.display(), connect_remedy(source, *transient))]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The error of the last attempt.
        source: io::Error,
        /// Whether a later attempt may succeed: a full backlog, no listener, no socket yet. Such
        /// attempts were repeated until the deadline.
        transient: bool,
    },
    /// The deadline passed.
    #[error("the deadline passed {phase} (`timeout` sets it)")]
    Timeout {
        /// The phase that the call was in.
        phase: Phase,
        /// Whether the host may have received the whole request, or may still receive it.
        sent: bool,
    },
    /// The connection ended before the reply arrived.
    #[error("the connection ended {}{}", ended_when(*sent), followed_by(then.as_deref()))]
    ConnectionLost {
        /// Whether the kernel had accepted the whole request. A host never starts an incomplete
        /// request.
        sent: bool,
        /// The error of the system call; `None` if the host simply closed the connection.
        source: Option<io::Error>,
        /// The failure of a later try, if there was one. The first try may have been executed,
        /// whatever became of the later ones.
        then: Option<Box<Error>>,
    },
    /// The peer violated the protocol.
    ///
    /// Whether the request was executed is unknown. The connection is closed, unless it was a reply
    /// with an id: then only its own call fails.
    #[error("the peer violated the protocol: {0} (is it a Jackfield listener with binary framing?)")]
    Protocol(#[from] ProtocolError),
    /// The reply is valid, but this client does not read it. The request was executed.
    ///
    /// Other calls on the connection continue.
    #[error("{0}")]
    UnreadableReply(#[from] UnreadableReply),
    /// The host or a plugin answered with an error.
    #[error(transparent)]
    Remote(RemoteError),
    /// The host is shutting down and did not start the request.
    ///
    /// Later tries did not reach its successor.
    #[error("the host is shutting down: {0}; try again when it has restarted")]
    GoingAway(RemoteError),
    /// All connections were in use until the deadline, or too many calls were waiting for one.
    ///
    /// The request never left this process.
    #[error(
        "all {connections} connections are in use and {waiting} calls wait for one \
         (the limits are `max_connections` and `max_waiting`)"
    )]
    PoolFull {
        /// The limit, in sockets.
        connections: usize,
        /// The number of other calls that were waiting.
        waiting: usize,
    },
    /// The client was closed before or during the call.
    #[error("the client is closed; calls need one on which `close` was not called")]
    Closed {
        /// Whether the request had left this process, so that the host may have executed it.
        sent: bool,
    },
    /// The call was cancelled by its [handle](crate::CancelHandle).
    #[error("the call was cancelled {}", cancelled_when(*sent))]
    Cancelled {
        /// Whether the host may have begun to execute the request.
        sent: bool,
    },
    /// The params are opaque bytes, and the host has not agreed to those. The request was not sent.
    #[error(
        "the host does not accept opaque bytes as params: it does not speak protocol 1.2, or `negotiate` is \
         off; send JSON"
    )]
    BytesUnsupported,
    /// The request cannot be encoded; nothing was sent.
    #[error("cannot encode the request: {0}")]
    Encode(#[from] EncodeError),
    /// The result is not of the requested type. The request was executed.
    #[error("the result is not of the requested type: {0}")]
    Decode(#[source] serde_json::Error),
}

impl Error {
    /// Returns whether sending the same request again is safe and may help.
    ///
    /// This is true only if the host certainly never started the request. A caller whose request is
    /// idempotent may also try again after a time-out or a lost connection.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Connect { transient, .. } => *transient,
            Error::Timeout { sent, .. }
            | Error::ConnectionLost { sent, .. }
            | Error::Closed { sent }
            | Error::Cancelled { sent } => !sent,
            Error::Remote(remote) | Error::GoingAway(remote) => remote.was_never_started(),
            Error::PoolFull { .. } => true,
            Error::Protocol(_)
            | Error::UnreadableReply(_)
            | Error::BytesUnsupported
            | Error::Encode(_)
            | Error::Decode(_) => false,
        }
    }

    /// Returns the code of the error reply, if there was one.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        self.remote().map(|remote| remote.code)
    }

    /// Returns the error reply, if there was one.
    #[must_use]
    pub fn remote(&self) -> Option<&RemoteError> {
        match self {
            Error::Remote(remote) | Error::GoingAway(remote) => Some(remote),
            _ => None,
        }
    }
}

impl From<RemoteError> for Error {
    fn from(remote: RemoteError) -> Error {
        if remote.known_code() == Some(Code::GoingAway) {
            Error::GoingAway(remote)
        } else {
            Error::Remote(remote)
        }
    }
}

fn connect_remedy(source: &io::Error, transient: bool) -> &'static str {
    match source.kind() {
        io::ErrorKind::WouldBlock => " (the backlog is full: is the host overloaded?)",
        _ if transient => " (is the host running?)",
        _ => " (check the path and its permissions)",
    }
}

fn ended_when(sent: bool) -> &'static str {
    if sent { "before the reply arrived" } else { "before the request was sent" }
}

fn cancelled_when(sent: bool) -> &'static str {
    if sent { "after the request was sent" } else { "before the request was sent" }
}

fn followed_by(then: Option<&Error>) -> String {
    then.map_or_else(String::new, |error| format!("; a later try failed, too: {error}"))
}

/// The phase of a call in which its deadline passed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// The call waited for a connection.
    Connect,
    /// The request was not completely sent.
    Write,
    /// The call waited for the reply, or had received a part of it.
    Reply,
    /// The call waited for the next try.
    Retry,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Connect => "before a connection was available",
            Phase::Write => "while the request was being written",
            Phase::Reply => "before the reply arrived",
            Phase::Retry => "before the request could be sent again",
        })
    }
}

/// An error reply of the host or of a plugin.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message} ({})", name_or_number(*code))]
pub struct RemoteError {
    /// A code of JSON-RPC or of the host, or the plugin's own outside -32768..=-32000.
    pub code: i64,
    /// The error as a sentence.
    pub message: String,
    /// Further data of the sender, as it was written.
    pub data: Option<Box<RawValue>>,
}

fn name_or_number(code: i64) -> String {
    Code::from_i64(code).map_or_else(|| code.to_string(), |known| format!("{known}, {code}"))
}

impl RemoteError {
    /// Returns the fixed meaning of the code, if it has one (protocol section 3).
    #[must_use]
    pub fn known_code(&self) -> Option<Code> {
        Code::from_i64(self.code)
    }

    /// Returns the time after which the host asks to be called again, if it sent one.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        #[derive(Deserialize)]
        struct Wait {
            retry_after_ms: u64,
        }
        let wait: Wait = serde_json::from_str(self.data.as_ref()?.get()).ok()?;
        Some(Duration::from_millis(wait.retry_after_ms))
    }

    /// Returns the reason as one word, such as `probe-crashed`, if the host sent one: with
    /// PLUGIN_UNAVAILABLE, why the plugin was refused.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Reason {
            reason: String,
        }
        let reason: Reason = serde_json::from_str(self.data.as_ref()?.get()).ok()?;
        Some(reason.reason)
    }

    /// Returns the frame limit in a FRAME_TOO_LARGE error, in bytes of payload.
    pub(crate) fn frame_limit(&self) -> Option<u64> {
        #[derive(Deserialize)]
        struct Limit {
            limit: u64,
        }
        let limit: Limit = serde_json::from_str(self.data.as_ref()?.get()).ok()?;
        Some(limit.limit)
    }

    /// Returns the deadline that passed, from a DEADLINE_EXCEEDED error, in milliseconds.
    pub(crate) fn timeout_ms(&self) -> Option<u64> {
        #[derive(Deserialize)]
        struct Limit {
            timeout_ms: u64,
        }
        let limit: Limit = serde_json::from_str(self.data.as_ref()?.get()).ok()?;
        Some(limit.timeout_ms)
    }

    pub(crate) fn was_never_started(&self) -> bool {
        self.known_code().is_some_and(|code| code.retry() == Retry::Safe)
    }
}

impl From<jackfield_protocol::RemoteError<'_>> for RemoteError {
    fn from(error: jackfield_protocol::RemoteError<'_>) -> RemoteError {
        RemoteError {
            code: error.code,
            message: error.message.into_owned(),
            data: error.data.map(Json::to_raw),
        }
    }
}

/// How the peer violated the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A header that cannot be accepted.
    #[error("{0}")]
    Header(#[from] FrameError),
    /// A payload that is not a valid reply.
    #[error("{0}")]
    Reply(#[from] InvalidReply),
    /// The reply to a sync request with another id, or a result without an id.
    #[error("a sync request was answered with another id")]
    OtherId,
    /// A kind that only a client sends, or a sync reply without a request.
    #[error("an unexpected frame of kind {0}")]
    UnexpectedKind(Kind),
}

/// Why a valid reply cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnreadableReply {
    /// The payload is over the limit.
    #[error("the reply has {length} bytes, but the limit is {limit} bytes (`frame_limit` sets it)")]
    TooLarge {
        /// The length of the payload in bytes.
        length: u32,
        /// The limit in bytes.
        limit: u32,
    },
    /// Arrays and objects are nested too deep.
    #[error("the reply is nested deeper than {} levels, and this client reads no more", limits::DEPTH_MAX)]
    TooDeep,
    /// The result is opaque bytes instead of JSON.
    #[error("the result is opaque bytes instead of JSON; `Request::reply` returns them")]
    OpaqueBytes,
}

#[cfg(test)]
mod tests;

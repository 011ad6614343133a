//! Everything a call can end with besides a result, and whether the same request may be sent again.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jackfield_protocol::{Code, InvalidReply, Json, Kind, Refusal, Retry};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection could be made before the deadline; the request never left this process.
    #[error("cannot connect to {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The last attempt's error.
        source: io::Error,
        /// Whether waiting may mend it: a full backlog, no listener, no socket yet. Such attempts were repeated
        /// until the deadline.
        transient: bool,
    },
    /// The deadline passed.
    #[error("the deadline passed {phase}")]
    Timeout {
        /// What the call was doing.
        phase: Phase,
        /// Whether the host may have the whole request, or may get it still.
        sent: bool,
    },
    /// The connection ended before the reply came.
    #[error("the connection ended {}{}", ended_when(*sent), and_then(then.as_deref()))]
    ConnectionLost {
        /// Whether the whole request had been handed to the kernel. A host never starts a request of which a byte
        /// is missing.
        sent: bool,
        /// What the kernel said; `None` where the host ended the connection in the ordinary way.
        source: Option<io::Error>,
        /// The failure of a later try, where this one was followed by another. The first may have been executed,
        /// whatever became of the second.
        then: Option<Box<Error>>,
    },
    /// The peer sent what the protocol does not allow. The connection is closed; whether the request was executed
    /// is unknown.
    #[error("the peer broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The host or a plugin answered with an error.
    #[error(transparent)]
    Remote(RemoteError),
    /// The host is shutting down and did not start the request; later tries did not find its successor.
    #[error("the host is going away: {0}")]
    GoingAway(RemoteError),
    /// Every connection was taken until the deadline, or too many calls were waiting for one already; the request
    /// never left this process.
    #[error("all {connections} connections are taken and {waiting} calls wait for one")]
    PoolFull {
        /// The limit, in sockets.
        connections: usize,
        /// Calls that were waiting, this one not counted.
        waiting: usize,
    },
    /// The client was closed while the call was under way, or before it began.
    #[error("the client is closed")]
    Closed {
        /// Whether the request had left this process, so that the host may have executed it.
        sent: bool,
    },
    /// The request cannot be written; nothing was sent.
    #[error("the request cannot be written: {0}")]
    Encode(#[from] EncodeError),
    /// The result is not of the type asked for. The request was executed.
    #[error("the result cannot be read: {0}")]
    Decode(#[source] serde_json::Error),
}

impl Error {
    /// Whether sending the same request again is safe and may help: true only where it is certain that the host
    /// never started it. A caller whose request is idempotent may try again after a time-out or a lost connection
    /// as well.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Connect { transient, .. } => *transient,
            Error::Timeout { sent, .. } | Error::ConnectionLost { sent, .. } | Error::Closed { sent } => {
                !sent
            }
            Error::Remote(remote) | Error::GoingAway(remote) => remote.was_never_started(),
            Error::PoolFull { .. } => true,
            Error::Protocol(_) | Error::Encode(_) | Error::Decode(_) => false,
        }
    }

    /// The error reply's code, where there was one.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        self.remote().map(|remote| remote.code)
    }

    /// The error reply, where there was one.
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

fn ended_when(sent: bool) -> &'static str {
    if sent { "before the reply came" } else { "before the request was sent" }
}

fn and_then(then: Option<&Error>) -> String {
    then.map_or_else(String::new, |error| format!(", and then: {error}"))
}

/// What a call was doing when its deadline passed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// It waited for a connection.
    Connect,
    /// Its request was not wholly sent.
    Write,
    /// It waited for the reply, or was in the middle of reading it.
    Reply,
    /// It waited to be sent again.
    Retry,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Connect => "before a connection was there",
            Phase::Write => "while the request was written",
            Phase::Reply => "before the reply was there",
            Phase::Retry => "before the request could be sent again",
        })
    }
}

/// An error reply: the host's or a plugin's word.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message} ({})", name_or_number(*code))]
pub struct RemoteError {
    /// JSON-RPC's codes, the host's, or the plugin's own outside -32768..=-32000.
    pub code: i64,
    /// A sentence for people.
    pub message: String,
    /// What else the sender says, as it was written.
    pub data: Option<Box<RawValue>>,
}

fn name_or_number(code: i64) -> String {
    Code::from_i64(code).map_or_else(|| code.to_string(), |known| format!("{known}, {code}"))
}

impl RemoteError {
    /// The code's fixed meaning, if it has one (protocol section 3).
    #[must_use]
    pub fn known_code(&self) -> Option<Code> {
        Code::from_i64(self.code)
    }

    /// How long the host asks to be left alone; `None` where it does not say.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        #[derive(Deserialize)]
        struct Wait {
            retry_after_ms: u64,
        }
        let wait: Wait = serde_json::from_str(self.data.as_ref()?.get()).ok()?;
        Some(Duration::from_millis(wait.retry_after_ms))
    }

    /// The frame limit that a FRAME_TOO_LARGE names, in bytes of payload.
    pub(crate) fn frame_limit(&self) -> Option<u64> {
        #[derive(Deserialize)]
        struct Limit {
            limit: u64,
        }
        let limit: Limit = serde_json::from_str(self.data.as_ref()?.get()).ok()?;
        Some(limit.limit)
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

/// What the peer did against the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A header that cannot be accepted.
    #[error("{0}")]
    Header(#[from] Refusal),
    /// A reply that is none.
    #[error("{0}")]
    Reply(#[from] InvalidReply),
    /// The reply to a sync request carries another id, or none and a result.
    #[error("a sync request was answered with another id")]
    OtherId,
    /// A kind that only a client sends, or a sync reply where none is owed.
    #[error("an unexpected frame of kind {0}")]
    UnexpectedKind(Kind),
}

/// Why a request cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A method has 1 to 256 bytes.
    #[error("a method has 1 to 256 bytes, not {0}")]
    MethodLength(usize),
    /// The params cannot be JSON.
    #[error("{0}")]
    Params(#[from] serde_json::Error),
    /// The payload is over what a header can announce, 4 GiB - 1.
    #[error("a payload of {0} bytes is over the 4 GiB - 1 that a header can announce")]
    TooLarge(usize),
}

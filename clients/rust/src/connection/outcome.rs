//! The outcome of a request on one connection, and why a connection was closed.

use bytes::Bytes;
use jackfield_protocol::{EnvelopeError, InvalidReply};
use rustix::io::Errno;

use crate::error::{ProtocolError, RemoteError, UnreadableReply};

/// The answer to a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The JSON of the result.
    Result(Bytes),
    /// The reply to a heartbeat.
    Heartbeat,
}

/// Why a request has no answer.
#[derive(Clone, Debug)]
pub(crate) enum AttemptError {
    /// The connection was lost. `sent` is whether the kernel had accepted the whole request before.
    Lost { sent: bool, errno: Option<Errno> },
    /// The peer violated the protocol.
    Protocol(ProtocolError),
    /// The reply is one that this client does not read.
    Unreadable(UnreadableReply),
    /// An error reply to the request or to the connection.
    Remote(RemoteError),
    /// The client was closed.
    ClientClosed { sent: bool },
}

impl From<InvalidReply> for AttemptError {
    /// Returns the failure of the one request whose reply cannot be read.
    fn from(error: InvalidReply) -> AttemptError {
        match error {
            InvalidReply::Envelope(EnvelopeError::TooDeep { .. }) => {
                AttemptError::Unreadable(UnreadableReply::TooDeep)
            }
            error => AttemptError::Protocol(error.into()),
        }
    }
}

/// Why a connection was closed.
#[derive(Clone, Debug)]
pub(crate) enum CloseReason {
    /// The peer closed it, or a system call failed.
    Lost(Option<Errno>),
    /// The peer sent bytes that violate the protocol.
    Protocol(ProtocolError),
    /// The peer sent an error for the whole connection.
    Remote(RemoteError),
    /// This client closed it.
    ClientClosed,
}

impl CloseReason {
    /// Returns the failure of a request that was in flight, or was begun afterwards.
    ///
    /// An error of the host for the connection applies to every request. After a violation of the
    /// protocol, a request that was not sent counts as merely lost, so that it is sent again
    /// elsewhere.
    pub(super) fn failure(&self, sent: bool) -> AttemptError {
        match self {
            CloseReason::Remote(remote) => AttemptError::Remote(remote.clone()),
            CloseReason::ClientClosed => AttemptError::ClientClosed { sent },
            CloseReason::Protocol(error) if sent => AttemptError::Protocol(*error),
            CloseReason::Protocol(_) => AttemptError::Lost { sent, errno: None },
            CloseReason::Lost(errno) => AttemptError::Lost { sent, errno: *errno },
        }
    }
}

//! The outcome of a request on one connection, and why a connection was closed.

use jackfield_protocol::{EnvelopeError, InvalidReply, Timing, Version};
use rustix::io::Errno;

use crate::error::{ProtocolError, RemoteError, UnreadableReply};
use crate::reply::Payload;

/// The answer to a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The result.
    Result(Payload),
    /// The reply to a heartbeat.
    Heartbeat,
}

/// The outcome of a request, and what its connection adds to it.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) outcome: Result<Answer, AttemptError>,
    /// The timing that the reply had.
    pub(crate) timing: Option<Timing>,
    /// The highest version that both sides of the connection have agreed on.
    pub(crate) version: Version,
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
    /// The host has not granted opaque bytes, so that the request was not sent.
    BytesUnsupported,
    /// The call was cancelled, and no reply is awaited.
    Cancelled { sent: bool },
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
    /// This client closed it, because it takes no further request and nothing is in flight.
    Drained,
    /// This client closed it.
    ClientClosed,
}

impl CloseReason {
    /// Returns whether the connection counts as a failed one if nothing was answered on it.
    pub(super) fn is_failure(&self) -> bool {
        !matches!(self, CloseReason::ClientClosed | CloseReason::Drained)
    }

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
            // Nothing was in flight, but a request may have been begun at the same time.
            CloseReason::Drained => AttemptError::Lost { sent, errno: None },
        }
    }
}

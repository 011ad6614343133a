//! A request in flight, from its caller's side.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use jackfield_protocol::Version;

use super::lease::Lease;
use crate::cancel::CancelHandle;
use crate::connection::{AttemptError, Connection, Settled};
use crate::error::{Error, Phase};
use crate::id::Key;
use crate::options::Mode;
use crate::request_frame::RequestFrame;

/// The reply to a request that was sent. Dropping it cancels the request, if the host can do that,
/// and abandons it.
#[derive(Debug)]
pub(crate) struct PendingReply {
    connection: Arc<Connection>,
    key: Key,
    /// The lease, if the connection is not shared.
    lease: Option<Lease>,
    /// Whether the host was asked to cancel the request.
    is_cancelled: bool,
    is_done: bool,
}

impl PendingReply {
    /// Sends a request that was already begun on a shared connection.
    pub(super) fn shared(connection: Arc<Connection>, key: Key) -> PendingReply {
        connection.push();
        PendingReply { connection, key, lease: None, is_cancelled: false, is_done: false }
    }

    /// Begins a request on a leased connection and sends it.
    pub(super) fn exclusive(lease: Lease, frame: &mut RequestFrame, now: Instant) -> PendingReply {
        let connection = Arc::clone(lease.connection());
        let key = connection.begin(frame, now);
        connection.push();
        PendingReply { connection, key, lease: Some(lease), is_cancelled: false, is_done: false }
    }

    /// Sends a heartbeat on a leased connection.
    pub(crate) fn heartbeat(lease: Lease) -> PendingReply {
        PendingReply::exclusive(lease, &mut RequestFrame::heartbeat(Mode::Exclusive), Instant::now())
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Returns the key of the request on its connection.
    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// Returns the outcome once; until it is known, registers the waker.
    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Settled> {
        let polled = self.connection.in_flight().poll(self.key, waker);

        if polled.is_ready() {
            self.is_done = true;
            if self.lease.is_none() {
                self.connection.close_if_drained();
            }
        }
        polled
    }

    /// Polls like [`PendingReply::poll`], and cancels the request if the handle asks for it.
    ///
    /// If the host can cancel, its reply is the outcome. Otherwise the request is abandoned.
    pub(crate) fn poll_or_cancel(&mut self, cancel: Option<&CancelHandle>, waker: &Waker) -> Poll<Settled> {
        let asks = !self.is_cancelled && cancel.is_some_and(|cancel| cancel.poll(waker));
        if asks {
            self.is_cancelled = true;
            if !self.connection.cancel(self.key) {
                self.is_done = true;
                let abandoned = self.connection.abandon(self.key);
                let sent = abandoned.is_none_or(|abandoned| !abandoned.was_withdrawn);
                let outcome = Err(AttemptError::Cancelled { sent });
                return Poll::Ready(Settled { outcome, timing: None, version: Version::HIGHEST });
            }
        }
        self.poll(waker)
    }

    /// Returns the lease, after the outcome.
    pub(crate) fn into_lease(mut self) -> Option<Lease> {
        self.lease.take()
    }

    /// Abandons the request because its deadline has passed, and returns the error.
    pub(crate) fn expire(mut self) -> Error {
        self.is_done = true;
        let Some(abandoned) = self.connection.abandon(self.key) else {
            return Error::Timeout { phase: Phase::Reply, sent: true };
        };

        let phase = if abandoned.was_sent { Phase::Reply } else { Phase::Write };
        if self.lease.is_some() {
            // The lease closes the connection. A host never starts an incomplete request.
            return Error::Timeout { phase, sent: abandoned.was_sent };
        }

        // A peer that has sent nothing since the request was queued may never answer again.
        self.connection.in_flight().is_draining |= !abandoned.peer_was_active;
        self.connection.close_if_drained();
        // The rest of a request that was partly sent stays in the outbox, and is sent later.
        Error::Timeout { phase, sent: !abandoned.was_withdrawn }
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        if !self.is_done {
            if !self.is_cancelled {
                self.connection.cancel(self.key);
            }
            // If there is a lease, it is dropped next and closes the connection.
            self.connection.abandon(self.key);
        }
    }
}

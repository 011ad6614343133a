//! A request in flight, from its caller's side.

use std::sync::Arc;
use std::task::{Poll, Waker};

use super::lease::Lease;
use crate::connection::{Answer, AttemptError, CloseReason, Connection};
use crate::error::{Error, Phase};
use crate::id::Key;
use crate::options::Mode;
use crate::request_frame::RequestFrame;

/// The reply to a request that was sent. Dropping it abandons the request.
#[derive(Debug)]
pub(crate) struct PendingReply {
    connection: Arc<Connection>,
    key: Key,
    /// The lease, if the connection is not shared.
    lease: Option<Lease>,
    is_done: bool,
}

impl PendingReply {
    /// Sends a request that was already begun on a shared connection.
    pub(super) fn shared(connection: Arc<Connection>, key: Key) -> PendingReply {
        connection.push();
        PendingReply { connection, key, lease: None, is_done: false }
    }

    /// Begins a request on a leased connection and sends it.
    pub(super) fn exclusive(lease: Lease, frame: &mut RequestFrame) -> PendingReply {
        let connection = Arc::clone(lease.connection());
        let key = connection.begin(frame);
        connection.push();
        PendingReply { connection, key, lease: Some(lease), is_done: false }
    }

    /// Sends a heartbeat on a leased connection.
    pub(crate) fn heartbeat(lease: Lease) -> PendingReply {
        PendingReply::exclusive(lease, &mut RequestFrame::heartbeat(Mode::Exclusive))
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Returns the key of the request on its connection.
    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// Returns the outcome once; until it is known, registers the waker.
    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Result<Answer, AttemptError>> {
        let mut in_flight = self.connection.in_flight();
        let polled = in_flight.poll(self.key, waker);
        let is_drained = polled.is_ready() && in_flight.is_draining && in_flight.callers() == 0;
        drop(in_flight);

        if polled.is_ready() {
            self.is_done = true;
        }
        if is_drained && self.lease.is_none() {
            self.connection.close(CloseReason::ClientClosed);
        }
        polled
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

        let mut in_flight = self.connection.in_flight();
        // A peer that has sent nothing since the request was queued may never answer again.
        in_flight.is_draining |= !abandoned.peer_was_active;
        let is_drained = in_flight.is_draining && in_flight.callers() == 0;
        drop(in_flight);

        if is_drained {
            self.connection.close(CloseReason::ClientClosed);
        }
        // Unsent bytes stay in the outbox, between those of other requests, and are sent later.
        Error::Timeout { phase, sent: true }
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        if !self.is_done {
            // If there is a lease, it is dropped next and closes the connection.
            self.connection.abandon(self.key);
        }
    }
}

//! One request in flight, from its caller's side. Dropping it is giving up.

use std::sync::Arc;
use std::task::{Poll, Waker};

use crate::call::RequestFrame;
use crate::connection::{Answer, Connection, End, Failure};
use crate::error::{Error, Phase};
use crate::id::Key;
use crate::options::Mode;
use crate::pool::Lease;

/// A request on a connection, and with a lease the connection itself.
#[derive(Debug)]
pub(crate) struct Flying {
    connection: Arc<Connection>,
    key: Key,
    /// The connection, where it is this request's alone.
    lease: Option<Lease>,
    is_done: bool,
}

impl Flying {
    /// A request already begun on a shared connection; it is sent here.
    pub(crate) fn shared(connection: Arc<Connection>, key: Key) -> Flying {
        connection.push();
        Flying { connection, key, lease: None, is_done: false }
    }

    /// Begins a request on a connection that is the caller's alone, and sends it.
    pub(crate) fn alone(lease: Lease, frame: &mut RequestFrame) -> Flying {
        let connection = Arc::clone(lease.connection());
        let key = frame.renew_id();
        connection.flight().begin(key, frame.asked(), frame.bytes());
        connection.push();
        Flying { connection, key, lease: Some(lease), is_done: false }
    }

    /// A heartbeat on a connection that is the caller's alone.
    pub(crate) fn heartbeat(lease: Lease) -> Flying {
        Flying::alone(lease, &mut RequestFrame::heartbeat(Mode::Exclusive))
    }

    /// The connection, for who drives it.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// What the request is known by on its connection.
    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// The outcome, once; until then the waker is told when to ask again.
    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Result<Answer, Failure>> {
        let mut flight = self.connection.flight();
        let polled = flight.poll(self.key, waker);
        let is_over = polled.is_ready() && flight.retiring && flight.waiting() == 0;
        drop(flight);
        if polled.is_ready() {
            self.is_done = true;
        }
        if is_over && self.lease.is_none() {
            self.connection.end(End::Closed);
        }
        polled
    }

    /// The connection back, after the outcome.
    pub(crate) fn into_lease(mut self) -> Option<Lease> {
        self.lease.take()
    }

    /// The deadline passed.
    pub(crate) fn expire(mut self) -> Error {
        self.is_done = true;
        let Some(forgotten) = self.connection.forget(self.key) else {
            return Error::Timeout { phase: Phase::Reply, sent: true };
        };
        let phase = if forgotten.sent { Phase::Reply } else { Phase::Write };
        if self.lease.is_some() {
            // Half a request: the connection is closed with it, and a host never starts it.
            return Error::Timeout { phase, sent: forgotten.sent };
        }
        let mut flight = self.connection.flight();
        // Not a byte since the request was queued: the peer may never answer again.
        flight.retiring |= !forgotten.heard;
        let is_over = flight.retiring && flight.waiting() == 0;
        drop(flight);
        if is_over {
            self.connection.end(End::Closed);
        }
        // What is unsent stays in the outbox, between other requests, and is sent later.
        Error::Timeout { phase, sent: true }
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        if !self.is_done {
            // Where the connection is this request's alone, the lease ends it next.
            self.connection.forget(self.key);
        }
    }
}

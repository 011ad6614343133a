//! Everything that follows a connection from one I/O thread to another.

use std::sync::Arc;

use jackfield_protocol::FrameLimit;

use super::identity::ConnectionIdentity;
use super::outbox::{self, Outbox};
use super::phase::{CloseReason, Phase};
use super::pipeline::RequestPipeline;
use super::reader::Reader;
use super::thread_context::ThreadContext;
use super::turn::Turn;
use crate::clock::Time;
use crate::limits::{BudgetShare, Permit};
use crate::metrics::ConnectionHandle;
use crate::routing::Dispatcher;

/// A connection without its stream and its thread.
pub(super) struct ConnectionState {
    pub(super) phase: Phase,
    pub(super) reader: Reader,
    pub(super) requests: RequestPipeline,
    pub(super) outbox: Outbox,
    /// Its share of the buffer budget.
    pub(super) buffer_share: BudgetShare,
    /// When bytes were last read or written.
    pub(super) last_active: Time,
    /// Its entry in the list of open connections.
    pub(super) entry: ConnectionHandle,
    _permit: Permit,
}

impl ConnectionState {
    pub(super) fn new(
        identity: ConnectionIdentity,
        dispatcher: &Arc<Dispatcher>,
        entry: ConnectionHandle,
        permit: Permit,
    ) -> Self {
        let limit = FrameLimit::new(dispatcher.rules.load().limits.frame);
        Self {
            phase: Phase::Open,
            reader: Reader::new(identity.options.framing, limit),
            requests: RequestPipeline::new(identity, &dispatcher.metrics),
            outbox: Outbox::default(),
            buffer_share: BudgetShare::new(&dispatcher.budget),
            last_active: Time::now(),
            entry,
            _permit: permit,
        }
    }

    pub(super) fn identity(&self) -> &ConnectionIdentity {
        &self.requests.identity
    }

    /// Returns whether a further request may be taken. If not, its bytes stay where they are: in
    /// the inbox, and finally with the peer.
    pub(super) fn accepts_requests(&self, turn: &Turn<'_>) -> bool {
        let in_flight = &self.requests.in_flight;
        let has_reply = || turn.replies > 0 || !in_flight.is_empty();

        in_flight.len() < turn.rules.limits.in_flight_per_connection
            && self.outbox.len() + turn.buffers.out.len() < outbox::HIGH_WATER
            && !self.phase.is_closing()
            && !self.reader.is_gated()
            && !(self.identity().options.close_after_reply && has_reply())
    }

    /// Returns whether every request is answered and every reply is written.
    pub(super) fn has_nothing_to_send(&self) -> bool {
        self.requests.in_flight.is_empty() && self.outbox.is_empty()
    }

    /// Returns the bytes of memory that the connection holds for its peer.
    pub(super) fn buffered_bytes(&self) -> u64 {
        (self.reader.inbox.capacity() + self.outbox.capacity() + self.requests.in_flight.bytes()) as u64
    }

    /// Counts a connection that the host ends before its peer does, and returns the reason.
    pub(super) fn close_by_host(&self, turn: &Turn<'_>, why: &'static str) -> CloseReason {
        turn.thread.dispatcher.metrics.counters.connections_cut.add(1);
        let conn = self.identity().number;
        tracing::debug!(conn, why, "connection {conn} closed by the host: {why}");
        CloseReason::Cut(why)
    }

    /// Ends the connection without a notification, because it cannot be served on any thread.
    pub(super) fn close_unserved(&mut self, thread: &ThreadContext) {
        self.requests.close(thread);
        thread.dispatcher.metrics.counters.connections_cut.add(1);
    }

    /// Returns why the connection ends if its peer can no longer be read from or written to.
    pub(super) fn reason_after_io_error(&self) -> CloseReason {
        if self.requests.in_flight.is_empty() { CloseReason::Done } else { CloseReason::Abandoned }
    }
}

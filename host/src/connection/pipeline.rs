//! The requests of one connection, apart from the bytes that carry them.

use std::sync::Arc;

use jackfield_protocol::ReplyForm;

use super::identity::ConnectionIdentity;
use super::in_flight::{InFlightEntry, InFlightTable};
use super::mailbox::Mailbox;
use crate::clock::Time;
use crate::limits::Permit;
use crate::metrics::{MethodId, Metrics, Outcome, RequestKind, ThreadCells};
use crate::plugin::PluginCall;
use crate::routing::ReplyContext;

/// Runs, tracks and answers the requests of one connection.
///
/// It takes requests that were [admitted](super::admission) and writes their replies to the
/// [buffers of the turn](super::thread_context::TurnBuffers::out). It knows neither the socket nor
/// how frames are read.
pub(super) struct RequestPipeline {
    pub(super) identity: ConnectionIdentity,
    pub(super) in_flight: InFlightTable<AcceptedRequest>,
    pub(super) mailbox: Arc<Mailbox>,
}

/// A request that was accepted and is answered from another thread, or later.
pub(super) struct AcceptedRequest {
    /// How the reply is written.
    pub(super) form: ReplyForm,
    /// Whether the client accepts opaque bytes as a result.
    pub(super) accepts_bytes: bool,
    /// Name under which the metrics count it.
    pub(super) counted: MethodId,
    pub(super) accepted: Time,
    pub(super) call: Arc<PluginCall>,
    pub(super) _permit: Permit,
}

impl RequestPipeline {
    pub(super) fn new(identity: ConnectionIdentity, metrics: &Arc<Metrics>) -> Self {
        Self { identity, in_flight: InFlightTable::default(), mailbox: Mailbox::new(metrics) }
    }

    /// Returns how the reply to a request in flight is written.
    pub(super) fn reply_context<'e>(entry: &'e InFlightEntry<AcceptedRequest>) -> ReplyContext<'e> {
        let AcceptedRequest { form, accepts_bytes, .. } = entry.request;
        ReplyContext { form, accepts_bytes, id: entry.id.as_deref() }
    }

    /// Cancels everything that is in flight, because the peer has gone. Calls that run are
    /// supervised by their generation until their deadlines.
    pub(super) fn abandon(&mut self, cells: &ThreadCells) {
        self.in_flight.abandon(|request| {
            request.call.abandon();
            cells.count_ended(request.counted, RequestKind::of_reply(request.form.kind), Outcome::ABANDONED);
        });
    }

    /// Cancels everything that is in flight and takes no replies any more.
    pub(super) fn close(&mut self, cells: &ThreadCells) {
        self.abandon(cells);
        self.mailbox.close();
    }
}

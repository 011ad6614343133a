//! The requests of one connection, apart from the bytes that carry them.

use std::sync::Arc;

use jackfield_protocol::{Kind, ReplyForm, Version};

use super::accepted_request::AcceptedRequest;
use super::identity::ConnectionIdentity;
use super::in_flight::{InFlightEntry, InFlightTable};
use super::mailbox::Mailbox;
use super::session::Session;
use super::turn::Turn;
use crate::metrics::{Metrics, ThreadTotal};
use crate::routing::{ReplyContext, RequestError};

/// Runs, tracks and answers the requests of one connection.
///
/// It takes requests that were [admitted](super::admission) and writes their replies to the
/// [buffers of the turn](super::thread_context::TurnBuffers::out). It knows neither the socket nor
/// how frames are read.
pub(super) struct RequestPipeline {
    pub(super) identity: ConnectionIdentity,
    /// The agreement of the last hello.
    pub(super) session: Session,
    pub(super) in_flight: InFlightTable<AcceptedRequest>,
    pub(super) mailbox: Arc<Mailbox>,
}

impl RequestPipeline {
    pub(super) fn new(identity: ConnectionIdentity, metrics: &Arc<Metrics>) -> Self {
        Self {
            identity,
            session: Session::default(),
            in_flight: InFlightTable::default(),
            mailbox: Mailbox::new(metrics),
        }
    }

    /// Returns how a reply of kind `kind` to a request of version `version` is written. `id` is the
    /// JSON token of the request's id.
    #[inline]
    pub(super) fn reply_context<'a>(
        &self,
        version: Version,
        kind: Kind,
        id: Option<&'a str>,
    ) -> ReplyContext<'a> {
        let Self { identity, session, .. } = self;
        let mut form = ReplyForm::plain(identity.options.framing, version, kind);
        let mut accepts_bytes = false;
        if version > Version::HIGHEST {
            form.has_timing = session.has_timing(version) && kind != Kind::Error;
            accepts_bytes = session.accepts_bytes(version);
        }
        ReplyContext { form, accepts_bytes, limit: session.reply_limit(), id }
    }

    /// Returns how the reply to a request in flight is written.
    pub(super) fn reply_context_of<'e>(entry: &'e InFlightEntry<AcceptedRequest>) -> ReplyContext<'e> {
        entry.request.reply.with_id(entry.id.as_deref())
    }

    /// Cancels the request with this id, a JSON token, because its client asks for that. A request
    /// that waits in the sync queue is answered in its turn; any other is answered now. An unknown
    /// id is counted: the reply may be on its way, or wait for its turn.
    pub(super) fn cancel(&mut self, turn: &mut Turn<'_>, id: &str) {
        let Some(key) = self.in_flight.key_to_cancel(id) else {
            turn.thread.cells.add(ThreadTotal::UnknownCancels, 1);
            return;
        };
        turn.thread.cells.add(ThreadTotal::Cancels, 1);
        if let Some(queued) = self.in_flight.cancel_queued(key) {
            queued.call.cancel_early();
            return;
        }

        let Some(entry) = self.in_flight.get(key) else { return };
        entry.request.call.cancel_early();
        self.fail(turn, key, &RequestError::Cancelled);
    }
}

//! A request that was admitted, and what its call keeps of it.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{CallFacts, CallerRef, Content, RequestId};
use jackfield_protocol::Request;

use crate::clock::Time;
use crate::limits::Permit;
use crate::plugin::CallPermits;
use crate::routing::{ReplyContext, RouteTarget};

/// A request that was admitted, and where it runs.
#[derive(Clone, Copy)]
pub(in crate::connection) struct AdmittedRequest<'r> {
    pub(in crate::connection) target: &'r RouteTarget,
    pub(in crate::connection) request: &'r Request<'r>,
    pub(in crate::connection) reply: ReplyContext<'r>,
    /// The trial of the circuit breaker that it decides, if it is a trial call.
    pub(in crate::connection) trial: Option<NonZeroU64>,
}

/// The part of an accepted request that is kept until it is answered from another thread.
pub(super) struct AcceptedCall {
    pub(super) accepted: Time,
    /// The JSON token of its id.
    pub(super) id: Option<Arc<str>>,
    pub(super) facts: Arc<CallFacts<'static>>,
    pub(super) permit: Permit,
    pub(super) permits: CallPermits,
}

impl<'r> AdmittedRequest<'r> {
    /// Returns the params as written, or no bytes if there are none.
    #[inline]
    pub(super) fn params(&self) -> &'r [u8] {
        self.request.params.map_or(&b""[..], |params| params.get().as_bytes())
    }

    fn facts<'f>(&self, run: Run, id: RequestId<'f>, now: Time) -> CallFacts<'f> {
        let deadline = now.after(self.target.timeout).0;
        CallFacts {
            deadline,
            host_deadline: deadline,
            id,
            depth: 0,
            run,
            trial: self.trial,
            cancelled: AtomicBool::new(false),
            content: Content::Json,
            caller: CallerRef::program(),
            context: None,
        }
    }

    /// Returns what the method may ask about its call, for as long as the frame is at hand.
    #[inline]
    pub(super) fn borrowed_facts(&self, run: Run, now: Time) -> CallFacts<'r> {
        self.facts(run, RequestId::new(self.request.id.map(|id| id.text()), new_id), now)
    }

    /// Copies what must outlive the frame.
    pub(super) fn accept(&self, run: Run, now: Time, permit: Permit, permits: CallPermits) -> AcceptedCall {
        let id = self.reply.id.map(Arc::from);

        let request_id = match (&id, self.request.id.map(|id| id.text())) {
            (Some(token), Some(Cow::Borrowed(_))) => RequestId::of_token(Arc::clone(token), new_id),
            // The id was written with escapes. Only the token keeps them.
            (_, text) => RequestId::new(text.map(|text| Cow::Owned(text.into_owned())), new_id),
        };
        let facts = Arc::new(self.facts(run, request_id, now));

        AcceptedCall { accepted: now, id, facts, permit, permits }
    }
}

/// Creates an id for a request without one, when a log message or a plugin asks for it.
fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

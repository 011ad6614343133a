//! A request that was admitted, and what its call keeps of it.

use std::borrow::Cow;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{
    CallContext, CallFacts, CallerFacts, CallerRef, Cancellation, Content, RequestId,
};
use jackfield_protocol::{CarriedMembers, Request};

use crate::clock::Time;
use crate::limits::Permit;
use crate::plugin::{CallPermits, SystemPlugin};
use crate::routing::{ReplyContext, RouteTarget};
use crate::trace::Tracer;

/// When a call is late.
#[derive(Debug, Clone, Copy)]
pub(in crate::connection) struct CallLimits {
    /// For its client or for the host, whichever is earlier.
    pub(in crate::connection) deadline: Time,
    /// For the host.
    pub(in crate::connection) host_deadline: Time,
}

impl CallLimits {
    /// Returns the limits of a request that is accepted at `now`. The client waits for `waits_ms`
    /// milliseconds from `arrived` on.
    #[inline]
    pub(in crate::connection) fn new(
        now: Time,
        timeout: Duration,
        arrived: Time,
        waits_ms: Option<NonZeroU32>,
    ) -> Self {
        let host_deadline = now.after(timeout);
        let deadline = match waits_ms {
            None => host_deadline,
            Some(waits) => host_deadline.min(arrived.after(Duration::from_millis(waits.get().into()))),
        };
        Self { deadline, host_deadline }
    }
}

/// A request that was admitted, and where it runs.
#[derive(Clone, Copy)]
pub(in crate::connection) struct AdmittedRequest<'r> {
    pub(in crate::connection) target: &'r RouteTarget,
    pub(in crate::connection) request: &'r Request<'r>,
    /// The params, if they are opaque bytes.
    pub(in crate::connection) bytes: Option<&'r [u8]>,
    pub(in crate::connection) accepted: Time,
    pub(in crate::connection) limits: CallLimits,
    pub(in crate::connection) reply: ReplyContext<'r>,
    /// The trial of the circuit breaker that it decides, if it is a trial call.
    pub(in crate::connection) trial: Option<NonZeroU64>,
    /// Set if the request may be recorded.
    pub(in crate::connection) tracer: Option<&'r Tracer>,
}

/// The part of an accepted request that is kept until it is answered from another thread.
pub(super) struct AcceptedCall {
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
        if let Some(bytes) = self.bytes {
            return bytes;
        }
        self.request.params.map_or(&b""[..], |params| params.get().as_bytes())
    }

    /// Returns how long the request may take, from its acceptance.
    #[inline]
    pub(super) fn timeout(&self) -> Duration {
        self.limits.deadline.since(self.accepted)
    }

    #[inline(always)]
    fn facts<'f>(&self, run: Run, id: RequestId<'f>, caller: CallerRef<'f>) -> CallFacts<'f> {
        let CallLimits { deadline, host_deadline } = self.limits;
        CallFacts {
            deadline: deadline.0,
            host_deadline: host_deadline.0,
            id,
            depth: 0,
            run,
            trial: self.trial,
            cancelled: Cancellation::default(),
            content: if self.bytes.is_some() { Content::Bytes } else { Content::Json },
            caller,
            context: self.context(),
        }
    }

    /// Returns trace and metadata; `None` if the request has neither and begins no trace.
    #[inline]
    fn context(&self) -> Option<Arc<CallContext>> {
        let carries_none = self.request.context.carried.is_none();
        if carries_none && !self.tracer.is_some_and(Tracer::records_roots) {
            return None;
        }
        self.make_context()
    }

    #[inline(never)]
    fn make_context(&self) -> Option<Arc<CallContext>> {
        let CarriedMembers { traceparent, tracestate, meta } = self.request.context.carried();
        let state = tracestate.and_then(|state| serde_json::from_str::<String>(state.get()).ok());
        let state = state.map(Arc::from);

        // Health checks and the spans of clients would hide the requests that operators look for.
        let is_own = *self.target.generation.identity.plugin == *SystemPlugin::NAME;
        let trace = match (self.tracer, traceparent) {
            (Some(tracer), parent) if parent.is_some() || !is_own => tracer.begin(parent, state),
            (_, parent) => parent.map(|parent| Tracer::pass_on(parent, state)),
        };
        if trace.is_none() && meta.is_none() {
            return None;
        }
        Some(Arc::new(CallContext { trace, meta: meta.map(|meta| meta.get().into()) }))
    }

    /// Returns what the method may ask about its call, for as long as the frame is at hand.
    #[inline]
    pub(super) fn borrowed_facts<'f>(&self, run: Run, caller: &'f Arc<CallerFacts>) -> CallFacts<'f>
    where
        'r: 'f,
    {
        let id = RequestId::new(self.request.id.map(|id| id.text()), new_id);
        self.facts(run, id, CallerRef::Borrowed(caller))
    }

    /// Copies what must outlive the frame.
    pub(super) fn accept(
        &self,
        run: Run,
        caller: &Arc<CallerFacts>,
        permit: Permit,
        permits: CallPermits,
    ) -> AcceptedCall {
        let id = self.reply.id.map(Arc::from);

        let request_id = match (&id, self.request.id.map(|id| id.text())) {
            (Some(token), Some(Cow::Borrowed(_))) => RequestId::of_token(Arc::clone(token), new_id),
            // The id was written with escapes. Only the token keeps them.
            (_, text) => RequestId::new(text.map(|text| Cow::Owned(text.into_owned())), new_id),
        };
        let facts = Arc::new(self.facts(run, request_id, CallerRef::Shared(Arc::clone(caller))));

        AcceptedCall { id, facts, permit, permits }
    }
}

/// Creates an id for a request without one, when a log message or a plugin asks for it.
fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_earlier_deadline() {
        let now = Time::now();
        let timeout = Duration::from_secs(1);
        let host = now.after(timeout);
        for (arrived, waits_ms, deadline) in [
            (now, 0, host),
            (now, 1, now.after(Duration::from_millis(1))),
            (now, u32::MAX, host),
            // The time at a gate counts.
            (now, 1000, host),
        ] {
            let limits = CallLimits::new(now, timeout, arrived, NonZeroU32::new(waits_ms));
            assert_eq!((limits.deadline, limits.host_deadline), (deadline, host), "{waits_ms}");
        }

        let later = now.after(Duration::from_millis(900));
        let limits = CallLimits::new(later, timeout, now, NonZeroU32::new(1000));
        assert_eq!(limits.deadline, now.after(Duration::from_millis(1000)));
    }
}

//! The spans of requests. A request that carries no trace costs one branch.

use std::sync::Arc;

use jackfield_protocol::{Request, TraceParent};

use super::accepted_request::AcceptedRequest;
use super::finished_request::{FinishedCall, FinishedRequest};
use super::identity::ConnectionIdentity;
use super::thread_context::ThreadContext;
use super::turn::Turn;
use crate::clock::Time;
use crate::metrics::Outcome;
use crate::routing::{ReplyOutcome, RequestError};
use crate::trace::{CallSpan, SpanPlace};

/// How a call ended: for its span, with the code of its error.
struct SpanEnd {
    at: Time,
    outcome: Outcome,
    code: Option<i64>,
}

/// Records a request whose reply was made, if it is sampled.
#[inline]
pub(super) fn record(turn: &Turn<'_>, request: &FinishedRequest<'_>, reply: ReplyOutcome, outcome: Outcome) {
    if let Some(call) = request.call()
        && call.facts.context.is_some()
    {
        let code = reply.error_code();
        record_call(turn.thread, call, SpanEnd { at: turn.now, outcome, code });
    }
}

/// Records a request whose client has gone, if it is sampled.
pub(super) fn record_abandoned(thread: &ThreadContext, request: &AcceptedRequest) {
    if request.call.facts.context.is_some() {
        let end = SpanEnd { at: Time::now(), outcome: Outcome::ABANDONED, code: None };
        record_call(thread, &FinishedCall::of_accepted(request), end);
    }
}

/// Records a request that was rejected before it was accepted, if its client samples it.
#[inline]
pub(super) fn record_rejected(
    turn: &Turn<'_>,
    identity: &ConnectionIdentity,
    request: &Request<'_>,
    error: &RequestError,
) {
    if let Some(carried) = &request.context.carried {
        record_rejection(turn, identity, request, carried.traceparent, error.code());
    }
}

#[cold]
fn record_call(thread: &ThreadContext, call: &FinishedCall<'_>, end: SpanEnd) {
    let Some(tracer) = thread.dispatcher.tracer.get() else { return };
    let Some(place) = SpanPlace::of_call(call.facts) else { return };

    let method = call.generation.method_name(call.method);
    let caller = Arc::clone(call.facts.caller.get());
    tracer.record(CallSpan {
        executor: Some(call.generation.executor()),
        begun: call.begun,
        ended: end.at,
        outcome: end.outcome,
        code: end.code,
        ..CallSpan::new(place, method, call.facts.id.known(), caller, call.accepted)
    });
}

#[cold]
fn record_rejection(
    turn: &Turn<'_>,
    identity: &ConnectionIdentity,
    request: &Request<'_>,
    parent: Option<TraceParent>,
    code: i64,
) {
    let (Some(tracer), Some(_)) = (turn.tracer, parent) else { return };
    let facts = tracer.begin(parent, None);
    let Some(place) = facts.as_ref().and_then(SpanPlace::of) else { return };

    let id = request.id.map(|id| id.text());
    let caller = Arc::clone(&identity.origin);
    tracer.record(CallSpan {
        outcome: Outcome::of_code(code),
        code: Some(code),
        ..CallSpan::new(place, &request.method, id.as_deref(), caller, turn.now)
    });
}

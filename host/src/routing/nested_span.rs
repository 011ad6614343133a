//! The spans of nested calls. A call whose caller is not recorded costs one branch.

use std::sync::Arc;

use jackfield_plugin_api::abi::{CallContext, CallFacts};
use jackfield_protocol::Code;

use super::dispatcher::Dispatcher;
use super::request_error::RequestError;
use crate::clock::Time;
use crate::metrics::Outcome;
use crate::plugin::{Generation, NestedCall, PluginCall};
use crate::trace::{CallSpan, SpanPlace, Tracer};

/// A nested call that is recorded, until it ends.
pub(super) struct NestedSpan {
    tracer: Arc<Tracer>,
    accepted: Time,
}

impl NestedSpan {
    /// Records the call when its caller has the reply, or gave up waiting for it. `reply` has the
    /// code of its error; it is `None` if there is no reply.
    pub(super) fn end(self, call: &PluginCall, reply: Option<Option<i64>>) {
        let now = Time::now();
        let is_late = now.0 >= call.facts.deadline;
        let (outcome, code) = match reply {
            Some(error) => (outcome_of(error), error),
            None if is_late => (Outcome::of(Code::DeadlineExceeded), Some(Code::DeadlineExceeded.as_i64())),
            None => (Outcome::ABANDONED, None),
        };

        if let Some(span) = span_of(&call.facts, &call.generation, call.method, self.accepted) {
            let begun = call.started_at();
            self.tracer.record(CallSpan { begun, ended: now, outcome, code, ..span });
        }
    }
}

fn outcome_of(error: Option<i64>) -> Outcome {
    error.map_or(Outcome::OK, Outcome::of_code)
}

fn span_of(facts: &CallFacts<'_>, generation: &Generation, method: u32, accepted: Time) -> Option<CallSpan> {
    let place = SpanPlace::of_call(facts)?;
    let caller = Arc::clone(facts.caller.get());
    let span = CallSpan::new(place, generation.method_name(method), facts.id.known(), caller, accepted);
    Some(CallSpan { is_nested: true, executor: Some(generation.executor()), ..span })
}

impl Dispatcher {
    /// Returns what a nested call carries of its caller: the same metadata, and the trace with a
    /// span of its own if the caller is recorded.
    pub(super) fn nested_context(&self, parent: &CallFacts<'_>) -> Option<Arc<CallContext>> {
        let context = parent.context.as_ref()?;
        match &context.trace {
            Some(trace) if trace.is_recorded => {
                let trace = Some(Tracer::begin_nested(trace));
                Some(Arc::new(CallContext { trace, meta: context.meta.clone() }))
            }
            _ => Some(Arc::clone(context)),
        }
    }

    /// Begins the span of a call that was accepted; `None` if the call is not recorded.
    pub(super) fn begin_nested_span(&self, facts: &CallFacts<'_>, accepted: Time) -> Option<NestedSpan> {
        facts.context.as_ref()?.trace.as_ref().filter(|trace| trace.is_recorded)?;
        let tracer = Arc::clone(self.tracer.get()?);
        Some(NestedSpan { tracer, accepted })
    }

    /// Records a call that ran on this thread, with the code of its error.
    pub(super) fn record_nested(
        &self,
        facts: &CallFacts<'_>,
        generation: &Generation,
        method: u32,
        accepted: Time,
        error: Option<i64>,
    ) {
        let Some(tracer) = self.tracer.get().filter(|_| facts.context.is_some()) else { return };
        if let Some(span) = span_of(facts, generation, method, accepted) {
            let (begun, ended) = (Some(accepted), Time::now());
            tracer.record(CallSpan { begun, ended, outcome: outcome_of(error), code: error, ..span });
        }
    }

    /// Records a call that was not accepted.
    pub(super) fn record_refused(&self, nested: &NestedCall<'_>, error: &RequestError) {
        let parent = nested.parent;
        let Some(trace) = parent.context.as_ref().and_then(|context| context.trace.as_ref()) else { return };
        let Some(tracer) = self.tracer.get().filter(|_| trace.is_recorded) else { return };
        let Some(place) = SpanPlace::of(&Tracer::begin_nested(trace)) else { return };

        let (caller, code) = (Arc::clone(parent.caller.get()), error.code());
        tracer.record(CallSpan {
            is_nested: true,
            outcome: Outcome::of_code(code),
            code: Some(code),
            ..CallSpan::new(place, nested.call.method, parent.id.known(), caller, Time::now())
        });
    }
}

//! The accounts of the calls that the embedding program makes: metrics, slow log and spans, as for
//! the requests of clients. A call that is fast and succeeds costs the counters alone.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jackfield_plugin_api::abi::{CallContext, CallFacts};

use super::dispatcher::Dispatcher;
use super::request_error::RequestError;
use crate::clock::Time;
use crate::metrics::{MethodId, Outcome, RequestKind, SlowLogEntry, ThreadTotal, printable_excerpt};
use crate::plugin::Generation;
use crate::trace::{CallSpan, SpanPlace};

/// The kind under which the metrics count a call of the program: its reply waits for no other one.
const KIND: RequestKind = RequestKind::Async;

/// A call of the program that was accepted, as its accounts need it.
pub(super) struct CountedCall<'a> {
    pub(super) generation: &'a Generation,
    pub(super) method: u32,
    pub(super) counted: MethodId,
    pub(super) facts: &'a CallFacts<'a>,
    pub(super) accepted: Time,

    /// `None` if the method was never begun.
    pub(super) begun: Option<Time>,
}

/// How a call of the program ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum ProgramEnd {
    Result,
    Error(i64),

    /// The program did not wait for the reply.
    Abandoned,
}

impl ProgramEnd {
    fn outcome(self) -> Outcome {
        match self {
            Self::Result => Outcome::OK,
            Self::Error(code) => Outcome::of_code(code),
            Self::Abandoned => Outcome::ABANDONED,
        }
    }
}

impl Dispatcher {
    /// Counts a call that was accepted.
    pub(super) fn count_program_call(self: &Arc<Self>, counted: MethodId) {
        self.count_on_this_thread(|cells| cells.count_accepted(counted, KIND));
    }

    /// Counts a call that was not accepted, and adds it to the slow log.
    #[cold]
    pub(super) fn count_program_rejection(
        self: &Arc<Self>,
        counted: MethodId,
        method: &str,
        id: Option<&str>,
        error: &RequestError,
    ) {
        let outcome = Outcome::of_code(error.code());
        self.count_on_this_thread(|cells| {
            cells.count_accepted(counted, KIND);
            if let Some(reason) = error.rejection() {
                cells.count_rejected(reason);
            }
            cells.count_ended(counted, KIND, outcome);
        });
        self.metrics.slow_log.record(SlowLogEntry {
            at: SystemTime::now(),
            time: Time::now(),
            connection: 0,
            peer: None,
            id: printable_excerpt(id.unwrap_or_default()),
            method: printable_excerpt(method),
            ran_by: None,
            queued: Duration::ZERO,
            ran: Duration::ZERO,
            outcome,
        });
    }

    /// Counts the end of a call that was accepted, and records it if it failed, was slow, or is
    /// part of a trace.
    pub(super) fn finish_program_call(self: &Arc<Self>, call: &CountedCall<'_>, now: Time, end: ProgramEnd) {
        let (total, outcome) = (now.since(call.accepted), end.outcome());
        self.count_on_this_thread(|cells| {
            cells.count_run(call.counted, total);
            cells.count_ended(call.counted, KIND, outcome);
        });

        if outcome != Outcome::OK || self.metrics.slow_log.is_slow(total) {
            self.add_to_slow_log(call, now, outcome);
        }
        if call.facts.context.is_some() {
            self.record_program_span(call, now, end);
        }
    }

    /// Counts a result that came after the deadline.
    pub(super) fn count_late_result(self: &Arc<Self>) {
        self.count_on_this_thread(|cells| cells.add(ThreadTotal::LateResults, 1));
    }

    #[cold]
    fn add_to_slow_log(&self, call: &CountedCall<'_>, now: Time, outcome: Outcome) {
        let begun = call.begun.unwrap_or(now);
        let identity = &call.generation.identity;
        self.metrics.slow_log.record(SlowLogEntry {
            at: SystemTime::now(),
            time: now,
            connection: 0,
            peer: None,
            id: printable_excerpt(call.facts.id.text()),
            method: printable_excerpt(call.generation.method_name(call.method)),
            ran_by: Some((Arc::clone(&identity.plugin), identity.number)),
            queued: begun.since(call.accepted),
            ran: now.since(begun),
            outcome,
        });
    }

    #[cold]
    fn record_program_span(&self, call: &CountedCall<'_>, now: Time, end: ProgramEnd) {
        let (Some(tracer), Some(place)) = (self.tracer.get(), SpanPlace::of_call(call.facts)) else { return };

        let method = call.generation.method_name(call.method);
        let caller = Arc::clone(call.facts.caller.get());
        tracer.record(CallSpan {
            executor: Some(call.generation.executor()),
            begun: call.begun,
            ended: now,
            outcome: end.outcome(),
            code: match end {
                ProgramEnd::Error(code) => Some(code),
                ProgramEnd::Result | ProgramEnd::Abandoned => None,
            },
            ..CallSpan::new(place, method, call.facts.id.known(), caller, call.accepted)
        });
    }

    /// Returns trace and metadata of a call; `None` if it has neither and begins no trace.
    pub(super) fn program_context(&self, origin: &ProgramContext) -> Option<Arc<CallContext>> {
        let tracer = self.tracer.get();
        let parent = origin.traceparent;
        if parent.is_none() && origin.meta.is_none() && !tracer.is_some_and(|tracer| tracer.records_roots()) {
            return None;
        }
        let state = origin.tracestate.clone();
        let trace = match tracer {
            Some(tracer) => tracer.begin(parent, state),
            None => parent.map(|parent| crate::trace::Tracer::pass_on(parent, state)),
        };
        let meta = origin.meta.clone();
        (trace.is_some() || meta.is_some()).then(|| Arc::new(CallContext { trace, meta }))
    }
}

/// Trace and metadata that a call of the program carries.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProgramContext {
    pub(crate) traceparent: Option<jackfield_protocol::TraceParent>,
    pub(crate) tracestate: Option<Arc<str>>,

    /// A JSON object with strings.
    pub(crate) meta: Option<Box<str>>,
}

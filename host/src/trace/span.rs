//! Spans as they wait for their export: those of calls, and those that clients hand over.

use std::sync::Arc;

use jackfield_plugin_api::abi::{CallFacts, CallerFacts, TraceFacts};

use crate::clock::Time;
use crate::metrics::{Outcome, printable_excerpt};

/// The place of a span in its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpanPlace {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    pub(super) parent_id: Option<[u8; 8]>,
    pub(super) flags: u8,
    pub(super) state: Option<Arc<str>>,
}

impl SpanPlace {
    /// Returns the place of a call; `None` if the call is not recorded.
    pub(crate) fn of(trace: &TraceFacts) -> Option<Self> {
        trace.is_recorded.then(|| Self {
            trace_id: trace.trace_id,
            span_id: trace.span_id,
            parent_id: trace.parent_id,
            flags: trace.flags,
            state: trace.state.clone(),
        })
    }

    /// Returns the place of a call; `None` if the call is not recorded.
    #[inline]
    pub(crate) fn of_call(facts: &CallFacts<'_>) -> Option<Self> {
        Self::of(facts.context.as_ref()?.trace.as_ref()?)
    }
}

/// The generation that a call went to.
#[derive(Debug, Clone)]
pub(crate) struct SpanExecutor {
    pub(crate) plugin: Arc<str>,
    pub(crate) generation: u64,
    pub(crate) is_isolated: bool,
}

/// The span of a request or of a nested call.
#[derive(Debug)]
pub(crate) struct CallSpan {
    pub(crate) place: SpanPlace,

    /// Whether a plugin made the call.
    pub(crate) is_nested: bool,

    pub(crate) method: Box<str>,

    /// `None` if no generation took the call.
    pub(crate) executor: Option<SpanExecutor>,

    /// The sender of the request that led to the call.
    pub(crate) caller: Arc<CallerFacts>,

    /// The id of the request; `None` if it has none.
    pub(crate) id: Option<Box<str>>,

    pub(crate) accepted: Time,

    /// `None` if the method was never started.
    pub(crate) begun: Option<Time>,

    pub(crate) ended: Time,
    pub(crate) outcome: Outcome,

    /// The code of the error in the reply.
    pub(crate) code: Option<i64>,
}

impl CallSpan {
    /// Creates the span of a call that was accepted and has not begun.
    pub(crate) fn new(
        place: SpanPlace,
        method: &str,
        id: Option<&str>,
        caller: Arc<CallerFacts>,
        accepted: Time,
    ) -> Self {
        Self {
            place,
            is_nested: false,
            method: printable_excerpt(method),
            executor: None,
            caller,
            id: id.map(printable_excerpt),
            accepted,
            begun: None,
            ended: accepted,
            outcome: Outcome::OK,
            code: None,
        }
    }
}

/// A span that a client hands over.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReportedSpan {
    pub(super) place: SpanPlace,
    pub(super) service: Arc<str>,
    pub(super) name: String,

    /// The number of the kind, as OTLP defines it.
    pub(super) kind: u8,

    /// Nanoseconds since 1970.
    pub(super) start: u64,
    pub(super) end: u64,

    pub(super) attributes: Vec<(String, AttributeValue)>,

    /// The message of the error, if the span is one of a failure.
    pub(super) error: Option<String>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum AttributeValue {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

/// A span that waits for its export.
#[derive(Debug)]
pub(super) enum QueuedSpan {
    Call(CallSpan),
    Reported(ReportedSpan),
}

impl QueuedSpan {
    /// Returns the memory that the span holds, in bytes. Strings that several spans share are not
    /// counted.
    pub(super) fn bytes(&self) -> usize {
        let held = match self {
            Self::Call(span) => span.method.len() + span.id.as_ref().map_or(0, |id| id.len()),
            Self::Reported(span) => {
                let of_attribute = |(key, value): &(String, AttributeValue)| {
                    let text = if let AttributeValue::Text(text) = value { text.len() } else { 0 };
                    size_of::<(String, AttributeValue)>() + key.len() + text
                };
                let attributes: usize = span.attributes.iter().map(of_attribute).sum();
                span.name.len() + span.error.as_ref().map_or(0, String::len) + attributes
            }
        };
        size_of::<Self>() + held
    }
}

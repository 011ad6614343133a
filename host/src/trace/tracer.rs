//! Decides which calls are recorded, and takes their spans.

use std::sync::Arc;

use jackfield_plugin_api::abi::TraceFacts;
use jackfield_protocol::TraceParent;

use super::queue::{QueuedSpans, SpanQueue};
use super::reported_spans::ReportedSpans;
use super::sampler::{Sampler, new_span_id, new_trace_id};
use super::span::{CallSpan, QueuedSpan};
use crate::config::{Sample, TraceConfig};
use crate::metrics::Metrics;

/// The flag of W3C Trace Context that says that the trace is recorded.
const SAMPLED: u8 = 1;

/// Records calls as spans. A host without `trace.otlp` has none.
pub(crate) struct Tracer {
    sampler: Sampler,

    queue: SpanQueue,
    metrics: Arc<Metrics>,
}

impl Tracer {
    pub(super) fn new(config: &TraceConfig, metrics: Arc<Metrics>) -> (Arc<Self>, QueuedSpans) {
        let (queue, spans) = SpanQueue::new(config.queue);
        let sampler = Sampler::new(config.sample);
        (Arc::new(Self { sampler, queue, metrics }), spans)
    }

    /// Replaces the rule by which requests without a `traceparent` are recorded.
    pub(crate) fn set_sample(&self, sample: Sample) {
        self.sampler.set(sample);
    }

    /// Returns whether [`Tracer::begin`] may record a request without a `traceparent`.
    #[inline]
    pub(crate) fn records_roots(&self) -> bool {
        self.sampler.samples_any()
    }

    /// Returns the trace that a request carries: a new span if the request is recorded, otherwise
    /// that of the client, if it has one.
    pub(crate) fn begin(&self, parent: Option<TraceParent>, state: Option<Arc<str>>) -> Option<TraceFacts> {
        let Some(parent) = parent else {
            let trace_id = new_trace_id();
            let is_sampled = self.sampler.samples(trace_id);
            return is_sampled.then(|| TraceFacts::new(trace_id, new_span_id(), None, SAMPLED, true, None));
        };
        if !parent.is_sampled() {
            return Some(Self::pass_on(parent, state));
        }
        let TraceParent { trace_id, span_id, flags } = parent;
        Some(TraceFacts::new(trace_id, new_span_id(), Some(span_id), flags, true, state))
    }

    /// Returns the trace of a client that the host does not record, as the call carries it.
    pub(crate) fn pass_on(parent: TraceParent, state: Option<Arc<str>>) -> TraceFacts {
        let TraceParent { trace_id, span_id, flags } = parent;
        TraceFacts::new(trace_id, span_id, None, flags, false, state)
    }

    /// Returns the trace of a call that a recorded call makes.
    pub(crate) fn begin_nested(parent: &TraceFacts) -> TraceFacts {
        let TraceFacts { trace_id, span_id, flags, state, .. } = parent;
        TraceFacts::new(*trace_id, new_span_id(), Some(*span_id), *flags, true, state.clone())
    }

    /// Takes the span of a call that has ended. Never waits: without room, the span is dropped and
    /// counted.
    pub(crate) fn record(&self, span: CallSpan) {
        self.push(QueuedSpan::Call(span));
    }

    /// Takes the spans of a client, and returns how many of them had room.
    pub(crate) fn record_reported(&self, spans: ReportedSpans) -> usize {
        spans
            .0
            .into_iter()
            .map(|span| self.push(QueuedSpan::Reported(span)))
            .filter(|had_room| *had_room)
            .count()
    }

    fn push(&self, span: QueuedSpan) -> bool {
        let is_accepted = self.queue.push(span);
        if !is_accepted {
            self.metrics.counters.spans_dropped_queue_full.add(1);
        }
        is_accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0";

    fn tracer(sample: Sample) -> Arc<Tracer> {
        let config = TraceConfig { sample, ..TraceConfig::default() };
        Tracer::new(&config, Arc::default()).0
    }

    fn parent(flags: u8) -> TraceParent {
        TraceParent::parse(&format!("{PARENT}{flags}")).unwrap()
    }

    #[test]
    fn records_a_request_whose_client_records_it() {
        for sample in [Sample::Parent, Sample::Ratio(0.0)] {
            let facts = tracer(sample).begin(Some(parent(3)), Some("a=b".into())).unwrap();
            assert_eq!((facts.trace_id, facts.parent_id), (parent(3).trace_id, Some(parent(3).span_id)));
            assert_ne!(facts.span_id, parent(3).span_id);
            assert_eq!((facts.flags, facts.is_recorded, facts.state.as_deref()), (3, true, Some("a=b")));
        }
    }

    #[test]
    fn passes_on_the_trace_of_a_client_that_does_not_record_it() {
        let facts = tracer(Sample::Ratio(1.0)).begin(Some(parent(2)), None).unwrap();
        assert_eq!(facts.traceparent(), format!("{PARENT}2"));
        assert_eq!((facts.is_recorded, facts.parent_id), (false, None));
    }

    #[test]
    fn begins_traces_by_the_ratio() {
        assert!(tracer(Sample::Parent).begin(None, None).is_none());
        let tracer = tracer(Sample::Ratio(1.0));
        let facts = tracer.begin(None, None).unwrap();
        assert_eq!((facts.parent_id, facts.flags, facts.is_recorded), (None, 1, true));
        assert!(tracer.records_roots());

        tracer.set_sample(Sample::Ratio(0.0));
        assert!(tracer.begin(None, None).is_none() && !tracer.records_roots());
    }

    #[test]
    fn makes_a_nested_call_the_child_of_its_caller() {
        let facts = tracer(Sample::Parent).begin(Some(parent(1)), Some("a=b".into())).unwrap();
        let nested = Tracer::begin_nested(&facts);
        assert_eq!((nested.trace_id, nested.parent_id), (facts.trace_id, Some(facts.span_id)));
        assert_ne!(nested.span_id, facts.span_id);
        assert_eq!((nested.is_recorded, nested.state.as_deref()), (true, Some("a=b")));
    }
}

//! Traces: which requests are recorded as spans, and the export of the spans to a collector.
//!
//! ```text
//! admission ── begin ──► TraceFacts, which the call carries
//!                            │
//! end of the call ── record ─┴──► queue ──► thread `trace` ── OTLP over HTTP ──► collector
//! system.spans ── record_reported ──┘
//! ```
//!
//! The queue is bounded in spans and bytes. A span that finds no room is dropped and counted, so
//! that neither a slow collector nor none at all affects a request.

mod client;
mod exporter;
mod otlp;
mod queue;
mod reported_spans;
mod sampler;
mod span;
mod tracer;

pub(crate) use exporter::TraceExporter;
pub(crate) use reported_spans::ReportedSpans;
pub(crate) use span::{CallSpan, SpanExecutor, SpanPlace};
pub(crate) use tracer::Tracer;

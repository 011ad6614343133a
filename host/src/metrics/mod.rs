//! The metrics of the host: reported by `system.info`, by the operators' methods and to
//! Prometheus.
//!
//! The I/O thread that serves a request counts it, in cells that no other thread writes. Counting
//! therefore takes no lock, shares no cache line and looks up no name. The sums over all threads
//! are computed when a reader asks for a [`MetricsSnapshot`], at the reader's cost.

mod counters;
mod gauges;
mod histogram;
mod host_metrics;
mod method_names;
mod metrics_page;
mod open_connections;
mod outcome;
mod plugin_metrics;
mod process_metrics;
mod prometheus;
mod slow_log;
mod snapshot;
mod thread_cells;

pub(crate) use gauges::{CrashGauge, Gauges, PluginGauges, WorkerGauges};
pub(crate) use host_metrics::Metrics;
pub(crate) use method_names::{MethodId, MethodNames};
pub(crate) use open_connections::{ConnectionHandle, PeerIdentity};
pub(crate) use outcome::{Outcome, RejectionReason, RequestKind};
pub(crate) use plugin_metrics::{GenerationCounts, PluginCounts, ReloadOutcome};
pub(crate) use prometheus::{CONTENT_TYPE, render_page};
pub(crate) use slow_log::{SlowLogContents, SlowLogEntry, printable_excerpt};
pub(crate) use snapshot::{MethodCounts, MetricsSnapshot};
pub(crate) use thread_cells::{ThreadCells, ThreadTotal};

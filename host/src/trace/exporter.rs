//! The thread `trace`: exports what waits in the queue, at intervals and whenever half of the queue
//! is used.
//!
//! ```text
//!            ┌───────────── interval, or half of the queue ─────────────┐
//!            ▼                                                          │
//! wait ──► batch ──► attempt ──┬─ exported, refused ──► next batch ──► empty
//!                       ▲      │
//!                       │      ├─ temporary failure ──► pause, doubled each time
//!                       └──────┤                              │
//!                              └◄─────────────────────────────┘
//!                                 after MAX_ATTEMPTS the batch is dropped
//! ```
//!
//! When the host ends, pauses end, one last round exports what waits, and its limit ends that, too.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::client::{CollectorClient, ExportError};
use super::otlp::{HostResource, WallClock, document};
use super::queue::QueuedSpans;
use super::tracer::Tracer;
use crate::config::TraceConfig;
use crate::host_thread::HostThread;
use crate::log::{Counted, ShortDuration, printable};
use crate::metrics::Metrics;

/// Spans per request, and the memory of them at which a batch ends, in bytes.
const MAX_BATCH_SPANS: usize = 512;
const MAX_BATCH_BYTES: usize = 1 << 20;

/// Time for one request and its response.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(5);

/// Requests that are made for one batch.
const MAX_ATTEMPTS: u32 = 5;

/// Upper bound for the pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Time for the last export when the host ends.
const END_LIMIT: Duration = Duration::from_secs(1);

/// The running exporter. Dropping it ends the thread after a last export.
pub(crate) struct TraceExporter {
    /// When the last export must end; `None` while the host serves.
    end: watch::Sender<Option<Instant>>,
    thread: Option<HostThread>,
}

impl TraceExporter {
    /// Starts the thread if `trace.otlp` is set. `instance` identifies this run of the host.
    ///
    /// # Errors
    ///
    /// The system provides no thread or reactor.
    pub(crate) fn start(
        config: &TraceConfig,
        instance: [u8; 16],
        metrics: &Arc<Metrics>,
    ) -> io::Result<Option<(Arc<Tracer>, Self)>> {
        let client = config
            .otlp
            .as_ref()
            .and_then(|endpoint| CollectorClient::new(endpoint, config.authorization.as_ref()));
        let Some(client) = client else { return Ok(None) };

        let (tracer, spans) = Tracer::new(config, Arc::clone(metrics));
        let (end, ends) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let instance = format!("{:032x}", u128::from_be_bytes(instance));
        let exports = ExportLoop {
            host: HostResource { service: config.service.clone(), instance, host_name },
            clock: WallClock::default(),
            client,
            spans,
            ends,
            metrics: Arc::clone(metrics),
            interval: config.interval,
            pause: config.interval,
            failing_since: None,
        };
        let thread = HostThread::spawn("trace", move || exports.run(&runtime))?;
        Ok(Some((tracer, Self { end, thread: Some(thread) })))
    }
}

impl Drop for TraceExporter {
    fn drop(&mut self) {
        let until = Instant::now() + END_LIMIT;
        // The thread is missing if it has panicked.
        let _ = self.end.send(Some(until));
        // A name that is being resolved keeps the thread. Nothing else depends on it.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join_before(until.into_std() + END_LIMIT / 2);
        }
    }
}

/// How a batch ended.
enum BatchEnd {
    /// It left the queue for good.
    Done,

    /// The host ends, and the collector does not take it.
    GivenUp,
}

/// The state of the thread.
struct ExportLoop {
    host: HostResource,
    clock: WallClock,
    client: CollectorClient,
    spans: QueuedSpans,
    ends: watch::Receiver<Option<Instant>>,
    metrics: Arc<Metrics>,
    interval: Duration,

    /// The next pause after a failure.
    pause: Duration,

    /// When the first of the failures happened since which nothing was exported, and the number of
    /// spans that were dropped then.
    failing_since: Option<(Instant, u64)>,
}

impl ExportLoop {
    fn run(mut self, runtime: &Runtime) {
        runtime.block_on(async {
            while self.end().is_none() {
                self.wait().await;
                self.export_all().await;
            }
            // Spans may have come between the last round and the end.
            self.export_all().await;
        });
        self.report_left();
    }

    /// Returns when the last export must end; `None` while the host serves.
    fn end(&self) -> Option<Instant> {
        *self.ends.borrow()
    }

    /// Waits for the next round.
    async fn wait(&mut self) {
        let wake = Arc::clone(&self.spans.wake);
        tokio::select! {
            () = sleep(self.interval) => {}
            () = wake.notified() => {}
            () = end_begins(self.ends.clone()) => {}
        }
    }

    async fn export_all(&mut self) {
        loop {
            let batch = self.spans.take(MAX_BATCH_SPANS, MAX_BATCH_BYTES);
            if batch.is_empty() {
                return;
            }
            self.clock.refresh();
            let body = document(&self.host, &self.clock, &batch).into();
            let count = batch.len() as u64;
            drop(batch);

            if let BatchEnd::GivenUp = self.export(body, count).await {
                return;
            }
        }
    }

    /// Exports a batch with up to [`MAX_ATTEMPTS`] attempts.
    async fn export(&mut self, body: Bytes, count: u64) -> BatchEnd {
        let metrics = Arc::clone(&self.metrics);
        let counters = &metrics.counters;

        for attempt in 1..=MAX_ATTEMPTS {
            let retry_after = match self.attempt(body.clone()).await {
                Ok(rejected) => {
                    let rejected = rejected.min(count);
                    counters.spans_exported.add(count - rejected);
                    counters.spans_dropped_refused.add(rejected);
                    self.report_success();
                    return BatchEnd::Done;
                }
                Err(error) => {
                    counters.span_export_failures.add(1);
                    self.report_failure(&error);
                    match error {
                        ExportError::Refused(_) => {
                            counters.spans_dropped_refused.add(count);
                            return BatchEnd::Done;
                        }
                        ExportError::Temporary { retry_after, .. } => retry_after,
                    }
                }
            };

            if self.end().is_some() {
                counters.spans_dropped_unreachable.add(count);
                return BatchEnd::GivenUp;
            }
            if attempt < MAX_ATTEMPTS {
                self.pause(retry_after).await;
            }
        }
        counters.spans_dropped_unreachable.add(count);
        BatchEnd::Done
    }

    async fn attempt(&self, body: Bytes) -> Result<u64, ExportError> {
        let end_passes = async {
            end_begins(self.ends.clone()).await;
            sleep_until(self.end().unwrap_or_else(Instant::now)).await;
        };
        tokio::select! {
            sent = timeout(ATTEMPT_LIMIT, self.client.send(body)) => sent.unwrap_or_else(|_| {
                let limit = ShortDuration(ATTEMPT_LIMIT);
                Err(ExportError::temporary(format_args!("no answer within {limit}")))
            }),
            () = end_passes => Err(ExportError::temporary("no answer before the host ended")),
        }
    }

    /// Waits after a failure, unless the host ends.
    async fn pause(&mut self, at_least: Option<Duration>) {
        let length = self.pause.max(at_least.unwrap_or_default());
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        tokio::select! {
            () = sleep(length) => {}
            () = end_begins(self.ends.clone()) => {}
        }
    }

    /// Logs the first failure of an outage.
    fn report_failure(&mut self, error: &ExportError) {
        if self.failing_since.is_some() {
            return;
        }
        self.failing_since = Some((Instant::now(), self.dropped()));
        let (endpoint, error) = (self.client.endpoint(), error.to_string());
        let error = printable(&error);
        tracing::warn!(
            %endpoint,
            %error,
            "spans cannot be exported to {endpoint}: {error}; the host tries again and drops what the queue cannot \
             hold"
        );
    }

    /// Logs the end of an outage.
    fn report_success(&mut self) {
        self.pause = self.interval;
        let Some((since, before)) = self.failing_since.take() else { return };
        let (endpoint, length) = (self.client.endpoint(), ShortDuration(since.elapsed()));
        let dropped = self.dropped() - before;
        tracing::info!(
            %endpoint,
            dropped,
            "spans are exported to {endpoint} again after {length}; {} dropped meanwhile",
            Counted(dropped, "span")
        );
    }

    fn dropped(&self) -> u64 {
        let counters = &self.metrics.counters;
        counters.spans_dropped_queue_full.read()
            + counters.spans_dropped_refused.read()
            + counters.spans_dropped_unreachable.read()
    }

    /// Counts the spans that were not exported before the host ended.
    fn report_left(&self) {
        let left = self.spans.take(usize::MAX, usize::MAX).len() as u64;
        self.metrics.counters.spans_dropped_unreachable.add(left);
        if left > 0 {
            tracing::debug!("{} not exported before the host ended", Counted(left, "span"));
        }
    }
}

/// Waits until the host ends.
async fn end_begins(mut ends: watch::Receiver<Option<Instant>>) {
    // A dropped sender also ends the thread.
    let _ = ends.wait_for(Option::is_some).await;
}

#[cfg(test)]
mod tests;

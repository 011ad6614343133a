//! The control thread: serves the HTTP endpoint from the start on, then accepts connections,
//! drains, and ends the host.
//!
//! ```text
//! start ──► endpoint only ──(serve)──► endpoint and server ──(shutdown)──► drain ──► plugins stop
//!                 │
//!                 └──(dropped: the host did not start)──► end
//! ```

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use crate::host_thread::HostThread;
use crate::output::OutputCapture;
use crate::reload::Reloader;
use crate::routing::Dispatcher;
use crate::server::{HttpEndpoint, ListeningSockets, Server};
use crate::shutdown::ShutdownStage;
use crate::trace::TraceExporter;

/// Time for the plugins to stop after the last request was answered.
pub(crate) const RETIRE_LIMIT: Duration = Duration::from_secs(5);

/// Time for the thread to end if the host does not start.
const END_LIMIT: Duration = Duration::from_secs(5);

/// The parts of a started host, which the control thread owns from then on.
pub(crate) struct ServeParts {
    pub(crate) server: Server,
    pub(crate) sockets: ListeningSockets,
    pub(crate) reloader: Reloader,
    pub(crate) output: Option<OutputCapture>,
    pub(crate) exporter: Option<TraceExporter>,
    pub(crate) shutdown: watch::Receiver<ShutdownStage>,
    /// Receives the result when all parts have ended.
    pub(crate) done: oneshot::Sender<io::Result<()>>,
}

/// The control thread of a host that is starting. Dropping it ends the thread.
pub(crate) struct ControlThread {
    parts: Option<oneshot::Sender<ServeParts>>,
    thread: Option<HostThread>,
}

impl ControlThread {
    /// Starts the thread and serves `endpoint` on it, so that `/readyz` answers while plugins
    /// start.
    ///
    /// # Errors
    ///
    /// The system provides no thread or reactor.
    pub(crate) fn start(endpoint: Option<HttpEndpoint>, dispatcher: Arc<Dispatcher>) -> io::Result<Self> {
        let runtime = RuntimeGuard::new()?;
        let (parts, received) = oneshot::channel();
        let run = move || run(runtime, endpoint, dispatcher, received);
        let thread = HostThread::spawn("control", run)?;
        Ok(Self { parts: Some(parts), thread: Some(thread) })
    }

    /// Lets the thread serve the started host until its end.
    pub(crate) fn serve(mut self, started: ServeParts) {
        self.thread = None;
        if let Some(parts) = self.parts.take() {
            // The thread waits for these parts and for nothing else, so the receiver exists.
            let _ = parts.send(started);
        }
    }
}

impl Drop for ControlThread {
    fn drop(&mut self) {
        self.parts = None;
        if let Some(thread) = self.thread.take() {
            // The thread only answers requests of the endpoint, so it ends at once.
            let _ = thread.join_before(Instant::now() + END_LIMIT);
        }
    }
}

fn run(
    runtime: RuntimeGuard,
    endpoint: Option<HttpEndpoint>,
    dispatcher: Arc<Dispatcher>,
    parts: oneshot::Receiver<ServeParts>,
) {
    let crash_record = Arc::clone(&dispatcher.crash_record);
    let for_endpoint = Arc::clone(&dispatcher);
    let served = runtime.block_on(async move {
        if let Some(endpoint) = endpoint {
            tokio::spawn(endpoint.serve(for_endpoint));
        }
        let ServeParts { server, sockets, reloader, output, exporter, shutdown, done } = parts.await.ok()?;
        Some((server.run(sockets, shutdown).await, reloader, output, exporter, done))
    });
    drop(runtime);
    drop(dispatcher);

    if let Some((result, reloader, output, exporter, done)) = served.flatten() {
        // Each of these steps ends within a limit, whatever plugins do.
        tracing::debug!("shutdown: retiring the plugins");
        reloader.stop(RETIRE_LIMIT);
        tracing::debug!("shutdown: exporting the last spans");
        drop(exporter);
        tracing::debug!("shutdown: reading the last output of plugins");
        // After the last code of a plugin has run, so that its output is still logged.
        drop(output);
        tracing::debug!("shutdown: closing the crash record");
        crash_record.close();
        tracing::debug!("shutdown: the host has ended");
        // The receiver is missing if the host was dropped.
        let _ = done.send(result);
    }
}

/// A runtime that waits for nothing when it is dropped.
///
/// A host may fail to start inside the runtime of an embedding program. Dropping tokio's own type
/// there would panic.
struct RuntimeGuard(Option<tokio::runtime::Runtime>);

impl RuntimeGuard {
    fn new() -> io::Result<Self> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().map(|runtime| Self(Some(runtime)))
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.0.as_ref().map(|runtime| runtime.block_on(work))
    }
}

impl Drop for RuntimeGuard {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

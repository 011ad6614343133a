//! The control thread: answers those who watch over the host from the start on, then accepts, drains, ends everything.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::output::OutputCapture;
use crate::reload::Reloader;
use crate::routing::Dispatcher;
use crate::server::{HttpEndpoint, ListeningSockets, Server, ShutdownStage};

/// How long the plugins may take to stop once no request is left.
pub(crate) const RETIRE_LIMIT: Duration = Duration::from_secs(5);

/// What the thread is to serve, once it is there.
pub(crate) struct ServeParts {
    pub(crate) server: Server,
    pub(crate) sockets: ListeningSockets,
    pub(crate) reloader: Reloader,
    pub(crate) captured: Option<OutputCapture>,
    pub(crate) ending: watch::Receiver<ShutdownStage>,
    /// Told when all of it has ended.
    pub(crate) done: oneshot::Sender<io::Result<()>>,
}

/// The thread while the host starts. Dropped, it ends: the host did not start.
pub(crate) struct ControlThread {
    begins: Option<oneshot::Sender<ServeParts>>,
    thread: Option<JoinHandle<()>>,
}

impl ControlThread {
    /// Starts the thread, and the endpoint on it: plugins may take long to start, and who asks is told so.
    pub(crate) fn start(endpoint: Option<HttpEndpoint>, dispatcher: Arc<Dispatcher>) -> io::Result<Self> {
        let runtime = RuntimeGuard::new()?;
        let (begins, begun) = oneshot::channel();
        let thread =
            Builder::new().name("control".into()).spawn(move || run(runtime, endpoint, dispatcher, begun))?;
        Ok(Self { begins: Some(begins), thread: Some(thread) })
    }

    /// The host has started: the thread serves it to its end.
    pub(crate) fn serve(mut self, serving: ServeParts) {
        self.thread = None;
        if let Some(begins) = self.begins.take() {
            // The thread waits for nothing else.
            let _ = begins.send(serving);
        }
    }
}

impl Drop for ControlThread {
    fn drop(&mut self) {
        self.begins = None;
        if let Some(thread) = self.thread.take() {
            // Nothing in it panics; if it did, there is nothing left of it either.
            let _ = thread.join();
        }
    }
}

fn run(
    runtime: RuntimeGuard,
    endpoint: Option<HttpEndpoint>,
    dispatcher: Arc<Dispatcher>,
    begun: oneshot::Receiver<ServeParts>,
) {
    let (watched, crash_record) = (Arc::clone(&dispatcher), Arc::clone(&dispatcher.crash_record));
    let served = runtime.block_on(async move {
        if let Some(endpoint) = endpoint {
            tokio::spawn(endpoint.serve(watched));
        }
        let ServeParts { server, sockets, reloader, captured, ending, done } = begun.await.ok()?;
        Some((server.run(sockets, ending).await, reloader, captured, done))
    });
    drop(runtime);
    drop(dispatcher);
    if let Some((served, reloader, captured, done)) = served.flatten() {
        reloader.stop(RETIRE_LIMIT);
        // To the end of the last code of a plugin's.
        drop(captured);
        crash_record.close();
        // Nobody waits when the host was dropped.
        let _ = done.send(served);
    }
}

/// The thread's runtime. Dropped, it waits for nothing, so that a start that fails may be one of an async program:
/// tokio's own would panic there.
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

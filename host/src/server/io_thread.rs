//! One I/O thread as the rest of the server sees it: started, sent commands to, joined.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::runtime;
use tokio::task::LocalSet;

use super::io_command::{IoThreadCommand, IoThreadSender};
use super::io_thread_loop::IoThreadLoop;
use crate::crash_record::{RecordSlot, SlotSampler};
use crate::host_thread::HostThread;
use crate::plugin::touch_thread_locals;
use crate::routing::{Dispatcher, mark_io_thread};
use crate::timer::KernelTimer;

/// A thread that serves connections: one reactor, one timer, one set of buffers, any number of
/// connections.
pub(super) struct IoThread {
    /// Counts the I/O threads of this host, from 0.
    pub(super) number: u64,
    pub(super) commands: IoThreadSender,
    /// Samples which plugin code the thread runs; `None` if the crash record has no slot left for
    /// it.
    pub(super) sampler: Option<SlotSampler>,
    /// Number of connections that the thread has cut at its end.
    cut: Arc<AtomicUsize>,
    thread: HostThread,
}

impl IoThread {
    /// Starts the thread `io:NUMBER`, which calls `report_running` when it can serve.
    ///
    /// A thread that starts while a plugin is loaded or unloaded waits for that (module
    /// `thread_locals`). Until it reports that it runs, no connection may be routed to it. If the
    /// returned value is dropped before that, the thread ends as soon as it runs.
    ///
    /// # Errors
    ///
    /// The system provides no thread, reactor or timer.
    pub(super) fn start(
        number: u64,
        dispatcher: Arc<Dispatcher>,
        report_running: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (commands, received) = IoThreadSender::channel();
        // Without the runtime's own timer; the module `timer` states why.
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let timer = KernelTimer::new()?;
        let slot = dispatcher.crash_record.claim_slot();
        let sampler = slot.as_ref().map(RecordSlot::sampler);
        let cut = Arc::<AtomicUsize>::default();
        let cut_here = Arc::clone(&cut);

        let thread = HostThread::spawn(&format!("io:{number}"), move || {
            mark_io_thread();
            RecordSlot::attach(slot);
            touch_thread_locals();

            // The future of `block_on` is polled whenever any task of the thread wakes up. It
            // therefore only awaits the loop, which is a task of its own.
            let ended = LocalSet::new().block_on(&runtime, async move {
                let serving = async move {
                    report_running();
                    IoThreadLoop::new(dispatcher, &received).run(received.commands, timer).await
                };
                let ended = tokio::task::spawn_local(serving).await;
                ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
            });
            cut_here.store(ended, Ordering::Release);
            // There are no blocking tasks of tokio, for which dropping the runtime would wait.
            runtime.shutdown_background();
        })?;

        Ok(Self { number, commands, sampler, cut, thread })
    }

    /// Returns the thread id; `None` if the thread has not started, or procfs cannot be read.
    pub(super) fn tid(&self) -> Option<u32> {
        self.thread.tid()
    }

    /// Returns whether the thread serves no connection any more.
    pub(super) fn has_returned(&self) -> bool {
        self.thread.has_returned()
    }

    /// Returns whether the thread has left the process. A destructor of a plugin can keep a thread
    /// that has returned.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.has_ended()
    }

    /// Returns the number of connections that a thread cut before it returned.
    pub(super) fn connections_cut(&self) -> usize {
        self.cut.load(Ordering::Acquire)
    }

    /// Joins a thread that has ended.
    pub(super) fn join(self) {
        // A panic of the thread was logged when it happened.
        let _ = self.thread.join_before(Instant::now());
    }
}

/// Sends a command to each of `threads`. A thread that has ended needs none.
pub(super) fn send_to_all(threads: &[IoThread], command: impl Fn() -> IoThreadCommand) {
    for thread in threads {
        let _ = thread.commands.send(command());
    }
}

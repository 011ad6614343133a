//! One I/O thread as the rest of the server sees it: started, sent commands to, joined.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use tokio::runtime;
use tokio::task::LocalSet;

use super::io_command::{IoThreadCommand, IoThreadSender};
use super::io_thread_loop::IoThreadLoop;
use crate::crash_record::{RecordSlot, SlotSampler};
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
    thread: JoinHandle<usize>,
}

impl IoThread {
    /// Starts the thread `io:NUMBER`.
    ///
    /// # Errors
    ///
    /// The system provides no thread, reactor or timer.
    pub(super) fn start(number: u64, dispatcher: Arc<Dispatcher>) -> io::Result<Self> {
        let (commands, received) = IoThreadSender::channel();
        // Without the runtime's own timer; the module `timer` states why.
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let timer = KernelTimer::new()?;
        let slot = dispatcher.crash_record.claim_slot();
        let sampler = slot.as_ref().map(RecordSlot::sampler);

        let thread = Builder::new().name(format!("io:{number}")).spawn(move || {
            mark_io_thread();
            RecordSlot::attach(slot);

            // The future of `block_on` is polled whenever any task of the thread wakes up. It
            // therefore only awaits the loop, which is a task of its own.
            LocalSet::new().block_on(&runtime, async move {
                let serving = IoThreadLoop::new(dispatcher, &received).run(received.commands, timer);
                let ended = tokio::task::spawn_local(serving).await;
                ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
            })
        })?;

        Ok(Self { number, commands, sampler, thread })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end of the thread and returns how many connections it cut.
    pub(super) fn join(self) -> usize {
        self.thread.join().unwrap_or(0)
    }
}

/// Sends a command to each of `threads`. A thread that has ended needs none.
pub(super) fn send_to_all(threads: &[IoThread], command: impl Fn() -> IoThreadCommand) {
    for thread in threads {
        let _ = thread.commands.send(command());
    }
}

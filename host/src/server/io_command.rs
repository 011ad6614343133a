//! Commands to one I/O thread, and the sender that carries commands and work to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::io_work::{IoThreadWork, WorkQueue};
use crate::loader::SignalMask;

/// A command to one I/O thread. No other thread can carry it out, and a thread that has ended needs
/// none.
pub(super) enum IoThreadCommand {
    /// Confirm that commands are received; the health check waits for it.
    Confirm(mpsc::Sender<()>),

    /// Restore the signal mask of the thread, which a plugin has changed.
    RestoreSignalMask(SignalMask),

    /// Move every connection to the threads that serve from now on, then end.
    Leave(Arc<dyn Successors>),

    /// Answer the requests in flight, accept no new ones, and close the connections that have none
    /// left. The thread continues to run `inline` methods for others.
    Drain,

    /// Answer the requests in flight now, as if their deadlines had passed.
    Hurry,

    /// End as soon as no connection is left.
    Finish,

    /// End now.
    Cut,
}

/// The I/O threads to which the connections of a thread migrate while it is being replaced.
pub(super) trait Successors: Send + Sync {
    /// Sends `work` to one of the threads.
    ///
    /// # Errors
    ///
    /// Returns the work if all of them have ended.
    fn send(&self, work: IoThreadWork) -> Result<(), IoThreadWork>;
}

/// Sends commands and work to one I/O thread, and knows its load.
#[derive(Clone)]
pub(super) struct IoThreadSender {
    commands: UnboundedSender<IoThreadCommand>,
    work: Arc<WorkQueue<IoThreadWork>>,
    connections: Arc<AtomicUsize>,
    stalled: Arc<AtomicBool>,
}

/// The receiving side of an [`IoThreadSender`], for its thread.
pub(super) struct IoThreadReceiver {
    pub(super) commands: UnboundedReceiver<IoThreadCommand>,
    pub(super) work: Arc<WorkQueue<IoThreadWork>>,
    /// The number of connections, which the thread lowers when one ends.
    pub(super) connections: Arc<AtomicUsize>,
}

impl IoThreadSender {
    /// Returns a sender and the receiver for its thread.
    pub(super) fn channel() -> (Self, IoThreadReceiver) {
        let (commands, received) = unbounded_channel();
        let (work, connections) = (Arc::<WorkQueue<_>>::default(), Arc::<AtomicUsize>::default());
        let receiver = IoThreadReceiver {
            commands: received,
            work: Arc::clone(&work),
            connections: Arc::clone(&connections),
        };
        (Self { commands, work, connections, stalled: Arc::default() }, receiver)
    }

    /// Returns whether a call has blocked the thread for longer than `timeouts.inline`, and still
    /// does.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    pub(super) fn set_stalled(&self, is_stalled: bool) {
        self.stalled.store(is_stalled, Ordering::Relaxed);
    }

    /// Returns the number of connections that the thread serves or is about to serve.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Returns whether the thread takes work: it is not being replaced and has not ended.
    pub(super) fn is_open(&self) -> bool {
        !self.work.is_closed()
    }

    /// Sends `command` to the thread.
    ///
    /// # Errors
    ///
    /// Returns the command if the thread has ended.
    pub(super) fn send(&self, command: IoThreadCommand) -> Result<(), IoThreadCommand> {
        self.commands.send(command).map_err(|unsent| unsent.0)
    }

    /// Sends `work` to the thread.
    ///
    /// # Errors
    ///
    /// Returns the work if the thread takes none any more.
    pub(super) fn send_work(&self, work: IoThreadWork) -> Result<(), IoThreadWork> {
        let adds_a_connection = work.adds_a_connection();
        if adds_a_connection {
            self.connections.fetch_add(1, Ordering::Relaxed);
        }

        self.work.push(work).inspect_err(|_| {
            if adds_a_connection {
                self.connections.fetch_sub(1, Ordering::Relaxed);
            }
        })
    }

    /// Makes the thread move its connections to `successors`, with the work that waits for it, and
    /// end.
    ///
    /// The work is moved here and not by the thread, because an `inline` method may block the
    /// thread for long.
    pub(super) fn leave_to(&self, successors: &Arc<dyn Successors>) {
        self.work.close_into(|work| successors.send(work));
        // A thread that has ended has no connection to move.
        let _ = self.send(IoThreadCommand::Leave(Arc::clone(successors)));
    }
}

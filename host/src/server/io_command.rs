//! Commands to I/O threads, and the channel that carries them.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::connection::{ListenerOptions, MigratingConnection};
use crate::limits::Permit;
use crate::loader::SignalMask;
use crate::metrics::PeerIdentity;
use crate::plugin::PluginCall;

/// A connection that an acceptor has just accepted and admitted.
pub(super) struct AcceptedConnection {
    pub(super) number: u64,
    pub(super) stream: UnixStream,
    pub(super) manner: ListenerOptions,
    /// `None` if the kernel does not report the peer.
    pub(super) peer: Option<PeerIdentity>,
    pub(super) permit: Permit,
}

/// A command to one I/O thread.
pub(super) enum IoThreadCommand {
    /// Serve a new connection.
    Serve(AcceptedConnection),

    /// Continue to serve a connection of a thread that is being replaced.
    Resume(Box<MigratingConnection>),

    /// Confirm that commands are received; the health check waits for it.
    Confirm(mpsc::Sender<()>),

    /// Restore the signal mask of the thread, which a plugin has changed.
    RestoreSignalMask(SignalMask),

    /// Run an `inline` method for a thread that must not run it.
    Run(Arc<PluginCall>),

    /// Move every connection to the threads that serve from now on, then end.
    Leave(Arc<dyn Successors>),

    /// Answer the requests in flight, accept no new ones, and end when no connection is left.
    Drain,

    /// Answer the requests in flight now, as if their deadlines had passed.
    Hurry,

    /// End now.
    Cut,
}

impl IoThreadCommand {
    /// Returns whether any I/O thread of the host can carry out this command.
    pub(super) fn is_for_any_thread(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Resume(_) | Self::Run(_))
    }

    fn adds_a_connection(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Resume(_))
    }
}

/// The I/O threads to which the connections of a thread migrate while it is being replaced.
pub(super) trait Successors: Send + Sync {
    /// Sends `command` to one of the threads.
    ///
    /// # Errors
    ///
    /// Returns the command if all of them have ended.
    fn send(&self, command: IoThreadCommand) -> Result<(), IoThreadCommand>;
}

/// Sends commands to one I/O thread, and knows its load.
#[derive(Clone)]
pub(super) struct IoThreadSender {
    commands: UnboundedSender<IoThreadCommand>,
    connections: Arc<AtomicUsize>,
    stalled: Arc<AtomicBool>,
}

impl IoThreadSender {
    /// Returns a sender, the receiver for its thread, and the count of connections that the thread
    /// keeps.
    pub(super) fn channel() -> (Self, UnboundedReceiver<IoThreadCommand>, Arc<AtomicUsize>) {
        let (commands, received) = unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let sender = Self { commands, connections: Arc::clone(&connections), stalled: Arc::default() };
        (sender, received, connections)
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

    /// Sends `command` to the thread.
    ///
    /// # Errors
    ///
    /// Returns the command if the thread has ended.
    pub(super) fn send(&self, command: IoThreadCommand) -> Result<(), IoThreadCommand> {
        let adds_a_connection = command.adds_a_connection();
        if adds_a_connection {
            self.connections.fetch_add(1, Ordering::Relaxed);
        }

        self.commands.send(command).map_err(|unsent| {
            if adds_a_connection {
                self.connections.fetch_sub(1, Ordering::Relaxed);
            }
            unsent.0
        })
    }
}

//! The main task of an I/O thread: receives commands, owns the tasks of the thread's connections.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use slab::Slab;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::busy_polling::poll_busily;
use super::io_command::{AcceptedConnection, IoThreadCommand, Successors};
use crate::connection::{Connection, ConnectionEnd, ConnectionNotifier, ThreadContext};
use crate::metrics::ConnectionHandle;
use crate::routing::Dispatcher;
use crate::timer::KernelTimer;
use crate::timer::TimerQueue;

/// The key of an ended connection's notifier, and how the connection left the thread.
type EndedConnection = (usize, ConnectionEnd);

/// The state of the main task.
pub(super) struct IoThreadLoop {
    thread: Rc<ThreadContext>,
    /// The connections of the thread, also read by those who choose a thread for a new one.
    load: Arc<AtomicUsize>,
    connections: JoinSet<EndedConnection>,
    notifiers: Slab<ConnectionNotifier>,
    /// The threads to which the connections migrate, once this one leaves.
    successors: Option<Arc<dyn Successors>>,
}

impl IoThreadLoop {
    pub(super) fn new(dispatcher: Arc<Dispatcher>, load: Arc<AtomicUsize>) -> Self {
        let thread = ThreadContext::new(dispatcher, TimerQueue::default());
        Self { thread, load, connections: JoinSet::new(), notifiers: Slab::new(), successors: None }
    }

    /// Serves until the thread is to end, and returns how many connections were cut.
    pub(super) async fn run(
        mut self,
        mut commands: UnboundedReceiver<IoThreadCommand>,
        timer: KernelTimer,
    ) -> usize {
        let mut timer = tokio::task::spawn_local(self.thread.timers.clone().run(timer));
        let polling = tokio::task::spawn_local(poll_busily(Rc::clone(&self.thread)));

        let cut = loop {
            if self.is_ending() && self.connections.is_empty() {
                break 0;
            }

            tokio::select! {
                command = commands.recv() => match command {
                    Some(IoThreadCommand::Cut) | None => break self.connections.len(),
                    Some(command) => self.carry_out_or_forward(command),
                },
                Some(ended) = self.connections.join_next() => match ended {
                    Ok(ended) => self.remove(ended),
                    Err(error) => {
                        // A panic of a connection's task is a fault of the host. Its notifier stays
                        // in the slab.
                        self.load.fetch_sub(1, Ordering::Relaxed);
                        tracing::error!(
                            %error,
                            "a connection's task panicked: {error}; its client was disconnected, please report this"
                        );
                    }
                },
                ended = &mut timer => {
                    tracing::error!(
                        ?ended,
                        "the timer of an I/O thread ended: {ended:?}; its connections are closed, please report this"
                    );
                    break self.connections.len();
                }
            }
        };

        timer.abort();
        polling.abort();
        self.connections.shutdown().await;
        self.forward_remaining(commands).await;
        cut
    }

    /// Returns whether the thread ends once its last connection has ended.
    fn is_ending(&self) -> bool {
        self.thread.is_draining.get() || self.successors.is_some()
    }

    /// Forwards the commands that were sent before their senders knew that this thread leaves.
    async fn forward_remaining(&self, mut commands: UnboundedReceiver<IoThreadCommand>) {
        commands.close();
        let Some(successors) = &self.successors else { return };

        while let Some(command) = commands.recv().await {
            // If the successors have ended, the host ends, and the connection is cut like theirs.
            if let Err(IoThreadCommand::Resume(migrating)) = successors.send(command) {
                migrating.cut(&self.thread);
            }
        }
    }

    /// Carries out `command`, or forwards it if this thread leaves and another one can do it.
    fn carry_out_or_forward(&mut self, command: IoThreadCommand) {
        let Some(successors) = self.successors.as_ref().filter(|_| command.is_for_any_thread()) else {
            return self.carry_out(command);
        };

        if let Err(command) = successors.send(command) {
            // The successors have ended, so the host is ending: this thread serves its connections
            // to their end.
            self.successors = None;
            self.thread.is_leaving.set(false);
            self.carry_out(command);
        }
    }

    fn carry_out(&mut self, command: IoThreadCommand) {
        match command {
            IoThreadCommand::Serve(accepted) => self.serve_accepted(accepted),
            IoThreadCommand::Resume(migrating) => {
                self.serve(Connection::resume(*migrating, &self.thread));
            }
            IoThreadCommand::Run(call) => call.claim_and_run(),

            IoThreadCommand::Confirm(confirmed) => {
                // The receiver is missing if the health check has given up waiting.
                let _ = confirmed.send(());
            }
            IoThreadCommand::Leave(successors) => {
                self.successors = Some(successors);
                self.thread.is_leaving.set(true);
                self.notify_all();
            }
            IoThreadCommand::Drain => {
                self.thread.is_draining.set(true);
                self.notify_all();
            }
            IoThreadCommand::Hurry => {
                self.thread.is_hurrying.set(true);
                self.notify_all();
            }
            // `run` ends the loop for it.
            IoThreadCommand::Cut => {}
        }
    }

    fn notify_all(&self) {
        self.notifiers.iter().for_each(|(_, notifier)| notifier.notify());
    }

    fn serve_accepted(&mut self, accepted: AcceptedConnection) {
        let AcceptedConnection { number, stream, manner, peer, permit } = accepted;
        let open = &self.thread.dispatcher.metrics.open_connections;
        let handle = ConnectionHandle::new(open, number, peer, manner.admin);
        let (uid, pid) = (peer.map(|peer| peer.uid), peer.map(|peer| peer.pid));
        tracing::debug!(conn = number, uid, pid, "connection {number} accepted");

        let stream = tokio::net::UnixStream::from_std(stream);
        self.serve(
            stream.map(|stream| Connection::new(number, stream, &self.thread, manner, handle, permit)),
        );
    }

    fn serve(&mut self, registered: io::Result<Connection>) {
        let connection = match registered {
            Ok(connection) => connection,
            Err(error) => {
                self.load.fetch_sub(1, Ordering::Relaxed);
                tracing::error!(%error,
                    "a connection cannot be registered with its I/O thread: {error}; it is closed \
                     (raise LimitNOFILE= if descriptors ran out)"
                );
                return;
            }
        };

        let key = self.notifiers.insert(connection.notifier());
        self.connections.spawn_local(async move { (key, connection.serve().await) });
    }

    fn remove(&mut self, (key, end): EndedConnection) {
        drop(self.notifiers.remove(key));
        match end {
            ConnectionEnd::Closed => {
                self.load.fetch_sub(1, Ordering::Relaxed);
            }
            ConnectionEnd::Migrates(migrating) => {
                self.carry_out_or_forward(IoThreadCommand::Resume(migrating))
            }
        }
    }
}

//! The main task of an I/O thread: receives commands and work, owns the tasks of the thread's
//! connections.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use slab::Slab;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::busy_polling::poll_busily;
use super::io_command::{IoThreadCommand, IoThreadReceiver, Successors};
use super::io_work::{AcceptedConnection, IoThreadWork, WorkQueue};
use crate::connection::{Connection, ConnectionEnd, ConnectionNotifier, MigratingConnection, ThreadContext};
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
    work: Arc<WorkQueue<IoThreadWork>>,
    /// Whether the thread ends once no connection is left.
    is_finishing: bool,
    /// The threads to which the connections migrate, once this one leaves.
    successors: Option<Arc<dyn Successors>>,
}

impl IoThreadLoop {
    pub(super) fn new(dispatcher: Arc<Dispatcher>, receiver: &IoThreadReceiver) -> Self {
        Self {
            thread: ThreadContext::new(dispatcher, TimerQueue::default()),
            load: Arc::clone(&receiver.connections),
            connections: JoinSet::new(),
            notifiers: Slab::new(),
            work: Arc::clone(&receiver.work),
            is_finishing: false,
            successors: None,
        }
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
                    Some(command) => self.carry_out(command),
                },
                work = poll_fn(|cx| self.work.poll_next(cx)) => self.do_work(work),
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
        while let Some(Ok(ended)) = self.connections.try_join_next() {
            // It may have left for another thread.
            self.remove(ended);
        }
        self.connections.shutdown().await;
        cut + self.end_queues(commands)
    }

    /// Returns whether the thread ends once its last connection has ended.
    fn is_ending(&self) -> bool {
        self.is_finishing || self.successors.is_some()
    }

    /// Handles what was sent to this thread and not received yet. Nothing can be sent any more when
    /// it returns. Returns how many connections were cut.
    fn end_queues(&self, mut commands: UnboundedReceiver<IoThreadCommand>) -> usize {
        commands.close();
        while let Ok(command) = commands.try_recv() {
            if let IoThreadCommand::Confirm(confirmed) = command {
                let _ = confirmed.send(());
            }
        }

        let mut left = Vec::new();
        self.work.close_into(|work| {
            left.push(work);
            Ok(())
        });
        left.into_iter().map(|work| self.do_last_work(work)).sum()
    }

    /// Passes `work` to the successors. If there are none, runs the call or cuts the connection.
    /// Returns how many connections were cut.
    fn do_last_work(&self, work: IoThreadWork) -> usize {
        match self.offer_to_successors(work) {
            None => 0,
            Some(IoThreadWork::Run(call)) => {
                call.claim_and_run();
                0
            }
            Some(IoThreadWork::Resume(migrating)) => {
                migrating.cut(&self.thread);
                1
            }
            // No request of it was read. Dropping it closes it.
            Some(IoThreadWork::Serve(_)) => 1,
        }
    }

    fn do_work(&mut self, work: IoThreadWork) {
        match work {
            IoThreadWork::Serve(accepted) => self.serve_accepted(accepted),
            IoThreadWork::Resume(migrating) => {
                self.serve(Connection::resume(*migrating, &self.thread));
            }
            IoThreadWork::Run(call) => call.claim_and_run(),
        }
    }

    fn carry_out(&mut self, command: IoThreadCommand) {
        match command {
            IoThreadCommand::RestoreSignalMask(mask) => mask.apply(),
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
            IoThreadCommand::Finish => self.is_finishing = true,
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
            ConnectionEnd::Migrates(migrating) => self.pass_on(migrating),
        }
    }

    /// Sends `work` to the successors, and returns it if there are none left.
    fn offer_to_successors(&self, work: IoThreadWork) -> Option<IoThreadWork> {
        match &self.successors {
            Some(successors) => successors.send(work).err(),
            None => Some(work),
        }
    }

    /// Moves a connection to the successors.
    fn pass_on(&mut self, migrating: Box<MigratingConnection>) {
        if let Some(work) = self.offer_to_successors(IoThreadWork::Resume(migrating)) {
            // The successors have ended, so the host is ending: this thread serves its connections
            // to their end.
            self.successors = None;
            self.thread.is_leaving.set(false);
            self.do_work(work);
        }
    }
}

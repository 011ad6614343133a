//! The task of a connection on its I/O thread.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::UnixStream;

use super::identity::{ConnectionIdentity, ListenerOptions};
use super::mailbox::Mailbox;
use super::migration::MigratingConnection;
use super::state::ConnectionState;
use super::thread_context::ThreadContext;
use super::turn::Turn;
use crate::limits::Permit;
use crate::metrics::ConnectionHandle;
use crate::timer::TimerEntry;

/// How a connection left its thread.
pub(crate) enum ConnectionEnd {
    Closed,
    /// It continues on another thread.
    Migrates(Box<MigratingConnection>),
}

/// A connection on its thread.
pub(crate) struct Connection {
    /// `None` once the connection has left for another thread.
    state: Option<ConnectionState>,
    /// Wakes the task.
    mailbox: Arc<Mailbox>,
    stream: UnixStream,
    thread: Rc<ThreadContext>,
    timer: TimerEntry,
}

/// Wakes the task of a connection from elsewhere on its thread.
pub(crate) struct ConnectionNotifier(Arc<Mailbox>);

impl ConnectionNotifier {
    pub(crate) fn notify(&self) {
        self.0.wake();
    }
}

impl Connection {
    /// Creates a connection that was just accepted. `entry` is its entry in the list of open
    /// connections.
    pub(crate) fn new(
        number: u64,
        stream: UnixStream,
        thread: &Rc<ThreadContext>,
        options: ListenerOptions,
        entry: ConnectionHandle,
        permit: Permit,
    ) -> Self {
        let peer = entry.peer();
        let identity = ConnectionIdentity { number, peer, origin: options.origin_of(peer), options };
        let state = ConnectionState::new(identity, &thread.dispatcher, entry, permit);
        Self::on_thread(state, stream, thread)
    }

    /// Continues a connection that comes from another thread.
    ///
    /// # Errors
    ///
    /// The reactor of the thread does not take the stream. The connection has ended.
    pub(crate) fn resume(migrating: MigratingConnection, thread: &Rc<ThreadContext>) -> io::Result<Self> {
        let MigratingConnection { mut state, stream } = migrating;
        match UnixStream::from_std(stream) {
            Ok(stream) => Ok(Self::on_thread(state, stream, thread)),
            Err(error) => {
                state.close_unserved(thread);
                Err(error)
            }
        }
    }

    fn on_thread(state: ConnectionState, stream: UnixStream, thread: &Rc<ThreadContext>) -> Self {
        let timer = TimerEntry::new(&thread.timers, state.identity().number);
        let mailbox = Arc::clone(&state.requests.mailbox);
        Self { state: Some(state), mailbox, stream, thread: Rc::clone(thread), timer }
    }

    /// Returns what wakes this connection from outside.
    pub(crate) fn notifier(&self) -> ConnectionNotifier {
        ConnectionNotifier(Arc::clone(&self.mailbox))
    }

    /// Serves the peer until the connection ends or leaves for another thread.
    pub(crate) async fn serve(mut self) -> ConnectionEnd {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        if self.thread.is_leaving.get()
            && let Some(migrating) = self.start_migration()
        {
            return Poll::Ready(ConnectionEnd::Migrates(Box::new(migrating)));
        }

        let Self { state, mailbox, stream, thread, timer } = self;
        // A connection that has left is not polled again: its task has ended.
        let Some(state) = state else { return Poll::Pending };
        mailbox.register(cx.waker());
        let rules = thread.dispatcher.rules.load();
        let mut turn = Turn::begin(thread, &rules, cx.waker());
        if thread.is_hurrying.get() {
            state.requests.in_flight.expire_all(turn.now);
        }
        if thread.is_draining.get() {
            state.announce_end(&mut turn);
        }
        timer.clear_if_due(turn.now);

        let closed = state.run_turn(stream, &mut turn);

        state.entry.set_in_flight(state.requests.in_flight.len());
        if closed.is_none() {
            state.buffer_share.set(state.buffered_bytes());
            timer.set(state.next_deadline(&turn), cx.waker());
        }
        turn.end();

        let Some(reason) = closed else { return Poll::Pending };
        let conn = state.identity().number;
        tracing::debug!(conn, farewell = ?reason, "connection {conn} closed: {reason}");
        Poll::Ready(ConnectionEnd::Closed)
    }

    /// Takes the parts of the connection that continue on another thread.
    ///
    /// Returns `None` if the descriptor cannot be duplicated. The connection then stays on this
    /// thread, which ends only after the connection.
    fn start_migration(&mut self) -> Option<MigratingConnection> {
        // A second descriptor is needed because the reactor returns the first one only by closing
        // it.
        let stream = match self.stream.as_fd().try_clone_to_owned() {
            Ok(descriptor) => StdUnixStream::from(descriptor),
            Err(error) => {
                let conn = self.state.as_ref()?.identity().number;
                tracing::error!(
                    conn,
                    %error,
                    "connection {conn} cannot move to its new I/O thread: {error}; it stays on the old one"
                );
                return None;
            }
        };

        let state = self.state.take()?;
        Some(MigratingConnection { state, stream })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(state) = &mut self.state {
            state.requests.close(&self.thread);
        }
    }
}

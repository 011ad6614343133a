//! A connection that goes to another I/O thread, with everything it owes: its own thread is being replaced.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use jackfield_protocol::FrameLimit;

use super::in_flight::InFlightTable;
use super::mailbox::Mailbox;
use super::outbox::Outbox;
use super::read::Framer;
use super::{Connection, ListenerOptions, ThreadContext};
use crate::clock::Time;
use crate::limits::{BudgetShare, Permit};
use crate::metrics::ConnectionHandle;

/// A connection between two threads. Nothing is read or written meanwhile; replies of other threads reach its
/// mailbox.
pub(crate) struct MigratingConnection {
    number: u64,
    stream: Option<UnixStream>,
    manner: ListenerOptions,
    mailbox: Arc<Mailbox>,
    framer: Framer,
    inbox: BytesMut,
    outbox: Outbox,
    flights: InFlightTable,
    share: BudgetShare,
    frame_begun: Option<(Time, u64)>,
    needed: u64,
    last_active: Time,
    read_closed: bool,
    closing: Option<super::CloseReason>,
    replied: bool,
    caller: ConnectionHandle,
    permit: Permit,
}

impl MigratingConnection {
    /// It ends here: no thread is there to go on with it.
    pub(crate) fn lose(mut self, thread: &ThreadContext) {
        self.flights.abandon(&thread.cells);
        thread.dispatcher.metrics.counters.connections_cut.add(1);
        self.mailbox.close();
    }
}

impl Connection {
    /// Takes everything out that must go on elsewhere.
    ///
    /// # Errors
    /// There is no descriptor for the moment of the move; the connection is as it was.
    pub(super) fn pack(&mut self) -> io::Result<MigratingConnection> {
        // A second descriptor, because the reactor gives the first one back only by closing it.
        let stream = UnixStream::from(self.stream.as_fd().try_clone_to_owned()?);
        let permit = self.permit.take().ok_or_else(|| io::Error::other("it has moved already"))?;
        let budget = &self.thread.dispatcher.budget;
        let limit = FrameLimit::new(self.rules.limits.frame);
        Ok(MigratingConnection {
            number: self.number,
            stream: Some(stream),
            manner: self.manner,
            mailbox: Arc::clone(&self.mailbox),
            framer: std::mem::replace(&mut self.framer, Framer::new(self.manner.framing, limit)),
            inbox: std::mem::take(&mut self.inbox),
            outbox: std::mem::take(&mut self.outbox),
            flights: std::mem::take(&mut self.flights),
            share: std::mem::replace(&mut self.share, BudgetShare::new(budget)),
            frame_begun: self.frame_begun,
            needed: self.needed,
            last_active: self.last_active,
            read_closed: self.read_closed,
            closing: self.closing,
            replied: self.replied,
            caller: self.caller.clone(),
            permit,
        })
    }

    /// Goes on where `packed` stopped, on this thread.
    ///
    /// # Errors
    /// The thread's reactor cannot watch it.
    pub(crate) fn unpack(packed: MigratingConnection, thread: &Rc<ThreadContext>) -> io::Result<Self> {
        let mut packed = packed;
        let stream = match packed.stream.take().map(tokio::net::UnixStream::from_std) {
            Some(Ok(stream)) => stream,
            failed => {
                packed.lose(thread);
                return Err(failed
                    .and_then(Result::err)
                    .unwrap_or_else(|| io::ErrorKind::NotConnected.into()));
            }
        };
        let mut connection =
            Self::new(packed.number, stream, thread, packed.manner, packed.caller, packed.permit);
        connection.mailbox = packed.mailbox;
        connection.framer = packed.framer;
        connection.inbox = packed.inbox;
        connection.outbox = packed.outbox;
        connection.flights = packed.flights;
        connection.share = packed.share;
        connection.frame_begun = packed.frame_begun;
        connection.needed = packed.needed;
        connection.last_active = packed.last_active;
        connection.read_closed = packed.read_closed;
        connection.closing = packed.closing;
        connection.replied = packed.replied;
        Ok(connection)
    }
}

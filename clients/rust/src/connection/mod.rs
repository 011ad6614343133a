//! One connection: its socket, the requests in flight on it, and the bytes in between.
//!
//! A connection never waits. Its driver does: the task of an async connection, or the callers of a
//! blocking one.

mod in_flight;
mod negotiation;
mod outbox;
mod outcome;

use std::sync::{Arc, Mutex, MutexGuard, TryLockError, Weak};
use std::task::Waker;
use std::time::Instant;

use jackfield_protocol::{FrameBuffer, Received as ReceivedFrame};
use rustix::io::Errno;

use crate::id::Key;
use crate::options::Options;
use crate::pool::{ConnectionStatus, Pool, PooledConnection, lock};
use crate::request_frame::RequestFrame;
use crate::socket::{Peeked, Socket};

pub(crate) use in_flight::{Abandoned, InFlightTable};
pub(crate) use outcome::{Answer, AttemptError, CloseReason, Settled};

/// Upper bound of one read in bytes.
const READ: usize = 64 * 1024;

/// A connection of a pool. Locks are taken in the order pool, reader, in-flight table.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    in_flight: Mutex<InFlightTable>,
    reader: Mutex<Reader>,
    /// The task that drives an async connection. A blocking one is driven by its callers.
    driver: Mutex<Option<Waker>>,
    pool: Weak<Pool<Connection>>,
}

/// Received bytes and the frames in them. Only the holder of its lock reads from the socket.
#[derive(Debug)]
pub(crate) struct Reader {
    frames: FrameBuffer,
    scratch: Box<[u8]>,
}

/// The result of one read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Received {
    /// There was nothing to read.
    Nothing,
    /// Everything that had arrived.
    All,
    /// A full buffer, or the end of the stream: there may be more to read.
    More,
}

impl Connection {
    /// Returns a new connection, whose hello is sent together with its first request.
    pub(crate) fn new(socket: Socket, options: &Options, pool: Weak<Pool<Connection>>) -> Arc<Connection> {
        let frames = FrameBuffer::new(options.frame_limit);
        let reader = Reader { frames, scratch: vec![0; READ].into_boxed_slice() };
        let mut in_flight = InFlightTable::default();
        in_flight.negotiate(options);

        Arc::new(Connection {
            socket,
            in_flight: Mutex::new(in_flight),
            reader: Mutex::new(reader),
            driver: Mutex::default(),
            pool,
        })
    }

    /// Locks the in-flight table. No method of the pool may be called while it is locked.
    pub(crate) fn in_flight(&self) -> MutexGuard<'_, InFlightTable> {
        lock(&self.in_flight)
    }

    /// Enters a request into the in-flight table under a new id. [`Connection::push`] sends it.
    pub(crate) fn begin(&self, frame: &mut RequestFrame, now: Instant) -> Key {
        let mut in_flight = self.in_flight();
        let key = frame.stamp(in_flight.grant().version(), now);
        if frame.is_opaque() {
            in_flight.begin_opaque(key, frame.kind(), frame.bytes());
        } else {
            in_flight.begin(key, frame.kind(), frame.bytes());
        }
        key
    }

    /// Locks the reader unless another thread reads.
    pub(crate) fn try_reader(&self) -> Option<MutexGuard<'_, Reader>> {
        match self.reader.try_lock() {
            Ok(reader) => Some(reader),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Locks the reader.
    pub(crate) fn reader(&self) -> MutexGuard<'_, Reader> {
        lock(&self.reader)
    }

    /// Sets the task to be woken when there is something to send or the connection has been closed.
    pub(crate) fn set_driver(&self, waker: &Waker) {
        let mut driver = lock(&self.driver);
        match &mut *driver {
            Some(known) if known.will_wake(waker) => {}
            known => *known = Some(waker.clone()),
        }
    }

    /// Sends the queued bytes, or leaves them to the driver if other requests are in flight.
    ///
    /// The driver sends requests that begin at the same time with one system call.
    pub(crate) fn push(&self) {
        let mut in_flight = self.in_flight();
        let driver = lock(&self.driver).clone();

        match driver {
            Some(driver) if in_flight.len() > 1 => {
                drop(in_flight);
                driver.wake();
            }
            driver => {
                let flushed = in_flight.outbox.flush(&self.socket);
                let has_unsent = in_flight.outbox.unsent() > 0;
                drop(in_flight);
                match (flushed, driver) {
                    (Err(errno), _) => self.close_after_write_error(errno),
                    (Ok(()), Some(driver)) if has_unsent => driver.wake(),
                    _ => {}
                }
            }
        }
    }

    /// Returns whether there are bytes to send. A closed connection sends none.
    pub(crate) fn has_unsent(&self) -> bool {
        let in_flight = self.in_flight();
        !in_flight.is_closed() && in_flight.outbox.unsent() > 0
    }

    /// Sends as much as the kernel accepts, and returns whether bytes remain.
    pub(crate) fn flush(&self) -> bool {
        let mut in_flight = self.in_flight();
        if in_flight.outbox.unsent() == 0 {
            return false;
        }

        let flushed = in_flight.outbox.flush(&self.socket);
        let has_unsent = in_flight.outbox.unsent() > 0;
        drop(in_flight);

        match flushed {
            Ok(()) => {
                self.wake_waiting_calls();
                has_unsent
            }
            Err(errno) => {
                self.close_after_write_error(errno);
                false
            }
        }
    }

    /// Reads once and settles the requests that the received frames belong to.
    ///
    /// A read error or an invalid frame closes the connection.
    pub(crate) fn receive(&self, reader: &mut Reader) -> Received {
        let received = match self.socket.receive(&mut reader.scratch) {
            Ok(0) => Err(CloseReason::Lost(None)),
            Ok(received) => Ok(received),
            Err(Errno::AGAIN) => return Received::Nothing,
            Err(errno) => Err(CloseReason::Lost(Some(errno))),
        };
        let is_all = received.as_ref().is_ok_and(|received| *received < READ);

        match received.and_then(|received| self.accept(reader, received)) {
            Ok(()) => self.wake_waiting_calls(),
            Err(reason) => self.close(reason),
        }
        if is_all { Received::All } else { Received::More }
    }

    fn accept(&self, reader: &mut Reader, received: usize) -> Result<(), CloseReason> {
        let Reader { frames, scratch } = reader;
        frames.push(scratch.get(..received).unwrap_or_default());
        let pool = self.pool.upgrade().ok_or(CloseReason::ClientClosed)?;

        let mut in_flight = self.in_flight();
        let unsent_before = in_flight.outbox.unsent();
        in_flight.note_read();
        while let Some(received) =
            frames.next_received().map_err(|refusal| CloseReason::Protocol(refusal.into()))?
        {
            match received {
                ReceivedFrame::Frame(frame) => in_flight.accept(&frame, &pool.counters)?,
                ReceivedFrame::Refused(refused) => {
                    let limit = pool.options.frame_limit.bytes();
                    in_flight.accept_refused(&refused, limit, &pool.counters)?;
                }
            }
        }

        if in_flight.is_drained() {
            return Err(CloseReason::Drained);
        }
        // The answer to the hello has released requests that waited for it.
        let has_released = in_flight.outbox.unsent() > unsent_before;
        drop(in_flight);
        if has_released {
            self.wake_driver();
        }
        Ok(())
    }

    fn wake_driver(&self) {
        let driver = lock(&self.driver).clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Closes a connection that cannot be written to, after reading what the peer sent.
    ///
    /// A peer that refuses a connection sends the reason before it closes, which is more useful
    /// than EPIPE.
    fn close_after_write_error(&self, errno: Errno) {
        let mut reader = self.reader();
        while !self.in_flight().is_closed() && self.receive(&mut reader) != Received::Nothing {}
        drop(reader);

        self.close(CloseReason::Lost(Some(errno)));
    }

    /// Closes the connection and fails everything in flight on it. Only the first reason counts.
    pub(crate) fn close(&self, reason: CloseReason) {
        let mut in_flight = self.in_flight();
        if in_flight.is_closed() {
            return;
        }
        let has_failed = !in_flight.has_answered && reason.is_failure();
        in_flight.close(reason);
        drop(in_flight);

        self.socket.shut_down();
        let driver = lock(&self.driver).take();
        if let Some(driver) = driver {
            driver.wake();
        }

        if let Some(pool) = self.pool.upgrade() {
            pool.remove(self, has_failed);
        }
    }

    /// Removes a request whose caller gives up.
    ///
    /// If all requests of a full connection are abandoned, its slot is free for a waiting call.
    pub(crate) fn abandon(&self, key: Key) -> Option<Abandoned> {
        let abandoned = self.in_flight().abandon(key);
        self.wake_waiting_calls();
        abandoned
    }

    /// Asks the host to cancel a request; returns whether its reply is still to be awaited.
    ///
    /// It is not if the host cannot cancel, or does not have the request.
    pub(crate) fn cancel(&self, key: Key) -> bool {
        let is_awaited = self.in_flight().cancel(key);
        if is_awaited {
            self.push();
        }
        is_awaited
    }

    /// Closes the connection if it takes no further request and nobody waits for a reply on it.
    pub(crate) fn close_if_drained(&self) {
        let in_flight = self.in_flight();
        let is_drained = in_flight.is_drained();
        drop(in_flight);

        if is_drained {
            self.close(CloseReason::Drained);
        }
    }

    /// Wakes calls that wait for a connection, because this one may have capacity again.
    fn wake_waiting_calls(&self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.wake_waiting();
        }
    }
}

impl PooledConnection for Connection {
    fn status(&self) -> ConnectionStatus {
        let in_flight = self.in_flight();
        ConnectionStatus {
            in_flight: in_flight.len(),
            unanswered: in_flight.unanswered(),
            callers: in_flight.callers(),
            unsent: in_flight.outbox.unsent(),
            most_in_flight: in_flight.grant().most_in_flight(),
            is_draining: in_flight.is_draining,
        }
    }

    fn is_unused(&self) -> bool {
        let in_flight = self.in_flight();
        !in_flight.is_draining && in_flight.is_empty()
    }

    fn is_reusable(&self) -> bool {
        let has_unread_frames = match self.try_reader() {
            Some(reader) => reader.frames.buffered() > 0,
            None => false,
        };
        !has_unread_frames && self.in_flight().is_empty() && self.socket.peek() == Peeked::Nothing
    }

    fn has_peer_closed(&self) -> bool {
        self.socket.peek() == Peeked::Closed
    }

    fn is_closed(&self) -> bool {
        self.in_flight().is_closed()
    }

    fn discard(&self) {
        self.close(CloseReason::ClientClosed);
    }
}

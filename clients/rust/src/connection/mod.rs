//! One connection: its socket, what is in flight on it, and the bytes in between. It never waits; who drives it does.

mod flight;
mod flying;
mod outbox;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::task::Waker;

use jackfield_protocol::{FrameBuffer, FrameLimit};
use rustix::io::Errno;

use crate::id::Key;
use crate::pool::Pool;
use crate::socket::{Rest, Socket};

pub(crate) use flight::{Answer, Asked, End, Failure, Flight};
pub(crate) use flying::Flying;

/// Bytes asked of the kernel at once.
const READ: usize = 64 * 1024;

/// A connection of a pool. Locks are taken in the order pool, reader, flight.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    flight: Mutex<Flight>,
    reader: Mutex<Reader>,
    /// Who reads and writes when the socket is ready: an async connection's task. A blocking one is driven by its
    /// callers.
    driver: Mutex<Option<Waker>>,
    pool: Weak<Pool>,
}

/// Bytes received, and the frames in them. Who holds it is the only one to read.
#[derive(Debug)]
pub(crate) struct Reader {
    frames: FrameBuffer,
    scratch: Box<[u8]>,
}

/// What one receive brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Received {
    /// Nothing was there.
    Nothing,
    /// Everything that was there.
    All,
    /// A full buffer, or the end: there may be more.
    More,
}

impl Connection {
    pub(crate) fn new(socket: Socket, limit: FrameLimit, pool: Weak<Pool>) -> Arc<Connection> {
        let reader = Reader { frames: FrameBuffer::new(limit), scratch: vec![0; READ].into_boxed_slice() };
        Arc::new(Connection {
            socket,
            flight: Mutex::default(),
            reader: Mutex::new(reader),
            driver: Mutex::default(),
            pool,
        })
    }

    /// What is in flight. Not to be held while asking the pool for anything.
    pub(crate) fn flight(&self) -> MutexGuard<'_, Flight> {
        lock(&self.flight)
    }

    /// The right to read, unless somebody has it.
    pub(crate) fn try_reader(&self) -> Option<MutexGuard<'_, Reader>> {
        match self.reader.try_lock() {
            Ok(reader) => Some(reader),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The right to read.
    pub(crate) fn reader(&self) -> MutexGuard<'_, Reader> {
        lock(&self.reader)
    }

    /// Says who is to be woken when there is something to send or the connection has ended.
    pub(crate) fn driven_by(&self, waker: &Waker) {
        let mut driver = lock(&self.driver);
        match &mut *driver {
            Some(known) if known.will_wake(waker) => {}
            known => *known = Some(waker.clone()),
        }
    }

    /// Sends what was queued, or leaves it to the driver where that saves system calls: requests that are begun
    /// while others are in flight leave together.
    pub(crate) fn push(&self) {
        let mut flight = self.flight();
        let driver = lock(&self.driver).clone();
        match driver {
            Some(driver) if flight.load() > 1 => {
                drop(flight);
                driver.wake();
            }
            driver => {
                let flushed = flight.outbox.flush(&self.socket);
                let unsent = flight.outbox.unsent() > 0;
                drop(flight);
                match (flushed, driver) {
                    (Err(errno), _) => self.broken(errno),
                    (Ok(()), Some(driver)) if unsent => driver.wake(),
                    _ => {}
                }
            }
        }
    }

    /// Whether something is queued that the kernel does not have. What is queued on a connection that has ended is
    /// not sent any more.
    pub(crate) fn has_unsent(&self) -> bool {
        let flight = self.flight();
        !flight.is_ended() && flight.outbox.unsent() > 0
    }

    /// Sends what the kernel takes now; whether something is left.
    pub(crate) fn flush(&self) -> bool {
        let mut flight = self.flight();
        if flight.outbox.unsent() == 0 {
            return false;
        }
        let flushed = flight.outbox.flush(&self.socket);
        let unsent = flight.outbox.unsent() > 0;
        drop(flight);
        match flushed {
            Ok(()) => {
                self.make_room_known();
                unsent
            }
            Err(errno) => {
                self.broken(errno);
                false
            }
        }
    }

    /// Receives once and gives every whole frame to whom it belongs. The connection may have ended afterwards.
    pub(crate) fn receive(&self, reader: &mut Reader) -> Received {
        let received = match self.socket.receive(&mut reader.scratch) {
            Ok(0) => Err(End::Lost(None)),
            Ok(received) => Ok(received),
            Err(Errno::AGAIN) => return Received::Nothing,
            Err(errno) => Err(End::Lost(Some(errno))),
        };
        let is_all = received.as_ref().is_ok_and(|received| *received < READ);
        match received.and_then(|received| self.dispatch(reader, received)) {
            Ok(()) => self.make_room_known(),
            Err(end) => self.end(end),
        }
        if is_all { Received::All } else { Received::More }
    }

    fn dispatch(&self, reader: &mut Reader, received: usize) -> Result<(), End> {
        let Reader { frames, scratch } = reader;
        frames.push(scratch.get(..received).unwrap_or_default());
        let pool = self.pool.upgrade().ok_or(End::Closed)?;
        let mut flight = self.flight();
        flight.heard();
        while let Some(frame) = frames.next().map_err(|refusal| End::Protocol(refusal.into()))? {
            flight.take(&frame, &pool.counters)?;
        }
        Ok(())
    }

    /// The socket cannot be written to. A peer that refuses a connection says why before it closes, and that is
    /// worth more than "broken pipe".
    fn broken(&self, errno: Errno) {
        let mut reader = self.reader();
        while !self.flight().is_ended() && self.receive(&mut reader) != Received::Nothing {}
        drop(reader);
        self.end(End::Lost(Some(errno)));
    }

    /// Ends the connection and everything in flight on it; only the first end counts.
    pub(crate) fn end(&self, end: End) {
        let mut flight = self.flight();
        if flight.is_ended() {
            return;
        }
        let has_failed = !flight.proven && !matches!(end, End::Closed);
        flight.end(end);
        drop(flight);
        self.socket.shut_down();
        let driver = lock(&self.driver).take();
        if let Some(driver) = driver {
            driver.wake();
        }
        if let Some(pool) = self.pool.upgrade() {
            pool.remove(self, has_failed);
        }
    }

    /// Whether nothing is in flight, nothing owed and nothing unread: only then can it be somebody's alone.
    pub(crate) fn is_at_rest(&self) -> bool {
        let is_empty = match self.try_reader() {
            Some(reader) => reader.frames.buffered() == 0,
            None => true,
        };
        is_empty && self.flight().is_at_rest() && self.socket.rest() == Rest::Quiet
    }

    /// A caller gives up on a request that others may share the connection with.
    pub(crate) fn forget(&self, key: Key) -> Option<flight::Forgotten> {
        self.flight().forget(key)
    }

    fn make_room_known(&self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.wake_waiting();
        }
    }
}

/// Locks, also after a panic elsewhere: what these locks guard is changed in steps that leave it whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

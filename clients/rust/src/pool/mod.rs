//! The connection pool of one client: slots, wait queues and connect backoff behind one lock.
//!
//! The pool is generic over its connections. They refer to their pool, so it does not import them.

mod slots;
mod wait_queue;

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use rustix::io::Errno;

use crate::backoff;
use crate::counters::{Counters, Stats};
use crate::error::{Error, Phase};
use crate::options::{Mode, Options};
use slots::SlotTable;
use wait_queue::WaitQueues;

pub(crate) use slots::{ConnectionStatus, Found, PooledConnection};

/// The state that the calls of one client share.
#[derive(Debug)]
pub(crate) struct Pool<C: PooledConnection> {
    pub(crate) options: Options,
    pub(crate) counters: Counters,
    /// Gives a new connection its driver: a task for the async client, none for the blocking one.
    attach_driver: fn(&Arc<C>),
    state: Mutex<PoolState<C>>,
    /// Number of calls in the wait queues, readable without the lock.
    waiting: AtomicUsize,
    /// Number of consecutive connections that failed before anything was answered on them.
    failures: AtomicU32,
}

/// The part of a pool that its lock guards.
#[derive(Debug)]
pub(crate) struct PoolState<C> {
    pub(crate) slots: SlotTable<C>,
    queues: WaitQueues,
    /// No attempt to connect is made before this instant.
    pub(crate) connect_at: Option<Instant>,
    /// The error of the last attempt to connect, if it failed.
    pub(crate) connect_failure: Option<Errno>,
    pub(crate) is_closed: bool,
}

impl<C> PoolState<C> {
    /// Returns whether calls of this mode wait for a connection.
    pub(crate) fn has_waiting(&self, mode: Mode) -> bool {
        self.queues.has_waiting(mode)
    }

    /// Notes a new connection: the next attempt need not wait.
    pub(crate) fn connect_succeeded(&mut self) {
        self.connect_failure = None;
        self.connect_at = None;
    }
}

impl<C: PooledConnection> Pool<C> {
    pub(crate) fn new(options: Options, attach_driver: fn(&Arc<C>)) -> Arc<Pool<C>> {
        let state = PoolState {
            slots: SlotTable::default(),
            queues: WaitQueues::default(),
            connect_at: None,
            connect_failure: None,
            is_closed: false,
        };
        Arc::new(Pool {
            options,
            counters: Counters::default(),
            attach_driver,
            state: Mutex::new(state),
            waiting: AtomicUsize::new(0),
            failures: AtomicU32::new(0),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, PoolState<C>> {
        lock(&self.state)
    }

    /// Gives a new connection its driver.
    ///
    /// The driver may close the connection, so the pool must not be locked.
    pub(crate) fn attach_driver(&self, connection: &Arc<C>) {
        (self.attach_driver)(connection);
    }

    /// Adds a call to the wait queue or updates its waker; returns when to try again at the latest.
    ///
    /// # Errors
    ///
    /// The queues are full.
    pub(crate) fn enqueue(
        &self,
        state: &mut PoolState<C>,
        mode: Mode,
        ticket: &mut Option<u64>,
        now: Instant,
        waker: &Waker,
    ) -> Result<Option<Instant>, Error> {
        if ticket.is_none() && state.queues.len() >= self.options.max_waiting {
            return Err(self.full_error(state));
        }

        let queue = state.queues.of(mode);
        let ticket = *ticket.get_or_insert_with(|| queue.take_ticket());
        queue.enter(ticket, waker);
        self.publish_waiting(state);

        // If that instant has passed, the call waits for capacity, and is woken when there is some.
        Ok(state.connect_at.filter(|at| *at > now))
    }

    /// Removes a call from the wait queue: it has found a connection, or gives up.
    pub(crate) fn leave_queue(&self, mode: Mode, ticket: u64) {
        let mut state = self.lock();
        let queue = state.queues.of(mode);
        if !queue.leave(ticket) {
            // The call was woken. If it found capacity, there may be more; if it gave up, the next
            // may use it.
            queue.wake_next();
        }
        self.publish_waiting(&state);
    }

    /// Wakes the first call of each mode, because there may be capacity.
    pub(crate) fn wake_waiting(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.wake_locked(&mut self.lock());
        }
    }

    fn wake_locked(&self, state: &mut PoolState<C>) {
        state.queues.wake_next();
        self.publish_waiting(state);
    }

    fn publish_waiting(&self, state: &PoolState<C>) {
        self.waiting.store(state.queues.len(), Ordering::SeqCst);
    }

    /// Frees the slot of a connection that was closed.
    ///
    /// If nothing was ever answered on it (`has_failed`), this counts as a failure to connect: a
    /// host that accepts and closes connections must not be tried in a tight loop.
    pub(crate) fn remove(&self, connection: &C, has_failed: bool) {
        let mut state = self.lock();
        state.slots.remove(connection);
        if has_failed && !state.is_closed {
            self.back_off(&mut state, Instant::now());
        }
        self.wake_locked(&mut state);
    }

    /// Notes a failure to connect, and delays the next attempt.
    pub(crate) fn back_off(&self, state: &mut PoolState<C>, now: Instant) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        state.connect_at = Some(now + backoff::delay(failures));
    }

    /// Notes that the host has answered: the next failure is the first.
    pub(crate) fn reset_failures(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Ends a lease and keeps the connection for later calls.
    pub(crate) fn return_idle(&self, connection: &Arc<C>) {
        let mut state = self.lock();
        state.slots.end_lease(connection);

        let is_closed = state.is_closed;
        if !is_closed && !connection.is_closed() {
            state.slots.add_idle(Arc::clone(connection), Instant::now());
        }
        self.wake_locked(&mut state);
        drop(state);

        if is_closed {
            connection.discard();
        }
    }

    /// Ends a lease and lets multiplexed calls share the connection.
    pub(crate) fn share(&self, connection: &Arc<C>) {
        let mut state = self.lock();
        state.slots.end_lease(connection);
        if !connection.is_closed() {
            state.slots.add_shared(Arc::clone(connection), Instant::now());
        }
        self.wake_locked(&mut state);
    }

    /// Ends the lease of a connection that was closed.
    pub(crate) fn end_lease(&self, connection: &Arc<C>) {
        let mut state = self.lock();
        state.slots.end_lease(connection);
        self.wake_locked(&mut state);
    }

    /// Returns the error of a call that found no connection before its deadline.
    pub(crate) fn no_connection_error(&self) -> Error {
        let state = self.lock();
        if let Some(errno) = state.connect_failure {
            return self.connect_error(errno, true);
        }
        if state.slots.len() >= self.options.max_connections {
            return self.full_error(&state);
        }
        Error::Timeout { phase: Phase::Connect, sent: false }
    }

    fn full_error(&self, state: &PoolState<C>) -> Error {
        Error::PoolFull { connections: self.options.max_connections, waiting: state.queues.len() }
    }

    pub(crate) fn connect_error(&self, errno: Errno, transient: bool) -> Error {
        Error::Connect { path: self.options.path.clone(), source: errno.into(), transient }
    }

    /// Closes every connection and ends every call.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let connections: Vec<Arc<C>> = state.slots.connections().map(Arc::clone).collect();
        state.queues.wake_all();
        self.publish_waiting(&state);
        drop(state);

        for connection in connections {
            connection.discard();
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = self.lock();
        Stats {
            connections: state.slots.len(),
            idle: state.slots.idle_count(),
            in_flight: state.slots.in_flight(),
            waiting: state.queues.len(),
            connects: self.counters.connects.get(),
            connect_failures: self.counters.connect_failures.get(),
            retries: self.counters.retries.get(),
            late_replies: self.counters.late_replies.get(),
            stray_frames: self.counters.stray_frames.get(),
        }
    }
}

impl<C: PooledConnection> Drop for Pool<C> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Locks a mutex, also after a panic of another holder.
///
/// Every step that changes the guarded values leaves them valid, so poisoning means nothing here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

//! The connections of one client: idle ones are used first, none is used unless it is sound, and there are never more
//! than the limit.

pub(crate) mod backoff;
mod lease;
mod place;
mod waiting;

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use rustix::io::Errno;

use crate::connection::{Connection, End, lock};
use crate::counters::{Counters, Stats};
use crate::error::{Error, Phase};
use crate::options::{Mode, Options};
use waiting::Waiting;

pub(crate) use lease::Lease;
pub(crate) use place::{PROBE, Place, Turn};

/// All that the calls of one client share.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) options: Options,
    pub(crate) counters: Counters,
    /// What a new connection needs to be driven: a task, or nothing.
    adopt: fn(&Arc<Connection>),
    state: Mutex<State>,
    /// Calls in `state.waiting`, to be asked without the lock.
    waiting: AtomicUsize,
    /// Connections in a row that failed before anything was answered on them.
    failures: AtomicU32,
}

#[derive(Debug)]
struct Used {
    connection: Arc<Connection>,
    /// When the last call began here.
    at: Instant,
}

#[derive(Debug, Default)]
struct State {
    /// Connections that multiplexed calls share, with or without any in flight.
    shared: Vec<Used>,
    /// Connections at rest; the one used last is at the end and is used first, the others grow old.
    idle: Vec<Used>,
    /// Connections out on a lease: each is one caller's.
    leased: Vec<Arc<Connection>>,
    exclusive: Waiting,
    multiplexed: Waiting,
    /// No attempt to connect before this instant.
    connect_at: Option<Instant>,
    /// Why the last attempt to connect failed; `None` if it did not.
    failure: Option<Errno>,
    is_closed: bool,
}

impl State {
    fn connections(&self) -> usize {
        self.shared.len() + self.idle.len() + self.leased.len()
    }

    fn unlease(&mut self, connection: &Arc<Connection>) {
        self.leased.retain(|leased| !Arc::ptr_eq(leased, connection));
    }

    fn waiting(&mut self, mode: Mode) -> &mut Waiting {
        match mode {
            Mode::Exclusive => &mut self.exclusive,
            Mode::Multiplexed => &mut self.multiplexed,
        }
    }
}

impl Pool {
    pub(crate) fn new(options: Options, adopt: fn(&Arc<Connection>)) -> Arc<Pool> {
        Arc::new(Pool {
            options,
            counters: Counters::default(),
            adopt,
            state: Mutex::default(),
            waiting: AtomicUsize::new(0),
            failures: AtomicU32::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn count_waiting(&self, state: &State) {
        self.waiting.store(state.exclusive.len() + state.multiplexed.len(), Ordering::SeqCst);
    }

    /// There may be room: the first call of each mode looks.
    pub(crate) fn wake_waiting(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.wake_locked(&mut self.state());
        }
    }

    fn wake_locked(&self, state: &mut State) {
        state.exclusive.wake_next();
        state.multiplexed.wake_next();
        self.count_waiting(state);
    }

    /// A connection has ended: its place is free. One on which nothing was ever answered counts as a failure to
    /// connect, so that a host that accepts and closes is not asked in a tight circle.
    pub(crate) fn remove(&self, connection: &Connection, has_failed: bool) {
        let mut state = self.state();
        let is_other = |used: &Used| !std::ptr::eq(Arc::as_ptr(&used.connection), connection);
        state.shared.retain(is_other);
        state.idle.retain(is_other);
        if has_failed && !state.is_closed {
            self.connect_failed(&mut state, Instant::now());
        }
        self.wake_locked(&mut state);
    }

    fn connect_failed(&self, state: &mut State, now: Instant) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        state.connect_at = Some(now + backoff::delay(failures));
    }

    /// Something was answered: the host is there.
    pub(crate) fn is_reached(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    fn rest(&self, connection: &Arc<Connection>) {
        let mut state = self.state();
        state.unlease(connection);
        let ended = state.is_closed || connection.flight().is_ended();
        if !ended {
            state.idle.push(Used { connection: Arc::clone(connection), at: Instant::now() });
        }
        let is_closed = state.is_closed;
        self.wake_locked(&mut state);
        drop(state);
        if is_closed {
            connection.end(End::Closed);
        }
    }

    fn share(&self, connection: &Arc<Connection>) {
        let mut state = self.state();
        state.unlease(connection);
        if !connection.flight().is_ended() {
            state.shared.push(Used { connection: Arc::clone(connection), at: Instant::now() });
        }
        self.wake_locked(&mut state);
    }

    fn unlease(&self, connection: &Arc<Connection>) {
        let mut state = self.state();
        state.unlease(connection);
        self.wake_locked(&mut state);
    }

    /// What a call was waiting for that found no connection before its deadline.
    pub(crate) fn expired(&self) -> Error {
        let state = self.state();
        if let Some(errno) = state.failure {
            return self.connect_error(errno, true);
        }
        if state.connections() >= self.options.max_connections {
            return self.full(&state);
        }
        Error::Timeout { phase: Phase::Connect, sent: false }
    }

    fn full(&self, state: &State) -> Error {
        Error::PoolFull {
            connections: self.options.max_connections,
            waiting: state.exclusive.len() + state.multiplexed.len(),
        }
    }

    fn connect_error(&self, errno: Errno, transient: bool) -> Error {
        Error::Connect { path: self.options.path.clone(), source: errno.into(), transient }
    }

    /// Ends every connection and every call.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let known = state.shared.iter().chain(&state.idle).map(|used| &used.connection);
        let connections: Vec<Arc<Connection>> = known.chain(&state.leased).map(Arc::clone).collect();
        state.exclusive.wake_all();
        state.multiplexed.wake_all();
        self.count_waiting(&state);
        drop(state);
        for connection in connections {
            connection.end(End::Closed);
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = self.state();
        let shared = state.shared.iter().map(|used| used.connection.flight().load());
        let leased = state.leased.iter().map(|connection| connection.flight().load());
        Stats {
            connections: state.connections(),
            idle: state.idle.len() + shared.clone().filter(|load| *load == 0).count(),
            in_flight: shared.chain(leased).sum(),
            waiting: state.exclusive.len() + state.multiplexed.len(),
            connects: self.counters.connects.get(),
            connect_failures: self.counters.connect_failures.get(),
            retries: self.counters.retries.get(),
            late_replies: self.counters.late_replies.get(),
            stray_frames: self.counters.stray_frames.get(),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

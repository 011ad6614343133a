//! Finding a connection for a call: which one, or what to wait for.

mod lease;
mod pending_reply;
mod waiter;

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::connection::Connection;
use crate::error::Error;
use crate::id::Key;
use crate::options::Mode;
use crate::pool::{Found, Pool, PoolState, PooledConnection as _};
use crate::request_frame::RequestFrame;
use crate::socket::{Socket, is_transient};

pub(crate) use lease::Lease;
pub(crate) use pending_reply::PendingReply;
pub(crate) use waiter::Waiter;

/// Time-out of a heartbeat on an idle connection. Without an answer the connection is closed.
pub(crate) const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(1);

/// The next step of a call that looks for a connection.
#[derive(Debug)]
pub(crate) enum Acquired {
    /// The request was sent.
    Sent(PendingReply),
    /// This connection was idle for long, and must answer a heartbeat first.
    Stale(Lease),
    /// The call waits until it is woken, at most until this instant, and then tries again.
    Wait(Option<Instant>),
    /// The call has failed.
    Failed(Error),
}

/// The choice that was made while the pool was locked.
enum Selected {
    /// A shared connection, on which the request was begun under this key.
    Shared(Arc<Connection>, Key),
    Leased(Arc<Connection>),
    Stale(Arc<Connection>),
    Wait(Option<Instant>),
    Failed(Error),
}

/// One search for a connection.
///
/// Closing a connection and attaching its driver lock the pool, so both are left until it is
/// unlocked.
struct Search {
    now: Instant,
    /// Connections to be closed.
    unusable: Vec<Arc<Connection>>,
    /// A new connection that needs a driver.
    created: Option<Arc<Connection>>,
}

impl Pool<Connection> {
    /// Looks for a connection and sends the request on it.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        frame: &mut RequestFrame,
        waiter: &mut Waiter,
        waker: &Waker,
    ) -> Acquired {
        let mut search = Search { now: Instant::now(), unusable: Vec::new(), created: None };

        let mut state = self.lock();
        let selected = self.select(&mut state, frame, waiter, waker, &mut search);
        drop(state);

        for connection in search.unusable {
            connection.discard();
        }
        match selected {
            Selected::Shared(connection, key) => {
                search.created.iter().for_each(|created| self.attach_driver(created));
                Acquired::Sent(PendingReply::shared(connection, key))
            }
            Selected::Leased(connection) => {
                let lease = Lease::new(self, connection);
                search.created.iter().for_each(|created| self.attach_driver(created));
                Acquired::Sent(PendingReply::exclusive(lease, frame, search.now))
            }
            Selected::Stale(connection) => Acquired::Stale(Lease::new(self, connection)),
            Selected::Wait(until) => Acquired::Wait(until),
            Selected::Failed(error) => Acquired::Failed(error),
        }
    }

    /// Sends the request on a connection that has answered its heartbeat.
    pub(crate) fn send_on(&self, lease: Lease, frame: &mut RequestFrame) -> PendingReply {
        let now = Instant::now();
        match frame.mode() {
            Mode::Exclusive => PendingReply::exclusive(lease, frame, now),
            Mode::Multiplexed => {
                let key = lease.connection().begin(frame, now);
                PendingReply::shared(lease.share(), key)
            }
        }
    }

    fn select(
        self: &Arc<Self>,
        state: &mut PoolState<Connection>,
        frame: &mut RequestFrame,
        waiter: &mut Waiter,
        waker: &Waker,
        search: &mut Search,
    ) -> Selected {
        if state.is_closed {
            return Selected::Failed(Error::Closed { sent: false });
        }

        let mut found = Found::Nothing { may_connect: false };
        // A new call does not overtake those that wait.
        let is_first = waiter.ticket.is_some() || !state.has_waiting(waiter.mode);
        if is_first {
            match self.find(state, waiter, search) {
                Ok(connection) => found = connection,
                Err(error) => return Selected::Failed(error),
            }
        }

        let mut wait_until = None;
        if matches!(found, Found::Nothing { .. }) {
            match self.enqueue(state, waiter.mode, &mut waiter.ticket, search.now, waker) {
                Ok(until) => wait_until = until,
                Err(error) => return Selected::Failed(error),
            }
            // A reply frees capacity and wakes waiting calls without locking the pool. If it came
            // after the search, it did not see this call in the queue.
            if is_first {
                found = self.find_pooled(state, waiter.mode, search);
            }
        }

        match found {
            Found::Shared(connection) => {
                // The request begins while the pool is locked, so that the next search counts it.
                let key = connection.begin(frame, search.now);
                Selected::Shared(connection, key)
            }
            Found::Leased(connection) => Selected::Leased(connection),
            Found::Stale(connection) => Selected::Stale(connection),
            Found::Nothing { .. } => Selected::Wait(wait_until),
        }
    }

    /// Finds a connection in the pool or makes a new one.
    fn find(
        self: &Arc<Self>,
        state: &mut PoolState<Connection>,
        waiter: &Waiter,
        search: &mut Search,
    ) -> Result<Found<Connection>, Error> {
        let found = self.find_pooled(state, waiter.mode, search);
        if !matches!(found, Found::Nothing { may_connect: true }) {
            return Ok(found);
        }

        let Some(connection) = self.connect(state, waiter, search.now)? else { return Ok(found) };
        search.created = Some(Arc::clone(&connection));
        Ok(state.slots.insert(connection, waiter.mode, search.now))
    }

    fn find_pooled(
        &self,
        state: &mut PoolState<Connection>,
        mode: Mode,
        search: &mut Search,
    ) -> Found<Connection> {
        match mode {
            Mode::Exclusive => state.slots.find_exclusive(&self.options, search.now, &mut search.unusable),
            Mode::Multiplexed => state.slots.find_shared(&self.options, search.now, &mut search.unusable),
        }
    }

    /// Makes a new connection, unless the pool is full or the next attempt has to wait.
    fn connect(
        self: &Arc<Self>,
        state: &mut PoolState<Connection>,
        waiter: &Waiter,
        now: Instant,
    ) -> Result<Option<Arc<Connection>>, Error> {
        if state.slots.len() >= self.options.max_connections {
            return Ok(None);
        }
        let may_repeat = waiter.ticket.is_none() || now < waiter.connect_until;
        if let Some(errno) = state.connect_failure.filter(|_| !may_repeat) {
            return Err(self.connect_error(errno, true));
        }
        if state.connect_at.is_some_and(|at| now < at) {
            return Ok(None);
        }

        match Socket::connect(&self.options.path) {
            Ok(socket) => {
                self.counters.connects.add_one();
                state.connect_succeeded();
                Ok(Some(Connection::new(socket, &self.options, Arc::downgrade(self))))
            }
            Err(errno) => self.connect_failed(state, errno, waiter, now).map(|()| None),
        }
    }

    /// Notes a failed attempt to connect.
    ///
    /// # Errors
    ///
    /// The error that ends the call, if the attempt is not repeated.
    fn connect_failed(
        &self,
        state: &mut PoolState<Connection>,
        errno: Errno,
        waiter: &Waiter,
        now: Instant,
    ) -> Result<(), Error> {
        self.counters.connect_failures.add_one();
        state.connect_failure = Some(errno);
        self.back_off(state, now);

        let transient = is_transient(errno);
        if !transient || now >= waiter.connect_until {
            return Err(self.connect_error(errno, transient));
        }
        Ok(())
    }
}

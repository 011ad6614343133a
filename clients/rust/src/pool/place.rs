//! Finding a connection for a call: which one, or what to wait for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::call::RequestFrame;
use crate::connection::{Connection, End, Flying};
use crate::error::Error;
use crate::options::{Mode, later};
use crate::pool::{Lease, Pool, State, Used};
use crate::socket::{Rest, Socket, is_transient};

/// A shared connection with this many unsent bytes takes no further call: a call that is not in its outbox can still
/// go elsewhere.
const CONGESTED: usize = 256 * 1024;

/// The longest that a heartbeat on an idle connection may take before the connection counts as dead.
pub(crate) const PROBE: Duration = Duration::from_secs(1);

/// What a call is to do.
#[derive(Debug)]
pub(crate) enum Place {
    /// It is on its way.
    Flying(Flying),
    /// This connection lay idle for long: a heartbeat has to be answered on it first.
    Probe(Lease),
    /// Wait until woken, at most until the instant; then look again.
    Wait(Option<Instant>),
    /// There is nothing to wait for.
    Failed(Error),
}

/// A call's place in the queue of those that wait for a connection.
#[derive(Debug)]
pub(crate) struct Turn {
    pool: Arc<Pool>,
    mode: Mode,
    number: Option<u64>,
    /// Attempts to connect are not repeated after this.
    connect_until: Instant,
}

impl Turn {
    /// A call that begins to look for a connection at `now`.
    pub(crate) fn new(pool: &Arc<Pool>, mode: Mode, now: Instant) -> Turn {
        let connect_until = later(now, pool.options.connect_timeout);
        Turn { pool: Arc::clone(pool), mode, number: None, connect_until }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut state = self.pool.state();
        let waiting = state.waiting(self.mode);
        if !waiting.leave(number) {
            // It was woken. Found it room, the next may find some too; gave it up, the next has its turn.
            waiting.wake_next();
        }
        self.pool.count_waiting(&state);
    }
}

/// What a look at the connections showed.
enum Found {
    Alone(Arc<Connection>),
    Shared(Arc<Connection>),
    Stale(Arc<Connection>),
    Nothing { may_connect: bool },
}

impl Pool {
    /// Looks for a connection and puts the call on it.
    pub(crate) fn place(self: &Arc<Pool>, frame: &mut RequestFrame, turn: &mut Turn, waker: &Waker) -> Place {
        let now = Instant::now();
        // Connections found unusable on the way; ended when the pool is no longer locked.
        let mut ended = Vec::new();
        // A new connection; given to who drives it then too, for that may end it at once.
        let mut made = None;
        let mut state = self.state();
        let place = if state.is_closed {
            Place::Failed(Error::Closed { sent: false })
        } else if turn.number.is_none() && state.waiting(turn.mode).len() > 0 {
            self.wait(&mut state, turn, now, waker)
        } else {
            let found = match turn.mode {
                Mode::Exclusive => self.find_alone(&mut state, now, &mut ended),
                Mode::Multiplexed => self.find_shared(&mut state, now, &mut ended),
            };
            let found = match found {
                Found::Nothing { may_connect: true } => self.connect(&mut state, turn, now, &mut made),
                Found::Nothing { .. } => Err(None),
                found => Ok(found),
            };
            match found {
                Ok(Found::Shared(connection)) => {
                    let key = frame.renew_id();
                    connection.flight().begin(key, frame.asked(), frame.bytes());
                    drop(state);
                    end_all(ended);
                    made.iter().for_each(self.adopt);
                    return Place::Flying(Flying::shared(connection, key));
                }
                Ok(Found::Alone(connection)) => {
                    drop(state);
                    end_all(ended);
                    let lease = Lease::new(self, connection);
                    made.iter().for_each(self.adopt);
                    return Place::Flying(Flying::alone(lease, frame));
                }
                Ok(Found::Stale(connection)) => Place::Probe(Lease::new(self, connection)),
                Ok(Found::Nothing { .. }) | Err(None) => self.wait(&mut state, turn, now, waker),
                Err(Some(error)) => Place::Failed(error),
            }
        };
        drop(state);
        end_all(ended);
        place
    }

    /// Puts the call on a connection that has proven itself.
    pub(crate) fn place_on(&self, lease: Lease, frame: &mut RequestFrame) -> Flying {
        match frame.mode() {
            Mode::Exclusive => Flying::alone(lease, frame),
            Mode::Multiplexed => {
                let key = frame.renew_id();
                lease.connection().flight().begin(key, frame.asked(), frame.bytes());
                Flying::shared(lease.share(), key)
            }
        }
    }

    fn wait(&self, state: &mut State, turn: &mut Turn, now: Instant, waker: &Waker) -> Place {
        if turn.number.is_none()
            && state.exclusive.len() + state.multiplexed.len() >= self.options.max_waiting
        {
            return Place::Failed(self.full(state));
        }
        // An instant that has passed is nothing to wait for: then it is room that is missing, and who makes it wakes.
        let until = state.connect_at.filter(|at| *at > now);
        let waiting = state.waiting(turn.mode);
        let number = *turn.number.get_or_insert_with(|| waiting.turn());
        waiting.enter(number, waker);
        self.waiting.store(state.exclusive.len() + state.multiplexed.len(), Ordering::SeqCst);
        Place::Wait(until)
    }

    /// For a multiplexed call: the first shared connection with room. Later ones are made only when it is full.
    fn find_shared(&self, state: &mut State, now: Instant, ended: &mut Vec<Arc<Connection>>) -> Found {
        let mut is_congested = false;
        let mut at = 0;
        while let Some(used) = state.shared.get_mut(at) {
            let flight = used.connection.flight();
            let (load, is_over) = (flight.load(), flight.waiting() == 0);
            let is_retiring = flight.retiring;
            let unsent = flight.outbox.unsent();
            drop(flight);
            // One that only owes replies to nobody makes room for one that is of use.
            let is_spent = is_over && (is_retiring || load >= self.options.max_in_flight);
            if is_spent || load == 0 && self.is_dead(used, now) {
                ended.push(state.shared.swap_remove(at).connection);
            } else if is_retiring || load >= self.options.max_in_flight {
                at += 1;
            } else if load == 0 && now.duration_since(used.at) >= self.options.health_check_after {
                let connection = state.shared.swap_remove(at).connection;
                state.leased.push(Arc::clone(&connection));
                return Found::Stale(connection);
            } else if unsent >= CONGESTED {
                is_congested = true;
                at += 1;
            } else {
                used.at = now;
                return Found::Shared(Arc::clone(&used.connection));
            }
        }
        if is_congested {
            return Found::Nothing { may_connect: false };
        }
        match self.find_idle(state, now, ended) {
            Found::Alone(connection) => {
                state.unlease(&connection);
                state.shared.push(Used { connection: Arc::clone(&connection), at: now });
                Found::Shared(connection)
            }
            found => found,
        }
    }

    /// For an exclusive call: an idle connection, or a shared one that nobody uses.
    fn find_alone(&self, state: &mut State, now: Instant, ended: &mut Vec<Arc<Connection>>) -> Found {
        let resting = |used: &Used| {
            let flight = used.connection.flight();
            !flight.retiring && flight.is_at_rest()
        };
        match self.find_idle(state, now, ended) {
            Found::Nothing { .. } => {}
            found => return found,
        }
        while let Some(at) = state.shared.iter().position(resting) {
            let used = state.shared.swap_remove(at);
            state.idle.push(used);
            match self.find_idle(state, now, ended) {
                Found::Nothing { .. } => {}
                found => return found,
            }
        }
        Found::Nothing { may_connect: true }
    }

    /// An idle connection, counted as leased.
    fn find_idle(&self, state: &mut State, now: Instant, ended: &mut Vec<Arc<Connection>>) -> Found {
        let oldest = state.idle.first().is_some_and(|used| self.is_old(used, now));
        if oldest {
            ended.push(state.idle.remove(0).connection);
        }
        while let Some(used) = state.idle.pop() {
            let is_retiring = used.connection.flight().retiring;
            if is_retiring || self.is_dead(&used, now) || !used.connection.is_at_rest() {
                ended.push(used.connection);
                continue;
            }
            let is_stale = now.duration_since(used.at) >= self.options.health_check_after;
            let connection = used.connection;
            state.leased.push(Arc::clone(&connection));
            return if is_stale { Found::Stale(connection) } else { Found::Alone(connection) };
        }
        Found::Nothing { may_connect: true }
    }

    fn is_old(&self, used: &Used, now: Instant) -> bool {
        now.duration_since(used.at) >= self.options.idle_timeout
    }

    fn is_dead(&self, used: &Used, now: Instant) -> bool {
        self.is_old(used, now) || used.connection.socket.rest() == Rest::Ended
    }

    /// A new connection; `Err(None)` where it is not the time for one.
    fn connect(
        self: &Arc<Pool>,
        state: &mut State,
        turn: &Turn,
        now: Instant,
        made: &mut Option<Arc<Connection>>,
    ) -> Result<Found, Option<Error>> {
        if state.connections() >= self.options.max_connections {
            return Err(None);
        }
        if let Some(errno) = state.failure.filter(|_| now >= turn.connect_until && turn.number.is_some()) {
            return Err(Some(self.connect_error(errno, true)));
        }
        if state.connect_at.is_some_and(|at| now < at) {
            return Err(None);
        }
        match Socket::connect(&self.options.path) {
            Ok(socket) => {
                let connection = Connection::new(socket, self.options.frame_limit, Arc::downgrade(self));
                *made = Some(Arc::clone(&connection));
                self.counters.connects.add_one();
                state.failure = None;
                state.connect_at = None;
                Ok(state.take_in(connection, turn.mode, now))
            }
            Err(errno) => Err(self.refused(state, errno, turn, now)),
        }
    }

    /// An attempt to connect failed: the error that ends the call, `None` if it is to wait.
    fn refused(&self, state: &mut State, errno: Errno, turn: &Turn, now: Instant) -> Option<Error> {
        self.counters.connect_failures.add_one();
        state.failure = Some(errno);
        self.connect_failed(state, now);
        let transient = is_transient(errno);
        (!transient || now >= turn.connect_until).then(|| self.connect_error(errno, transient))
    }
}

impl State {
    fn take_in(&mut self, connection: Arc<Connection>, mode: Mode, now: Instant) -> Found {
        match mode {
            Mode::Exclusive => {
                self.leased.push(Arc::clone(&connection));
                Found::Alone(connection)
            }
            Mode::Multiplexed => {
                self.shared.push(Used { connection: Arc::clone(&connection), at: now });
                Found::Shared(connection)
            }
        }
    }
}

fn end_all(connections: Vec<Arc<Connection>>) {
    for connection in connections {
        connection.end(End::Closed);
    }
}

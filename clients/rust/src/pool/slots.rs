//! The connection slots of a pool: which connection a call gets.
//!
//! A connection occupies one slot from connect to close. The slot is in one of three lists:
//! `shared` by multiplexed calls (with or without any in flight), `idle`, or `leased` to one
//! caller.
//!
//! ```text
//! connect ──► leased   for an exclusive call
//!         ──► shared   for a multiplexed call
//! idle    ──► leased   for an exclusive call, or because a heartbeat has to be answered first
//!         ──► shared   for a multiplexed call
//! shared  ──► idle     unused, when an exclusive call needs a connection
//!         ──► leased   because a heartbeat has to be answered first
//! leased  ──► idle     returned
//!         ──► shared   the heartbeat was answered, for a multiplexed call
//! any     ──► removed  closed
//! ```
//!
//! The table makes no system call, and its connections are a type parameter: tests need no sockets.

use std::sync::Arc;
use std::time::Instant;

use crate::options::{Mode, Options};

/// Unsent bytes from which on a shared connection takes no further call. A call that is not in its
/// outbox can still use another connection.
const CONGESTED: usize = 256 * 1024;

/// The view that a pool has of its connections.
pub(crate) trait PooledConnection {
    /// Returns how busy the connection is.
    fn status(&self) -> ConnectionStatus;

    /// Returns whether nothing is in flight, and further calls may begin.
    fn is_unused(&self) -> bool;

    /// Returns whether one call can have the connection to itself: nothing in flight or unread.
    fn is_reusable(&self) -> bool;

    /// Returns whether the peer has closed the connection.
    fn has_peer_closed(&self) -> bool;

    /// Returns whether the connection was closed on this side.
    fn is_closed(&self) -> bool;

    /// Closes the connection. It calls back into the pool, which must not be locked.
    fn discard(&self);
}

/// How busy a connection is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionStatus {
    /// Requests in flight, including abandoned ones.
    pub(crate) in_flight: usize,
    /// Requests without a reply. A reply frees capacity, even before its caller takes it.
    pub(crate) unanswered: usize,
    /// Requests in flight that have a caller.
    pub(crate) callers: usize,
    /// Bytes that the kernel has not yet accepted.
    pub(crate) unsent: usize,
    /// Most requests in flight that the host reads.
    pub(crate) most_in_flight: usize,
    /// Whether no further request may begin.
    pub(crate) is_draining: bool,
}

impl Default for ConnectionStatus {
    fn default() -> ConnectionStatus {
        ConnectionStatus {
            in_flight: 0,
            unanswered: 0,
            callers: 0,
            unsent: 0,
            most_in_flight: usize::MAX,
            is_draining: false,
        }
    }
}

/// The result of a search for a connection.
#[derive(Debug)]
pub(crate) enum Found<C> {
    /// The call has this connection to itself.
    Leased(Arc<C>),
    /// The call shares this connection.
    Shared(Arc<C>),
    /// The call has this connection to itself, but a heartbeat must be answered first.
    Stale(Arc<C>),
    /// No connection is usable.
    Nothing {
        /// Whether a new connection would help.
        may_connect: bool,
    },
}

#[derive(Debug)]
struct Slot<C> {
    connection: Arc<C>,
    /// When the last call began.
    used_at: Instant,
}

/// The slots of one pool.
#[derive(Debug)]
pub(crate) struct SlotTable<C> {
    shared: Vec<Slot<C>>,
    /// The most recently used one is last and used first, so that the others time out.
    idle: Vec<Slot<C>>,
    leased: Vec<Arc<C>>,
}

impl<C> Default for SlotTable<C> {
    fn default() -> SlotTable<C> {
        SlotTable { shared: Vec::new(), idle: Vec::new(), leased: Vec::new() }
    }
}

impl<C: PooledConnection> SlotTable<C> {
    /// Returns the number of occupied slots.
    pub(crate) fn len(&self) -> usize {
        self.shared.len() + self.idle.len() + self.leased.len()
    }

    /// Adds a new connection for a call of this mode.
    pub(crate) fn insert(&mut self, connection: Arc<C>, mode: Mode, now: Instant) -> Found<C> {
        match mode {
            Mode::Exclusive => {
                self.leased.push(Arc::clone(&connection));
                Found::Leased(connection)
            }
            Mode::Multiplexed => {
                self.add_shared(Arc::clone(&connection), now);
                Found::Shared(connection)
            }
        }
    }

    /// Adds a connection that multiplexed calls share.
    pub(super) fn add_shared(&mut self, connection: Arc<C>, now: Instant) {
        self.shared.push(Slot { connection, used_at: now });
    }

    /// Adds a connection that no call uses.
    pub(super) fn add_idle(&mut self, connection: Arc<C>, now: Instant) {
        self.idle.push(Slot { connection, used_at: now });
    }

    /// Ends the lease of a connection.
    pub(super) fn end_lease(&mut self, connection: &Arc<C>) {
        self.leased.retain(|leased| !Arc::ptr_eq(leased, connection));
    }

    /// Removes a closed connection, unless it is leased: then its lease frees the slot.
    pub(super) fn remove(&mut self, connection: &C) {
        let is_other = |slot: &Slot<C>| !std::ptr::eq(Arc::as_ptr(&slot.connection), connection);
        self.shared.retain(is_other);
        self.idle.retain(is_other);
    }

    /// Returns all connections.
    pub(super) fn connections(&self) -> impl Iterator<Item = &Arc<C>> {
        let slots = self.shared.iter().chain(&self.idle);
        slots.map(|slot| &slot.connection).chain(&self.leased)
    }

    /// Returns the number of connections that no call uses.
    pub(super) fn idle_count(&self) -> usize {
        let unused = self.shared.iter().filter(|slot| slot.connection.status().in_flight == 0);
        self.idle.len() + unused.count()
    }

    /// Returns the number of requests in flight on all connections.
    pub(super) fn in_flight(&self) -> usize {
        let shared = self.shared.iter().map(|slot| &slot.connection);
        shared.chain(&self.leased).map(|connection| connection.status().in_flight).sum()
    }

    /// Finds a connection for a multiplexed call: a shared one with capacity, or an idle one.
    ///
    /// Connections that are not usable any more leave their slots and are added to `unusable`.
    pub(crate) fn find_shared(
        &mut self,
        options: &Options,
        now: Instant,
        unusable: &mut Vec<Arc<C>>,
    ) -> Found<C> {
        let mut is_congested = false;
        let mut at = 0;

        while let Some(slot) = self.shared.get_mut(at) {
            let status = slot.connection.status();
            let is_full = status.unanswered >= options.max_in_flight.min(status.most_in_flight);
            // All its requests are abandoned, so that its slot is of more use to a new connection.
            let is_spent = status.callers == 0 && (status.is_draining || is_full);

            if is_spent || status.in_flight == 0 && is_dead(slot, options, now) {
                unusable.push(self.shared.swap_remove(at).connection);
            } else if status.is_draining || is_full {
                at += 1;
            } else if status.in_flight == 0 && is_stale(slot, options, now) {
                let connection = self.shared.swap_remove(at).connection;
                self.leased.push(Arc::clone(&connection));
                return Found::Stale(connection);
            } else if status.unsent >= CONGESTED {
                is_congested = true;
                at += 1;
            } else {
                slot.used_at = now;
                return Found::Shared(Arc::clone(&slot.connection));
            }
        }

        // The call is woken when the congested connection has sent more.
        if is_congested {
            return Found::Nothing { may_connect: false };
        }
        match self.lease_idle(options, now, unusable) {
            Found::Leased(connection) => {
                self.end_lease(&connection);
                self.add_shared(Arc::clone(&connection), now);
                Found::Shared(connection)
            }
            found => found,
        }
    }

    /// Leases an idle connection, or a shared one without requests, to an exclusive call.
    ///
    /// Connections that are not usable any more leave their slots and are added to `unusable`.
    pub(crate) fn find_exclusive(
        &mut self,
        options: &Options,
        now: Instant,
        unusable: &mut Vec<Arc<C>>,
    ) -> Found<C> {
        loop {
            match self.lease_idle(options, now, unusable) {
                Found::Nothing { .. } => {}
                found => return found,
            }

            let Some(at) = self.shared.iter().position(|slot| slot.connection.is_unused()) else {
                return Found::Nothing { may_connect: true };
            };
            let slot = self.shared.swap_remove(at);
            self.idle.push(slot);
        }
    }

    /// Leases the most recently used idle connection.
    fn lease_idle(&mut self, options: &Options, now: Instant, unusable: &mut Vec<Arc<C>>) -> Found<C> {
        // One at a time is enough: every search removes the oldest.
        if self.idle.first().is_some_and(|slot| is_old(slot, options, now)) {
            unusable.push(self.idle.remove(0).connection);
        }

        while let Some(slot) = self.idle.pop() {
            let is_draining = slot.connection.status().is_draining;
            if is_draining || is_dead(&slot, options, now) || !slot.connection.is_reusable() {
                unusable.push(slot.connection);
                continue;
            }

            let is_stale = is_stale(&slot, options, now);
            let connection = slot.connection;
            self.leased.push(Arc::clone(&connection));
            return if is_stale { Found::Stale(connection) } else { Found::Leased(connection) };
        }
        Found::Nothing { may_connect: true }
    }
}

fn is_stale<C>(slot: &Slot<C>, options: &Options, now: Instant) -> bool {
    now.duration_since(slot.used_at) >= options.health_check_after
}

fn is_old<C>(slot: &Slot<C>, options: &Options, now: Instant) -> bool {
    now.duration_since(slot.used_at) >= options.idle_timeout
}

fn is_dead<C: PooledConnection>(slot: &Slot<C>, options: &Options, now: Instant) -> bool {
    is_old(slot, options, now) || slot.connection.has_peer_closed()
}

#[cfg(test)]
mod tests;

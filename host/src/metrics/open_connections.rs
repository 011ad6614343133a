//! The open connections: which peers they belong to, and how many requests they have in flight.

use std::sync::{Arc, Mutex};

use slab::Slab;

use super::counters::CounterCell;
use crate::sync::lock;

/// The peer of a connection, as the kernel recorded it at `connect` (unix(7), `SO_PEERCRED`). It
/// does not change when the process changes its ids later, or passes the socket to another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerIdentity {
    /// The process, for display only. No decision may depend on it, because the number may belong
    /// to another process by now. 0 if the process has no number in this PID namespace.
    pub(crate) pid: u32,

    /// The effective user.
    pub(crate) uid: u32,

    /// The effective group.
    pub(crate) gid: u32,
}

struct OpenConnection {
    /// The number that logs show.
    number: u64,
    peer: Option<PeerIdentity>,
    in_flight: CounterCell,
}

/// One open connection at the time of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionStats {
    /// The number that logs show.
    pub(crate) connection: u64,

    pub(crate) peer: Option<PeerIdentity>,

    /// Requests in flight at the end of the connection's last turn.
    pub(crate) in_flight: u64,
}

/// The open connections of a host.
#[derive(Default)]
pub(crate) struct OpenConnections(Mutex<Slab<Arc<OpenConnection>>>);

impl OpenConnections {
    /// Returns the state of every open connection.
    pub(super) fn snapshot(&self) -> Vec<ConnectionStats> {
        let stats = |open: &OpenConnection| ConnectionStats {
            connection: open.number,
            peer: open.peer,
            in_flight: open.in_flight.read(),
        };
        lock(&self.0).iter().map(|(_, open)| stats(open)).collect()
    }
}

/// Registers one connection until it is dropped.
pub(crate) struct ConnectionHandle {
    open: Arc<OpenConnection>,
    index: usize,
    all: Arc<OpenConnections>,
}

impl ConnectionHandle {
    /// Adds a connection to the open ones.
    pub(crate) fn new(all: &Arc<OpenConnections>, number: u64, peer: Option<PeerIdentity>) -> Self {
        let open = Arc::new(OpenConnection { number, peer, in_flight: CounterCell::default() });
        let index = lock(&all.0).insert(Arc::clone(&open));
        Self { open, index, all: Arc::clone(all) }
    }

    /// Returns the peer; `None` if the kernel did not identify it.
    pub(crate) fn peer(&self) -> Option<PeerIdentity> {
        self.open.peer
    }

    /// Sets the number of requests in flight. Only the thread that serves the connection may call
    /// this.
    pub(crate) fn set_in_flight(&self, count: usize) {
        self.open.in_flight.set(count as u64);
    }
}

impl Drop for ConnectionHandle {
    fn drop(&mut self) {
        lock(&self.all.0).remove(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_a_connection_until_its_handle_is_dropped() {
        let all = Arc::<OpenConnections>::default();
        let peer = PeerIdentity { pid: 1, uid: 2, gid: 3 };
        let one = ConnectionHandle::new(&all, 7, Some(peer));
        let other = ConnectionHandle::new(&all, 8, None);
        one.set_in_flight(5);
        drop(other);

        let listed = ConnectionStats { connection: 7, peer: Some(peer), in_flight: 5 };
        assert_eq!(all.snapshot(), [listed]);
        drop(one);
        assert_eq!(all.snapshot(), []);
    }
}

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
    is_operator: bool,
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

    /// Returns the user of the operators that are connected, if it is the same one for all.
    ///
    /// A method does not know its caller. If several users are connected to the admin socket, the
    /// user of a request is therefore not certain.
    pub(crate) fn operator(&self) -> Option<u32> {
        let open = lock(&self.0);
        let mut operators = open.iter().filter(|(_, open)| open.is_operator);
        let uid = |(_, open): (usize, &Arc<OpenConnection>)| open.peer.map(|peer| peer.uid);
        let first = operators.next().and_then(uid)?;
        operators.all(|other| uid(other) == Some(first)).then_some(first)
    }
}

/// Registers one connection until it is dropped.
pub(crate) struct ConnectionHandle {
    open: Arc<OpenConnection>,
    index: usize,
    all: Arc<OpenConnections>,
}

impl ConnectionHandle {
    /// Adds a connection to the open ones. `is_operator` is whether it leads to the admin socket.
    pub(crate) fn new(
        all: &Arc<OpenConnections>,
        number: u64,
        peer: Option<PeerIdentity>,
        is_operator: bool,
    ) -> Self {
        let open = Arc::new(OpenConnection { number, peer, is_operator, in_flight: CounterCell::default() });
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
        let one = ConnectionHandle::new(&all, 7, Some(peer), false);
        let other = ConnectionHandle::new(&all, 8, None, false);
        one.set_in_flight(5);
        drop(other);

        let listed = ConnectionStats { connection: 7, peer: Some(peer), in_flight: 5 };
        assert_eq!(all.snapshot(), [listed]);
        drop(one);
        assert_eq!(all.snapshot(), []);
    }

    #[test]
    fn knows_the_operator_only_if_all_that_are_connected_are_the_same_user() {
        let all = Arc::<OpenConnections>::default();
        let user = |uid| Some(PeerIdentity { pid: 1, uid, gid: 3 });
        let _client = ConnectionHandle::new(&all, 1, user(9), false);
        assert_eq!(all.operator(), None);

        let _one = ConnectionHandle::new(&all, 2, user(0), true);
        let _same = ConnectionHandle::new(&all, 3, user(0), true);
        assert_eq!(all.operator(), Some(0));

        let other = ConnectionHandle::new(&all, 4, user(7), true);
        assert_eq!(all.operator(), None);
        drop(other);
        let _unknown = ConnectionHandle::new(&all, 5, None, true);
        assert_eq!(all.operator(), None);
    }
}

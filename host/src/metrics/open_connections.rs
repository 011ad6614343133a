//! The open connections: who is at the other end, and what they have in flight.

use std::sync::{Arc, Mutex};

use slab::Slab;

use super::thread_cells::CounterCell;
use crate::sync::lock;

/// Who is at the other end of a connection, as the kernel noted it at the moment of `connect` (unix(7),
/// `SO_PEERCRED`): what the process does with its ids afterwards, and who else is handed the socket, changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerIdentity {
    /// The process, to be shown to people: nothing is ever decided by it, for it may name another one by now. 0 where
    /// it has no number that this process could know.
    pub(crate) pid: u32,
    /// The effective user.
    pub(crate) uid: u32,
    /// The effective group.
    pub(crate) gid: u32,
}

/// One open connection.
struct OpenConnection {
    /// As logs name it.
    number: u64,
    peer: Option<PeerIdentity>,
    in_flight: CounterCell,
}

/// One open connection as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionStats {
    /// As logs name it.
    pub(crate) connection: u64,
    pub(crate) peer: Option<PeerIdentity>,
    /// Requests accepted and not answered, at the end of the connection's last turn.
    pub(crate) in_flight: u64,
}

/// The open connections of a host.
#[derive(Default)]
pub(crate) struct OpenConnections(Mutex<Slab<Arc<OpenConnection>>>);

impl OpenConnections {
    pub(super) fn all(&self) -> Vec<ConnectionStats> {
        let figures = |open: &OpenConnection| ConnectionStats {
            connection: open.number,
            peer: open.peer,
            in_flight: open.in_flight.read(),
        };
        lock(&self.0).iter().map(|(_, open)| figures(open)).collect()
    }
}

/// A connection's own place among them; gone with the last of its clones, of which one is in use.
#[derive(Clone)]
pub(crate) struct ConnectionHandle(Arc<ConnectionPlace>);

struct ConnectionPlace {
    open: Arc<OpenConnection>,
    place: usize,
    metrics: Arc<super::Metrics>,
}

impl ConnectionHandle {
    /// One more connection.
    pub(crate) fn new(metrics: &Arc<super::Metrics>, number: u64, peer: Option<PeerIdentity>) -> Self {
        let open = Arc::new(OpenConnection { number, peer, in_flight: CounterCell::default() });
        let place = lock(&metrics.callers.0).insert(Arc::clone(&open));
        Self(Arc::new(ConnectionPlace { open, place, metrics: Arc::clone(metrics) }))
    }

    /// Who is at its other end; `None` when the kernel would not say.
    pub(crate) fn peer(&self) -> Option<PeerIdentity> {
        self.0.open.peer
    }

    /// So many of its requests are in flight. For the thread that serves it.
    pub(crate) fn has_in_flight(&self, count: usize) {
        self.0.open.in_flight.set(count as u64);
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        lock(&self.metrics.callers.0).remove(self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_shown_for_as_long_as_it_is_open() {
        let metrics = Arc::<super::super::Metrics>::default();
        let peer = PeerIdentity { pid: 1, uid: 2, gid: 3 };
        let one = ConnectionHandle::new(&metrics, 7, Some(peer));
        let other = ConnectionHandle::new(&metrics, 8, None);
        one.has_in_flight(5);
        drop(other);
        let shown = ConnectionStats { connection: 7, peer: Some(peer), in_flight: 5 };
        assert_eq!(metrics.callers.all(), [shown]);
        drop(one);
        assert_eq!(metrics.callers.all(), []);
    }
}

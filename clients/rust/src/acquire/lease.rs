//! A connection that one caller has to itself.

use std::sync::Arc;

use crate::connection::{CloseReason, Connection};
use crate::pool::Pool;

/// A connection that is leased from the pool.
///
/// Dropping the lease closes the connection, because the state of its request is unknown.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool<Connection>>,
    connection: Arc<Connection>,
    is_returned: bool,
}

impl Lease {
    /// Returns the lease of a connection that the pool has already moved to its leased ones.
    pub(super) fn new(pool: &Arc<Pool<Connection>>, connection: Arc<Connection>) -> Lease {
        Lease { pool: Arc::clone(pool), connection, is_returned: false }
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Returns whether nothing is in flight, and further requests may begin.
    pub(crate) fn is_reusable(&self) -> bool {
        let in_flight = self.connection.in_flight();
        !in_flight.is_draining && !in_flight.is_closed() && in_flight.is_empty()
    }

    /// Returns the connection to the pool if it is reusable, else closes it.
    pub(crate) fn release(mut self) {
        if self.is_reusable() {
            self.is_returned = true;
            self.pool.return_idle(&self.connection);
        }
    }

    /// Lets other calls share the connection.
    pub(super) fn share(mut self) -> Arc<Connection> {
        self.is_returned = true;
        self.pool.share(&self.connection);
        Arc::clone(&self.connection)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_returned {
            self.connection.close(CloseReason::ClientClosed);
            self.pool.end_lease(&self.connection);
        }
    }
}

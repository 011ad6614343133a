//! A connection that is one caller's alone, and what of it goes back.

use std::sync::Arc;

use crate::connection::{Connection, End};
use crate::pool::Pool;

/// One of the pool's connections, taken out. Dropped, it is closed: what was under way on it is unknown.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool>,
    connection: Arc<Connection>,
    is_kept: bool,
}

impl Lease {
    /// The pool has counted it already.
    pub(super) fn new(pool: &Arc<Pool>, connection: Arc<Connection>) -> Lease {
        Lease { pool: Arc::clone(pool), connection, is_kept: false }
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Gives the connection back if it can be used again, else closes it.
    pub(crate) fn give_back(mut self) {
        let flight = self.connection.flight();
        let is_usable = !flight.retiring && !flight.is_ended() && flight.is_at_rest();
        drop(flight);
        if is_usable {
            self.is_kept = true;
            self.pool.rest(&self.connection);
        }
    }

    /// Lets other calls share the connection from now on.
    pub(crate) fn share(mut self) -> Arc<Connection> {
        self.is_kept = true;
        self.pool.share(&self.connection);
        Arc::clone(&self.connection)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_kept {
            self.connection.end(End::Closed);
            self.pool.unlease(&self.connection);
        }
    }
}

//! A call that looks for a connection, and its position in the wait queue.

use std::sync::Arc;
use std::time::Instant;

use crate::connection::Connection;
use crate::options::{Mode, after};
use crate::pool::Pool;

/// A call that looks for a connection. Dropping it removes the call from the wait queue.
#[derive(Debug)]
pub(crate) struct Waiter {
    pool: Arc<Pool<Connection>>,
    pub(super) mode: Mode,
    /// The position in the wait queue; `None` as long as the call has not had to wait.
    pub(super) ticket: Option<u64>,
    /// Attempts to connect are not repeated after this instant.
    pub(super) connect_until: Instant,
}

impl Waiter {
    /// Returns a call that begins to look for a connection at `now`.
    pub(crate) fn new(pool: &Arc<Pool<Connection>>, mode: Mode, now: Instant) -> Waiter {
        let connect_until = after(now, pool.options.connect_timeout);
        Waiter { pool: Arc::clone(pool), mode, ticket: None, connect_until }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.pool.leave_queue(self.mode, ticket);
        }
    }
}

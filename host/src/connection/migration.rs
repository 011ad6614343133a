//! A connection between two I/O threads: its own thread is being replaced.

use std::os::unix::net::UnixStream;

use super::state::ConnectionState;
use super::thread_context::ThreadContext;

/// A connection that is on its way to another I/O thread. Nothing is read or written meanwhile, but
/// replies from other threads reach its mailbox.
pub(crate) struct MigratingConnection {
    pub(super) state: ConnectionState,
    /// Not registered with any reactor.
    pub(super) stream: UnixStream,
}

impl MigratingConnection {
    /// Ends the connection, because no thread can continue with it. `thread` is the current one.
    pub(crate) fn cut(mut self, thread: &ThreadContext) {
        self.state.close_unserved(thread);
    }
}

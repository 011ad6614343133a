//! The task that drives one connection: it sends and reads for all callers.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::connection::{CloseReason, Connection, Received};

/// A connection and its registration with the runtime.
struct Driver {
    connection: Arc<Connection>,
    /// A second descriptor for the runtime. Sharing one with tokio would take unsafe code.
    watched: UnixStream,
}

/// Closes the connection with its task, since nothing else reads from it.
///
/// A runtime may end before the client does, while callers in another runtime continue.
impl Drop for Driver {
    fn drop(&mut self) {
        self.connection.close(CloseReason::Lost(None));
    }
}

/// Spawns the driver of a new connection in the current runtime.
///
/// A connection that the runtime cannot watch is closed.
pub(super) fn spawn(connection: &Arc<Connection>) {
    match connection.socket.duplicate().and_then(UnixStream::from_std) {
        Ok(watched) => {
            let driver = Driver { connection: Arc::clone(connection), watched };
            tokio::spawn(poll_fn(move |context| driver.poll(context)));
        }
        Err(error) => connection.close(CloseReason::Lost(Errno::from_io_error(&error))),
    }
}

impl Driver {
    /// Reads and writes as much as possible. It is ready when the connection has been closed.
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let connection = &self.connection;
        // The waker is set first, so that bytes queued after the check wake this task.
        connection.set_driver(context.waker());

        while connection.has_unsent() {
            match self.watched.poll_write_ready(context) {
                Poll::Ready(Ok(())) => self.run(Interest::WRITABLE, || !connection.flush()),
                Poll::Ready(Err(error)) => {
                    connection.close(CloseReason::Lost(Errno::from_io_error(&error)));
                }
                Poll::Pending => break,
            }
        }

        while !connection.in_flight().is_closed() {
            match self.watched.poll_read_ready(context) {
                Poll::Ready(Ok(())) => self.run(Interest::READABLE, || {
                    connection.receive(&mut connection.reader()) == Received::More
                }),
                Poll::Ready(Err(error)) => {
                    connection.close(CloseReason::Lost(Errno::from_io_error(&error)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// Runs an operation that returns whether the socket is still ready, and reports it to the
    /// runtime.
    fn run(&self, interest: Interest, operation: impl FnOnce() -> bool) {
        let operation = || if operation() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) };
        // The only error is the one above, which is meant for the runtime.
        let _ = self.watched.try_io(interest, operation);
    }
}

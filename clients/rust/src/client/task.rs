//! The task that drives one connection: it sends what callers have queued, and reads for all of them.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::connection::{Connection, End, Received};

/// A connection as its task holds it.
struct Driven {
    connection: Arc<Connection>,
    /// A descriptor of its own for the runtime to watch. tokio takes one that is shared only by an unsafe promise.
    watched: UnixStream,
}

/// However the task ends, the connection ends too, for nobody reads from it any more: a runtime may end before the
/// client does, and callers in another one go on.
impl Drop for Driven {
    fn drop(&mut self) {
        self.connection.end(End::Lost(None));
    }
}

/// Gives a new connection a task of the current runtime. One that cannot be watched has ended afterwards.
pub(super) fn adopt(connection: &Arc<Connection>) {
    match connection.socket.duplicate().and_then(UnixStream::from_std) {
        Ok(watched) => {
            let driven = Driven { connection: Arc::clone(connection), watched };
            tokio::spawn(poll_fn(move |context| driven.poll(context)));
        }
        Err(error) => connection.end(End::Lost(Errno::from_io_error(&error))),
    }
}

impl Driven {
    /// Does what can be done now; ready when the connection has ended.
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let connection = &self.connection;
        // Before the first look at what there is to do: what comes after it then wakes.
        connection.driven_by(context.waker());
        while connection.has_unsent() {
            match self.watched.poll_write_ready(context) {
                Poll::Ready(Ok(())) => self.done(Interest::WRITABLE, || !connection.flush()),
                Poll::Ready(Err(error)) => connection.end(End::Lost(Errno::from_io_error(&error))),
                Poll::Pending => break,
            }
        }
        while !connection.flight().is_ended() {
            match self.watched.poll_read_ready(context) {
                Poll::Ready(Ok(())) => self.done(Interest::READABLE, || {
                    connection.receive(&mut connection.reader()) == Received::More
                }),
                Poll::Ready(Err(error)) => connection.end(End::Lost(Errno::from_io_error(&error))),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// Does something that says whether the socket is still ready for it; if not, the runtime waits anew.
    fn done(&self, interest: Interest, still_ready: impl FnOnce() -> bool) {
        let blocked = || if still_ready() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) };
        // The error is the one above, for the runtime alone.
        let _ = self.watched.try_io(interest, blocked);
    }
}

//! The system calls on one non-blocking Unix socket.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType};

/// A connected stream socket in non-blocking mode.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

/// The result of a look at a socket that takes nothing from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peeked {
    /// Nothing to read.
    Nothing,
    /// Unread bytes.
    Data,
    /// The peer has closed the connection.
    Closed,
}

impl Socket {
    /// Connects without waiting: the connect(2) of a Unix socket succeeds or fails immediately.
    pub(crate) fn connect(path: &Path) -> Result<Socket, Errno> {
        let address = SocketAddrUnix::new(path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;

        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))?;
        Ok(Socket(socket))
    }

    /// Sends as much as the kernel accepts and returns the number of bytes.
    ///
    /// # Errors
    ///
    /// `AGAIN` if the kernel accepts none.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        // Without NOSIGNAL, a closed peer would kill a process that does not ignore SIGPIPE.
        rustix::io::retry_on_intr(|| rustix::net::send(&self.0, bytes, SendFlags::NOSIGNAL))
    }

    /// Receives the available bytes and returns their number, 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// `AGAIN` if there are none yet.
    pub(crate) fn receive(&self, into: &mut [u8]) -> Result<usize, Errno> {
        let (_, received) =
            rustix::io::retry_on_intr(|| rustix::net::recv(&self.0, &mut *into, RecvFlags::empty()))?;
        Ok(received)
    }

    /// Returns whether there is something to read, and leaves it unread.
    pub(crate) fn peek(&self) -> Peeked {
        let mut byte = [0];
        match rustix::io::retry_on_intr(|| rustix::net::recv(&self.0, &mut byte, RecvFlags::PEEK)) {
            Err(Errno::AGAIN) => Peeked::Nothing,
            Ok((_, received)) if received > 0 => Peeked::Data,
            Ok(_) | Err(_) => Peeked::Closed,
        }
    }

    /// Waits until the socket is readable or closed, or `deadline` passes.
    ///
    /// With `write`, a writable socket ends the wait, too. So does a signal.
    pub(crate) fn wait(&self, write: bool, deadline: Instant) -> Result<(), Errno> {
        let events = if write { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let left = deadline.saturating_duration_since(Instant::now());

        match rustix::event::poll(&mut [PollFd::new(&self.0, events)], Some(&timespec(left))) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Returns a second descriptor of the same socket.
    pub(crate) fn duplicate(&self) -> io::Result<UnixStream> {
        Ok(self.0.try_clone()?.into())
    }

    /// Shuts the connection down in both directions; the descriptor remains open.
    pub(crate) fn shut_down(&self) {
        // This fails only if the connection is closed already.
        let _ = rustix::net::shutdown(&self.0, Shutdown::Both);
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// Returns whether a later attempt to connect may succeed.
///
/// It may after a full backlog, without a listener, and without a socket.
pub(crate) fn is_transient(errno: Errno) -> bool {
    matches!(errno, Errno::AGAIN | Errno::CONNREFUSED | Errno::NOENT | Errno::CONNRESET)
}

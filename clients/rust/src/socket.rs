//! The system calls on one Unix socket, none of which ever waits.

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

/// What a look at a socket at rest showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rest {
    /// Nothing came.
    Quiet,
    /// Bytes that nobody has read.
    Unread,
    /// The peer has ended the connection.
    Ended,
}

impl Socket {
    /// Connects. A Unix socket connects at once or not at all.
    pub(crate) fn connect(path: &Path) -> Result<Socket, Errno> {
        let address = SocketAddrUnix::new(path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))?;
        Ok(Socket(socket))
    }

    /// Sends what the kernel takes now: bytes, at least 1; `AGAIN` for none.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        // Without NOSIGNAL a peer that has gone would kill a process that did not think of SIGPIPE.
        rustix::io::retry_on_intr(|| rustix::net::send(&self.0, bytes, SendFlags::NOSIGNAL))
    }

    /// Receives what is there: bytes, 0 at the end of the stream; `AGAIN` for nothing yet.
    pub(crate) fn receive(&self, into: &mut [u8]) -> Result<usize, Errno> {
        let (_, received) =
            rustix::io::retry_on_intr(|| rustix::net::recv(&self.0, &mut *into, RecvFlags::empty()))?;
        Ok(received)
    }

    /// Looks whether anything came, and leaves it there.
    pub(crate) fn rest(&self) -> Rest {
        let mut byte = [0];
        match rustix::io::retry_on_intr(|| rustix::net::recv(&self.0, &mut byte, RecvFlags::PEEK)) {
            Err(Errno::AGAIN) => Rest::Quiet,
            Ok((_, received)) if received > 0 => Rest::Unread,
            Ok(_) | Err(_) => Rest::Ended,
        }
    }

    /// Waits until the socket can be read (or written, if `write`), or has ended, at most until `deadline`. A signal
    /// ends the wait early.
    pub(crate) fn wait(&self, write: bool, deadline: Instant) -> Result<(), Errno> {
        let events = if write { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let left = deadline.saturating_duration_since(Instant::now());
        match rustix::event::poll(&mut [PollFd::new(&self.0, events)], Some(&timespec(left))) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// A second descriptor of the same socket.
    pub(crate) fn duplicate(&self) -> io::Result<UnixStream> {
        Ok(self.0.try_clone()?.into())
    }

    /// Ends the connection in both directions; the descriptor lives as long as this value.
    pub(crate) fn shut_down(&self) {
        // Fails only where the connection has ended already.
        let _ = rustix::net::shutdown(&self.0, Shutdown::Both);
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// Whether waiting may mend a failed connect: a full backlog, no listener, no socket yet.
pub(crate) fn is_transient(errno: Errno) -> bool {
    matches!(errno, Errno::AGAIN | Errno::CONNREFUSED | Errno::NOENT | Errno::CONNRESET)
}

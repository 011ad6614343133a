//! The state of a socket as the kernel reports it, without waiting for the reactor.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};
use tokio::net::UnixStream;

/// Returns whether the peer has closed both directions. A peer that closed only its writing side
/// still receives every reply.
pub(super) fn has_hung_up(stream: &UnixStream) -> bool {
    poll_now(stream).contains(PollFlags::HUP)
}

/// Returns whether a read would return something, if only the end of the stream.
pub(super) fn has_unread(stream: &UnixStream) -> bool {
    poll_now(stream).contains(PollFlags::IN)
}

/// Closes the reading direction, so that the peer's next write fails. Returns whether this
/// succeeded.
pub(super) fn close_reading(stream: &UnixStream) -> bool {
    shutdown(stream, Shutdown::Read).is_ok()
}

fn poll_now(stream: &UnixStream) -> PollFlags {
    let mut fds = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN)];
    let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };

    poll(&mut fds, Some(&no_wait)).map_or(PollFlags::empty(), |_| fds[0].revents())
}

//! Who is at the other end of a connection, as the kernel noted it when they connected.

use std::{fmt, io};

use tokio::net::UnixStream;

/// A connection's peer, read once when it is accepted. The kernel fixed it at the moment of `connect` (unix(7),
/// `SO_PEERCRED`): what the process does with its ids afterwards, and who else is handed the socket, changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Caller {
    /// The effective user.
    pub(crate) uid: u32,
    /// The effective group.
    pub(crate) gid: u32,
    /// The process, to be told to people: nothing is ever decided by it, for it may name another one by now. 0 when
    /// it is none that this one's namespace can name.
    pub(crate) pid: i32,
}

impl Caller {
    /// Of a connected socket.
    ///
    /// # Errors
    /// The system's; it has none for a socket that is connected.
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Self> {
        let known = stream.peer_cred()?;
        Ok(Self { uid: known.uid(), gid: known.gid(), pid: known.pid().unwrap_or(0) })
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {} gid {} pid {}", self.uid, self.gid, self.pid)
    }
}

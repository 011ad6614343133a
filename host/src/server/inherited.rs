//! Sockets that somebody else bound and listens on, and this process was started with: socket activation.
//!
//! The protocol is systemd's (sd_listen_fds(3)): descriptors from 3 on, told of in the environment. Whoever handed
//! them over keeps them, so that a client is queued and not refused while no host runs. Their files, modes and
//! owners are not ours: nothing of them is changed, and no lock is needed for a name that is not taken.

use std::env;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use rustix::net::{SocketAddrUnix, getsockname, sockopt};

/// The most sockets that are taken over; nobody has more listeners, and the number comes from outside.
const MOST: usize = 1024;

/// Why sockets that were handed over cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// The environment speaks of sockets in words that mean nothing.
    #[error("{variable}={value:?} in the environment is no number of sockets up to {MOST}")]
    Environment {
        /// The variable.
        variable: &'static str,
        /// What it says.
        value: String,
    },
    /// What was handed over is no listening Unix socket.
    #[error("the inherited socket {name:?} (descriptor {descriptor}) cannot be served: {source}")]
    Unusable {
        /// Its name (`FileDescriptorName=`), or nothing.
        name: String,
        /// Its number.
        descriptor: usize,
        /// What is wrong with it.
        source: io::Error,
    },
}

/// The sockets this process was started with.
#[derive(Debug, Default)]
pub struct Inherited(Vec<InheritedSocket>);

/// One of them.
#[derive(Debug)]
pub(super) struct InheritedSocket {
    name: String,
    pub(super) address: SocketAddrUnix,
    pub(super) listener: UnixListener,
}

impl Inherited {
    /// Takes over the sockets that the environment tells of, if they were meant for this process.
    ///
    /// To be called while the process has one thread: the variables `LISTEN_PID` and `LISTEN_FDS` are removed, so
    /// that nothing this process starts takes them for its own. The descriptors are closed on exec.
    ///
    /// # Errors
    /// A descriptor that is no listening Unix stream socket: started so, the host would not serve what it is to.
    pub fn from_environment() -> Result<Self, InheritError> {
        // The crate takes a missing LISTEN_PID for ours; systemd always sets it, and what is left of another
        // process's environment is not for us.
        let ours = env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
        let Some(count) = env::var_os("LISTEN_FDS").filter(|_| ours) else { return Ok(Self::default()) };
        let count = count.to_string_lossy().into_owned();
        if count.parse::<usize>().map_or(true, |count| count > MOST) {
            return Err(InheritError::Environment { variable: "LISTEN_FDS", value: count });
        }
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        // Making a socket of a number is `unsafe`, for the number may be anything's: this crate checks first that
        // it is a socket, and does nothing else.
        let mut given = ListenFd::from_env();
        let mut sockets = Vec::new();
        for place in 0..given.len() {
            let name = names.next().unwrap_or_default();
            let taken = given.take_unix_listener(place).and_then(|listener| match listener {
                Some(listener) => InheritedSocket::of(name.clone(), listener),
                None => Err(io::Error::from(io::ErrorKind::NotFound)),
            });
            let unusable = |source| InheritError::Unusable { name, descriptor: place + 3, source };
            sockets.push(taken.map_err(unusable)?);
        }
        Ok(Self(sockets))
    }

    /// Takes out the socket that is meant for `path`: the one bound there, or else one bound elsewhere whose name
    /// is that of the socket's file, with or without `.sock`.
    pub(super) fn take(&mut self, path: &Path) -> Option<InheritedSocket> {
        let bound = self.0.iter().position(|socket| socket.path().is_some_and(|bound| is_same(&bound, path)));
        let named = || {
            let names = [path.file_name(), path.file_stem()].map(|name| name.and_then(|name| name.to_str()));
            self.0.iter().position(|socket| names.contains(&Some(socket.name.as_str())))
        };
        bound.or_else(named).map(|place| self.0.remove(place))
    }

    /// What nobody took, in words.
    pub(super) fn left(&self) -> Vec<String> {
        self.0.iter().map(InheritedSocket::to_words).collect()
    }
}

impl InheritedSocket {
    fn of(name: String, listener: UnixListener) -> io::Result<Self> {
        if !sockopt::socket_acceptconn(&listener)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
        }
        listener.set_nonblocking(true)?;
        let address = SocketAddrUnix::try_from(getsockname(&listener)?)?;
        Ok(Self { name, address, listener })
    }

    /// Where it is bound; `None` of one without a file.
    fn path(&self) -> Option<PathBuf> {
        let bytes = self.address.path_bytes()?;
        let path = std::ffi::OsStr::from_bytes(bytes);
        (!path.is_empty()).then(|| PathBuf::from(path))
    }

    fn to_words(&self) -> String {
        let place = self.path().map_or_else(|| "no file".to_owned(), |path| path.display().to_string());
        format!("{:?} ({place})", self.name)
    }
}

/// Whether two paths name one place: their directories are the same one, by whatever way, and the names in it.
fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let directory = path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = directory.canonicalize().or_else(|_| std::path::absolute(directory)).ok()?;
        Some(directory.join(path.file_name()?))
    };
    place(one).is_some_and(|one| place(other) == Some(one))
}

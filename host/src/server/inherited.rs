//! Socket activation: sockets that the service manager bound and passed to this process.
//!
//! The protocol is that of sd_listen_fds(3): descriptors from 3 on, announced in the environment.
//! The service manager keeps the sockets, so that clients are queued and not rejected while no host
//! runs. Their files, modes and owners belong to the service manager: nothing about them is
//! changed, and no lock is needed for a name that is not taken.

use std::env;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use rustix::net::{SocketAddrUnix, getsockname, sockopt};

/// The most sockets that are accepted. The number comes from outside, and no configuration has more
/// listeners.
const MAX_SOCKETS: usize = 1024;

/// The first descriptor that is passed (`SD_LISTEN_FDS_START`).
const FIRST_DESCRIPTOR: usize = 3;

/// The variable by which process 1 of a container announces to the host, its child, that the
/// sockets that it was passed are for the host. It cannot put the id of the host into `LISTEN_PID`.
pub const LISTEN_FDS_PASSED_ON: &str = "JACKFIELD_LISTEN_FDS_PASSED_ON";

/// The reason why passed sockets cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// A variable of the environment has no valid value.
    #[error(
        "{variable}={value:?} in the environment is not a number of sockets up to {MAX_SOCKETS}; correct it, or unset \
         it to have the host bind its sockets"
    )]
    Environment {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// A descriptor is not a listening Unix socket.
    #[error(
        "the inherited socket {name:?} (descriptor {descriptor}) cannot be served: {source}; its .socket unit must \
         have ListenStream= with a path"
    )]
    Unusable {
        /// Its name (`FileDescriptorName=`), or an empty string.
        name: String,
        /// Its number.
        descriptor: usize,
        /// The reason.
        source: io::Error,
    },
}

/// The sockets that were passed to this process.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<InheritedSocket>,

    /// The variables that announce sockets for another process, in words for the log.
    ignored: Option<String>,
}

/// One passed socket.
#[derive(Debug)]
pub(super) struct InheritedSocket {
    name: String,
    pub(super) address: SocketAddrUnix,
    pub(super) listener: UnixListener,
}

impl Inherited {
    /// Takes the sockets that the environment announces, if they are meant for this process.
    ///
    /// Must be called while the process has one thread, because it removes the variables
    /// `LISTEN_PID` and `LISTEN_FDS`, so that no child process takes the sockets for its own. The
    /// descriptors are closed on exec.
    ///
    /// # Errors
    ///
    /// An invalid number of sockets, or a descriptor that is not a listening Unix stream socket.
    pub fn from_environment() -> Result<Self, InheritError> {
        // `listenfd` accepts a missing LISTEN_PID. systemd always sets it, and variables that were
        // left from another process's environment announce nothing for this one.
        let Some(count) = env::var_os("LISTEN_FDS") else { return Ok(Self::default()) };
        let count = count.to_string_lossy().into_owned();
        let own_pid = std::process::id();
        let pid = env::var_os("LISTEN_PID").map(|pid| pid.to_string_lossy().into_owned());
        let is_for_us = match &pid {
            Some(pid) => *pid == own_pid.to_string(),
            None => env::var_os(LISTEN_FDS_PASSED_ON).is_some(),
        };
        if !is_for_us {
            let pid = pid.map_or_else(|| "not set".to_owned(), |pid| format!("{pid:?}"));
            let ignored = format!("LISTEN_FDS={count:?}, but LISTEN_PID is {pid} and not {own_pid}");
            return Ok(Self { sockets: Vec::new(), ignored: Some(ignored) });
        }
        if count.parse::<usize>().map_or(true, |count| count > MAX_SOCKETS) {
            return Err(InheritError::Environment { variable: "LISTEN_FDS", value: count });
        }

        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        // Turning a number into a socket is `unsafe`, because the descriptor may be anything.
        // `listenfd` checks that it is a socket first, and does nothing else.
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();

        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            let taken = passed.take_unix_listener(index).and_then(|listener| match listener {
                Some(listener) => InheritedSocket::new(name.clone(), listener),
                None => Err(io::Error::from(io::ErrorKind::NotFound)),
            });
            let descriptor = index + FIRST_DESCRIPTOR;
            sockets.push(taken.map_err(|source| InheritError::Unusable { name, descriptor, source })?);
        }
        Ok(Self { sockets, ignored: None })
    }

    /// Logs that sockets were announced for another process. They may be those of the listeners.
    pub(super) fn report_ignored(&self) {
        if let Some(announced) = &self.ignored {
            tracing::warn!(
                "the environment has {announced}: these sockets are for another process, and the host binds its \
                 own (start the host with exec, or unset LISTEN_FDS)"
            );
        }
    }

    /// Takes the socket that is meant for `path`.
    ///
    /// This is the socket that is bound there, or else one that is bound elsewhere and named like
    /// the socket's file, with or without `.sock`.
    pub(super) fn take(&mut self, path: &Path) -> Option<InheritedSocket> {
        let is_bound_there =
            |socket: &InheritedSocket| socket.path().is_some_and(|bound| is_same(&bound, path));
        let names = [path.file_name(), path.file_stem()].map(|name| name.and_then(|name| name.to_str()));
        let has_the_name = |socket: &InheritedSocket| names.contains(&Some(socket.name.as_str()));

        let index = self
            .sockets
            .iter()
            .position(is_bound_there)
            .or_else(|| self.sockets.iter().position(has_the_name))?;
        Some(self.sockets.remove(index))
    }

    /// Returns a description of each socket that no listener took.
    pub(super) fn describe_unclaimed(&self) -> Vec<String> {
        self.sockets.iter().map(InheritedSocket::describe).collect()
    }
}

impl InheritedSocket {
    fn new(name: String, listener: UnixListener) -> io::Result<Self> {
        if !sockopt::socket_acceptconn(&listener)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
        }

        listener.set_nonblocking(true)?;
        let address = SocketAddrUnix::try_from(getsockname(&listener)?)?;
        Ok(Self { name, address, listener })
    }

    /// Returns the path that the socket is bound to; `None` for a socket without a file.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let bytes = self.address.path_bytes()?;
        let path = std::ffi::OsStr::from_bytes(bytes);
        (!path.is_empty()).then(|| PathBuf::from(path))
    }

    fn describe(&self) -> String {
        let path = self.path().map_or_else(|| "no file".to_owned(), |path| path.display().to_string());
        format!("{:?} ({path})", self.name)
    }
}

/// Returns whether two paths have the same file name in the same directory, by whatever links they
/// lead there.
fn is_same(one: &Path, other: &Path) -> bool {
    let resolved = |path: &Path| {
        let directory = path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = directory.canonicalize().or_else(|_| std::path::absolute(directory)).ok()?;
        Some(directory.join(path.file_name()?))
    };
    resolved(one).is_some_and(|one| resolved(other) == Some(one))
}

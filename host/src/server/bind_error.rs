//! Why a socket is not bound: which one, the cause, and the remedy.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::loader::UnsafeStep;
use crate::system_failure::WithRemedy;

/// The socket that could not be bound, and why.
#[derive(Debug, thiserror::Error)]
#[error("{fault} (see {key})")]
pub struct BindError {
    /// The configuration key of the socket.
    pub key: &'static str,
    /// The reason.
    pub fault: BindFault,
}

/// The reason why a socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindFault {
    /// Another process holds the lock of the socket, or answers on it.
    #[error("{socket}: in use by another process; stop it, or choose another socket")]
    InUse {
        /// The path of the socket.
        socket: PathBuf,
    },
    /// The name belongs to something that is not a socket.
    #[error(
        "{socket}: there is a {what} by this name; it is left alone: remove it, or choose another socket"
    )]
    NotASocket {
        /// The path of the socket.
        socket: PathBuf,
        /// The kind of file that has the name.
        what: &'static str,
    },
    /// The name belongs to a dead socket of another user.
    #[error(
        "{socket}: a dead socket of user {owner} has this name; it is left alone: remove it, or run as that user"
    )]
    Foreign {
        /// The path of the socket.
        socket: PathBuf,
        /// The owner's uid.
        owner: u32,
    },
    /// The lock file belongs to another user, and this one may not open it.
    #[error(
        "{lock}: the lock file belongs to user {owner}, and the host runs as user {user}; remove it if no host uses \
         it, or run the host as that user"
    )]
    ForeignLock {
        /// The path of the lock file.
        lock: PathBuf,
        /// The owner's uid.
        owner: u32,
        /// The uid of the host.
        user: u32,
    },
    /// The group of the configuration does not exist on this machine.
    #[error("{socket}: there is no group {group:?}; set the group of this [[listener]] to an existing one")]
    NoSuchGroup {
        /// The path of the socket.
        socket: PathBuf,
        /// The name of the group.
        group: String,
    },
    /// Another user could put another socket into the place of the admin socket.
    #[error(
        "{socket}: other users could replace the admin socket, so it is not bound: {directory}, or choose a \
         path in another directory"
    )]
    UnsafeDirectory {
        /// The path of the socket.
        socket: PathBuf,
        /// The reason.
        directory: UnsafeDirectory,
    },
    /// A system call failed.
    #[error("{path}: cannot {what}: {}", WithRemedy(source))]
    System {
        /// The path concerned.
        path: PathBuf,
        /// The failed action.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

/// Returns a function that turns a failed system call into a [`BindFault`].
pub(super) fn system_error(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> BindFault {
    let path = path.to_owned();
    move |source| BindFault::System { path, what, source }
}

/// A directory that other users could change, displayed with the remedy.
#[derive(Debug)]
pub struct UnsafeDirectory(pub(super) UnsafeStep);

impl fmt::Display for UnsafeDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnsafeDirectory(step) = self;
        write!(f, "{step}; ")?;
        match step {
            UnsafeStep { is_writable: false, .. } => {
                let user = rustix::process::geteuid().as_raw();
                write!(f, "change its owner to root or to the user of the host ({user})")
            }
            UnsafeStep { is_sticky: true, .. } => f.write_str("use a directory that belongs to the host"),
            UnsafeStep { .. } => f.write_str("run chmod go-w on it"),
        }
    }
}

//! Binding a socket without ever taking one that lives: under a lock, and only over a dead socket of our own.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use jackfield_protocol::Framing;
use nix::unistd::Group;
use rustix::fs::FlockOperation;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::config::{self, Listener};
use crate::connection::ListenerOptions;

use super::inherited::InheritedSocket;

/// Why a socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process holds the socket's lock, or answers on it.
    #[error("{socket}: in use by another process; stop it, or choose another socket")]
    InUse {
        /// The socket's path.
        socket: PathBuf,
    },
    /// Something that is no socket has the name.
    #[error(
        "{socket}: there is a {what} by this name; it is left alone: remove it, or choose another socket"
    )]
    NotASocket {
        /// The socket's path.
        socket: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// A dead socket that belongs to somebody else.
    #[error(
        "{socket}: a dead socket of user {owner} has this name; it is left alone: remove it, or run as that user"
    )]
    Foreign {
        /// The socket's path.
        socket: PathBuf,
        /// The owner's uid.
        owner: u32,
    },
    /// The group of the configuration is not known here.
    #[error("{socket}: there is no group {group:?}")]
    NoSuchGroup {
        /// The socket's path.
        socket: PathBuf,
        /// The group's name.
        group: String,
    },
    /// The system said no.
    #[error("{path}: cannot {what}: {source}")]
    System {
        /// The path at fault.
        path: PathBuf,
        /// What could not be done.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

fn system(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> BindError {
    let path = path.to_owned();
    move |source| BindError::System { path, what, source }
}

/// The right to a socket's name, held by an advisory lock on a file beside it. The file goes with the lock.
pub(super) struct SocketClaim {
    listener: Listener,
    group: Option<Group>,
    lock: PathBuf,
    /// Whether the socket is for operators.
    admin: bool,
    _file: File,
}

impl SocketClaim {
    /// Claims the name; nothing is bound yet. A missing directory is made.
    pub(super) fn take(listener: &Listener, admin: bool) -> Result<Self, BindError> {
        let socket = &listener.socket;
        let group = match &listener.group {
            None => None,
            Some(name) => {
                let found = Group::from_name(name)
                    .map_err(|error| system(socket, "look its group up")(error.into()))?;
                let missing = || BindError::NoSuchGroup { socket: socket.clone(), group: name.clone() };
                Some(found.ok_or_else(missing)?)
            }
        };
        if let Some(directory) = socket.parent().filter(|path| !path.as_os_str().is_empty()) {
            fs::create_dir_all(directory).map_err(system(directory, "make the directory"))?;
        }
        let mut lock = socket.clone().into_os_string();
        lock.push(".lock");
        let lock = PathBuf::from(lock);
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
                .open(&lock)
                .map_err(system(&lock, "open the lock"))?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(BindError::InUse { socket: socket.clone() });
                }
                Err(error) => return Err(system(&lock, "lock")(error.into())),
            }
            // Whoever held it before removed the file when it went: a lock on a file without a name locks nothing.
            let ours = file.metadata().map_err(system(&lock, "look at the lock"))?;
            if fs::metadata(&lock).is_ok_and(|named| named.ino() == ours.ino() && named.dev() == ours.dev()) {
                let claim = Self { listener: listener.clone(), group, lock, admin, _file: file };
                // Looked at before anything costly is done, and once more when it is bound.
                claim.finds_dead_socket()?;
                return Ok(claim);
            }
        }
    }

    /// Binds and listens. Clients can connect from here on.
    pub(super) fn bind(self) -> Result<BoundSocket, BindError> {
        let socket = &self.listener.socket;
        if self.finds_dead_socket()? {
            fs::remove_file(socket).map_err(system(socket, "remove the dead socket"))?;
        }
        let fd = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .map_err(|error| system(socket, "make a socket")(error.into()))?;
        let address =
            SocketAddrUnix::new(socket).map_err(|error| system(socket, "name a socket")(error.into()))?;
        rustix::net::bind(&fd, &address).map_err(|error| system(socket, "bind")(error.into()))?;
        let inode = fs::symlink_metadata(socket).map_err(system(socket, "look at"))?.ino();
        let (listener, admin) = (self.listener.clone(), self.admin);
        // From here on, whatever fails takes the name away again.
        let bound = BoundSocket {
            socket: Some(UnixListener::from(fd)),
            address,
            listener,
            admin,
            name: Some(ClaimedName { inode, claim: self }),
        };
        bound.open()?;
        Ok(bound)
    }

    /// Whether a dead socket of ours has the name; whatever else has it is refused.
    fn finds_dead_socket(&self) -> Result<bool, BindError> {
        let path = &self.listener.socket;
        let socket = || path.clone();
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(system(path, "look at")(error)),
        };
        let kind = found.file_type();
        if !kind.is_socket() {
            let what = match () {
                () if kind.is_dir() => "directory",
                () if kind.is_symlink() => "symbolic link",
                () if kind.is_file() => "regular file",
                () => "special file",
            };
            return Err(BindError::NotASocket { socket: socket(), what });
        }
        match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            // A full backlog, a permission that is missing, an answer: somebody is there.
            _ => return Err(BindError::InUse { socket: socket() }),
        }
        let us = rustix::process::geteuid().as_raw();
        if found.uid() != us {
            return Err(BindError::Foreign { socket: socket(), owner: found.uid() });
        }
        Ok(true)
    }
}

impl Drop for SocketClaim {
    fn drop(&mut self) {
        // Still locked: nobody else can have claimed the name by this file.
        let _ = fs::remove_file(&self.lock);
    }
}

/// A name that was taken, and is given back.
struct ClaimedName {
    inode: u64,
    claim: SocketClaim,
}

/// A bound socket; dropped, its file goes if we made it and it is still the same.
pub(super) struct BoundSocket {
    socket: Option<UnixListener>,
    /// Where clients find it.
    pub(super) address: SocketAddrUnix,
    listener: Listener,
    admin: bool,
    /// `None` of a socket that was inherited: its name belongs to whoever bound it.
    name: Option<ClaimedName>,
}

impl BoundSocket {
    /// A socket that was bound before this process began, served as `listener` says. Its mode, owner and name stay.
    pub(super) fn inherited(socket: InheritedSocket, listener: Listener, admin: bool) -> Self {
        let InheritedSocket { address, listener: socket, .. } = socket;
        Self { socket: Some(socket), address, listener, admin, name: None }
    }

    /// Gives the socket its mode and its group, and then listens: until then nobody can connect, so that both are
    /// right from the first connection on.
    fn open(&self) -> Result<(), BindError> {
        let socket = &self.listener.socket;
        fs::set_permissions(socket, fs::Permissions::from_mode(self.listener.mode))
            .map_err(system(socket, "set the mode"))?;
        if let Some(group) = self.name.as_ref().and_then(|name| name.claim.group.as_ref()) {
            std::os::unix::fs::chown(socket, None, Some(group.gid.as_raw()))
                .map_err(system(socket, "set the group"))?;
        }
        if let Some(listener) = &self.socket {
            // The kernel cuts it to net.core.somaxconn: as large as it allows.
            rustix::net::listen(listener, i32::MAX)
                .map_err(|error| system(socket, "listen")(error.into()))?;
        }
        Ok(())
    }

    /// The socket itself; there is one to take.
    pub(super) fn take_listener(&mut self) -> io::Result<UnixListener> {
        self.socket.take().ok_or_else(|| io::Error::other("the socket was taken already"))
    }

    pub(super) fn manner(&self) -> ListenerOptions {
        let listener = &self.listener;
        ListenerOptions {
            framing: self.framing(),
            close_after_reply: listener.close_after_reply,
            admin: self.admin,
        }
    }

    pub(super) fn framing(&self) -> Framing {
        match self.listener.framing {
            config::Framing::Binary => Framing::Binary,
            config::Framing::Line => Framing::Line,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.listener.socket
    }

    /// Whether others keep the socket when this host has gone, and who is in its queue waits for the next one.
    pub(super) fn is_inherited(&self) -> bool {
        self.name.is_none()
    }

    /// Takes the name away, so that no further client can come; who is in the queue still can be accepted.
    pub(super) fn unlink(&self) {
        let Some(name) = &self.name else { return };
        let path = self.path();
        if fs::symlink_metadata(path)
            .is_ok_and(|found| found.ino() == name.inode && found.file_type().is_socket())
        {
            let _ = fs::remove_file(path);
        }
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        self.unlink();
    }
}

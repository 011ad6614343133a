//! The claim to a socket's name: taken under a lock, and never from a process that lives.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::Group;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::bind_error::{BindFault, system_error};
use super::socket_directory;
use crate::config::Listener;

/// The claim to a socket's name: an advisory lock on the file `SOCKET.lock`, which is removed with
/// the claim.
pub(super) struct SocketClaim {
    pub(super) listener: Listener,
    pub(super) group: Option<Group>,
    /// Whether this is the admin socket.
    pub(super) admin: bool,
    lock_path: PathBuf,
    lock: File,
}

impl SocketClaim {
    /// Claims the name of a listener's socket and creates its directory if that is missing. Nothing
    /// is bound yet.
    ///
    /// # Errors
    ///
    /// The name is in use, or belongs to something that this host must not remove, or another user
    /// could replace the admin socket.
    pub(super) fn take(listener: &Listener, admin: bool) -> Result<Self, BindFault> {
        let socket = &listener.socket;
        let group = listener.group.as_deref().map(|name| find_group(socket, name)).transpose()?;
        socket_directory::create(socket)?;
        socket_directory::check(socket, admin)?;

        let mut lock_path = socket.clone().into_os_string();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);
        let lock = take_lock(socket, &lock_path)?;
        let claim = Self { listener: listener.clone(), group, admin, lock_path, lock };

        // The name is checked again when the socket is bound. Checking it now reports a conflict
        // before plugins load.
        claim.has_dead_socket()?;
        Ok(claim)
    }

    /// Takes the lock again if its file was removed or replaced, and creates the directory if it
    /// was removed.
    ///
    /// # Errors
    ///
    /// The name is in use, or a system call failed.
    pub(super) fn renew(&mut self) -> Result<(), BindFault> {
        let socket = &self.listener.socket;
        socket_directory::create(socket)?;
        if !has_name(&self.lock, &self.lock_path) {
            self.lock = take_lock(socket, &self.lock_path)?;
        }
        Ok(())
    }

    /// Returns whether the name belongs to a dead socket of this user.
    ///
    /// # Errors
    ///
    /// The name belongs to anything else.
    pub(super) fn has_dead_socket(&self) -> Result<bool, BindFault> {
        let path = &self.listener.socket;
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(system_error(path, "inspect")(error)),
        };

        let kind = found.file_type();
        if !kind.is_socket() {
            let what = match () {
                () if kind.is_dir() => "directory",
                () if kind.is_symlink() => "symbolic link",
                () if kind.is_file() => "regular file",
                () => "special file",
            };
            return Err(BindFault::NotASocket { socket: path.clone(), what });
        }

        match try_connect(path) {
            Err(Errno::CONNREFUSED) => {}
            // It was removed by now.
            Err(Errno::NOENT) => return Ok(false),
            // A full backlog, a missing permission and a connection all show that a process
            // listens.
            _ => return Err(BindFault::InUse { socket: path.clone() }),
        }
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(BindFault::Foreign { socket: path.clone(), owner: found.uid() });
        }
        Ok(true)
    }
}

impl Drop for SocketClaim {
    fn drop(&mut self) {
        // The lock is still held, so no other process can have claimed the name with this file. If
        // the file is another one, it belongs to another process.
        if has_name(&self.lock, &self.lock_path) {
            let _ = fs::remove_file(&self.lock_path);
        }
    }
}

/// Connects to a socket, without waiting for room in its queue.
fn try_connect(path: &Path) -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)
}

/// Returns whether the path leads to this open file.
fn has_name(file: &File, path: &Path) -> bool {
    let Ok(open) = file.metadata() else { return false };
    fs::symlink_metadata(path).is_ok_and(|named| named.ino() == open.ino() && named.dev() == open.dev())
}

fn find_group(socket: &Path, name: &str) -> Result<Group, BindFault> {
    let found =
        Group::from_name(name).map_err(|error| system_error(socket, "look up its group")(error.into()))?;
    found.ok_or_else(|| BindFault::NoSuchGroup { socket: socket.to_owned(), group: name.to_owned() })
}

/// Returns the error for a lock file that cannot be opened. The usual cause is that a host of
/// another user has left it, for example one that root started by hand.
fn not_opened(lock_path: &Path, error: io::Error) -> BindFault {
    let user = rustix::process::geteuid().as_raw();
    match fs::symlink_metadata(lock_path) {
        Ok(found) if error.kind() == io::ErrorKind::PermissionDenied && found.uid() != user => {
            BindFault::ForeignLock { lock: lock_path.to_owned(), owner: found.uid(), user }
        }
        _ => system_error(lock_path, "open the lock")(error),
    }
}

fn take_lock(socket: &Path, lock_path: &Path) -> Result<File, BindFault> {
    loop {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(lock_path)
            .map_err(|error| not_opened(lock_path, error))?;

        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(BindFault::InUse { socket: socket.to_owned() }),
            Err(error) => return Err(system_error(lock_path, "lock")(error.into())),
        }

        // The previous holder removes the file when it ends. A lock on a file without a name
        // protects nothing, so the locked file must be the one that has the name now.
        if has_name(&file, lock_path) {
            return Ok(file);
        }
    }
}

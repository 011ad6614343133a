//! Sockets that are bound: by this host under a claim, or by the service manager.

use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jackfield_protocol::Framing;
use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::bind_error::{BindFault, system_error};
use super::inherited::InheritedSocket;
use super::socket_claim::SocketClaim;
use super::socket_file::{SocketFile, SocketFileLoss};
use crate::config::{self, Listener};
use crate::connection::ListenerOptions;

/// How the host came by a socket, and the file of it.
enum SocketName {
    /// This host bound the name.
    Claimed { claim: SocketClaim, file: SocketFile },
    /// Another process bound the name, and it belongs to that process.
    Inherited { path: PathBuf, file: SocketFile },
    /// Another process bound an address that is not a path, or that leads nowhere in this mount
    /// namespace.
    Unknown,
}

/// A bound socket. Dropping it removes its file, if this host created the file.
pub(super) struct BoundSocket {
    socket: Option<UnixListener>,
    /// The address that clients connect to.
    pub(super) address: SocketAddrUnix,
    listener: Listener,
    options: ListenerOptions,
    name: SocketName,
}

impl BoundSocket {
    /// Binds the socket of `claim` and listens. Clients can connect from then on.
    ///
    /// # Errors
    ///
    /// The name is in use, or a system call failed. The name is free again afterwards.
    pub(super) fn bind(claim: SocketClaim) -> Result<Self, BindFault> {
        let (socket, address, file) = listen_at(&claim)?;
        Ok(Self {
            socket: Some(socket),
            address,
            options: options_of(&claim.listener, claim.admin),
            listener: claim.listener.clone(),
            name: SocketName::Claimed { claim, file },
        })
    }

    /// Binds the name to another socket, after its file was removed or replaced, and returns that.
    ///
    /// # Errors
    ///
    /// As [`BoundSocket::bind`], or the host has not bound the name.
    pub(super) fn bind_again(&mut self) -> Result<UnixListener, BindFault> {
        match &mut self.name {
            SocketName::Claimed { claim, file } => {
                claim.renew()?;
                let (socket, _, bound) = listen_at(claim)?;
                *file = bound;
                Ok(socket)
            }
            SocketName::Inherited { .. } | SocketName::Unknown => {
                Err(BindFault::InUse { socket: self.listener.socket.clone() })
            }
        }
    }

    /// Returns a socket that was bound before this process started, served as `listener` says.
    ///
    /// Its mode, owner and name stay as they are.
    pub(super) fn inherited(socket: InheritedSocket, listener: Listener, admin: bool) -> Self {
        let found = socket.path().and_then(|path| Some((SocketFile::at(&path)?, path)));
        let name = match found {
            Some((file, path)) => SocketName::Inherited { path, file },
            None => SocketName::Unknown,
        };
        let InheritedSocket { address, listener: socket, .. } = socket;
        let options = options_of(&listener, admin);
        Self { socket: Some(socket), address, listener, options, name }
    }

    /// Takes the socket itself out.
    ///
    /// # Errors
    ///
    /// It was taken before.
    pub(super) fn take_listener(&mut self) -> io::Result<UnixListener> {
        self.socket.take().ok_or_else(|| io::Error::other("the socket was taken already"))
    }

    /// Returns what the connections of this socket need to know about it.
    pub(super) fn options(&self) -> &ListenerOptions {
        &self.options
    }

    pub(super) fn path(&self) -> &Path {
        &self.listener.socket
    }

    /// Returns whether another process keeps the socket, so that queued clients wait for the next
    /// host.
    pub(super) fn is_inherited(&self) -> bool {
        !matches!(self.name, SocketName::Claimed { .. })
    }

    /// Returns what happened to the file of the socket, if no client can reach the socket any more.
    pub(super) fn loss(&self) -> Option<SocketFileLoss> {
        match &self.name {
            SocketName::Claimed { file, .. } => file.loss(self.path()),
            SocketName::Inherited { path, file } => file.loss(path),
            SocketName::Unknown => None,
        }
    }

    /// Removes the name, so that no further client can connect. Queued clients can still be
    /// accepted.
    pub(super) fn unlink(&self) {
        if let SocketName::Claimed { file, .. } = &self.name {
            file.remove(self.path());
        }
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        self.unlink();
    }
}

/// Binds a socket to the name of `claim`, and listens.
///
/// # Errors
///
/// The name is in use, or a system call failed. The name is free again afterwards.
fn listen_at(claim: &SocketClaim) -> Result<(UnixListener, SocketAddrUnix, SocketFile), BindFault> {
    let Listener { socket: path, mode, .. } = &claim.listener;
    if claim.has_dead_socket()? {
        fs::remove_file(path).map_err(system_error(path, "remove the dead socket"))?;
    }

    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|error| system_error(path, "create a socket")(error.into()))?;
    let address = SocketAddrUnix::new(path)
        .map_err(|error| system_error(path, "use it as a socket path")(error.into()))?;

    // bind(2) gives the file the mode of the socket without the bits of the umask, so that the file
    // never permits more than the configuration does.
    fchmod(&fd, Mode::from_raw_mode(*mode))
        .map_err(|error| system_error(path, "set the mode")(error.into()))?;
    rustix::net::bind(&fd, &address).map_err(|error| system_error(path, "bind")(error.into()))?;

    let removed = || system_error(path, "find the socket file")(io::ErrorKind::NotFound.into());
    let file = SocketFile::at(path).ok_or_else(removed)?;
    // Nobody can connect before `listen(2)`, so mode and group hold from the first connection on.
    let permitted = file.set_permissions(path, claim.group.as_ref(), *mode);
    let listening = permitted.and_then(|()| {
        // The kernel reduces the backlog to net.core.somaxconn, the largest that is allowed.
        rustix::net::listen(&fd, i32::MAX).map_err(|error| system_error(path, "listen")(error.into()))
    });
    listening.inspect_err(|_| file.remove(path))?;
    Ok((UnixListener::from(fd), address, file))
}

fn options_of(listener: &Listener, admin: bool) -> ListenerOptions {
    let framing = match listener.framing {
        config::Framing::Binary => Framing::Binary,
        config::Framing::Line => Framing::Line,
    };
    let line = Arc::new(listener.line.clone());
    let Listener { close_after_reply, remote, .. } = *listener;
    let listener = listener.socket.to_string_lossy().into();
    ListenerOptions { framing, line, close_after_reply, remote, listener, admin }
}

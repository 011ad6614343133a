//! Sockets that are bound: by this host under a claim, or by the service manager.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use jackfield_protocol::Framing;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::inherited::InheritedSocket;
use super::socket_claim::{BindError, SocketClaim, system_error};
use crate::config::{self, Listener};
use crate::connection::ListenerOptions;

/// The name of a socket that this host bound. It is removed only while it still leads to the same
/// inode.
struct BoundName {
    inode: u64,
    claim: SocketClaim,
}

/// A bound socket. Dropping it removes its file, if this host created the file.
pub(super) struct BoundSocket {
    socket: Option<UnixListener>,
    /// The address that clients connect to.
    pub(super) address: SocketAddrUnix,
    listener: Listener,
    options: ListenerOptions,
    /// `None` for an inherited socket: its name belongs to the process that bound it.
    name: Option<BoundName>,
}

impl BoundSocket {
    /// Binds the socket of `claim` and listens. Clients can connect from then on.
    ///
    /// # Errors
    ///
    /// The name is in use, or a system call failed. The name is free again afterwards.
    pub(super) fn bind(claim: SocketClaim) -> Result<Self, BindError> {
        let path = &claim.listener.socket;
        if claim.has_dead_socket()? {
            fs::remove_file(path).map_err(system_error(path, "remove the dead socket"))?;
        }

        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|error| system_error(path, "create a socket")(error.into()))?;
        let address = SocketAddrUnix::new(path)
            .map_err(|error| system_error(path, "use it as a socket path")(error.into()))?;
        rustix::net::bind(&fd, &address).map_err(|error| system_error(path, "bind")(error.into()))?;
        let inode = fs::symlink_metadata(path).map_err(system_error(path, "inspect"))?.ino();

        // From here on, dropping `bound` after a failure removes the name.
        let bound = Self {
            socket: Some(UnixListener::from(fd)),
            address,
            options: options_of(&claim.listener, claim.admin),
            listener: claim.listener.clone(),
            name: Some(BoundName { inode, claim }),
        };
        bound.listen()?;
        Ok(bound)
    }

    /// Returns a socket that was bound before this process started, served as `listener` says.
    ///
    /// Its mode, owner and name stay as they are.
    pub(super) fn inherited(socket: InheritedSocket, listener: Listener, admin: bool) -> Self {
        let InheritedSocket { address, listener: socket, .. } = socket;
        let options = options_of(&listener, admin);
        Self { socket: Some(socket), address, listener, options, name: None }
    }

    /// Sets the mode and the group of the socket, then listens.
    ///
    /// Nobody can connect before `listen(2)`, so mode and group hold from the first connection on.
    fn listen(&self) -> Result<(), BindError> {
        let path = self.path();
        fs::set_permissions(path, fs::Permissions::from_mode(self.listener.mode))
            .map_err(system_error(path, "set the mode"))?;
        if let Some(group) = self.name.as_ref().and_then(|name| name.claim.group.as_ref()) {
            std::os::unix::fs::chown(path, None, Some(group.gid.as_raw()))
                .map_err(system_error(path, "set the group"))?;
        }

        if let Some(socket) = &self.socket {
            // The kernel reduces the backlog to net.core.somaxconn, the largest that is allowed.
            rustix::net::listen(socket, i32::MAX)
                .map_err(|error| system_error(path, "listen")(error.into()))?;
        }
        Ok(())
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
        self.name.is_none()
    }

    /// Removes the name, so that no further client can connect. Queued clients can still be
    /// accepted.
    pub(super) fn unlink(&self) {
        let Some(name) = &self.name else { return };

        let path = self.path();
        let is_ours = |found: fs::Metadata| found.ino() == name.inode && found.file_type().is_socket();
        if fs::symlink_metadata(path).is_ok_and(is_ours) {
            let _ = fs::remove_file(path);
        }
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        self.unlink();
    }
}

fn options_of(listener: &Listener, admin: bool) -> ListenerOptions {
    let framing = match listener.framing {
        config::Framing::Binary => Framing::Binary,
        config::Framing::Line => Framing::Line,
    };
    let line = Arc::new(listener.line.clone());
    ListenerOptions { framing, line, close_after_reply: listener.close_after_reply, admin }
}

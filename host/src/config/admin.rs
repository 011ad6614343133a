//! `[admin]`: the socket for operators, which root, the host's own user and those of `allow` may
//! use.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::allow_list::{self, Allow};
use super::listener::{self, Listener};
use super::section::Section;

/// The user that may always use the admin socket, besides that of the host.
const ROOT: u32 = 0;

/// The admin socket. It speaks the same protocol and serves the methods `admin.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminConfig {
    /// The path of the socket. A path from a file is joined to the directory of the file. At most
    /// [`LONGEST_SOCKET_PATH`](super::LONGEST_SOCKET_PATH) bytes. Default
    /// `run/jackfield-admin.sock`.
    pub socket: PathBuf,

    /// The users and groups that may use the socket in addition to root and the user of the host.
    /// Default nobody.
    pub allow: Option<Arc<Allow>>,
}

impl Default for AdminConfig {
    fn default() -> AdminConfig {
        AdminConfig { socket: PathBuf::from("run/jackfield-admin.sock"), allow: None }
    }
}

impl AdminConfig {
    /// Returns the socket as a listener with binary framing and a list of root and those of
    /// `allow`.
    ///
    /// Its mode is 0600. With `allow` it is 0666, because only the list knows these users.
    #[must_use]
    pub fn listener(&self) -> Listener {
        let allow =
            self.allow.as_deref().map_or_else(|| Allow::new([ROOT], []), |allow| allow.with_user(ROOT));
        let mode = if self.allow.is_some() { 0o666 } else { 0o600 };
        Listener { mode, allow: Some(Arc::new(allow)), ..Listener::at(&self.socket) }
    }
}

pub(super) fn read(section: Section<'_>, directory: &Path, listeners: &[Listener]) -> AdminConfig {
    let default = AdminConfig::default();
    let admin = AdminConfig {
        socket: section.path("socket", directory, &default.socket),
        allow: allow_list::read(&section),
    };

    if let Some((problem, remedy)) = listener::check_socket(&admin.socket) {
        section.fault(section.offset_of("socket"), format!("admin.socket {problem}"), remedy);
    }
    let socket = listener::normalized(&admin.socket);
    if listeners.iter().any(|other| listener::normalized(&other.socket) == socket) {
        section.fault(
            section.offset_of("socket"),
            "admin.socket is also the socket of a listener".to_owned(),
            "write another path".to_owned(),
        );
    }
    section.close();
    admin
}

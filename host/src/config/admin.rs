//! `[admin]`: the socket for operators, which only the host's own user can reach.

use std::path::{Path, PathBuf};

use super::listener::{self, Listener};
use super::section::Section;

/// The admin socket. It speaks the same protocol and serves the methods `admin.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminConfig {
    /// The path of the socket. A path from a file is joined to the directory of the file. At most
    /// [`LONGEST_SOCKET_PATH`](super::LONGEST_SOCKET_PATH) bytes. Default
    /// `run/jackfield-admin.sock`.
    pub socket: PathBuf,
}

impl Default for AdminConfig {
    fn default() -> AdminConfig {
        AdminConfig { socket: PathBuf::from("run/jackfield-admin.sock") }
    }
}

impl AdminConfig {
    /// Returns the socket as a listener with binary framing and mode 0600.
    #[must_use]
    pub fn listener(&self) -> Listener {
        Listener { mode: 0o600, ..Listener::at(&self.socket) }
    }
}

pub(super) fn read(section: Section<'_>, directory: &Path, listeners: &[Listener]) -> AdminConfig {
    let default = AdminConfig::default();
    let admin = AdminConfig { socket: section.path("socket", directory, &default.socket) };

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

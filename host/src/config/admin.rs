//! `[admin]`: the socket for operators, which only the host's own user can reach.

use std::path::{Path, PathBuf};

use super::listener::{self, Listener};
use super::section::Section;

/// The socket for operators: the same protocol, the methods `admin.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where the socket is; from a file, already joined to the file's directory. At most
    /// [`LONGEST_SOCKET_PATH`](super::LONGEST_SOCKET_PATH) bytes. Default `run/jackfield-admin.sock`.
    pub socket: PathBuf,
}

impl Default for AdminConfig {
    fn default() -> AdminConfig {
        AdminConfig { socket: PathBuf::from("run/jackfield-admin.sock") }
    }
}

impl AdminConfig {
    /// The socket as a listener: binary, mode 0600.
    #[must_use]
    pub fn listener(&self) -> Listener {
        Listener { mode: 0o600, ..Listener::at(&self.socket) }
    }
}

pub(super) fn read(section: Section<'_>, directory: &Path, listeners: &[Listener]) -> AdminConfig {
    let default = AdminConfig::default();
    let admin = AdminConfig { socket: section.path("socket", directory, &default.socket) };
    if let Some((what, instead)) = listener::unfit(&admin.socket) {
        section.fault(section.offset_of("socket"), format!("admin.socket {what}"), instead);
    }
    if listeners.iter().any(|other| listener::plain(&other.socket) == listener::plain(&admin.socket)) {
        section.fault(
            section.offset_of("socket"),
            "admin.socket is a listener's socket too".to_owned(),
            "give the operators a socket of their own".to_owned(),
        );
    }
    section.close();
    admin
}

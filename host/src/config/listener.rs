//! `[[listener]]`: the sockets a host binds, and who may connect.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::allow_list::{self, Allow};
use super::position::Place;
use super::section::Section;
use super::wording::quoted;

/// The longest path a Unix socket can be bound to, in bytes: `sun_path` has 108, the last of them NUL
/// (unix(7)).
pub const LONGEST_SOCKET_PATH: usize = 107;

/// One socket to bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where the socket is; from a file, already joined to the file's directory. At most
    /// [`LONGEST_SOCKET_PATH`] bytes, none of them NUL. Default `run/jackfield.sock`.
    pub socket: PathBuf,
    /// The permission bits of the socket file, at most `0o777`. To connect is to write. Default `0o660`.
    pub mode: u32,
    /// The group the socket file is given, by name; `None` leaves it to the process's own. Whether it exists
    /// shows when the socket is bound.
    pub group: Option<String>,
    /// How requests are told apart. Default binary.
    pub framing: Framing,
    /// Whether a connection is closed after its first reply, for clients that read to the end. Default no.
    pub close_after_reply: bool,
    /// Who may connect, of those whom the file's mode lets; `None`: all of them. The host's own user always may, for
    /// the host asks itself whether it answers.
    pub allow: Option<Arc<Allow>>,
    /// Where the file says so.
    pub place: Place,
}

/// How one request is told from the next on a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Framing {
    /// `"binary"`: headers of seven bytes with the payload's length.
    #[default]
    Binary,
    /// `"line"`: one JSON document a line, for `nc -U`, `socat` and the like.
    Line,
}

impl Default for Listener {
    fn default() -> Listener {
        Listener::at("run/jackfield.sock")
    }
}

impl Listener {
    /// A listener on this path, everything else as by default.
    pub fn at(socket: impl Into<PathBuf>) -> Listener {
        Listener {
            socket: socket.into(),
            mode: 0o660,
            group: None,
            framing: Framing::default(),
            close_after_reply: false,
            allow: None,
            place: Place::default(),
        }
    }

    /// The same listener with another framing.
    #[must_use]
    pub fn framing(self, framing: Framing) -> Listener {
        Listener { framing, ..self }
    }
}

const FRAMINGS: [(&str, Framing); 2] = [("binary", Framing::Binary), ("line", Framing::Line)];

pub(super) fn read(root: &Section<'_>, directory: &Path) -> Vec<Listener> {
    let mut listeners = Vec::new();
    let mut lines = HashMap::new();
    let Some(sections) = root.each_of("listener") else {
        let default = Listener::default();
        let listener = Listener { socket: directory.join(&default.socket), ..default };
        if let Some((what, instead)) = unfit(&listener.socket) {
            root.fault(
                root.offset(),
                format!("the default socket {what}"),
                format!("in a [[listener]], {instead}"),
            );
        }
        return vec![listener];
    };
    for section in sections {
        let listener = read_one(&section, directory);
        match lines.entry(plain(&listener.socket)) {
            Entry::Vacant(entry) => {
                entry.insert(listener.place.line);
            }
            Entry::Occupied(first) => section.fault(
                section.offset_of("socket"),
                format!("the listener in line {} has the same socket", first.get()),
                "give each listener a socket of its own".to_owned(),
            ),
        }
        section.close();
        listeners.push(listener);
    }
    listeners
}

fn read_one(section: &Section<'_>, directory: &Path) -> Listener {
    let default = Listener::default();
    let socket = section.path("socket", directory, &default.socket);
    if let Some((what, instead)) = unfit(&socket) {
        section.fault(section.offset_of("socket"), format!("listener.socket {what}"), instead);
    }
    let group = section.string("group");
    if group == Some("") {
        let instead = "name a group, or leave the key out".to_owned();
        section.fault(section.offset_of("group"), "listener.group is empty".to_owned(), instead);
    }
    Listener {
        socket,
        mode: section.string_or_else("mode", written_mode).map_or(default.mode, |text| mode(section, text)),
        group: group.map(str::to_owned),
        framing: section.choice("framing", &FRAMINGS, default.framing),
        close_after_reply: section.boolean("close_after_reply", default.close_after_reply),
        allow: allow_list::read(section),
        place: section.place(),
    }
}

/// What is wrong with a socket path, and what to write instead.
pub(super) fn unfit(socket: &Path) -> Option<(String, String)> {
    let bytes = socket.as_os_str().as_encoded_bytes();
    if bytes.len() > LONGEST_SOCKET_PATH {
        let what = format!("is {} bytes long ({})", bytes.len(), quoted(&socket.to_string_lossy()));
        let instead = format!(
            "write a path that, from the root or the working directory, has at most {LONGEST_SOCKET_PATH} bytes"
        );
        return Some((what, instead));
    }
    if socket.file_name().is_none() || bytes.ends_with(b"/") {
        let what = format!("is a directory ({})", quoted(&socket.to_string_lossy()));
        return Some((what, "name a file in it, such as \"run/jackfield.sock\"".to_owned()));
    }
    None
}

/// A path without `.` and doubled slashes, so that one name has one spelling; links are not followed.
pub(super) fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

/// How to write, as a mode, a number somebody wrote without quotes.
fn written_mode(number: Option<(u64, u32)>) -> String {
    // 0o660 means what it says; 660 means the digits, for nobody thinks of a mode in decimals.
    let digits = number.map(|(number, radix)| match radix {
        10 => number.to_string(),
        _ => format!("{number:o}"),
    });
    match digits.and_then(|digits| u32::from_str_radix(&digits, 8).ok()) {
        Some(mode) if mode <= 0o777 => format!("write {}", quoted(&format!("{mode:04o}"))),
        _ => "write an octal number in quotes, such as \"0660\"".to_owned(),
    }
}

fn mode(section: &Section<'_>, text: &str) -> u32 {
    let octal = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let what = match u32::from_str_radix(text, 8) {
        Ok(mode) if octal && mode <= 0o777 && mode & 0o222 != 0 => return mode,
        Ok(mode) if octal && mode <= 0o777 => {
            format!("listener.mode {} lets nobody write, and so nobody connect", quoted(text))
        }
        _ if octal => format!("listener.mode {} is more than \"0777\"", quoted(text)),
        _ => format!("listener.mode {} is not an octal number", quoted(text)),
    };
    let instead = "write permission bits up to \"0777\", such as \"0660\"".to_owned();
    section.fault(section.offset_of("mode"), what, instead);
    Listener::default().mode
}

//! `[[listener]]`: the sockets that a host binds, and who may connect.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::allow_list::{self, Allow};
use super::limits::Timeouts;
use super::line_options::{self, LineOptions};
use super::position::Place;
use super::section::Section;
use super::wording::quoted;

/// The longest path that a Unix socket can be bound to, in bytes: `sun_path` has 108 bytes, of
/// which the last is NUL (unix(7)).
pub const LONGEST_SOCKET_PATH: usize = 107;

/// A socket that the host binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The path of the socket. A path from a file is joined to the directory of the file. At most
    /// [`LONGEST_SOCKET_PATH`] bytes, none of them NUL. Default `run/jackfield.sock`.
    pub socket: PathBuf,

    /// The permission bits of the socket file, at most `0o777`. Connecting requires write
    /// permission. Default `0o660`.
    pub mode: u32,

    /// The name of the group of the socket file; `None` leaves the group of the process. The group
    /// is looked up when the socket is bound.
    pub group: Option<String>,

    /// How requests are separated. Default binary.
    pub framing: Framing,

    /// Whether a connection is closed after its first reply, for clients that read to the end.
    /// Default no.
    pub close_after_reply: bool,

    /// Whether the requests come from other machines, through a proxy. The credentials of the proxy
    /// say nothing about the sender, so no list of a route permits such a request. Default no.
    pub remote: bool,

    /// Options of line framing. A listener with binary framing has the default ones.
    pub line: LineOptions,

    /// Restricts the users that the mode of the file permits; `None` permits all of them. The
    /// host's own user may always connect, because the host checks its own health over its sockets.
    pub allow: Option<Arc<Allow>>,

    /// The place of the listener in the file.
    pub place: Place,
}

/// How requests are separated on a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Framing {
    /// `"binary"`: headers of seven bytes that contain the length of the payload.
    #[default]
    Binary,

    /// `"line"`: one JSON document a line, for `nc -U`, `socat` and similar clients.
    Line,
}

impl Default for Listener {
    fn default() -> Listener {
        Listener::at("run/jackfield.sock")
    }
}

impl Listener {
    /// Returns a listener at this path with the default options.
    pub fn at(socket: impl Into<PathBuf>) -> Listener {
        Listener {
            socket: socket.into(),
            mode: 0o660,
            group: None,
            framing: Framing::default(),
            close_after_reply: false,
            remote: false,
            line: LineOptions::default(),
            allow: None,
            place: Place::default(),
        }
    }

    /// Returns the same listener with another framing.
    #[must_use]
    pub fn framing(self, framing: Framing) -> Listener {
        Listener { framing, ..self }
    }
}

const FRAMINGS: [(&str, Framing); 2] = [("binary", Framing::Binary), ("line", Framing::Line)];

pub(super) fn read(root: &Section<'_>, directory: &Path, timeouts: &Timeouts) -> Vec<Listener> {
    let Some(sections) = root.each_of("listener") else {
        return vec![default_listener(root, directory)];
    };

    let mut listeners = Vec::new();
    let mut lines = HashMap::new();
    for section in sections {
        let listener = read_one(&section, directory, timeouts);
        match lines.entry(normalized(&listener.socket)) {
            Entry::Vacant(entry) => {
                entry.insert(listener.place.line);
            }
            Entry::Occupied(first) => section.fault(
                section.offset_of("socket"),
                format!("the listener in line {} has the same socket", first.get()),
                "write another path".to_owned(),
            ),
        }
        section.close();
        listeners.push(listener);
    }
    listeners
}

/// Returns the listener of a file that contains none.
fn default_listener(root: &Section<'_>, directory: &Path) -> Listener {
    let default = Listener::default();
    let listener = Listener { socket: directory.join(&default.socket), ..default };
    if let Some((problem, remedy)) = check_socket(&listener.socket) {
        let remedy = format!("in a [[listener]], {remedy}");
        root.fault(root.offset(), format!("the default socket {problem}"), remedy);
    }
    listener
}

fn read_one(section: &Section<'_>, directory: &Path, timeouts: &Timeouts) -> Listener {
    let default = Listener::default();
    let socket = section.path("socket", directory, &default.socket);
    if let Some((problem, remedy)) = check_socket(&socket) {
        section.fault(section.offset_of("socket"), format!("listener.socket {problem}"), remedy);
    }

    let group = section.string("group");
    if group == Some("") {
        let remedy = "write the name of a group, or remove the key".to_owned();
        section.fault(section.offset_of("group"), "listener.group is empty".to_owned(), remedy);
    }

    let mode = section.string_or_else("mode", mode_in_quotes);
    let framing = section.choice("framing", &FRAMINGS, default.framing);
    Listener {
        socket,
        mode: mode.map_or(default.mode, |text| parse_mode(section, text)),
        group: group.map(str::to_owned),
        framing,
        close_after_reply: section.boolean("close_after_reply", default.close_after_reply),
        remote: section.boolean("remote", default.remote),
        line: line_options::read(section, framing == Framing::Line, timeouts),
        allow: allow_list::read(section),
        place: section.place(),
    }
}

/// Returns the problem of a socket path and its remedy, or `None` for a valid path.
pub(super) fn check_socket(socket: &Path) -> Option<(String, String)> {
    let bytes = socket.as_os_str().as_encoded_bytes();
    if bytes.len() > LONGEST_SOCKET_PATH {
        let problem = format!("is {} bytes long ({})", bytes.len(), quoted(&socket.to_string_lossy()));
        let remedy = format!(
            "write a path that has at most {LONGEST_SOCKET_PATH} bytes from the root or the working directory"
        );
        return Some((problem, remedy));
    }
    if socket.file_name().is_none() || bytes.ends_with(b"/") {
        let problem = format!("is a directory ({})", quoted(&socket.to_string_lossy()));
        return Some((problem, "write the path of a file, such as \"run/jackfield.sock\"".to_owned()));
    }
    None
}

/// Returns a path without `.` and repeated slashes, so that equal paths compare as equal. Symbolic
/// links are not followed.
pub(super) fn normalized(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

/// Returns how to write a mode that the file contains as a number without quotes.
fn mode_in_quotes(number: Option<(u64, u32)>) -> String {
    // 0o660 is octal. For 660, the digits are taken as octal, because nobody writes a mode in
    // decimal.
    let digits = number.map(|(number, radix)| match radix {
        10 => number.to_string(),
        _ => format!("{number:o}"),
    });
    match digits.and_then(|digits| u32::from_str_radix(&digits, 8).ok()) {
        Some(mode) if mode <= 0o777 => format!("write {}", quoted(&format!("{mode:04o}"))),
        _ => "write an octal number in quotes, such as \"0660\"".to_owned(),
    }
}

fn parse_mode(section: &Section<'_>, text: &str) -> u32 {
    let is_octal = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let problem = match u32::from_str_radix(text, 8) {
        Ok(mode) if is_octal && mode <= 0o777 && mode & 0o222 != 0 => return mode,
        Ok(mode) if is_octal && mode <= 0o777 => {
            format!(
                "listener.mode {} gives nobody write permission, which clients need to connect",
                quoted(text)
            )
        }
        _ if is_octal => format!("listener.mode {} is more than \"0777\"", quoted(text)),
        _ => format!("listener.mode {} is not an octal number", quoted(text)),
    };

    let remedy = "write an octal number up to \"0777\", such as \"0660\"".to_owned();
    section.fault(section.offset_of("mode"), problem, remedy);
    Listener::default().mode
}

//! Log and error messages: each names its subject.

use super::assert_at_most;
use super::tree::{Piece, pieces, rust_files_below};

/// Places where messages for operators, authors and callers are written.
pub(crate) const CRATES: [&str; 4] = ["host/src", "plugin-api/src", "protocol/src", "clients/rust/src"];

/// Ends of the code before a string literal that is a message.
const LOGGING: [&str; 5] = ["error!(", "warn!(", "info!(", "debug!(", "#[error("];

/// First words that stand for a subject instead of naming it.
const PRONOUNS: [&str; 10] =
    ["it", "they", "this", "these", "what", "who", "whoever", "nobody", "somebody", "there"];

#[test]
fn messages_name_their_subject() {
    let mut places = Vec::new();
    for directory in CRATES {
        for file in rust_files_below(directory) {
            for message in messages(&file.text) {
                let first = message.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                if PRONOUNS.contains(&first.to_lowercase().as_str()) {
                    places.push(format!("{}: {message:?}", file.path));
                }
            }
        }
    }
    assert_at_most(0, &places, "a message names its subject: the plugin, method, file, key or socket");
}

/// Returns the string literals that are the message of a log line or of an error type.
fn messages(source: &str) -> Vec<&str> {
    let mut messages = Vec::new();
    let mut is_open = false;
    for piece in pieces(source) {
        match piece {
            Piece::Code(code) => {
                let begins = LOGGING.iter().filter_map(|start| code.rfind(start)).max();
                // Fields of a log line stand before its message.
                is_open = begins.map_or(is_open && !code.contains(';'), |at| !code[at..].contains(';'));
            }
            Piece::Text(text) if is_open => messages.push(text),
            Piece::Text(_) => {}
        }
    }
    messages
}

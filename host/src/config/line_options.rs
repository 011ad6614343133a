//! The keys of a `[[listener]]` that only line framing has: messages that end without a newline,
//! and plain text.

use std::time::Duration;

use super::limits::{TIMEOUT, Timeouts};
use super::route::{InvalidPattern, Pattern};
use super::section::Section;
use super::units::write_duration;
use super::wording::quoted;

/// How a listener with line framing treats clients that send plain text or no newline. The default
/// is one JSON envelope per line, each ended by a newline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineOptions {
    /// Whether a last line without a newline is run when the client closes its writing side.
    /// Default no: a sender that was cut off, such as a program before a pipe that crashed, looks
    /// like one that has finished.
    pub run_unterminated: bool,

    /// The pause after which a line without a newline counts as complete, at least 1 ms and less
    /// than `timeouts.frame`; `None` waits for the newline. A client that is suspended in the
    /// middle of a message has its message run in two parts.
    pub complete_after: Option<Duration>,

    /// The method that runs for each line, with the text of the line as a JSON string for its
    /// params; `None` reads each line as an envelope.
    pub method: Option<String>,
}

/// Reads the keys. `is_line` is whether the listener has line framing, without which they have no
/// meaning.
pub(super) fn read(section: &Section<'_>, is_line: bool, timeouts: &Timeouts) -> LineOptions {
    let options = LineOptions {
        run_unterminated: section.boolean("run_unterminated", false),
        complete_after: section.optional_duration("complete_after", TIMEOUT),
        method: read_method(section),
    };

    if let Some(pause) = options.complete_after.filter(|pause| *pause >= timeouts.frame) {
        let (pause, limit) = (quoted(&write_duration(pause)), quoted(&write_duration(timeouts.frame)));
        section.fault(
            section.offset_of("complete_after"),
            format!(
                "listener.complete_after {pause} is not less than timeouts.frame {limit}, which ends the \
                 connection first"
            ),
            format!("write less than {limit}, such as \"50ms\", or raise timeouts.frame"),
        );
    }

    let set = [
        ("run_unterminated", options.run_unterminated),
        ("complete_after", options.complete_after.is_some()),
        ("method", options.method.is_some()),
    ];
    for (key, _) in set.into_iter().filter(|(_, is_set)| *is_set && !is_line) {
        section.fault(
            section.offset_of(key),
            format!("listener.{key} applies to line framing, and this listener has binary framing"),
            format!("write framing = \"line\", or remove {key}"),
        );
    }
    options
}

fn read_method(section: &Section<'_>) -> Option<String> {
    let text = section.string("method")?;
    let problem = match text.parse() {
        // The methods of the host itself can be called like all others.
        Ok(Pattern::Exact(_)) => return Some(text.to_owned()),
        Err(InvalidPattern::Reserved) if !text.ends_with('*') => return Some(text.to_owned()),

        Ok(Pattern::Prefix(_)) | Err(InvalidPattern::Reserved) => "matches several methods".to_owned(),
        Err(error) => error.to_string(),
    };

    let remedy = "write the full name of one method, such as \"device.status.update\"".to_owned();
    section.fault(section.offset_of("method"), format!("listener.method {} {problem}", quoted(text)), remedy);
    None
}

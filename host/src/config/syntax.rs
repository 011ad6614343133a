//! Parses a file as TOML, into a tree with the place of every value, and explains syntax errors.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use toml::de::{DeTable, Error};

use super::fault::FAULTS_MAX;
use super::position::Positions;
use super::wording::quoted;

/// The limit of the parser for keys with dots between, and for nested brackets.
const DEPTH_MAX: usize = 80;

/// The message of the error after which the parser ignores the rest of the file.
const NO_VALUE: &str = "key with no value";

/// The message of the error for anything that begins like no value, including nothing at all.
const UNQUOTED: &str = "string values must be quoted";

/// A part of the file that is not TOML.
pub(super) struct SyntaxError {
    pub(super) offset: usize,
    pub(super) problem: String,
    pub(super) remedy: String,
}

/// The text of a file, prepared so that the parser reads all of it.
pub(super) struct Source<'t> {
    /// The text without a byte order mark.
    text: &'t str,

    /// The same text with spaces instead of the lines at which the parser would stop.
    parseable: Cow<'t, str>,

    errors: Vec<SyntaxError>,
}

impl<'t> Source<'t> {
    pub(super) fn new(text: &'t str) -> Source<'t> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let positions = Positions::new(text);

        let mut found = DeTable::parse_recoverable(text).1;
        let stops = found.iter().filter(|error| error.message().starts_with(NO_VALUE));
        let stops: Vec<_> = stops.filter_map(Error::span).collect();
        let parseable = if stops.is_empty() {
            Cow::Borrowed(text)
        } else {
            let parseable = blanked(text, stops.into_iter().map(|span| positions.line_of(span.start)));
            found.extend(DeTable::parse_recoverable(&parseable).1);
            Cow::Owned(parseable)
        };

        found.sort_by_key(|error| error.span().map(|span| span.start));
        let mut seen = HashSet::new();
        let errors = found.iter().map(|error| explain(error, text, &positions));
        let errors = errors.filter(|error| seen.insert((error.offset, error.problem.clone())));
        // One more than are kept, so that the document notices that there are more.
        let errors = errors.take(FAULTS_MAX + 1).collect();
        Source { text, parseable, errors }
    }

    pub(super) fn text(&self) -> &str {
        self.text
    }

    pub(super) fn errors(&self) -> &[SyntaxError] {
        &self.errors
    }

    /// Returns the tree. It contains a guess of the parser where there is a syntax error.
    pub(super) fn tree(&self) -> DeTable<'_> {
        DeTable::parse_recoverable(&self.parseable).0.into_inner()
    }
}

/// Replaces these ranges by spaces, so that all offsets stay the same.
fn blanked(text: &str, ranges: impl Iterator<Item = Range<usize>>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for range in ranges {
        bytes[range].fill(b' ');
    }
    // The ranges are whole lines, so no character is cut and the conversion is never lossy.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Describes an error of the parser, and what to write instead.
fn explain(error: &Error, text: &str, positions: &Positions<'_>) -> SyntaxError {
    let (message, expected) = match error.message().split_once(", expected ") {
        Some((message, expected)) => (message, Some(expected)),
        None => (error.message(), None),
    };
    // Only the error for too many dots comes without a place.
    let offset = error.span().map_or_else(|| find_too_many_dots(text), |span| span.start);
    let is_too_deep =
        matches!(message, "recursion limit" | "cannot recurse further; max recursion depth met");

    let remedy = match message {
        "duplicate key" => "keep one of them".to_owned(),
        NO_VALUE => "write key = value".to_owned(),
        _ if is_too_deep => format!("nest at most {DEPTH_MAX} levels deep"),
        _ => expected_instead(message, expected, text, positions.line_of(offset), offset),
    };
    let problem = if is_too_deep { "nested too deeply" } else { message };
    SyntaxError { offset, problem: format!("invalid TOML: {problem}"), remedy }
}

/// Returns what to write instead of the text at `offset`, which is in `line`.
fn expected_instead(
    message: &str,
    expected: Option<&str>,
    text: &str,
    line: Range<usize>,
    offset: usize,
) -> String {
    let column = offset - line.start;
    match (unquoted_value(&text[line], column), expected) {
        (Some(word), _) => format!("write {}, with quotes", quoted(word)),
        (None, _) if message == UNQUOTED => "write a value, strings in quotes".to_owned(),
        (None, Some("nothing")) => "remove it".to_owned(),
        (None, Some(expected)) => format!("write {expected} here"),
        (None, None) => "see https://toml.io/en/v1.1.0 for the syntax".to_owned(),
    }
}

/// Returns the value, if the line is `key = value` and the value is a word or quantity without
/// quotes.
fn unquoted_value(line: &str, column: usize) -> Option<&str> {
    let (key, value) = line.split_once('=')?;
    let value_start = key.len() + 1;
    let value = value.split('#').next().unwrap_or_default().trim();
    let is_plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | '/');
    (column >= value_start && value.chars().all(is_plain) && value.chars().any(char::is_alphabetic))
        .then_some(value)
}

/// Returns the offset of the first line with too many dots.
fn find_too_many_dots(text: &str) -> usize {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if !line.starts_with('#') && line.matches('.').count() >= DEPTH_MAX {
            return offset;
        }
        offset += line.len();
    }
    0
}

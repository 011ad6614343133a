//! The text as TOML: a tree with the place of everything in it, and what is not TOML, put so that it can be
//! corrected.

use std::borrow::Cow;
use std::collections::HashSet;

use toml::de::{DeTable, Error};

use super::document::MOST_FAULTS;
use super::position::Positions;
use super::wording::quoted;

/// The parser's limit of keys with dots between, and of brackets in brackets.
const DEEPEST: usize = 80;
/// The error at which the parser drops the rest of the file.
const NO_VALUE: &str = "key with no value";

/// The error for anything that begins like no other value, nothing at all included.
const UNQUOTED: &str = "string values must be quoted";

/// Something that is not TOML.
pub(super) struct SyntaxError {
    pub(super) offset: usize,
    pub(super) what: String,
    pub(super) instead: String,
}

/// The text of a file, made so that the parser gets through it.
pub(super) struct Source<'t> {
    /// Without a byte order mark.
    text: &'t str,
    /// The same with spaces for the lines at which the parser would stop.
    passable: Cow<'t, str>,
    errors: Vec<SyntaxError>,
}

impl<'t> Source<'t> {
    pub(super) fn new(text: &'t str) -> Source<'t> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let positions = Positions::new(text);
        let mut found = DeTable::parse_recoverable(text).1;
        let stops: Vec<_> = found.iter().filter(|error| error.message().starts_with(NO_VALUE)).collect();
        let passable = match stops.is_empty() {
            true => Cow::Borrowed(text),
            false => {
                let lines =
                    stops.iter().filter_map(|error| error.span()).map(|span| positions.line_of(span.start));
                let passable = blanked(text, lines);
                found.extend(DeTable::parse_recoverable(&passable).1);
                Cow::Owned(passable)
            }
        };
        found.sort_by_key(|error| error.span().map(|span| span.start));
        let mut seen = HashSet::new();
        let errors = found.iter().map(|error| explain(error, text, &positions));
        let errors = errors.filter(|error| seen.insert((error.offset, error.what.clone())));
        // One more than will be kept, so that it shows that there are more.
        let errors = errors.take(MOST_FAULTS + 1).collect();
        Source { text, passable, errors }
    }

    pub(super) fn text(&self) -> &str {
        self.text
    }

    pub(super) fn errors(&self) -> &[SyntaxError] {
        &self.errors
    }

    /// What could be read of it. Where there is an error, the parser's guess.
    pub(super) fn tree(&self) -> DeTable<'_> {
        DeTable::parse_recoverable(&self.passable).0.into_inner()
    }
}

/// The text with spaces in these ranges, so that every offset stays what it is.
fn blanked(text: &str, ranges: impl Iterator<Item = std::ops::Range<usize>>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for range in ranges {
        bytes[range].fill(b' ');
    }
    // Lines are replaced whole, so no character is cut; the lossy form is for a case that does not arise.
    String::from_utf8_lossy(&bytes).into_owned()
}

fn explain(error: &Error, text: &str, positions: &Positions<'_>) -> SyntaxError {
    let (what, expected) = match error.message().split_once(", expected ") {
        Some((what, expected)) => (what, Some(expected)),
        None => (error.message(), None),
    };
    // Too many dots is the one error that comes without its place.
    let offset = error.span().map_or_else(|| too_many_dots(text), |span| span.start);
    let instead = match (what, expected) {
        ("duplicate key", _) => "keep one of them".to_owned(),
        (NO_VALUE, _) => "write key = value".to_owned(),
        ("recursion limit" | "cannot recurse further; max recursion depth met", _) => {
            format!("nest at most {DEEPEST} deep")
        }
        _ => match (
            unquoted(&text[positions.line_of(offset)], offset - positions.line_of(offset).start),
            expected,
        ) {
            (Some(word), _) => format!("write {} with the quotes, if that is meant", quoted(word)),
            (None, _) if what == UNQUOTED => "write a value here, strings in quotes".to_owned(),
            (None, Some("nothing")) => "remove it".to_owned(),
            (None, Some(expected)) => format!("write {expected} here"),
            (None, None) => "see https://toml.io/en/v1.1.0 for what may stand here".to_owned(),
        },
    };
    let what = match what {
        "recursion limit" | "cannot recurse further; max recursion depth met" => "nested too deep",
        what => what,
    };
    SyntaxError { offset, what: format!("not TOML: {what}"), instead }
}

/// The value, if the line is `key = value` and the value is a word or quantity without quotes.
fn unquoted(line: &str, column: usize) -> Option<&str> {
    let (key, value) = line.split_once('=')?;
    let value_start = key.len() + 1;
    let value = value.split('#').next().unwrap_or_default().trim();
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | '/');
    (column >= value_start && value.chars().all(plain) && value.chars().any(char::is_alphabetic))
        .then_some(value)
}

fn too_many_dots(text: &str) -> usize {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if !line.starts_with('#') && line.matches('.').count() >= DEEPEST {
            return offset;
        }
        offset += line.len();
    }
    0
}

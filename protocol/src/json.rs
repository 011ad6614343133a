//! A JSON value inside a payload: checked, borrowed, and unchanged.

use std::fmt;

use serde_json::value::RawValue;

/// A JSON value as its sender wrote it, including the white space inside it.
///
/// It is known to be JSON. Nothing else about it was checked.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Json<'a> {
    text: &'a str,
    has_backslash: bool,
}

impl<'a> Json<'a> {
    /// Wraps a text that a parser has checked.
    ///
    /// `text` must be one JSON value without white space around it, and `has_backslash` must be
    /// whether it contains a backslash.
    pub(crate) fn from_checked(text: &'a str, has_backslash: bool) -> Json<'a> {
        Json { text, has_backslash }
    }

    /// Returns whether the text contains a backslash, which in a string begins an escape.
    pub(crate) fn has_backslash(self) -> bool {
        self.has_backslash
    }

    /// Returns the text.
    #[must_use]
    pub fn get(self) -> &'a str {
        self.text
    }

    /// Converts the value for use with serde_json. Copies the text and parses it once more.
    #[must_use]
    pub fn to_raw(self) -> Box<RawValue> {
        RawValue::from_string(self.text.to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
}

impl<'a> From<&'a RawValue> for Json<'a> {
    fn from(value: &'a RawValue) -> Json<'a> {
        let text = value.get();
        Json { text, has_backslash: text.contains('\\') }
    }
}

impl fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

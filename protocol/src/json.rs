//! A JSON text inside a payload: checked, borrowed, and as it was written.

use std::fmt;

use serde_json::value::RawValue;

/// A JSON value as its sender wrote it, white space inside it included. It is known to be JSON; nothing more was looked
/// at.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Json<'a> {
    text: &'a str,
    has_backslash: bool,
}

impl<'a> Json<'a> {
    /// `text` was found to be one JSON value, without white space around it, and to have a backslash in it or not.
    pub(crate) fn checked(text: &'a str, has_backslash: bool) -> Json<'a> {
        Json { text, has_backslash }
    }

    /// Whether there is a backslash anywhere, which in a string is an escape.
    pub(crate) fn has_backslash(self) -> bool {
        self.has_backslash
    }

    /// The text.
    #[must_use]
    pub fn get(self) -> &'a str {
        self.text
    }

    /// The text for whoever works with serde_json. Copies it, and has it checked once more.
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

//! A JSON text inside a payload: checked, borrowed, and as it was written.

use std::fmt;

use serde_json::value::RawValue;

/// A JSON value as its sender wrote it, white space inside it included. It is known to be JSON; nothing more was looked
/// at.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// `text` was found to be one JSON value, without white space around it.
    pub(crate) fn checked(text: &'a str) -> Json<'a> {
        Json(text)
    }

    /// The text.
    #[must_use]
    pub fn get(self) -> &'a str {
        self.0
    }

    /// The text for whoever works with serde_json. Copies it, and has it checked once more.
    #[must_use]
    pub fn to_raw(self) -> Box<RawValue> {
        RawValue::from_string(self.0.to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
}

impl<'a> From<&'a RawValue> for Json<'a> {
    fn from(value: &'a RawValue) -> Json<'a> {
        Json(value.get())
    }
}

impl fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

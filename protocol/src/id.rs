//! The id of a request, kept as the peer wrote it because it is echoed byte for byte.

use std::borrow::Cow;

use crate::envelope_error::EnvelopeError;
use crate::json::Json;
use crate::limits::ID_MAX;

/// An id as written on the wire: the JSON token of a string or an integer, at most [`ID_MAX`] bytes
/// including quotes and escapes.
///
/// Two ids are equal if they are written the same: `"a"` and `"\u0061"` differ, as do `1` and
/// `"1"`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Id<'a>(Json<'a>);

impl<'a> Id<'a> {
    /// Takes a JSON value as an id.
    ///
    /// # Errors
    ///
    /// The value is neither a string nor an integer, or is too long.
    pub(crate) fn from_json(value: Json<'a>) -> Result<Id<'a>, EnvelopeError> {
        let token = value.get();
        let is_id = match token.as_bytes().first() {
            Some(b'"') => true,
            // The token is a JSON number. Without a fraction and an exponent, it is an integer.
            Some(b'-' | b'0'..=b'9') => !token.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')),
            _ => false,
        };

        if !is_id {
            Err(EnvelopeError::IdNotStringOrInteger)
        } else if token.len() > ID_MAX {
            Err(EnvelopeError::IdTooLong)
        } else {
            Ok(Id(value))
        }
    }

    /// Returns the JSON token exactly as written: `"7b1f…"` with its quotes, or `42`.
    #[must_use]
    pub fn as_json(&self) -> &'a str {
        self.0.get()
    }

    /// Returns the text of a string or the digits of an integer, for logs.
    ///
    /// A string that is not text, because of an unpaired surrogate, stays escaped as written.
    #[must_use]
    pub fn text(&self) -> Cow<'a, str> {
        let Some(inner) = self.as_json().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
            return Cow::Borrowed(self.as_json());
        };
        if !self.0.has_backslash() {
            return Cow::Borrowed(inner);
        }
        serde_json::from_str::<String>(self.as_json()).map_or(Cow::Borrowed(inner), Cow::Owned)
    }

    /// Returns whether the id is a number. The token of a number does not show where it ends: a
    /// truncated `123` looks like a complete `12`.
    pub(crate) fn is_integer(&self) -> bool {
        !self.as_json().starts_with('"')
    }
}

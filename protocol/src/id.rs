//! A request's id: kept as the peer wrote it, because it is echoed byte for byte.

use std::borrow::Cow;

use crate::envelope_error::EnvelopeError;
use crate::json::Json;
use crate::limits::ID_MAX;

/// An id as written on the wire: the JSON token of a string or an integer, at most [`ID_MAX`] bytes with its
/// quotes and escapes.
///
/// Two ids are the same if they are written the same: `"a"` and `"\u0061"` differ, as do `1` and `"1"`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Id<'a>(Json<'a>);

impl<'a> Id<'a> {
    /// # Errors
    /// The value is no string and no integer, or is too long.
    pub(crate) fn from_json(value: Json<'a>) -> Result<Id<'a>, EnvelopeError> {
        let token = value.get();
        let is_id = match token.as_bytes().first() {
            Some(b'"') => true,
            // The token is a JSON number already: without a fraction and an exponent, it is an integer.
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

    /// The JSON token exactly as written: `"7b1f…"` with its quotes, or `42`.
    #[must_use]
    pub fn as_json(&self) -> &'a str {
        self.0.get()
    }

    /// The text of a string or the digits of an integer, for logs. What cannot be text (an unpaired surrogate)
    /// stays escaped, as it was written.
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

    /// Whether the id is a number, whose token says nothing about where it ends.
    pub(crate) fn is_integer(&self) -> bool {
        !self.as_json().starts_with('"')
    }
}

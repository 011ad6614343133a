//! Why a payload is not an acceptable request: one variant per cause, each with its code and a sentence for the peer.

use crate::code::Code;
use crate::limits::{DEPTH_MAX, ID_MAX, METHOD_MAX};

/// What is wrong with an envelope.
///
/// `Display` is a sentence for the error reply. It never repeats what the peer sent, and byte offsets count from
/// 0 at the start of the payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// There is nothing but white space.
    #[error("the payload is empty; a JSON object is expected")]
    Empty,
    /// The payload opens with a byte order mark, which RFC 8259 section 8.1 forbids on a wire.
    #[error("the payload begins with a byte order mark; send plain UTF-8")]
    ByteOrderMark,
    /// The payload is not UTF-8.
    #[error("the payload is not valid UTF-8 at byte {at}")]
    Utf8 {
        /// Offset of the first byte that is not part of a character.
        at: usize,
    },
    /// The payload is not JSON.
    #[error("the payload is not valid JSON at byte {at}")]
    Syntax {
        /// Offset where the parser stopped.
        at: usize,
    },
    /// The payload ends inside the JSON document.
    #[error("the payload ends inside the JSON document, after {at} bytes")]
    Truncated {
        /// Bytes of payload there are.
        at: usize,
    },
    /// Something follows the JSON document.
    #[error("the JSON document is followed by other bytes, from byte {at} on")]
    TrailingBytes {
        /// Offset of the first of them.
        at: usize,
    },
    /// Arrays and objects are nested too deep, in an ignored member or anywhere else.
    #[error("arrays and objects are nested deeper than {DEPTH_MAX} levels, at byte {at}")]
    TooDeep {
        /// Offset of the bracket that opens the first level too many.
        at: usize,
    },
    /// The document is an array, a string, a number, or a literal.
    #[error("the payload is not a JSON object")]
    NotAnObject,
    /// A member of the envelope appears more than once: which one would count is anybody's guess.
    #[error("the member \"{0}\" appears more than once")]
    DuplicateMember(&'static str),
    /// There is no `method`.
    #[error("the member \"method\" is missing")]
    MethodMissing,
    /// `method` is not a string.
    #[error("the member \"method\" is not a string")]
    MethodNotAString,
    /// `method` holds a `\u` escape that is half of a surrogate pair, so it is JSON but no text.
    #[error("the member \"method\" holds an unpaired surrogate")]
    MethodLoneSurrogate,
    /// `method` is the empty string.
    #[error("the member \"method\" is empty")]
    MethodEmpty,
    /// `method` is over its limit.
    #[error("the member \"method\" is longer than {METHOD_MAX} bytes")]
    MethodTooLong,
    /// An asynchronous request has no `id`. [`Request::parse`](crate::Request::parse) accepts that: the rule
    /// depends on the frame's kind, so it is the caller's to apply.
    #[error("the member \"id\" is missing; an asynchronous request needs one")]
    IdMissing,
    /// `id` is neither a string nor an integer: `null`, `1.0`, `1e3`, a literal, an array, an object.
    #[error("the member \"id\" is neither a string nor an integer")]
    IdNotStringOrInteger,
    /// `id` is over its limit.
    #[error("the member \"id\" is longer than {ID_MAX} bytes as written")]
    IdTooLong,
}

impl EnvelopeError {
    /// PARSE_ERROR where the payload is not one JSON document in UTF-8, INVALID_REQUEST where it is one and not
    /// a request (protocol sections 2 and 3).
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            EnvelopeError::Empty
            | EnvelopeError::ByteOrderMark
            | EnvelopeError::Utf8 { .. }
            | EnvelopeError::Syntax { .. }
            | EnvelopeError::Truncated { .. }
            | EnvelopeError::TrailingBytes { .. } => Code::ParseError,
            EnvelopeError::TooDeep { .. }
            | EnvelopeError::NotAnObject
            | EnvelopeError::DuplicateMember(_)
            | EnvelopeError::MethodMissing
            | EnvelopeError::MethodNotAString
            | EnvelopeError::MethodLoneSurrogate
            | EnvelopeError::MethodEmpty
            | EnvelopeError::MethodTooLong
            | EnvelopeError::IdMissing
            | EnvelopeError::IdNotStringOrInteger
            | EnvelopeError::IdTooLong => Code::InvalidRequest,
        }
    }
}

//! The reasons why a payload is not an acceptable request, each with its code and its message.

use crate::code::Code;
use crate::limits::{DEPTH_MAX, ID_MAX, META_BYTES_MAX, META_MEMBERS_MAX, METHOD_MAX};

/// A fault of an envelope.
///
/// `Display` is the message of the error reply. It never repeats data of the peer. Byte offsets
/// count from 0 at the start of the payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// The payload holds only white space.
    #[error("the payload is empty; a JSON object is expected")]
    Empty,
    /// The payload begins with a byte order mark, which RFC 8259 section 8.1 forbids on a wire.
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
        /// Length of the payload in bytes.
        at: usize,
    },
    /// Other bytes follow the JSON document.
    #[error("the JSON document is followed by other bytes, from byte {at} on")]
    TrailingBytes {
        /// Offset of the first of them.
        at: usize,
    },
    /// Arrays and objects are nested too deep, in an ignored member or anywhere else.
    #[error("arrays and objects are nested deeper than {DEPTH_MAX} levels, at byte {at}")]
    TooDeep {
        /// Offset of the bracket that opens the first level over the limit.
        at: usize,
    },
    /// The document is an array, a string, a number, or a literal.
    #[error("the payload is not a JSON object")]
    NotAnObject,
    /// A member of the envelope appears more than once, so its value is ambiguous.
    #[error("the member \"{0}\" appears more than once")]
    DuplicateMember(&'static str),
    /// `method` is missing.
    #[error("the member \"method\" is missing")]
    MethodMissing,
    /// `method` is not a string.
    #[error("the member \"method\" is not a string")]
    MethodNotAString,
    /// `method` holds a `\u` escape that is half of a surrogate pair, so it is JSON but not text.
    #[error("the member \"method\" holds an unpaired surrogate")]
    MethodLoneSurrogate,
    /// `method` is the empty string.
    #[error("the member \"method\" is empty")]
    MethodEmpty,
    /// `method` is over its limit.
    #[error("the member \"method\" is longer than {METHOD_MAX} bytes")]
    MethodTooLong,
    /// An asynchronous request has no `id`.
    ///
    /// [`Request::parse`](crate::Request::parse) accepts such a request: the rule depends on the
    /// kind of the frame, so the caller applies it.
    #[error("the member \"id\" is missing; an asynchronous request needs one")]
    IdMissing,
    /// A cancellation has no `id`.
    #[error("the member \"id\" is missing; a cancellation needs the id of its request")]
    CancelWithoutId,
    /// `id` is neither a string nor an integer: `null`, `1.0`, `1e3`, a literal, an array, an
    /// object.
    #[error("the member \"id\" is neither a string nor an integer")]
    IdNotStringOrInteger,
    /// `id` is over its limit.
    #[error("the member \"id\" is longer than {ID_MAX} bytes as written")]
    IdTooLong,
    /// `deadline_ms` is no integer from 1 to 4,294,967,295.
    #[error("the member \"deadline_ms\" is not an integer from 1 to 4294967295")]
    DeadlineInvalid,
    /// `meta` is no object, has a value that is no string, an empty name, or a name twice.
    #[error("the member \"meta\" is not an object with strings under different names")]
    MetaNotStrings,
    /// `meta` has too many members or bytes.
    #[error(
        "the member \"meta\" has more than {META_MEMBERS_MAX} members, or more than {META_BYTES_MAX} bytes"
    )]
    MetaTooLarge,
    /// `params` exists beside opaque bytes.
    #[error("the member \"params\" must be missing: the params are the bytes behind the envelope")]
    ParamsBesideBytes,
}

impl EnvelopeError {
    /// Returns PARSE_ERROR if the payload is not one JSON document in UTF-8, and INVALID_REQUEST if
    /// it is one but not a request (protocol sections 2 and 3).
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
            | EnvelopeError::CancelWithoutId
            | EnvelopeError::IdNotStringOrInteger
            | EnvelopeError::IdTooLong
            | EnvelopeError::DeadlineInvalid
            | EnvelopeError::MetaNotStrings
            | EnvelopeError::MetaTooLarge
            | EnvelopeError::ParamsBesideBytes => Code::InvalidRequest,
        }
    }
}

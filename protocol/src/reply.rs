//! Replies as a client parses them: the id, and the result or the error.

use std::borrow::Cow;

use crate::block::{BlockError, ContentType, ExtensionBlock, Timing, split_bytes_body};
use crate::code::Code;
use crate::envelope_error::EnvelopeError;
use crate::id::Id;
use crate::json::Json;
use crate::members::Members;

/// A reply, borrowed from its payload: `{"id"?, "result"}` or `{"id"?, "error"}` (protocol section
/// 2).
///
/// ```
/// use jackfield_protocol::{Outcome, Reply};
///
/// let reply = Reply::parse(br#"{"id":7,"result":{"ok":true}}"#)?;
/// let Outcome::Result(result) = reply.outcome else { panic!("an error") };
/// assert_eq!(result.get(), r#"{"ok":true}"#);
/// # Ok::<(), jackfield_protocol::InvalidReply>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reply<'a> {
    /// The id of the request. `None` if the request had no id or its id could not be read; `null`
    /// counts as absent.
    pub id: Option<Id<'a>>,
    /// The result or the error.
    pub outcome: Outcome<'a>,
}

/// The result or the error of a request.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// The result of the method, as written.
    Result(Json<'a>),
    /// The result of the method as opaque bytes. Only [`Reply::parse_extended`] returns it.
    Bytes(&'a [u8]),
    /// The error of the method or of the host.
    Error(RemoteError<'a>),
}

/// The content of an error reply.
#[derive(Clone, Debug)]
pub struct RemoteError<'a> {
    /// The number. [`Code::from_i64`] maps those with a fixed meaning.
    pub code: i64,
    /// A message for people, with its JSON escapes decoded.
    pub message: Cow<'a, str>,
    /// Additional data, as written.
    pub data: Option<Json<'a>>,
}

impl RemoteError<'_> {
    /// Returns the fixed meaning of the code, if it has one.
    #[must_use]
    pub fn known_code(&self) -> Option<Code> {
        Code::from_i64(self.code)
    }
}

/// The reason why a payload is not a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidReply {
    /// The payload is not a JSON object, or its id is not an acceptable id.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Both `result` and `error` are missing.
    #[error("the reply has neither a \"result\" nor an \"error\"")]
    OutcomeMissing,
    /// Two of `result`, `error` and opaque bytes are present.
    #[error("the reply has more than one outcome")]
    OutcomeAmbiguous,
    /// `error` is not an object.
    #[error("the reply's \"error\" is not an object")]
    ErrorNotAnObject,
    /// `error.code` is missing, or not an integer of 64 bits.
    #[error("the reply's \"error.code\" is not an integer")]
    CodeNotAnInteger,
    /// `error.message` is missing, or not a string.
    #[error("the reply's \"error.message\" is not a string")]
    MessageNotAString,
    /// The extension block is malformed, or was not agreed on.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The envelope before opaque bytes is longer than the body.
    #[error("the reply's envelope is longer than its body")]
    EnvelopeTruncated,
}

impl<'a> Reply<'a> {
    /// Parses a payload under the same rules as a request: valid UTF-8, bounded depth, no member
    /// twice, other members ignored.
    ///
    /// If one of `result` and `error` is `null`, as JSON-RPC 1.0 servers write it, the other
    /// counts.
    ///
    /// # Errors
    ///
    /// The payload is not a reply: the peer does not follow the protocol.
    pub fn parse(payload: &'a [u8]) -> Result<Reply<'a>, InvalidReply> {
        let mut members = Members::new(&["id", "result", "error"]);
        members.read(payload)?;

        let [id, result, error] = members.values;
        let id = read_id(id)?;
        let outcome = match (result, error.filter(|error| !is_null(*error))) {
            (Some(result), None) => Outcome::Result(result),
            (None, Some(error)) => Outcome::Error(read_error(error)?),
            (Some(result), Some(error)) if is_null(result) => Outcome::Error(read_error(error)?),
            (Some(_), Some(_)) => return Err(InvalidReply::OutcomeAmbiguous),
            (None, None) => return Err(InvalidReply::OutcomeMissing),
        };
        Ok(Reply { id, outcome })
    }

    /// Parses the payload of a reply whose kind has the bit of an extension block.
    ///
    /// # Errors
    ///
    /// As for [`Reply::parse`], or the block is malformed.
    pub fn parse_extended(payload: &'a [u8]) -> Result<(Reply<'a>, Option<Timing>), InvalidReply> {
        let (block, body) = ExtensionBlock::split(payload)?;
        let reply = match block.content {
            ContentType::Json => Reply::parse(body)?,
            ContentType::Bytes => {
                let (envelope, bytes) = split_bytes_body(body).ok_or(InvalidReply::EnvelopeTruncated)?;
                let mut members = Members::new(&["id", "result", "error"]);
                members.read(envelope)?;
                let [id, None, None] = members.values else { return Err(InvalidReply::OutcomeAmbiguous) };
                Reply { id: read_id(id)?, outcome: Outcome::Bytes(bytes) }
            }
        };
        Ok((reply, block.timing))
    }
}

impl<'a> Id<'a> {
    /// Finds the id of a reply that [`Reply::parse`] refuses, or of which only the head is known.
    ///
    /// Returns the first acceptable id that is complete and precedes the fault; a payload that is
    /// only nested too deep is searched to its end.
    #[must_use]
    pub fn find_in_reply(payload: &'a [u8]) -> Option<Id<'a>> {
        let mut members = Members::new(&["id", "result", "error"]);
        // An error does not matter: the payload is refused anyway.
        let _ = members.read(payload);
        members.id
    }
}

fn read_id(value: Option<Json<'_>>) -> Result<Option<Id<'_>>, EnvelopeError> {
    value.filter(|id| !is_null(*id)).map(Id::from_json).transpose()
}

fn is_null(value: Json<'_>) -> bool {
    value.get() == "null"
}

fn read_error(value: Json<'_>) -> Result<RemoteError<'_>, InvalidReply> {
    let mut members = Members::new(&["code", "message", "data"]);
    members.read(value.get().as_bytes()).map_err(|error| match error {
        EnvelopeError::NotAnObject => InvalidReply::ErrorNotAnObject,
        other => InvalidReply::Envelope(other),
    })?;
    let [code, message, data] = members.values;
    Ok(RemoteError {
        code: code.and_then(|code| code.get().parse().ok()).ok_or(InvalidReply::CodeNotAnInteger)?,
        message: message.and_then(read_text).ok_or(InvalidReply::MessageNotAString)?,
        data,
    })
}

fn read_text(value: Json<'_>) -> Option<Cow<'_, str>> {
    let token = value.get();
    let written = token.strip_prefix('"')?.strip_suffix('"')?;
    if value.has_backslash() {
        serde_json::from_str(token).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(written))
    }
}

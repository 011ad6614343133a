//! Replies as a client reads them: the id, and the result or the error.

use std::borrow::Cow;

use crate::code::Code;
use crate::envelope_error::EnvelopeError;
use crate::id::Id;
use crate::json::Json;
use crate::members::Members;

/// A reply, borrowed from its payload: `{"id"?, "result"}` or `{"id"?, "error"}` (protocol section 2).
///
/// ```
/// use jackfield_protocol::{Outcome, Reply};
///
/// let reply = Reply::parse(br#"{"id":7,"result":{"ok":true}}"#)?;
/// assert!(matches!(reply.outcome, Outcome::Result(result) if result.get() == r#"{"ok":true}"#));
/// # Ok::<(), jackfield_protocol::InvalidReply>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reply<'a> {
    /// The request's id. Absent where the request had none or it could not be read; `null` counts as absent.
    pub id: Option<Id<'a>>,
    /// How the request ended.
    pub outcome: Outcome<'a>,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// The method's result as written.
    Result(Json<'a>),
    /// The method or the host refused or failed.
    Error(RemoteError<'a>),
}

/// An error reply's content.
#[derive(Clone, Debug)]
pub struct RemoteError<'a> {
    /// The number; [`Code::from_i64`] knows those with a fixed meaning.
    pub code: i64,
    /// A sentence for people, its JSON escapes resolved.
    pub message: Cow<'a, str>,
    /// What else the sender says, as written.
    pub data: Option<Json<'a>>,
}

impl RemoteError<'_> {
    /// The code's fixed meaning, if it has one.
    #[must_use]
    pub fn known_code(&self) -> Option<Code> {
        Code::from_i64(self.code)
    }
}

/// Why a payload is not a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidReply {
    /// The payload is no JSON object, or its id is none.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// There is neither a result nor an error.
    #[error("the reply has neither a \"result\" nor an \"error\"")]
    OutcomeMissing,
    /// There are both.
    #[error("the reply has both a \"result\" and an \"error\"")]
    OutcomeAmbiguous,
    /// `error` is no object.
    #[error("the reply's \"error\" is not an object")]
    ErrorNotAnObject,
    /// `error.code` is missing or no integer of 64 bits.
    #[error("the reply's \"error.code\" is not an integer")]
    CodeNotAnInteger,
    /// `error.message` is missing or no string.
    #[error("the reply's \"error.message\" is not a string")]
    MessageNotAString,
}

impl<'a> Reply<'a> {
    /// Reads a payload, under the same rules as a request's: UTF-8, depth, no member twice, others ignored.
    ///
    /// A `null` beside the other outcome counts as absent, as JSON-RPC 1.0 servers write it.
    ///
    /// # Errors
    /// The payload is no reply; the peer does not speak the protocol.
    pub fn parse(payload: &'a [u8]) -> Result<Reply<'a>, InvalidReply> {
        let mut members = Members::new(["id", "result", "error"]);
        members.read(payload)?;
        let [id, result, error] = members.values;
        let id = id.filter(|id| !is_null(*id)).map(Id::from_json).transpose()?;
        let outcome = match (result, error.filter(|error| !is_null(*error))) {
            (Some(result), None) => Outcome::Result(result),
            (None, Some(error)) => Outcome::Error(read_error(error)?),
            (Some(result), Some(error)) if is_null(result) => Outcome::Error(read_error(error)?),
            (Some(_), Some(_)) => return Err(InvalidReply::OutcomeAmbiguous),
            (None, None) => return Err(InvalidReply::OutcomeMissing),
        };
        Ok(Reply { id, outcome })
    }
}

fn is_null(value: Json<'_>) -> bool {
    value.get() == "null"
}

fn read_error(value: Json<'_>) -> Result<RemoteError<'_>, InvalidReply> {
    let mut members = Members::new(["code", "message", "data"]);
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

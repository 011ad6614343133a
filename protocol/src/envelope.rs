//! The document inside a request: method, id and params, borrowed from the payload, or why it is refused.

use std::borrow::Cow;

use crate::envelope_error::EnvelopeError;
use crate::id::Id;
use crate::json::Json;
use crate::limits::METHOD_MAX;
use crate::members::Members;

/// The longest a string of one decoded byte can be written: `\u0061`.
const ESCAPE_LEN: usize = 6;

/// A request, borrowed from its payload: `{"id"?, "method", "params"?, "timestamp"?}` (protocol section 2).
///
/// Params are not copied and not looked into beyond being JSON of bounded depth.
///
/// ```
/// use jackfield_protocol::Request;
///
/// let request = Request::parse(br#"{"id":"7f","method":"device.report","params":{"deviceId":"dev_123"}}"#)?;
/// assert_eq!(request.method, "device.report");
/// assert_eq!(request.id.map(|id| id.as_json()), Some("\"7f\""));
/// assert_eq!(request.params.map(|params| params.get()), Some(r#"{"deviceId":"dev_123"}"#));
/// # Ok::<(), jackfield_protocol::Rejected<'static>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The id to echo. Optional here; an asynchronous request needs one, see [`EnvelopeError::IdMissing`].
    pub id: Option<Id<'a>>,
    /// The method, 1 to [`METHOD_MAX`] bytes, its JSON escapes resolved.
    pub method: Cow<'a, str>,
    /// The params as written, `null` included.
    pub params: Option<Json<'a>>,
    /// The timestamp as written: whatever the client put there.
    pub timestamp: Option<Json<'a>>,
}

impl<'a> Request<'a> {
    /// Reads a payload. Members with other names are ignored; names written with escapes count as what they
    /// decode to.
    ///
    /// It does not recurse. It allocates only for names and methods that are written with escapes and, with those or
    /// beyond 64 levels of nesting, a byte for each level.
    ///
    /// # Errors
    /// The payload is no request: [`Rejected`] says why, and names the id to reply to if one can be read.
    pub fn parse(payload: &'a [u8]) -> Result<Request<'a>, Rejected<'a>> {
        let mut members = Members::new(["id", "method", "params", "timestamp"]);
        let request = members.read(payload).and_then(|()| Request::interpret(members.values));
        request.map_err(|error| Rejected { id: members.id, error })
    }

    fn interpret(
        [id, method, params, timestamp]: [Option<Json<'a>>; 4],
    ) -> Result<Request<'a>, EnvelopeError> {
        Ok(Request {
            id: id.map(Id::from_json).transpose()?,
            method: read_method(method.ok_or(EnvelopeError::MethodMissing)?)?,
            params,
            timestamp,
        })
    }
}

fn read_method(value: Json<'_>) -> Result<Cow<'_, str>, EnvelopeError> {
    let token = value.get();
    let written = token
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or(EnvelopeError::MethodNotAString)?;
    // Before escapes are resolved, so that a long string of them costs no memory.
    if written.len() > METHOD_MAX * ESCAPE_LEN {
        return Err(EnvelopeError::MethodTooLong);
    }
    let method = if value.has_backslash() {
        // The token is a JSON string already; what can still be wrong in it is a surrogate without its partner.
        Cow::Owned(serde_json::from_str(token).map_err(|_| EnvelopeError::MethodLoneSurrogate)?)
    } else {
        Cow::Borrowed(written)
    };
    match method.len() {
        0 => Err(EnvelopeError::MethodEmpty),
        length if length > METHOD_MAX => Err(EnvelopeError::MethodTooLong),
        _ => Ok(method),
    }
}

/// A payload that is no acceptable request, and the id to tell its sender by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{error}")]
pub struct Rejected<'a> {
    /// The first acceptable id. Known whenever the payload is JSON and has one, even if another member is
    /// faulty; in a payload that is not JSON, if the member was complete before the fault.
    pub id: Option<Id<'a>>,
    /// What is wrong.
    pub error: EnvelopeError,
}

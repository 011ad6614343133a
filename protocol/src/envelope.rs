//! The envelope of a request: method, id and params, borrowed from the payload.

use std::borrow::Cow;

use crate::context::RequestContext;
use crate::envelope_error::EnvelopeError;
use crate::id::Id;
use crate::json::Json;
use crate::limits::{ESCAPE_LEN, METHOD_MAX};
use crate::members::Members;

/// A request, borrowed from its payload: `{"id"?, "method", "params"?, "timestamp"?}` and the
/// members of [`RequestContext`] (protocol section 2).
///
/// Params are not copied. They are checked to be JSON of bounded depth, and not examined further.
///
/// ```
/// use jackfield_protocol::Request;
///
/// let payload = br#"{"id":"7f","method":"device.report","params":{"deviceId":"dev_123"}}"#;
/// let request = Request::parse(payload)?;
/// assert_eq!(request.method, "device.report");
/// assert_eq!(request.id.map(|id| id.as_json()), Some("\"7f\""));
/// assert_eq!(request.params.map(|params| params.get()), Some(r#"{"deviceId":"dev_123"}"#));
/// # Ok::<(), jackfield_protocol::InvalidRequest<'static>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The id to echo. Optional here; an asynchronous request needs one, see
    /// [`EnvelopeError::IdMissing`].
    pub id: Option<Id<'a>>,
    /// The method, 1 to [`METHOD_MAX`] bytes, with its JSON escapes decoded.
    pub method: Cow<'a, str>,
    /// The params as written, `null` included.
    pub params: Option<Json<'a>>,
    /// The timestamp as written by the client. Its value is not checked.
    pub timestamp: Option<Json<'a>>,
    /// Deadline, trace and metadata.
    pub context: RequestContext<'a>,
}

/// The names of the members that a request may have.
const NAMES: [&str; 8] =
    ["id", "method", "params", "timestamp", "deadline_ms", "traceparent", "tracestate", "meta"];

impl<'a> Request<'a> {
    /// Parses a payload.
    ///
    /// Members with other names are ignored. Names are compared after their escapes are decoded.
    ///
    /// The parser does not recurse. It allocates memory only for trace and metadata, for names and
    /// methods that are written with escapes, and one byte per nesting level if there are such
    /// names or more than 64 levels.
    ///
    /// # Errors
    ///
    /// The payload is not a request: [`InvalidRequest`] holds the reason, and the id to reply to if
    /// one can be read.
    pub fn parse(payload: &'a [u8]) -> Result<Request<'a>, InvalidRequest<'a>> {
        let mut members = Members::new(&NAMES);
        let request = members.read(payload).and_then(|()| Request::interpret(&members.values));
        request.map_err(|error| InvalidRequest { id: members.id, error })
    }

    fn interpret(
        [id, method, params, timestamp, deadline, traceparent, tracestate, meta]: &[Option<Json<'a>>; 8],
    ) -> Result<Request<'a>, EnvelopeError> {
        Ok(Request {
            id: id.map(Id::from_json).transpose()?,
            method: read_method(method.ok_or(EnvelopeError::MethodMissing)?)?,
            params: *params,
            timestamp: *timestamp,
            context: RequestContext::interpret([*deadline, *traceparent, *tracestate, *meta])?,
        })
    }
}

/// Reads the payload of a cancellation: an envelope with the id of a request.
///
/// # Errors
///
/// The payload is not a JSON object, or has no acceptable id.
pub fn parse_cancel(payload: &[u8]) -> Result<Id<'_>, EnvelopeError> {
    // With the names of a request, the scanner is compiled once for both and stays inlined.
    let mut members = Members::new(&NAMES);
    members.read(payload)?;
    let [id, ..] = members.values;
    Id::from_json(id.ok_or(EnvelopeError::CancelWithoutId)?)
}

fn read_method(value: Json<'_>) -> Result<Cow<'_, str>, EnvelopeError> {
    let token = value.get();
    let written = token
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or(EnvelopeError::MethodNotAString)?;
    // Checked before the escapes are decoded, so that a long string of escapes costs no memory.
    if written.len() > METHOD_MAX * ESCAPE_LEN {
        return Err(EnvelopeError::MethodTooLong);
    }

    let method = if value.has_backslash() {
        // The token is a JSON string, so the only possible fault is an unpaired surrogate.
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

/// A payload that is not an acceptable request, with the id that its sender recognizes it by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{error}")]
pub struct InvalidRequest<'a> {
    /// The first acceptable id.
    ///
    /// If the payload is JSON, it is known even if another member is faulty. If the payload is not
    /// JSON, it is known if the member was complete before the fault.
    pub id: Option<Id<'a>>,
    /// The reason for the rejection.
    pub error: EnvelopeError,
}

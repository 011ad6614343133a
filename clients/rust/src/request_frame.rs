//! A request as a frame in one buffer, whose id, version and deadline change at every try.

use std::ops::Range;
use std::time::{Duration, Instant};

use jackfield_protocol::{
    HEADER_LEN, Kind, RequestMembers, RequestParams, Version, limits, write_heartbeat, write_request,
};
use serde::Serialize;

use crate::call_context::CallContext;
use crate::error::EncodeError;
use crate::id::{Key, TEXT_LEN};
use crate::options::Mode;

/// Offset of the id's text in the envelope. `write_request` puts the id first.
const ID_OFFSET: usize = br#"{"id":""#.len();

/// Offset of the length field in a header (protocol section 1).
const LENGTH_OFFSET: usize = 3;

/// Bytes before the envelope of a request with opaque bytes: the extension block with its length,
/// and the length of the envelope (protocol section 6).
const BYTES_PREFIX: usize = 2 + 3 + 4;

/// The id in a new frame, which [`RequestFrame::stamp`] overwrites.
const NO_ID: &str = "\"00000000-0000-0000-0000-000000000000\"";

/// The name of the deadline in the payload.
const DEADLINE: &[u8] = br#","deadline_ms":"#;

/// The name of the params in the payload.
const PARAMS: &[u8] = br#","params":"#;

/// Bytes reserved for a new frame. Small requests fit without another allocation.
const CAPACITY: usize = 256;

/// The kind of a request, which decides how its reply is matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RequestKind {
    /// Kind `04`: the reply carries the id.
    Async,
    /// Kind `01`: the next sync reply belongs to it.
    Sync,
    /// Kind `02`: heartbeats are answered in order.
    Heartbeat,
}

/// The params of a request.
#[derive(Debug)]
pub(crate) enum Body<'a, P: ?Sized> {
    /// Params that are written as JSON.
    Json(&'a P),
    /// Opaque bytes. The request can only be sent if the host has granted them.
    Bytes(&'a [u8]),
}

/// The whole frame of one request.
#[derive(Debug)]
pub(crate) struct RequestFrame {
    bytes: Vec<u8>,
    kind: RequestKind,
    mode: Mode,
    /// The version in which the request is sent to a host that has not granted 1.2.
    version: Version,
    /// Offset of the envelope.
    envelope: usize,
    /// The digits of the deadline. Space remains before them if a later deadline has fewer.
    digits: Range<usize>,
    /// The time-out that the digits have room for, in milliseconds.
    timeout_ms: u32,
    /// The deadline of the call.
    deadline: Option<Instant>,
    /// The deadline that was written last, in milliseconds from then on.
    pub(crate) deadline_ms: u32,
}

impl RequestFrame {
    /// Encodes a request without an id; [`RequestFrame::stamp`] sets it.
    pub(crate) fn new<P: Serialize + ?Sized>(
        mode: Mode,
        method: &str,
        body: &Body<'_, P>,
        context: &CallContext,
        timeout: Duration,
    ) -> Result<RequestFrame, EncodeError> {
        if method.is_empty() || method.len() > limits::METHOD_MAX {
            return Err(EncodeError::MethodLength(method.len()));
        }
        context.check()?;

        // Async requests exist since version 1.1; a 1.0 host understands everything else.
        let (version, wire_kind, kind) = match mode {
            Mode::Multiplexed => (Version::V1_1, Kind::AsyncRequest, RequestKind::Async),
            Mode::Exclusive => (Version::V1_0, Kind::Sync, RequestKind::Sync),
        };
        let (params, envelope, opaque) = match body {
            Body::Json(_) => (RequestParams::None, HEADER_LEN, 0),
            Body::Bytes(bytes) => (RequestParams::Bytes(bytes), HEADER_LEN + BYTES_PREFIX, bytes.len()),
        };
        let meta = context.meta_json();
        let timeout_ms = in_ms(timeout);
        let members = RequestMembers {
            deadline_ms: timeout_ms,
            traceparent: context.traceparent.as_deref(),
            tracestate: context.tracestate.as_deref(),
            meta: meta.as_deref(),
        };

        let mut bytes = Vec::with_capacity(CAPACITY + opaque);
        write_request(&mut bytes, version, wire_kind, Some(NO_ID), method, members, params)
            .map_err(|error| EncodeError::TooLarge(error.length))?;
        let digits = find_digits(&bytes, envelope, bytes.len() - opaque, timeout_ms, context);
        if let Body::Json(params) = body {
            write_params(&mut bytes, *params)?;
        }

        let deadline_ms = timeout_ms;
        Ok(RequestFrame {
            bytes,
            kind,
            mode,
            version,
            envelope,
            digits,
            timeout_ms,
            deadline: None,
            deadline_ms,
        })
    }

    /// Encodes a heartbeat. It has no id on the wire; its key is local to the client.
    pub(crate) fn heartbeat(mode: Mode) -> RequestFrame {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        write_heartbeat(&mut bytes, Version::V1_0);
        RequestFrame {
            bytes,
            kind: RequestKind::Heartbeat,
            mode,
            version: Version::V1_0,
            envelope: HEADER_LEN,
            digits: 0..0,
            timeout_ms: 0,
            deadline: None,
            deadline_ms: 0,
        }
    }

    /// Sets the deadline of the call, of which every try sends what is left.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// Prepares a try: gives the request an id that was never used before, and writes its version
    /// and what is left of the time-out at `now`.
    ///
    /// `granted` is the version that the host has granted. A second reply to an earlier try never
    /// matches this try, because it has another id.
    pub(crate) fn stamp(&mut self, granted: Option<Version>, now: Instant) -> Key {
        let key = Key::new();
        if self.kind == RequestKind::Heartbeat {
            return key;
        }

        // A request with opaque bytes exists only in version 1.2.
        let version = if self.is_opaque() { Version::V1_2 } else { granted.unwrap_or(self.version) };
        if let Some(field) = self.bytes.first_chunk_mut::<2>() {
            *field = version.wire().to_be_bytes();
        }
        let id = self.bytes.get_mut(self.envelope + ID_OFFSET..);
        if let Some(text) = id.and_then(|rest| rest.first_chunk_mut::<TEXT_LEN>()) {
            key.write(text);
        }

        if let Some(deadline) = self.deadline {
            self.deadline_ms = in_ms(deadline.saturating_duration_since(now)).min(self.timeout_ms);
            write_digits(self.bytes.get_mut(self.digits.clone()).unwrap_or_default(), self.deadline_ms);
        }
        key
    }

    /// Returns the header and the payload.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn kind(&self) -> RequestKind {
        self.kind
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns whether the params are opaque bytes.
    pub(crate) fn is_opaque(&self) -> bool {
        self.envelope > HEADER_LEN
    }
}

/// Returns a duration in milliseconds, rounded up, at least 1 and at most what a request can say.
fn in_ms(duration: Duration) -> u32 {
    let begun = u64::from(duration.subsec_nanos().div_ceil(1_000_000));
    let whole = duration.as_secs().saturating_mul(1_000).saturating_add(begun);
    u32::try_from(whole).unwrap_or(u32::MAX).max(1)
}

/// Finds the digits of the deadline in an envelope that ends at `end` and has no params yet.
fn find_digits(
    bytes: &[u8],
    envelope: usize,
    end: usize,
    timeout_ms: u32,
    context: &CallContext,
) -> Range<usize> {
    let length = 1 + timeout_ms.ilog10() as usize;
    // Without trace and metadata, only the closing brace follows.
    let end = if context.is_empty() {
        end - 1
    } else {
        // No id and no method contains the name, because a quotation mark in them is escaped.
        let mut places = bytes.get(envelope..).unwrap_or_default().windows(DEADLINE.len());
        envelope + places.position(|place| place == DEADLINE).unwrap_or_default() + DEADLINE.len() + length
    };
    end - length..end
}

/// Writes a number that is not 0 to the end of `field`. JSON allows spaces before it.
fn write_digits(field: &mut [u8], number: u32) {
    let mut rest = number;
    for byte in field.iter_mut().rev() {
        *byte = if rest > 0 { b'0' + (rest % 10) as u8 } else { b' ' };
        rest /= 10;
    }
}

/// Adds the params to a payload without them, directly and not through a buffer of their own.
///
/// Null is omitted: a host treats both the same, and JSON-RPC allows no null params.
///
/// # Errors
///
/// The params have no JSON form, or the payload is too long for a frame.
fn write_params<P: Serialize + ?Sized>(bytes: &mut Vec<u8>, params: &P) -> Result<(), EncodeError> {
    // The closing brace of the payload.
    bytes.pop();
    let start = bytes.len();

    bytes.extend_from_slice(PARAMS);
    serde_json::to_writer(&mut *bytes, params)?;
    if bytes.get(start + PARAMS.len()..) == Some(b"null") {
        bytes.truncate(start);
    }
    bytes.push(b'}');

    let payload = bytes.len() - HEADER_LEN;
    let length = u32::try_from(payload).map_err(|_| EncodeError::TooLarge(payload))?;
    if let Some(field) = bytes.get_mut(LENGTH_OFFSET..HEADER_LEN) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests;

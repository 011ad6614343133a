//! Writers that append frames and lines to an output buffer, in one pass and without copies.

use std::io::Write as _;

use crate::codec::FrameLimit;
use crate::header::{Header, Kind, Version};
use crate::json::Json;
use crate::limits::HEADER_LEN;

/// Offset of the length in a header.
const LENGTH_AT: usize = 3;

/// The message of an error reply whose own message and data do not fit a frame.
const OVERSIZED: &str = "the error's message and data are too long for a frame";

/// How payloads are delimited on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Framing {
    /// A header of seven bytes before each payload (protocol section 1).
    #[default]
    Binary,
    /// A `\n` after each payload (protocol section 2). Versions and kinds are not written, and
    /// there are no heartbeats.
    Line,
}

/// The payload of a reply is over the limit. Nothing of the reply is left in the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a reply of {length} bytes is over the limit of {limit} bytes")]
pub struct ReplyTooLarge {
    /// Length that the payload would have, in bytes.
    pub length: usize,
    /// The limit in bytes.
    pub limit: u32,
}

/// The payload of a request is longer than a header can announce. Nothing of the request is left in
/// the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a request of {length} bytes is over the limit of {limit} bytes")]
pub struct RequestTooLarge {
    /// Length that the payload would have, in bytes.
    pub length: usize,
    /// The limit in bytes: 4 GiB - 1.
    pub limit: u32,
}

/// A reply that was begun and is not finished.
///
/// It belongs to the buffer in which it was begun. Until it is finished, that buffer may only grow
/// at its end.
#[derive(Debug)]
#[must_use = "a reply that is neither finished nor abandoned leaves half a frame in the output"]
pub struct ReplyHead {
    framing: Framing,
    /// Offset of the first byte of the frame.
    start: usize,
    /// Offset of the first byte of the result.
    body: usize,
}

/// Begins a reply with a result: writes the header, with its length still open, and the envelope up
/// to the result.
///
/// The caller appends the JSON of the result to `out`, and then finishes or abandons the reply.
/// `id` is the JSON token of the request's id, as [`Id::as_json`](crate::Id::as_json) returns it.
///
/// ```
/// use jackfield_protocol::{Framing, Kind, Version, begin_result};
///
/// let mut out = Vec::new();
/// let kind = Kind::AsyncResponse;
/// let head = begin_result(&mut out, Framing::Binary, Version::V1_1, kind, Some("7"));
/// out.extend_from_slice(b"true");
/// head.finish(&mut out)?;
/// assert_eq!(out, b"\x01\x01\x05\x00\x00\x00\x16{\"id\":7,\"result\":true}");
/// # Ok::<(), jackfield_protocol::ReplyTooLarge>(())
/// ```
pub fn begin_result(
    out: &mut Vec<u8>,
    framing: Framing,
    version: Version,
    kind: Kind,
    id: Option<&str>,
) -> ReplyHead {
    let start = begin_frame(out, framing, version, kind);
    begin_envelope(out, id);
    out.extend_from_slice(b"\"result\":");
    ReplyHead { framing, start, body: out.len() }
}

impl ReplyHead {
    /// Returns the number of bytes of the result appended so far.
    #[must_use]
    pub fn body_len(&self, out: &[u8]) -> usize {
        out.len().saturating_sub(self.body)
    }

    /// Finishes the reply: closes the envelope, and fills in the length or ends the line.
    ///
    /// An empty result is written as `null`, so that the reply is JSON whatever the method did. In
    /// a line, line breaks in the result become spaces: in JSON they can only be white space.
    ///
    /// # Errors
    ///
    /// The payload is longer than a header can announce (4 GiB - 1). The output is as it was before
    /// the reply.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), ReplyTooLarge> {
        self.finish_within(out, FrameLimit::MAX)
    }

    /// Finishes the reply like [`finish`](ReplyHead::finish), under a lower limit for a peer that
    /// accepts no longer payloads.
    ///
    /// # Errors
    ///
    /// The payload is over `limit`. The output is as it was before the reply.
    pub fn finish_within(self, out: &mut Vec<u8>, limit: FrameLimit) -> Result<(), ReplyTooLarge> {
        if self.body_len(out) == 0 {
            out.extend_from_slice(b"null");
        }
        out.push(b'}');
        finish_frame(out, self.framing, self.start, limit)
            .map_err(|length| ReplyTooLarge { length, limit: limit.bytes() })
    }

    /// Removes the reply from the output, which is then as it was before.
    pub fn abandon(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }
}

/// Writes an error reply: `{"id"?, "error": {"code", "message", "data"?}}`. With [`Kind::Error`]
/// and no id, it is an error that belongs to no request.
///
/// `id` is the JSON token of the request's id; `data` is JSON. If the payload is longer than a
/// header can announce, a short message replaces `message` and `data`.
#[expect(
    clippy::too_many_arguments,
    reason = "each is one field of the frame; a struct would only be built to be destructured"
)]
pub fn write_error(
    out: &mut Vec<u8>,
    framing: Framing,
    version: Version,
    kind: Kind,
    id: Option<&str>,
    code: i64,
    message: &str,
    data: Option<&str>,
) {
    ErrorReply { framing, version, kind, id, code, message, data }.write(out, FrameLimit::MAX);
}

/// The parts of an error reply.
#[derive(Clone, Copy)]
struct ErrorReply<'a> {
    framing: Framing,
    version: Version,
    kind: Kind,
    id: Option<&'a str>,
    code: i64,
    message: &'a str,
    data: Option<&'a str>,
}

impl ErrorReply<'_> {
    /// Writes the reply, or a short one in its place if it is over the limit: every request gets a
    /// reply.
    fn write(self, out: &mut Vec<u8>, limit: FrameLimit) {
        if self.write_within(out, limit).is_err() {
            // With an id of at most 128 bytes, its length fits a header.
            let _ = ErrorReply { message: OVERSIZED, data: None, ..self }.write_within(out, FrameLimit::MAX);
        }
    }

    fn write_within(self, out: &mut Vec<u8>, limit: FrameLimit) -> Result<(), usize> {
        let start = begin_frame(out, self.framing, self.version, self.kind);
        begin_envelope(out, self.id);

        out.extend_from_slice(b"\"error\":{\"code\":");
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{}", self.code);
        out.extend_from_slice(b",\"message\":");
        write_string(out, self.message);
        if let Some(data) = self.data {
            out.extend_from_slice(b",\"data\":");
            out.extend_from_slice(data.as_bytes());
        }
        out.extend_from_slice(b"}}");

        finish_frame(out, self.framing, start, limit)
    }
}

/// Writes a heartbeat, or the reply to one: a header without a payload.
pub fn write_heartbeat(out: &mut Vec<u8>, version: Version) {
    out.extend_from_slice(&Header { version, kind: Kind::Heartbeat, length: 0 }.encode());
}

/// Writes a request: `{"id"?, "method", "params"?}`.
///
/// `id` is a JSON token: a string with its quotes, or an integer.
///
/// # Errors
///
/// The payload is longer than a header can announce (4 GiB - 1). The output is as it was before.
pub fn write_request(
    out: &mut Vec<u8>,
    version: Version,
    kind: Kind,
    id: Option<&str>,
    method: &str,
    params: Option<Json<'_>>,
) -> Result<(), RequestTooLarge> {
    let start = begin_frame(out, Framing::Binary, version, kind);
    begin_envelope(out, id);

    out.extend_from_slice(b"\"method\":");
    write_string(out, method);
    if let Some(params) = params {
        out.extend_from_slice(b",\"params\":");
        out.extend_from_slice(params.get().as_bytes());
    }
    out.push(b'}');

    let limit = FrameLimit::MAX;
    finish_frame(out, Framing::Binary, start, limit)
        .map_err(|length| RequestTooLarge { length, limit: limit.bytes() })
}

/// Writes the bytes before a payload, with the length still open, and returns their offset.
fn begin_frame(out: &mut Vec<u8>, framing: Framing, version: Version, kind: Kind) -> usize {
    let start = out.len();
    if framing == Framing::Binary {
        out.extend_from_slice(&Header { version, kind, length: 0 }.encode());
    }
    start
}

fn begin_envelope(out: &mut Vec<u8>, id: Option<&str>) {
    out.push(b'{');
    if let Some(id) = id {
        out.extend_from_slice(b"\"id\":");
        out.extend_from_slice(id.as_bytes());
        out.push(b',');
    }
}

/// Finishes the frame or line that begins at `start`.
///
/// # Errors
///
/// The length of the payload in bytes, if it is over the limit. The frame is removed from the
/// output.
fn finish_frame(out: &mut Vec<u8>, framing: Framing, start: usize, limit: FrameLimit) -> Result<(), usize> {
    let payload = match framing {
        Framing::Binary => start + HEADER_LEN,
        Framing::Line => start,
    };

    let length = out.len().saturating_sub(payload);
    let fitting = u32::try_from(length).ok().filter(|length| *length <= limit.bytes());
    let Some(fitting) = fitting else {
        out.truncate(start);
        return Err(length);
    };

    match framing {
        Framing::Binary => {
            if let Some(field) = out.get_mut(start + LENGTH_AT..payload) {
                field.copy_from_slice(&fitting.to_be_bytes());
            }
        }
        Framing::Line => {
            for byte in out.iter_mut().skip(start).filter(|byte| **byte == b'\n') {
                *byte = b' ';
            }
            out.push(b'\n');
        }
    }
    Ok(())
}

/// Writes `text` as a JSON string. Like serde_json and PHP, it prefers the short escapes.
fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for part in text.as_bytes().split_inclusive(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F)) {
        let (plain, last) = match part.split_last() {
            Some((last @ (b'"' | b'\\' | 0..=0x1F), plain)) => (plain, Some(*last)),
            _ => (part, None),
        };
        out.extend_from_slice(plain);

        match last {
            None => {}
            Some(byte @ (b'"' | b'\\')) => out.extend_from_slice(&[b'\\', byte]),
            Some(b'\n') => out.extend_from_slice(b"\\n"),
            Some(b'\r') => out.extend_from_slice(b"\\r"),
            Some(b'\t') => out.extend_from_slice(b"\\t"),
            Some(0x08) => out.extend_from_slice(b"\\b"),
            Some(0x0C) => out.extend_from_slice(b"\\f"),
            Some(byte) => {
                // Writing to a Vec cannot fail.
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortens_an_error_over_the_limit() {
        let error = ErrorReply {
            framing: Framing::Line,
            version: Version::V1_0,
            kind: Kind::Sync,
            id: Some("7"),
            code: -32603,
            message: "m",
            data: Some("[1,2,3]"),
        };
        let written = |limit| {
            let mut out = b"before\n".to_vec();
            error.write(&mut out, FrameLimit::new(limit));
            String::from_utf8(out).unwrap()
        };
        let whole = "{\"id\":7,\"error\":{\"code\":-32603,\"message\":\"m\",\"data\":[1,2,3]}}";
        let limit = u32::try_from(whole.len()).unwrap();
        assert_eq!(written(limit), format!("before\n{whole}\n"));
        let short = format!("{{\"id\":7,\"error\":{{\"code\":-32603,\"message\":\"{OVERSIZED}\"}}}}");
        assert_eq!(written(limit - 1), format!("before\n{short}\n"));
    }
}

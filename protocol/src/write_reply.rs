//! Writers of replies.

use std::io::Write as _;

use crate::block::{TIMING_BLOCK, put_bytes_block};
use crate::codec::FrameLimit;
use crate::header::{Header, KIND_BIT, Kind, Version};
use crate::write_frame::{
    Framing, begin_envelope, begin_frame, finish_frame, put_bytes_envelope, write_string,
};

/// The message of an error reply whose own message and data do not fit a frame.
const OVERSIZED: &str = "the error's message and data are too long for a frame";

/// Room that is made for the head of a reply at once, in bytes: for an id of the longest length.
const REPLY_ROOM: usize = 256;

/// How a reply is framed: like its request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReplyForm {
    /// How payloads are delimited.
    pub framing: Framing,
    /// The version of the request.
    pub version: Version,
    /// The kind of the reply.
    pub kind: Kind,
    /// Whether the reply has an extension block with a timing, which is zero until
    /// [`Timing::stamp`](crate::Timing::stamp). It requires binary framing, version 1.2, and a kind
    /// that replies to a request.
    pub has_timing: bool,
}

impl ReplyForm {
    /// A reply without an extension block.
    #[must_use]
    pub fn plain(framing: Framing, version: Version, kind: Kind) -> ReplyForm {
        ReplyForm { framing, version, kind, has_timing: false }
    }
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

/// A reply that was begun and is not finished.
///
/// It belongs to the buffer in which it was begun. Until it is finished, that buffer may only grow
/// at its end.
#[derive(Debug)]
#[must_use = "a reply that is neither finished nor abandoned leaves half a frame in the output"]
pub struct ReplyHead {
    form: ReplyForm,
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
/// use jackfield_protocol::{Framing, Kind, ReplyForm, Version, begin_result};
///
/// let mut out = Vec::new();
/// let form = ReplyForm::plain(Framing::Binary, Version::V1_1, Kind::AsyncResponse);
/// let head = begin_result(&mut out, form, Some("7"));
/// out.extend_from_slice(b"true");
/// head.finish(&mut out)?;
/// assert_eq!(out, b"\x01\x01\x05\x00\x00\x00\x16{\"id\":7,\"result\":true}");
/// # Ok::<(), jackfield_protocol::ReplyTooLarge>(())
/// ```
#[inline]
pub fn begin_result(out: &mut Vec<u8>, form: ReplyForm, id: Option<&str>) -> ReplyHead {
    let start = out.len();
    match id {
        // Most replies: what precedes and what follows the id are written as one piece each.
        Some(id) if form.framing == Framing::Binary && !form.has_timing => {
            let [v0, v1, kind, l0, l1, l2, l3] =
                Header { version: form.version, kind: form.kind, length: 0 }.encode();
            out.reserve(REPLY_ROOM);
            out.extend_from_slice(&[v0, v1, kind, l0, l1, l2, l3, b'{', b'"', b'i', b'd', b'"', b':']);
            out.extend_from_slice(id.as_bytes());
            out.extend_from_slice(b",\"result\":");
        }
        _ => {
            begin_reply(out, form);
            begin_envelope(out, id);
            out.extend_from_slice(b"\"result\":");
        }
    }
    ReplyHead { form, start, body: out.len() }
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
    #[inline]
    pub fn finish_within(self, out: &mut Vec<u8>, limit: FrameLimit) -> Result<(), ReplyTooLarge> {
        if self.body_len(out) == 0 {
            out.extend_from_slice(b"null");
        }
        out.push(b'}');
        finish_frame(out, self.form.framing, self.start, limit)
            .map_err(|length| ReplyTooLarge { length, limit: limit.bytes() })
    }

    /// Finishes the reply as one with opaque bytes: those that were appended in place of the JSON
    /// of a result. The form of the reply must be binary and of version 1.2. `id` is the one that
    /// the reply was begun with.
    ///
    /// # Errors
    ///
    /// As for [`ReplyHead::finish_within`].
    pub fn finish_bytes_within(
        self,
        out: &mut Vec<u8>,
        id: Option<&str>,
        limit: FrameLimit,
    ) -> Result<(), ReplyTooLarge> {
        let mut head = Vec::with_capacity(64);
        let ReplyForm { version, kind, has_timing, .. } = self.form;
        let kind = Kind::from_wire(kind.wire() | KIND_BIT);
        head.extend_from_slice(&Header { version, kind, length: 0 }.encode());

        put_bytes_block(&mut head, has_timing);
        put_bytes_envelope(&mut head, |head| {
            head.push(b'{');
            if let Some(id) = id {
                head.extend_from_slice(b"\"id\":");
                head.extend_from_slice(id.as_bytes());
            }
            head.push(b'}');
        });

        out.splice(self.start..self.body, head);
        finish_frame(out, Framing::Binary, self.start, limit)
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
/// `id` is the JSON token of the request's id; `data` is JSON. If the payload is over `limit`, a
/// short message replaces `message` and `data`.
pub fn write_error_within(
    out: &mut Vec<u8>,
    form: ReplyForm,
    limit: FrameLimit,
    id: Option<&str>,
    code: i64,
    message: &str,
    data: Option<&str>,
) {
    ErrorReply { form, id, code, message, data }.write(out, limit);
}

/// Writes an error reply like [`write_error_within`], as long as a header can announce.
pub fn write_error(
    out: &mut Vec<u8>,
    form: ReplyForm,
    id: Option<&str>,
    code: i64,
    message: &str,
    data: Option<&str>,
) {
    write_error_within(out, form, FrameLimit::MAX, id, code, message, data);
}

/// The parts of an error reply.
#[derive(Clone, Copy)]
struct ErrorReply<'a> {
    form: ReplyForm,
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
        let start = begin_reply(out, self.form);
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

        finish_frame(out, self.form.framing, start, limit)
    }
}

/// Writes the bytes before the envelope of a reply, with the length still open, and returns their
/// offset.
#[inline]
fn begin_reply(out: &mut Vec<u8>, form: ReplyForm) -> usize {
    let ReplyForm { framing, version, kind, has_timing } = form;
    if !has_timing {
        return begin_frame(out, framing, version, kind);
    }
    let start = begin_frame(out, framing, version, Kind::from_wire(kind.wire() | KIND_BIT));
    out.extend_from_slice(&TIMING_BLOCK);
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortens_an_error_over_the_limit() {
        let error = ErrorReply {
            form: ReplyForm::plain(Framing::Line, Version::V1_0, Kind::Sync),
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

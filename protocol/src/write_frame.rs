//! Writers of frames and lines: what requests and replies share, and the frames without an envelope
//! of their own. They append to an output buffer, in one pass and without copies.

use std::io::Write as _;

use crate::codec::FrameLimit;
use crate::header::{Header, Kind, Version};
use crate::limits::HEADER_LEN;

/// Offset of the length in a header.
const LENGTH_AT: usize = 3;

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

/// Writes a heartbeat, or the reply to one: a header without a payload.
pub fn write_heartbeat(out: &mut Vec<u8>, version: Version) {
    out.extend_from_slice(&Header { version, kind: Kind::Heartbeat, length: 0 }.encode());
}

/// Writes a cancellation: the envelope with the id of the request, a JSON token.
pub fn write_cancel(out: &mut Vec<u8>, version: Version, id: &str) {
    let payload = format!("{{\"id\":{id}}}");
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&Header { version, kind: Kind::Cancel, length }.encode());
    out.extend_from_slice(payload.as_bytes());
}

/// Writes the notice that the server shuts down. `grace_ms` is how long requests in flight have to
/// end.
pub fn write_going_away(out: &mut Vec<u8>, reason: &str, grace_ms: u64) {
    let start = begin_frame(out, Framing::Binary, Version::V1_2, Kind::GoingAway);
    out.extend_from_slice(b"{\"reason\":");
    write_string(out, reason);
    // Writing to a Vec cannot fail.
    let _ = write!(out, ",\"grace_ms\":{grace_ms}}}");
    // A reason is a word, so its length fits a header.
    let _ = finish_frame(out, Framing::Binary, start, FrameLimit::MAX);
}

/// Writes the bytes before a payload, with the length still open, and returns their offset.
pub(crate) fn begin_frame(out: &mut Vec<u8>, framing: Framing, version: Version, kind: Kind) -> usize {
    let start = out.len();
    if framing == Framing::Binary {
        out.extend_from_slice(&Header { version, kind, length: 0 }.encode());
    }
    start
}

pub(crate) fn begin_envelope(out: &mut Vec<u8>, id: Option<&str>) {
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
#[inline]
pub(crate) fn finish_frame(
    out: &mut Vec<u8>,
    framing: Framing,
    start: usize,
    limit: FrameLimit,
) -> Result<(), usize> {
    if framing == Framing::Line {
        return finish_line(out, start, limit);
    }

    let length = out.len().saturating_sub(start + HEADER_LEN);
    match u32::try_from(length) {
        Ok(fitting) if fitting <= limit.bytes() => {
            if let Some(field) = out.get_mut(start + LENGTH_AT..start + HEADER_LEN) {
                field.copy_from_slice(&fitting.to_be_bytes());
            }
            Ok(())
        }
        _ => {
            out.truncate(start);
            Err(length)
        }
    }
}

fn finish_line(out: &mut Vec<u8>, start: usize, limit: FrameLimit) -> Result<(), usize> {
    let length = out.len().saturating_sub(start);
    if u32::try_from(length).is_ok_and(|length| length <= limit.bytes()) {
        for byte in out.iter_mut().skip(start).filter(|byte| **byte == b'\n') {
            *byte = b' ';
        }
        out.push(b'\n');
        return Ok(());
    }
    out.truncate(start);
    Err(length)
}

/// Writes `text` as a JSON string. Like serde_json and PHP, it prefers the short escapes.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
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

/// Writes an envelope with its length before it, as it precedes opaque bytes.
pub(crate) fn put_bytes_envelope(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start..start + 4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

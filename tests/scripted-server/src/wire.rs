//! Frames and hex, written anew for the tests: nothing here comes from the clients or the protocol crate.

use std::fmt::Write as _;
use std::io::{self, Read};

use serde_json::Value;

/// Bytes before a payload.
pub(crate) const HEADER: usize = 7;
/// A payload above this ends a connection: no test needs it, and a client that goes wrong must not fill the machine.
const PAYLOAD_MAX: usize = 256 * 1024 * 1024;

/// One frame as it came.
pub(crate) struct Frame {
    /// The version field, `0x0101` and the like.
    pub(crate) version: u16,
    /// The kind byte.
    pub(crate) kind: u8,
    /// The bytes after the header.
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Reads one whole frame; `None` at the end of the stream between two frames.
    pub(crate) fn read(from: &mut impl Read) -> io::Result<Option<Frame>> {
        let mut head = [0; HEADER];
        if from.read(&mut head[..1])? == 0 {
            return Ok(None);
        }
        from.read_exact(&mut head[1..])?;
        let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        if length > PAYLOAD_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a payload of {length} bytes")));
        }
        let mut payload = Vec::new();
        let read = from.take(length as u64).read_to_end(&mut payload)?;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(Frame { version: u16::from_be_bytes([head[0], head[1]]), kind: head[2], payload }))
    }

    /// The payload as JSON; `Null` where it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or(Value::Null)
    }
}

/// The bytes of a frame. A payload above 4 GiB cannot be written and is cut in the length field alone.
pub(crate) fn frame(version: u16, kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Bytes from hex digits; blanks are skipped.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect()
}

/// Hex digits of bytes.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

//! Frames and hex, written for the tests alone: nothing here comes from the clients or the protocol
//! crate.

use std::fmt::Write as _;
use std::io::{self, Read};

use serde_json::Value;

/// The kind of a heartbeat, and of the answer to it.
pub(crate) const HEARTBEAT: u8 = 0x02;

/// Length of a header in bytes.
pub(crate) const HEADER: usize = 7;

/// Largest payload in bytes; a larger one ends the connection. No test needs it, and it keeps a
/// client that misbehaves from filling the memory.
const PAYLOAD_MAX: usize = 256 * 1024 * 1024;

/// A received frame.
pub(crate) struct Frame {
    /// The version field, such as `0x0101`.
    pub(crate) version: u16,
    /// The kind byte.
    pub(crate) kind: u8,
    /// The bytes after the header.
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Reads a whole frame. It returns `None` at the end of the stream, if that is between two
    /// frames.
    ///
    /// # Errors
    ///
    /// The stream failed or ended within the frame, or the payload is too large.
    pub(crate) fn read(from: &mut impl Read) -> io::Result<Option<Frame>> {
        let mut header = [0; HEADER];
        if from.read(&mut header[..1])? == 0 {
            return Ok(None);
        }
        from.read_exact(&mut header[1..])?;

        let length = u32::from_be_bytes([header[3], header[4], header[5], header[6]]) as usize;
        if length > PAYLOAD_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a payload of {length} bytes")));
        }

        let mut payload = Vec::new();
        let read = from.take(length as u64).read_to_end(&mut payload)?;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(Frame { version: u16::from_be_bytes([header[0], header[1]]), kind: header[2], payload }))
    }

    /// Returns whether this is a heartbeat with which a client offers version 1.2.
    pub(crate) fn is_hello(&self) -> bool {
        self.kind == HEARTBEAT && self.payload.starts_with(b"IPC2")
    }

    /// Returns the payload as JSON, or `Null` if it is not JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or(Value::Null)
    }
}

/// Returns the bytes of a frame. For a payload above 4 GiB, only the length field is capped.
pub(crate) fn frame(version: u16, kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Decodes hex digits. White space is skipped.
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

/// Encodes bytes as hex digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_frame_that_it_writes() {
        let bytes = frame(0x0101, 4, b"{}");
        let read = Frame::read(&mut bytes.as_slice()).unwrap().unwrap();
        assert_eq!((read.version, read.kind, read.payload.as_slice()), (0x0101, 4, &b"{}"[..]));
        assert!(Frame::read(&mut &b""[..]).unwrap().is_none());
    }

    #[test]
    fn refuses_incomplete_and_huge_frames() {
        let bytes = frame(0x0101, 4, b"{}");
        for length in 1..bytes.len() {
            assert!(Frame::read(&mut &bytes[..length]).is_err(), "{length} bytes");
        }
        assert!(Frame::read(&mut &[1, 1, 4, 0xff, 0xff, 0xff, 0xff][..]).is_err());
    }

    #[test]
    fn decodes_the_hex_that_it_encodes() {
        assert_eq!(to_hex(&[0, 0x7f, 0xff]), "007fff");
        assert_eq!(from_hex("00 7f FF"), Some(vec![0, 0x7f, 0xff]));
        assert!(from_hex("0").is_none() && from_hex("xx").is_none());
    }
}

//! Frames and a connection.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::report::{Checked, Difference};

pub(crate) const SYNC: u8 = 0x01;
pub(crate) const HEARTBEAT: u8 = 0x02;
pub(crate) const ERROR: u8 = 0x03;
pub(crate) const ASYNC_REQUEST: u8 = 0x04;
pub(crate) const ASYNC_RESPONSE: u8 = 0x05;
pub(crate) const CANCEL: u8 = 0x06;
/// The bit of a kind that announces an extension block.
pub(crate) const BLOCK: u8 = 0x80;

/// How long a check waits for a frame.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of a frame that a line of the output shows.
const SHOWN: usize = 64;
/// Largest payload that is read. No check needs it.
const PAYLOAD_MAX: u32 = 64 << 20;

/// A frame as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) version: u16,
    pub(crate) kind: u8,
    pub(crate) payload: Vec<u8>,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = frame(self.version, self.kind, &self.payload);
        for byte in bytes.iter().take(SHOWN) {
            write!(f, "{byte:02x} ")?;
        }
        if bytes.len() > SHOWN {
            write!(f, "… ({} bytes) ", bytes.len())?;
        }
        let text = String::from_utf8_lossy(&self.payload);
        write!(f, "{:?}", text.chars().take(4 * SHOWN).collect::<String>())
    }
}

/// Returns the bytes of a frame.
pub(crate) fn frame(version: u16, kind: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = version.to_be_bytes().to_vec();
    bytes.push(kind);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A connection to the server.
pub(crate) struct Peer {
    stream: UnixStream,
}

impl Peer {
    pub(crate) fn connect(socket: &Path) -> io::Result<Peer> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Peer { stream })
    }

    /// Sends bytes. If the server has closed the connection, the next receive reports that.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    pub(crate) fn send_byte_by_byte(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send([*byte]);
        }
    }

    /// Closes the sending direction.
    pub(crate) fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Receives a frame. `expected` describes it.
    pub(crate) fn receive(&mut self, expected: &str) -> Checked<Frame> {
        let differs = |received: String| Difference::new(expected, received);
        match self.try_receive() {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(differs("the end of the connection".to_owned())),
            Err(error) if is_timeout(&error) => Err(differs(format!("nothing within {PATIENCE:?}"))),
            Err(error) => Err(differs(format!("no whole frame: {error}"))),
        }
    }

    /// Expects that the server closes the connection and sends nothing before.
    pub(crate) fn receive_end(&mut self) -> Checked {
        let expected = "the end of the connection";
        match self.try_receive() {
            Ok(None) => Ok(()),
            Ok(Some(frame)) => Err(Difference::new(expected, frame.to_string())),
            // A server that closes with unread bytes resets the connection.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(Difference::new(expected, format!("neither that nor a frame: {error}"))),
        }
    }

    fn try_receive(&mut self) -> io::Result<Option<Frame>> {
        let mut header = [0; 7];
        if self.stream.read(&mut header[..1])? == 0 {
            return Ok(None);
        }
        self.stream.read_exact(&mut header[1..])?;

        let [v0, v1, kind, length @ ..] = header;
        let length = u32::from_be_bytes(length);
        if length > PAYLOAD_MAX {
            return Err(io::Error::other(format!("a header announces {length} bytes: {header:02x?}")));
        }
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload)?;
        Ok(Some(Frame { version: u16::from_be_bytes([v0, v1]), kind, payload }))
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

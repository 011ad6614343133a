//! A client of the binary framing, written without code of the project: it packs and parses the
//! header itself.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::wait::CEILING;

pub(crate) const V1_0: u16 = 0x0100;
pub(crate) const V1_1: u16 = 0x0101;

pub(crate) const SYNC: u8 = 1;
pub(crate) const HEARTBEAT: u8 = 2;
pub(crate) const ERROR: u8 = 3;
pub(crate) const ASYNC_REQUEST: u8 = 4;
pub(crate) const ASYNC_RESPONSE: u8 = 5;

pub(crate) const PARSE_ERROR: i64 = -32700;
pub(crate) const INVALID_REQUEST: i64 = -32600;
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
pub(crate) const INVALID_PARAMS: i64 = -32602;
pub(crate) const INTERNAL_ERROR: i64 = -32603;
pub(crate) const DEADLINE_EXCEEDED: i64 = -32001;
pub(crate) const OVERLOADED: i64 = -32002;
pub(crate) const PLUGIN_PANICKED: i64 = -32003;
pub(crate) const PLUGIN_CRASHED: i64 = -32004;
pub(crate) const PLUGIN_UNAVAILABLE: i64 = -32005;
pub(crate) const PERMISSION_DENIED: i64 = -32006;
pub(crate) const FRAME_TOO_LARGE: i64 = -32007;
pub(crate) const UNSUPPORTED_VERSION: i64 = -32008;
pub(crate) const UNSUPPORTED_EXTENSION: i64 = -32010;
pub(crate) const CANCELLED: i64 = -32800;
pub(crate) const GOING_AWAY: i64 = -32009;

/// Returns the seven bytes of a header.
pub(crate) fn header(version: u16, kind: u8, length: u32) -> [u8; 7] {
    let (v, l) = (version.to_be_bytes(), length.to_be_bytes());
    [v[0], v[1], kind, l[0], l[1], l[2], l[3]]
}

/// Returns a complete frame.
pub(crate) fn frame(version: u16, kind: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).expect("a payload of less than 4 GiB");

    let mut bytes = header(version, kind, length).to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// Returns an envelope without an id.
pub(crate) fn envelope(method: &str, params: &Value) -> String {
    json!({ "method": method, "params": params }).to_string()
}

/// Returns an envelope with an id.
pub(crate) fn envelope_with(id: &str, method: &str, params: &Value) -> String {
    json!({ "id": id, "method": method, "params": params }).to_string()
}

/// A frame as it was received.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) version: u16,
    pub(crate) kind: u8,
    pub(crate) payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.payload[..self.payload.len().min(400)];
        write!(
            f,
            "{:04x}/{:02x} {} bytes {}",
            self.version,
            self.kind,
            self.payload.len(),
            shown.escape_ascii()
        )
    }
}

impl Frame {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("a reply is UTF-8")
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Returns the id of the reply, if it is a string.
    pub(crate) fn id(&self) -> Option<String> {
        self.json()["id"].as_str().map(str::to_owned)
    }

    /// Returns the result.
    ///
    /// # Panics
    ///
    /// If the reply is an error.
    #[track_caller]
    pub(crate) fn result(&self) -> Value {
        let json = self.json();
        json.get("result").unwrap_or_else(|| panic!("no result in {self:?}")).clone()
    }

    /// Returns the code of the error, or `None` for a result.
    pub(crate) fn code(&self) -> Option<i64> {
        self.json()["error"]["code"].as_i64()
    }

    /// Returns the error.
    ///
    /// # Panics
    ///
    /// If it has another code, or if the reply is a result.
    #[track_caller]
    pub(crate) fn error(&self, code: i64) -> Value {
        assert_eq!(self.code(), Some(code), "{self:?}");
        self.json()["error"].clone()
    }
}

/// Removes a complete frame from the start of the bytes and returns it.
pub(crate) fn take_frame(bytes: &mut Vec<u8>) -> Option<Frame> {
    let (head, rest) = bytes.split_first_chunk::<7>()?;
    let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    let payload = rest.get(..length)?.to_vec();
    let frame = Frame { version: u16::from_be_bytes([head[0], head[1]]), kind: head[2], payload };
    bytes.drain(..7 + length);
    Some(frame)
}

/// The outcome of one read.
enum ReadOutcome {
    Bytes,
    End,
    Nothing,
}

/// A client of the binary framing.
pub(crate) struct Peer {
    stream: UnixStream,
    bytes: Vec<u8>,
    frames: VecDeque<Frame>,
}

impl Peer {
    #[track_caller]
    pub(crate) fn connect(socket: &Path) -> Self {
        match UnixStream::connect(socket) {
            Ok(stream) => Self::from_stream(stream),
            Err(error) => panic!("{}: {error}", socket.display()),
        }
    }

    pub(crate) fn from_stream(stream: UnixStream) -> Self {
        stream.set_write_timeout(Some(CEILING)).expect("a write time-out");
        Self { stream, bytes: Vec::new(), frames: VecDeque::new() }
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Writes bytes unchanged.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the host takes what is written");
    }

    /// Writes bytes unchanged and leaves errors to the caller.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    #[track_caller]
    pub(crate) fn send_frame(&mut self, version: u16, kind: u8, payload: impl AsRef<[u8]>) {
        self.send(frame(version, kind, payload));
    }

    /// Sends a sync request of version 1.0 without an id.
    #[track_caller]
    pub(crate) fn send_sync(&mut self, method: &str, params: &Value) {
        self.send_frame(V1_0, SYNC, envelope(method, params));
    }

    /// Sends an async request of version 1.1.
    #[track_caller]
    pub(crate) fn send_async(&mut self, id: &str, method: &str, params: &Value) {
        self.send_frame(V1_1, ASYNC_REQUEST, envelope_with(id, method, params));
    }

    #[track_caller]
    pub(crate) fn heartbeat(&mut self) {
        self.send_frame(V1_0, HEARTBEAT, "");
    }

    /// Sends a sync request and returns its reply.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Frame {
        self.send_sync(method, params);
        let reply = self.receive();
        assert_eq!((reply.version, reply.kind), (V1_0, SYNC), "{reply:?}");
        reply
    }

    /// Sends a sync request and returns its result.
    #[track_caller]
    pub(crate) fn result(&mut self, method: &str, params: &Value) -> Value {
        self.call(method, params).result()
    }

    /// Asserts that the connection works: a request is answered, and nothing precedes the reply.
    #[track_caller]
    pub(crate) fn assert_usable(&mut self) {
        assert_eq!(self.result("system.ping", &Value::Null), "pong");
    }

    /// Returns the next frame.
    ///
    /// # Panics
    ///
    /// If the connection is closed first, or if nothing arrives within [`CEILING`].
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Frame {
        match self.receive_within(CEILING) {
            Ok(Some(frame)) => frame,
            Ok(None) => panic!("nothing was received within {CEILING:?}"),
            Err(left) => panic!("the host closed instead, after {left} bytes of a frame"),
        }
    }

    /// Returns the next `count` frames.
    #[track_caller]
    pub(crate) fn receive_all(&mut self, count: usize) -> Vec<Frame> {
        (0..count).map(|_| self.receive()).collect()
    }

    /// Returns the next frame, or `None` if there is none within `ceiling`.
    ///
    /// # Errors
    ///
    /// If the connection is closed first: the number of bytes of an incomplete frame that precede
    /// the end.
    pub(crate) fn receive_within(&mut self, ceiling: Duration) -> Result<Option<Frame>, usize> {
        let end = Instant::now() + ceiling;
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Ok(Some(frame));
            }
            match self.read(end) {
                ReadOutcome::Bytes => {}
                ReadOutcome::End => return Err(self.bytes.len()),
                ReadOutcome::Nothing => return Ok(None),
            }
        }
    }

    /// Returns all frames up to the end of the connection.
    ///
    /// # Panics
    ///
    /// If the connection is not closed within [`CEILING`], or if it is closed in the middle of a
    /// frame.
    #[track_caller]
    pub(crate) fn receive_until_close(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            match self.receive_within(CEILING) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => panic!("the host did not close within {CEILING:?}; received: {frames:?}"),
                Err(0) => return frames,
                Err(left) => {
                    panic!("the host closed after {left} bytes of a frame; received before: {frames:?}")
                }
            }
        }
    }

    /// Asserts that the host closes the connection without sending anything.
    #[track_caller]
    pub(crate) fn expect_close(&mut self) {
        let frames = self.receive_until_close();
        assert!(frames.is_empty(), "{frames:?}");
    }

    /// Shuts down the sending direction; receiving still works.
    pub(crate) fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the writing side is shut down");
    }

    fn read(&mut self, end: Instant) -> ReadOutcome {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).expect("a read time-out");

        let mut chunk = [0; 64 * 1024];

        match self.stream.read(&mut chunk) {
            Ok(0) => ReadOutcome::End,
            Ok(count) => {
                self.bytes.extend_from_slice(&chunk[..count]);
                while let Some(frame) = take_frame(&mut self.bytes) {
                    self.frames.push_back(frame);
                }
                ReadOutcome::Bytes
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => ReadOutcome::Bytes,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                ReadOutcome::Nothing
            }
            // The host closed the connection while it had not read everything that was sent.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => ReadOutcome::End,
            Err(error) => panic!("reading from the host: {error}"),
        }
    }
}

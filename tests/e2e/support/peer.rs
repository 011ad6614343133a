//! Clients written by hand: the seven bytes packed and taken apart here, with no code of the project.

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
pub(crate) const PLUGIN_UNAVAILABLE: i64 = -32005;
pub(crate) const PERMISSION_DENIED: i64 = -32006;
pub(crate) const FRAME_TOO_LARGE: i64 = -32007;
pub(crate) const UNSUPPORTED_VERSION: i64 = -32008;
pub(crate) const GOING_AWAY: i64 = -32009;

/// The seven bytes.
pub(crate) fn header(version: u16, kind: u8, length: u32) -> [u8; 7] {
    let (v, l) = (version.to_be_bytes(), length.to_be_bytes());
    [v[0], v[1], kind, l[0], l[1], l[2], l[3]]
}

/// A whole frame as bytes.
pub(crate) fn frame(version: u16, kind: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).expect("a payload of less than 4 GiB");
    let mut bytes = header(version, kind, length).to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// An envelope without an id.
pub(crate) fn envelope(method: &str, params: &Value) -> String {
    json!({ "method": method, "params": params }).to_string()
}

/// An envelope with an id.
pub(crate) fn envelope_with(id: &str, method: &str, params: &Value) -> String {
    json!({ "id": id, "method": method, "params": params }).to_string()
}

/// A frame as it came.
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

    /// The reply's id, if it is a string.
    pub(crate) fn id(&self) -> Option<String> {
        self.json()["id"].as_str().map(str::to_owned)
    }

    /// The result.
    ///
    /// # Panics
    /// It is an error.
    #[track_caller]
    pub(crate) fn result(&self) -> Value {
        let json = self.json();
        json.get("result").unwrap_or_else(|| panic!("no result in {self:?}")).clone()
    }

    /// The error's code, or `None` of a result.
    pub(crate) fn code(&self) -> Option<i64> {
        self.json()["error"]["code"].as_i64()
    }

    /// The error.
    ///
    /// # Panics
    /// It has another code, or is no error.
    #[track_caller]
    pub(crate) fn error(&self, code: i64) -> Value {
        assert_eq!(self.code(), Some(code), "{self:?}");
        self.json()["error"].clone()
    }
}

/// Takes whole frames off the front of bytes.
pub(crate) fn take_frame(bytes: &mut Vec<u8>) -> Option<Frame> {
    let (head, rest) = bytes.split_first_chunk::<7>()?;
    let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    let payload = rest.get(..length)?.to_vec();
    let frame = Frame { version: u16::from_be_bytes([head[0], head[1]]), kind: head[2], payload };
    bytes.drain(..7 + length);
    Some(frame)
}

/// What a read gave.
enum Came {
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
            Ok(stream) => Self::over(stream),
            Err(error) => panic!("{}: {error}", socket.display()),
        }
    }

    pub(crate) fn over(stream: UnixStream) -> Self {
        stream.set_write_timeout(Some(CEILING)).expect("a write time-out");
        Self { stream, bytes: Vec::new(), frames: VecDeque::new() }
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Writes bytes as they are.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the host takes what is written");
    }

    /// Writes bytes as they are; an error is the caller's to judge.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    #[track_caller]
    pub(crate) fn send_frame(&mut self, version: u16, kind: u8, payload: impl AsRef<[u8]>) {
        self.send(frame(version, kind, payload));
    }

    /// Sends a sync request of 1.0 without an id.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, params: &Value) {
        self.send_frame(V1_0, SYNC, envelope(method, params));
    }

    /// Sends an async request of 1.1.
    #[track_caller]
    pub(crate) fn ask_async(&mut self, id: &str, method: &str, params: &Value) {
        self.send_frame(V1_1, ASYNC_REQUEST, envelope_with(id, method, params));
    }

    #[track_caller]
    pub(crate) fn heartbeat(&mut self) {
        self.send_frame(V1_0, HEARTBEAT, "");
    }

    /// One sync request and its reply.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Frame {
        self.ask(method, params);
        let reply = self.receive();
        assert_eq!((reply.version, reply.kind), (V1_0, SYNC), "{reply:?}");
        reply
    }

    /// One sync request and its result.
    #[track_caller]
    pub(crate) fn result(&mut self, method: &str, params: &Value) -> Value {
        self.call(method, params).result()
    }

    /// The connection still works: a request on it is answered, and nothing else comes before the answer.
    #[track_caller]
    pub(crate) fn assert_usable(&mut self) {
        assert_eq!(self.result("system.ping", &Value::Null), "pong");
    }

    /// The next frame.
    ///
    /// # Panics
    /// The connection ends first, or nothing comes within the ceiling.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Frame {
        match self.receive_within(CEILING) {
            Ok(Some(frame)) => frame,
            Ok(None) => panic!("the host said nothing within {CEILING:?}"),
            Err(left) => panic!("the host closed instead, after {left} bytes of a frame"),
        }
    }

    /// The next `count` frames.
    #[track_caller]
    pub(crate) fn receive_all(&mut self, count: usize) -> Vec<Frame> {
        (0..count).map(|_| self.receive()).collect()
    }

    /// The next frame if there is one within `ceiling`; `Err` when the connection ends first, with how many bytes of
    /// a frame came before.
    pub(crate) fn receive_within(&mut self, ceiling: Duration) -> Result<Option<Frame>, usize> {
        let end = Instant::now() + ceiling;
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Ok(Some(frame));
            }
            match self.read(end) {
                Came::Bytes => {}
                Came::End => return Err(self.bytes.len()),
                Came::Nothing => return Ok(None),
            }
        }
    }

    /// What is there within `ceiling` and the end of the connection behind it.
    ///
    /// # Panics
    /// The connection does not end within the ceiling, or in the middle of a frame.
    #[track_caller]
    pub(crate) fn receive_to_end(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            match self.receive_within(CEILING) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => panic!("the host did not close within {CEILING:?}; came: {frames:?}"),
                Err(0) => return frames,
                Err(left) => panic!("the host closed after {left} bytes of a frame; before: {frames:?}"),
            }
        }
    }

    /// The host closes, and says nothing before.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let frames = self.receive_to_end();
        assert!(frames.is_empty(), "{frames:?}");
    }

    /// Sends no more; still reads.
    pub(crate) fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the writing side is shut down");
    }

    fn read(&mut self, end: Instant) -> Came {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).expect("a read time-out");
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Came::End,
            Ok(count) => {
                self.bytes.extend_from_slice(&chunk[..count]);
                while let Some(frame) = take_frame(&mut self.bytes) {
                    self.frames.push_back(frame);
                }
                Came::Bytes
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Came::Bytes,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Came::Nothing
            }
            // Closed by the host while something of ours was unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Came::End,
            Err(error) => panic!("reading from the host: {error}"),
        }
    }
}

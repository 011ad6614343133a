//! A client of the line framing, written without code of the project.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::wait::CEILING;

/// A client of the line framing.
pub(crate) struct LinePeer {
    stream: UnixStream,
    bytes: Vec<u8>,
}

impl LinePeer {
    #[track_caller]
    pub(crate) fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("the host takes connections");
        stream.set_write_timeout(Some(CEILING)).expect("a write time-out");
        stream.set_read_timeout(Some(CEILING)).expect("a read time-out");
        Self { stream, bytes: Vec::new() }
    }

    /// Writes bytes unchanged.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the host takes what is written");
    }

    /// Returns the next line without its end, or `None` when the connection is closed.
    #[track_caller]
    pub(crate) fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.bytes.drain(..=end).collect();
                line.pop();
                return Some(String::from_utf8(line).expect("a line is UTF-8"));
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    assert!(self.bytes.is_empty(), "closed in a line: {}", self.bytes.escape_ascii());
                    return None;
                }
                Ok(count) => self.bytes.extend_from_slice(&chunk[..count]),
                // The host closed the connection while it had not read everything that was sent.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("reading a line: {error}"),
            }
        }
    }

    /// Returns the next line as JSON.
    #[track_caller]
    pub(crate) fn json(&mut self) -> Value {
        let line = self.line().expect("a line, not the end");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
    }

    pub(crate) fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the writing side is shut down");
    }
}

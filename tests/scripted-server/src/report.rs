//! What the server saw: every frame on every connection, how each connection ended, and what broke the script.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::wire::{Frame, to_hex};

/// Frames kept of one connection; more are only counted.
const FRAMES_KEPT: usize = 2_000;
/// Payload bytes of one frame that are kept.
const PAYLOAD_KEPT: usize = 4_096;

/// One connection's part.
#[derive(Default)]
struct Seen {
    frames: Vec<Value>,
    dropped: usize,
    bytes_out: usize,
    ended: Option<&'static str>,
}

/// All connections and faults so far.
#[derive(Default)]
pub(crate) struct Report {
    connections: Vec<Seen>,
    faults: Vec<String>,
}

/// The report, also after a thread panicked while it held it: what was written is still true.
pub(crate) fn locked(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Report {
    /// A new connection's number, counted from 0.
    pub(crate) fn open(&mut self) -> usize {
        self.connections.push(Seen::default());
        self.connections.len() - 1
    }

    /// A frame came.
    pub(crate) fn frame(&mut self, connection: usize, frame: &Frame) {
        let seen = &mut self.connections[connection];
        if seen.frames.len() >= FRAMES_KEPT {
            seen.dropped += 1;
            return;
        }
        let whole = frame.payload.len() <= PAYLOAD_KEPT;
        let body = if whole { frame.json() } else { Value::Null };
        let raw = if whole && body.is_null() { Value::String(to_hex(&frame.payload)) } else { Value::Null };
        seen.frames.push(json!({
            "version": frame.version,
            "kind": frame.kind,
            "length": frame.payload.len(),
            "body": body,
            "hex": raw,
        }));
    }

    /// Bytes were sent.
    pub(crate) fn sent(&mut self, connection: usize, bytes: usize) {
        self.connections[connection].bytes_out += bytes;
    }

    /// A connection ended: by the `client`, by the `script`, or by a `fault`.
    pub(crate) fn ended(&mut self, connection: usize, by: &'static str) {
        self.connections[connection].ended = Some(by);
    }

    /// Something happened that the script does not allow.
    pub(crate) fn fault(&mut self, connection: usize, what: &str) {
        self.faults.push(format!("connection {connection}: {what}"));
    }

    /// The whole report.
    pub(crate) fn to_json(&self) -> Value {
        let connections = self.connections.iter().map(|seen| {
            json!({
                "frames": seen.frames,
                "frames_dropped": seen.dropped,
                "bytes_out": seen.bytes_out,
                "ended": seen.ended.unwrap_or("open"),
            })
        });
        json!({ "connections": connections.collect::<Vec<_>>(), "faults": self.faults })
    }
}

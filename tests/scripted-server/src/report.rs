//! The report of the server: every frame on every connection, how each connection ended, and the
//! faults.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::wire::{Frame, to_hex};

/// Frames that are reported of one connection. Further ones are only counted.
const FRAMES_MAX: usize = 2_100;

/// Largest payload in bytes that is reported with its content.
const PAYLOAD_MAX: usize = 4_096;

/// The report of one connection.
#[derive(Default)]
struct ConnectionReport {
    frames: Vec<Value>,
    frames_dropped: usize,
    bytes_out: usize,
    ended: Option<&'static str>,
}

/// The report of all connections so far.
#[derive(Default)]
pub(crate) struct Report {
    connections: Vec<ConnectionReport>,
    faults: Vec<String>,
}

/// Locks the report, also after a panic of another holder: the entries so far are still true.
pub(crate) fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Report {
    /// Adds a connection and returns its number, counted from 0.
    pub(crate) fn add_connection(&mut self) -> usize {
        self.connections.push(ConnectionReport::default());
        self.connections.len() - 1
    }

    /// Adds a received frame.
    pub(crate) fn add_frame(&mut self, connection: usize, frame: &Frame) {
        let report = &mut self.connections[connection];
        if report.frames.len() >= FRAMES_MAX {
            report.frames_dropped += 1;
            return;
        }

        let has_content = frame.payload.len() <= PAYLOAD_MAX;
        let body = if has_content { frame.json() } else { Value::Null };
        let hex =
            if has_content && body.is_null() { Value::String(to_hex(&frame.payload)) } else { Value::Null };

        report.frames.push(json!({
            "version": frame.version,
            "kind": frame.kind,
            "length": frame.payload.len(),
            "body": body,
            "hex": hex,
        }));
    }

    /// Counts sent bytes.
    pub(crate) fn add_sent(&mut self, connection: usize, bytes: usize) {
        self.connections[connection].bytes_out += bytes;
    }

    /// Notes the end of a connection: by the `client`, by the `script`, or by a `fault`.
    pub(crate) fn set_ended(&mut self, connection: usize, by: &'static str) {
        self.connections[connection].ended = Some(by);
    }

    /// Adds a violation of the script.
    pub(crate) fn add_fault(&mut self, connection: usize, fault: &str) {
        self.faults.push(format!("connection {connection}: {fault}"));
    }

    /// Returns the whole report.
    pub(crate) fn to_json(&self) -> Value {
        let connections = self.connections.iter().map(|connection| {
            json!({
                "frames": connection.frames,
                "frames_dropped": connection.frames_dropped,
                "bytes_out": connection.bytes_out,
                "ended": connection.ended.unwrap_or("open"),
            })
        });
        json!({ "connections": connections.collect::<Vec<_>>(), "faults": self.faults })
    }
}

//! The result of a call across the ABI, read from the lent buffer by its owner.

use super::call_context::{CallOutput, Content};
use super::sink::Written;
use super::types::{BYTES, Status};
use crate::Error;

/// How a call into a plugin ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallEnd {
    /// The JSON of the result is at the end of the buffer.
    Done,
    /// The result is the opaque bytes at the end of the buffer.
    DoneBytes,
    /// The plugin returned an error.
    Failed {
        /// The code of the plugin. The host decides whether it may reach the client.
        code: i64,
        /// The message for the client.
        message: String,
        /// The data for the client, as JSON.
        data: Option<String>,
    },
    /// The plugin panicked with this text, which is for logs only.
    Panicked(String),
    /// The process that ran the method ended before the method did. Only hosts create this end: no
    /// call across the ABI returns it.
    Crashed(ProcessEnd),
}

/// How a process that ran a plugin ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessEnd {
    /// The signal with this number ended it.
    Signal(i32),
    /// It exited with this code.
    ExitCode(i32),
    /// The system did not report how it ended.
    Unknown,
}

impl CallEnd {
    /// Reads the end of a call, and takes the text of an error or a panic out of `buffer`.
    pub(super) fn read(written: &Written, buffer: &mut Vec<u8>) -> Self {
        match written.status {
            Status::Done if written.code == BYTES => Self::DoneBytes,
            Status::Done => Self::Done,
            Status::Panicked => Self::Panicked(written.take_text(buffer).0),
            Status::Failed | Status::Pending => {
                let (message, data) = written.take_text(buffer);
                Self::Failed { code: written.code, message, data }
            }
        }
    }
}

/// Reads the reply of a host service: its bytes, or its error.
pub(super) fn read_reply(written: &Written, mut buffer: Vec<u8>) -> Result<CallOutput, Error> {
    match written.status {
        Status::Done if written.code == BYTES => Ok(CallOutput { content: Content::Bytes, bytes: buffer }),
        Status::Done => Ok(CallOutput::json(buffer)),
        Status::Failed | Status::Panicked | Status::Pending => {
            let (message, data) = written.take_text(&mut buffer);
            Err(Error::from_wire(written.code, message, data))
        }
    }
}

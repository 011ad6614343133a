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
    #[inline]
    pub(super) fn read(written: &Written, buffer: &mut Vec<u8>) -> Self {
        match written.status {
            Status::Done if written.code == BYTES => Self::DoneBytes,
            Status::Done => Self::Done,
            Status::Panicked | Status::Pending | Status::Failed => Self::read_failure(written, buffer),
        }
    }

    /// Reads the end of a call without a result. It is apart, so that results stay cheap to read.
    #[cold]
    fn read_failure(written: &Written, buffer: &mut Vec<u8>) -> Self {
        match written.status {
            Status::Panicked => {
                let (text, _) = written.take_text(buffer);
                Self::Panicked(if text.is_empty() { "it ended without a result".to_owned() } else { text })
            }
            Status::Pending => {
                buffer.truncate(written.start);
                Self::Panicked("it is not async, but returned that it is pending".to_owned())
            }
            Status::Failed | Status::Done => {
                let (message, data) = written.take_text(buffer);
                Self::Failed { code: written.code, message, data }
            }
        }
    }
}

impl CallEnd {
    /// Checks that a result is JSON if it says so. A reply with another one would not be JSON as a
    /// whole.
    #[cold]
    pub(super) fn with_checked_json(self, written: &Written, buffer: &mut Vec<u8>) -> Self {
        if self != Self::Done {
            return self;
        }
        // serde_json does not check the encoding of text that it skips.
        let fault = match std::str::from_utf8(&buffer[written.start..]) {
            Ok(text) => {
                serde_json::from_str::<serde::de::IgnoredAny>(text).err().map(|error| error.to_string())
            }
            Err(error) => Some(error.to_string()),
        };
        let Some(fault) = fault else { return self };
        buffer.truncate(written.start);
        let message = format!("the method returned a result that is not JSON: {fault}");
        Self::Failed { code: crate::INTERNAL_ERROR, message, data: None }
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

//! The errors of line framing, for a line that has no newline or is too long.

use std::fmt;
use std::time::Duration;

use jackfield_protocol::Code;
use serde_json::{Value, json};

use crate::log::ShortDuration;
use crate::metrics::RejectionReason;

/// Why a line is rejected before it is read as a request. `Display` is the message on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LineError {
    /// No newline ended the line within this time-out.
    Slow(Duration),

    /// The line is longer than this many bytes.
    TooLong(u32),

    /// No newline was found within four times this many bytes, so that the connection ends.
    Endless(u32),

    /// The line is the beginning of a binary frame.
    BinaryFrame,
}

impl LineError {
    pub(super) fn code(self) -> Code {
        match self {
            Self::Slow(_) => Code::DeadlineExceeded,
            Self::TooLong(_) | Self::Endless(_) => Code::FrameTooLarge,
            Self::BinaryFrame => Code::ParseError,
        }
    }

    pub(super) fn rejection(self) -> RejectionReason {
        match self {
            Self::Slow(_) => RejectionReason::SlowFrame,
            Self::TooLong(_) | Self::Endless(_) => RejectionReason::TooLarge,
            Self::BinaryFrame => RejectionReason::Invalid,
        }
    }

    /// Returns the data on the wire.
    pub(super) fn data(self) -> Option<Value> {
        match self {
            Self::Slow(timeout) => {
                Some(json!({ "timeout_ms": u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX) }))
            }
            Self::TooLong(limit) | Self::Endless(limit) => Some(json!({ "limit": limit })),
            Self::BinaryFrame => None,
        }
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Slow(timeout) => write!(
                f,
                "no newline ended the line within {} and 1 s per 64 KiB (timeouts.frame); end each request \
                 with a newline",
                ShortDuration(timeout)
            ),
            Self::TooLong(limit) => write!(f, "the line is longer than {limit} bytes (limits.frame)"),
            Self::Endless(limit) => write!(
                f,
                "no newline ended the line within {} bytes; a line has at most {limit} bytes (limits.frame)",
                u64::from(limit) * 4
            ),
            Self::BinaryFrame => f.write_str(
                "this socket speaks lines (framing = \"line\") and received a binary frame; send lines that \
                 end with a newline, or use a socket with binary framing",
            ),
        }
    }
}

//! The events that a framer returns.

use jackfield_protocol::{FrameError, Kind, Version};

/// Upper bound for one read, in bytes. 64 KiB holds about 600 small requests; larger reads fall out
/// of the cache.
pub(in crate::connection) const READ_SIZE: usize = 64 * 1024;

/// A whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::connection) struct Frame<'a> {
    pub(in crate::connection) version: Version,
    pub(in crate::connection) kind: Kind,
    pub(in crate::connection) payload: &'a [u8],
}

/// The next event at the front of the input; `consumed` bytes belong to it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::connection) enum FrameEvent<'a> {
    Frame {
        frame: Frame<'a>,
        consumed: usize,
    },
    /// A line, without its ending. It is answered like a sync frame of version 1.0.
    Line {
        line: &'a [u8],
        consumed: usize,
    },
    /// The frame is not complete; nothing is consumed.
    Incomplete {
        /// Bytes of the whole frame, as the peer claims.
        needed: u64,
    },
    /// The bytes belong to a rejected frame, or to none.
    Discard {
        consumed: usize,
    },
    /// A binary frame begins where a line is expected. What follows it cannot be followed.
    BinaryFrame,
    /// The frame is rejected.
    Rejected {
        error: FrameError,
        /// Whether the frames behind it cannot be found, so that the connection has to close.
        is_fatal: bool,
        consumed: usize,
    },
}

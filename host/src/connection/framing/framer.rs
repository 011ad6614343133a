//! The framer of a connection: one of the framings that listeners speak.

use jackfield_protocol::{FrameLimit, Framing, Header, Version};

use super::binary::BinaryFramer;
use super::frame_event::FrameEvent;
use super::line::LineFramer;

/// Finds the frames in the bytes of a connection. It keeps no bytes.
pub(in crate::connection) enum Framer {
    Binary(BinaryFramer),
    Line(LineFramer),
}

impl Framer {
    /// Creates a framer for a new connection. `limit` is the largest payload.
    pub(in crate::connection) fn new(framing: Framing, limit: FrameLimit) -> Self {
        match framing {
            Framing::Binary => Self::Binary(BinaryFramer::new(limit)),
            Framing::Line => Self::Line(LineFramer::new(limit)),
        }
    }

    /// Returns what is at the front of `input`, which is everything that is not consumed yet.
    #[inline]
    pub(in crate::connection) fn next<'a>(&mut self, input: &'a [u8]) -> FrameEvent<'a> {
        match self {
            Self::Binary(framer) => framer.next(input),
            Self::Line(framer) => framer.next(input),
        }
    }

    /// Sets the version that higher ones are read as. A framing without versions has no hello that
    /// could ask for this.
    pub(in crate::connection) fn set_highest_version(&mut self, highest: Version) {
        if let Self::Binary(framer) = self {
            framer.set_highest_version(highest);
        }
    }

    /// Returns the largest payload, in bytes.
    pub(in crate::connection) fn limit(&self) -> u32 {
        match self {
            Self::Binary(framer) => framer.limit(),
            Self::Line(_) => u32::MAX,
        }
    }

    /// Returns whether the next bytes belong to a rejected frame.
    pub(in crate::connection) fn is_discarding(&self) -> bool {
        match self {
            Self::Binary(framer) => framer.is_discarding(),
            Self::Line(framer) => framer.is_discarding(),
        }
    }

    /// Skips the incomplete frame whose first bytes are `input`, and returns its header; `None` if
    /// the framing has no headers, so that the frame cannot be skipped.
    pub(in crate::connection) fn skip_frame(&mut self, input: &[u8]) -> Option<Header> {
        match self {
            Self::Binary(framer) => framer.skip_frame(input),
            Self::Line(_) => None,
        }
    }
}

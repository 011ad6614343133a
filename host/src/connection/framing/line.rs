//! The line framing: one JSON document per line.

use jackfield_protocol::{FrameError, FrameLimit, Kind, LineDecoder, LineStep, Version};

use super::frame_event::{Frame, FrameEvent, READ_SIZE};

/// Finds lines.
pub(in crate::connection) struct LineFramer(LineDecoder);

impl LineFramer {
    pub(super) fn new(limit: FrameLimit) -> Self {
        Self(LineDecoder::new(limit))
    }

    pub(super) fn next<'a>(&mut self, input: &'a [u8]) -> FrameEvent<'a> {
        match self.0.step(input) {
            LineStep::Line { payload, consumed } => {
                let frame = Frame { version: Version::V1_0, kind: Kind::Sync, payload };
                FrameEvent::Frame { frame, consumed }
            }
            LineStep::Incomplete => FrameEvent::Incomplete { needed: needed(input.len()) },
            LineStep::Discard { consumed } => FrameEvent::Discard { consumed },
            LineStep::TooLong { limit, fatal, consumed } => {
                let length = limit.saturating_add(1);
                let error = FrameError::TooLarge { kind: Kind::Sync, version: Version::V1_0, length, limit };
                FrameEvent::Rejected { error, is_fatal: fatal, consumed }
            }
        }
    }

    pub(super) fn is_discarding(&self) -> bool {
        self.0.is_discarding()
    }
}

/// Returns how long a line will be, of which `received` bytes have arrived. Its end is unknown: a
/// line that is long already is read on like a large frame.
fn needed(received: usize) -> u64 {
    let more = if received < READ_SIZE { 1 } else { READ_SIZE + 1 };
    (received + more) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presents_a_line_as_a_sync_frame() {
        let mut framer = LineFramer::new(FrameLimit::new(10));
        assert_eq!(framer.next(b"{}"), FrameEvent::Incomplete { needed: 3 });

        let frame = Frame { version: Version::V1_0, kind: Kind::Sync, payload: b"{}" };
        assert_eq!(framer.next(b"{}\r\n[]\n"), FrameEvent::Frame { frame, consumed: 4 });
        assert_eq!(framer.next(b"\n"), FrameEvent::Discard { consumed: 1 });
    }

    #[test]
    fn reads_a_long_line_like_a_large_frame() {
        let mut framer = LineFramer::new(FrameLimit::MAX);
        let line = vec![b' '; READ_SIZE];
        assert_eq!(framer.next(&line), FrameEvent::Incomplete { needed: (2 * READ_SIZE + 1) as u64 });
    }

    #[test]
    fn rejects_a_line_longer_than_the_limit() {
        let mut framer = LineFramer::new(FrameLimit::new(3));
        assert_eq!(framer.next(b"long line"), FrameEvent::Discard { consumed: 9 });
        assert!(framer.is_discarding());

        let error = FrameError::TooLarge { kind: Kind::Sync, version: Version::V1_0, length: 4, limit: 3 };
        let rejected = FrameEvent::Rejected { error, is_fatal: false, consumed: 2 };
        assert_eq!(framer.next(b"e\n{}\n"), rejected);
        assert!(!framer.is_discarding());
    }
}

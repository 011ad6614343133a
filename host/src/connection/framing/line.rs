//! The line framing: one JSON document per line.

use jackfield_protocol::{FrameError, FrameLimit, Kind, LineDecoder, LineStep, Version};

use super::frame_event::{FrameEvent, READ_SIZE};

/// The high byte of the version of every binary frame (protocol section 1). No JSON document begins
/// with it.
const BINARY_FRAMING: u8 = 1;

/// Finds lines.
pub(in crate::connection) struct LineFramer(LineDecoder);

impl LineFramer {
    pub(super) fn new(limit: FrameLimit) -> Self {
        Self(LineDecoder::new(limit))
    }

    pub(super) fn next<'a>(&mut self, input: &'a [u8]) -> FrameEvent<'a> {
        // A client of the binary framing would wait for the reply until its time-out, because its
        // frame seldom contains a newline.
        if starts_binary_frame(input) && !self.0.is_discarding() && !input.contains(&b'\n') {
            return FrameEvent::BinaryFrame;
        }

        match self.0.step(input) {
            LineStep::Line { payload, consumed } => FrameEvent::Line { line: payload, consumed },
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

/// Returns whether a line is the beginning of a binary frame.
pub(in crate::connection) fn starts_binary_frame(line: &[u8]) -> bool {
    line.first() == Some(&BINARY_FRAMING)
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
    fn finds_a_line_once_its_newline_has_arrived() {
        let mut framer = LineFramer::new(FrameLimit::new(10));
        assert_eq!(framer.next(b"{}"), FrameEvent::Incomplete { needed: 3 });

        assert_eq!(framer.next(b"{}\r\n[]\n"), FrameEvent::Line { line: b"{}", consumed: 4 });
        assert_eq!(framer.next(b"\n"), FrameEvent::Discard { consumed: 1 });
    }

    #[test]
    fn reads_a_long_line_like_a_large_frame() {
        let mut framer = LineFramer::new(FrameLimit::MAX);
        let line = vec![b' '; READ_SIZE];
        assert_eq!(framer.next(&line), FrameEvent::Incomplete { needed: (2 * READ_SIZE + 1) as u64 });
    }

    #[test]
    fn recognizes_a_binary_frame_without_a_newline() {
        let mut framer = LineFramer::new(FrameLimit::new(10));
        let frame = b"\x01\x01\x04\0\0\0\x0e{\"method\":\"a\"}";
        assert_eq!(framer.next(frame), FrameEvent::BinaryFrame);

        // With a newline it is a line, whose error reply does not end the connection.
        let line = [frame, &b"\n"[..]].concat();
        assert!(matches!(framer.next(&line[..1]), FrameEvent::BinaryFrame));
        assert!(matches!(framer.next(&line), FrameEvent::Discard { .. } | FrameEvent::Rejected { .. }));

        // Inside of a line that is discarded, the byte has no meaning.
        assert_eq!(framer.next(b"long, long line"), FrameEvent::Discard { consumed: 15 });
        assert_eq!(framer.next(b"\x01"), FrameEvent::Discard { consumed: 1 });
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

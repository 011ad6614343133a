//! The binary framing: a header of seven bytes before each payload.

use jackfield_protocol::{Decoder, FrameLimit, HEADER_LEN, Header, Step, Version};

use super::frame_event::{Frame, FrameEvent};

/// Finds binary frames.
pub(in crate::connection) struct BinaryFramer(Decoder);

impl BinaryFramer {
    pub(super) fn new(limit: FrameLimit) -> Self {
        Self(Decoder::new(limit))
    }

    #[inline]
    pub(super) fn next<'a>(&mut self, input: &'a [u8]) -> FrameEvent<'a> {
        match self.0.step(input) {
            Step::Frame { header, payload, consumed } => {
                let frame = Frame { version: header.version, kind: header.kind, payload };
                FrameEvent::Frame { frame, consumed }
            }
            Step::Incomplete { needed } => FrameEvent::Incomplete { needed },
            Step::Discard { consumed } => FrameEvent::Discard { consumed },
            Step::Refused { refusal, fatal, consumed } => {
                FrameEvent::Rejected { error: refusal, is_fatal: fatal, consumed }
            }
        }
    }

    /// Sets the version that higher ones are read as.
    pub(super) fn set_highest_version(&mut self, highest: Version) {
        self.0.set_highest(highest);
    }

    /// Returns the largest payload, in bytes.
    pub(super) fn limit(&self) -> u32 {
        self.0.limit().bytes()
    }

    pub(super) fn is_discarding(&self) -> bool {
        self.0.is_discarding()
    }

    /// Skips the incomplete frame whose first bytes are `input`, and returns its header. The part
    /// of the payload that is not in `input` will be discarded.
    pub(super) fn skip_frame(&mut self, input: &[u8]) -> Option<Header> {
        let (header, payload) = input.split_first_chunk::<HEADER_LEN>()?;
        let header = Header::decode_up_to(header, self.0.highest()).ok()?;
        self.0.skip_frame(header);

        // The decoder counts what has arrived of the payload.
        let mut rest = payload;
        while let Step::Discard { consumed } = self.0.step(rest) {
            rest = &rest[consumed..];
        }

        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use jackfield_protocol::{FrameError, Kind, Version};

    use super::*;

    const LIMIT: u32 = 10;

    fn framer() -> BinaryFramer {
        BinaryFramer::new(FrameLimit::new(LIMIT))
    }

    fn frame(length: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![1, 1, 4];
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn finds_a_frame_once_it_is_whole() {
        let bytes = frame(3, b"abc");
        let mut framer = framer();
        assert_eq!(framer.next(&bytes[..5]), FrameEvent::Incomplete { needed: 7 });
        assert_eq!(framer.next(&bytes[..9]), FrameEvent::Incomplete { needed: 10 });

        let frame = Frame { version: Version::V1_1, kind: Kind::AsyncRequest, payload: b"abc" };
        assert_eq!(framer.next(&bytes), FrameEvent::Frame { frame, consumed: 10 });
    }

    #[test]
    fn discards_the_payload_of_a_frame_longer_than_the_limit() {
        let mut framer = framer();
        let bytes = frame(LIMIT + 1, b"");
        let rejected = framer.next(&bytes);
        let FrameEvent::Rejected { error: FrameError::TooLarge { limit, .. }, is_fatal: false, .. } =
            rejected
        else {
            panic!("{rejected:?}")
        };
        assert_eq!(limit, LIMIT);

        assert!(framer.is_discarding());
        assert_eq!(framer.next(&[0; 20]), FrameEvent::Discard { consumed: 11 });
        assert!(!framer.is_discarding());
    }

    #[test]
    fn skips_the_rest_of_an_incomplete_frame() {
        let mut framer = framer();
        let header = framer.skip_frame(&frame(5, b"ab")).unwrap();
        assert_eq!((header.kind, header.length), (Kind::AsyncRequest, 5));

        assert!(framer.is_discarding());
        assert_eq!(framer.next(b"cdeX"), FrameEvent::Discard { consumed: 3 });
        assert!(!framer.is_discarding());
    }

    #[test]
    fn reads_the_version_of_a_skipped_frame_like_that_of_any_other() {
        let later = [&[1, 2, 0x81][..], &5u32.to_be_bytes(), b"ab"].concat();
        for highest in [Version::V1_1, Version::V1_2] {
            let mut framer = framer();
            framer.set_highest_version(highest);
            assert_eq!(framer.skip_frame(&later).map(|header| header.version), Some(highest));
        }
    }
}

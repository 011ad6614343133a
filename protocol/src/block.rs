//! The extension block: fields between the header and the body of a frame of version 1.2 whose kind
//! has bit 0x80 (protocol section 6).

use crate::envelope::Request;
use crate::hello;
use crate::id::Id;

/// The bit of a tag that its reader must understand.
const MANDATORY: u8 = 0x80;
const TIMING: u8 = 0x0E;
const CONTENT_TYPE: u8 = 0x85;

/// Bytes of the block of a reply that has a timing and nothing else, with the length of the block.
pub(crate) const TIMING_BLOCK: [u8; 16] = [0, 14, TIMING, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Bytes of the field with content type 3.
const BYTES_FIELD: [u8; 3] = [CONTENT_TYPE, 1, hello::BYTES];

/// The type of the body of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ContentType {
    /// An envelope, as in every frame without an extension block.
    #[default]
    Json,
    /// The length of an envelope in four bytes, the envelope, and opaque bytes in place of params
    /// or result.
    Bytes,
}

/// How long a request was in the host, and what answered it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Timing {
    /// Time from acceptance to the begin of the method, in microseconds.
    pub queued_us: u32,
    /// Time from the begin of the method to its reply, in microseconds.
    pub run_us: u32,
    /// The generation of the plugin that answered. 0 stands for none.
    pub generation: u32,
}

impl Timing {
    fn from_wire(value: [u8; 12]) -> Timing {
        let [q0, q1, q2, q3, r0, r1, r2, r3, g0, g1, g2, g3] = value;
        Timing {
            queued_us: u32::from_be_bytes([q0, q1, q2, q3]),
            run_us: u32::from_be_bytes([r0, r1, r2, r3]),
            generation: u32::from_be_bytes([g0, g1, g2, g3]),
        }
    }

    /// Writes the timing into a frame that was begun with room for it. `frame` begins with the
    /// header.
    pub fn stamp(self, frame: &mut [u8]) {
        // Header, length of the block, tag and length of the field.
        const AT: usize = crate::limits::HEADER_LEN + 4;
        if let Some(value) = frame.get_mut(AT..AT + 12) {
            value[..4].copy_from_slice(&self.queued_us.to_be_bytes());
            value[4..8].copy_from_slice(&self.run_us.to_be_bytes());
            value[8..].copy_from_slice(&self.generation.to_be_bytes());
        }
    }
}

/// The fields of an extension block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExtensionBlock {
    /// The type of the body.
    pub content: ContentType,
    /// The timing of a reply.
    pub timing: Option<Timing>,
}

/// Why an extension block cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BlockError {
    /// The block or one of its fields is longer than what contains it.
    #[error("the extension block is truncated")]
    Truncated,
    /// A known tag occurs twice.
    #[error("the extension block has the tag 0x{0:02x} twice")]
    Duplicate(u8),
    /// The value of a known tag has an impossible length.
    #[error("the field 0x{0:02x} of the extension block has a wrong length")]
    Length(u8),
    /// The tag must be understood and is unknown, or its value is.
    #[error("the extension 0x{0:02x} is not supported")]
    Unsupported(u8),
}

impl BlockError {
    /// The tag of the content type, as the data of an error names it.
    pub const CONTENT_TYPE_TAG: u8 = CONTENT_TYPE;
}

impl ExtensionBlock {
    /// Splits the payload of a frame whose kind has the bit into the block and the body.
    ///
    /// # Errors
    ///
    /// The block is malformed, or has something that must be understood and is not. If both are
    /// true, it is malformed. The id of the request may be readable nevertheless: see
    /// [`ExtensionBlock::find_id`].
    pub fn split(payload: &[u8]) -> Result<(ExtensionBlock, &[u8]), BlockError> {
        let (mut fields, body) = split_length::<2>(payload).ok_or(BlockError::Truncated)?;
        let mut block = ExtensionBlock::default();
        let mut has_content_type = false;
        let mut unsupported = None;

        while let [tag, length, rest @ ..] = fields {
            let (value, behind) = rest.split_at_checked(usize::from(*length)).ok_or(BlockError::Truncated)?;
            fields = behind;
            match *tag {
                CONTENT_TYPE if has_content_type => return Err(BlockError::Duplicate(CONTENT_TYPE)),
                CONTENT_TYPE => {
                    has_content_type = true;
                    match value {
                        [0] => {}
                        [hello::BYTES] => block.content = ContentType::Bytes,
                        [_] => unsupported = unsupported.or(Some(CONTENT_TYPE)),
                        _ => return Err(BlockError::Length(CONTENT_TYPE)),
                    }
                }
                TIMING if block.timing.is_some() => return Err(BlockError::Duplicate(TIMING)),
                TIMING => {
                    let value = value.try_into().map_err(|_| BlockError::Length(TIMING))?;
                    block.timing = Some(Timing::from_wire(value));
                }
                tag if tag & MANDATORY != 0 => unsupported = unsupported.or(Some(tag)),
                _ => {}
            }
        }

        match unsupported {
            _ if !fields.is_empty() => Err(BlockError::Truncated),
            Some(tag) => Err(BlockError::Unsupported(tag)),
            None => Ok((block, body)),
        }
    }

    /// Finds the id of a request whose block is refused, whatever its content type is.
    #[must_use]
    pub fn find_id(payload: &[u8]) -> Option<Id<'_>> {
        let (_, body) = split_length::<2>(payload)?;
        // The first four bytes of an envelope are a length only in a body of 150 MB or more.
        let envelope = split_bytes_body(body).map_or(body, |(envelope, _)| envelope);
        match Request::parse(envelope) {
            Ok(request) => request.id,
            Err(invalid) => invalid.id,
        }
    }
}

/// Writes a block with content type 3, behind a timing of zeros if there is one.
pub(crate) fn put_bytes_block(out: &mut Vec<u8>, has_timing: bool) {
    let timing = if has_timing { &TIMING_BLOCK[2..] } else { &[] };
    // The length is at most 17.
    let length = u8::try_from(timing.len() + BYTES_FIELD.len()).unwrap_or(u8::MAX);
    out.extend_from_slice(&[0, length]);
    out.extend_from_slice(timing);
    out.extend_from_slice(&BYTES_FIELD);
}

/// Splits a body with content type 3 into its envelope and its bytes; `None` if the envelope is
/// longer than the body.
#[must_use]
pub fn split_bytes_body(body: &[u8]) -> Option<(&[u8], &[u8])> {
    split_length::<4>(body)
}

/// Splits off what a big-endian length of `N` bytes announces.
fn split_length<const N: usize>(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<N>()?;
    let length = length.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    rest.split_at_checked(usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_block_and_body() {
        let json = ExtensionBlock::default();
        assert_eq!(ExtensionBlock::split(b"\0\0{}"), Ok((json, &b"{}"[..])));
        let bytes = ExtensionBlock { content: ContentType::Bytes, ..json };
        assert_eq!(ExtensionBlock::split(b"\0\x06\x05\x01x\x85\x01\x03"), Ok((bytes, &b""[..])));

        let timing = Timing { queued_us: 1, run_us: 2, generation: 3 };
        let mut frame = [&[0; 7][..], &TIMING_BLOCK, b"{}"].concat();
        timing.stamp(&mut frame);
        let timed = ExtensionBlock { timing: Some(timing), ..json };
        assert_eq!(ExtensionBlock::split(&frame[7..]), Ok((timed, &b"{}"[..])));
    }

    #[test]
    fn rejects_malformed_and_unknown_mandatory_fields() {
        for (payload, error) in [
            (&b"\0"[..], BlockError::Truncated),
            (b"\0\x03ab", BlockError::Truncated),
            (b"\0\x01\x05", BlockError::Truncated),
            (b"\0\x03\x05\x02x", BlockError::Truncated),
            (b"\0\x03\x85\x01\x04", BlockError::Unsupported(0x85)),
            (b"\0\x02\x85\0", BlockError::Length(0x85)),
            (b"\0\x06\x85\x01\0\x85\x01\0", BlockError::Duplicate(0x85)),
            (b"\0\x02\x0E\0", BlockError::Length(0x0E)),
            (b"\0\x02\xFE\0", BlockError::Unsupported(0xFE)),
            (b"\0\x05\xFE\0\x85\x01\x04", BlockError::Unsupported(0xFE)),
            (b"\0\x03\xFE\0\x05", BlockError::Truncated),
            (b"\0\x04\xFE\0\x85\0", BlockError::Length(0x85)),
        ] {
            assert_eq!(ExtensionBlock::split(payload), Err(error), "{payload:?}");
        }
    }

    #[test]
    fn finds_the_id_behind_a_refused_block() {
        let find = |payload| ExtensionBlock::find_id(payload).map(|id| id.as_json());
        assert_eq!(find(b"\0\x02\xFE\0{\"id\":7,\"method\":1}"), Some("7"));
        assert_eq!(find(b"\0\x03\x85\x01\x03\0\0\0\x08{\"id\":7}\xFF"), Some("7"));
        for unreadable in [&b"\0"[..], b"\0\x03{}", b"\0\0", b"\0\0\xFF\xFF", b"\0\0\0\0\0\x02[]"] {
            assert_eq!(find(unreadable), None, "{unreadable:?}");
        }
    }

    #[test]
    fn splits_the_envelope_from_the_bytes() {
        assert_eq!(split_bytes_body(b"\0\0\0\x02{}\xFF"), Some((&b"{}"[..], &b"\xFF"[..])));
        assert_eq!(split_bytes_body(b"\0\0\0\x03{}"), None);
        assert_eq!(split_bytes_body(b"\xFF\xFF\xFF\xFF{}"), None);
    }
}

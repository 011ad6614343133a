//! A [`Decoder`] with the bytes it reads from: for clients and tests, who want frames they can keep.

use bytes::{Buf, Bytes, BytesMut};

use crate::codec::{Decoder, FrameLimit, Refusal, Step};
use crate::header::Header;
use crate::limits::HEADER_LEN;

/// One frame that owns its payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The header; its length is `payload.len()`.
    pub header: Header,
    /// The payload: a share of the buffer it was received in, not a copy.
    pub payload: Bytes,
}

/// Received bytes, and the frames in them.
///
/// Memory grows with the bytes received and never from an announced length.
///
/// ```
/// use jackfield_protocol::{FrameBuffer, FrameLimit, Kind, Version, write_heartbeat};
///
/// let mut wire = Vec::new();
/// write_heartbeat(&mut wire, Version::V1_0);
/// let mut buffer = FrameBuffer::new(FrameLimit::default());
/// buffer.push(&wire);
/// let frame = buffer.next()?.expect("a heartbeat is seven bytes");
/// assert_eq!(frame.header.kind, Kind::Heartbeat);
/// assert_eq!(buffer.next()?, None);
/// # Ok::<(), jackfield_protocol::Refusal>(())
/// ```
#[derive(Debug)]
pub struct FrameBuffer {
    decoder: Decoder,
    bytes: BytesMut,
    ended: Option<Refusal>,
}

impl FrameBuffer {
    /// An empty buffer; it allocates nothing before bytes come.
    #[must_use]
    pub fn new(limit: FrameLimit) -> FrameBuffer {
        FrameBuffer { decoder: Decoder::new(limit), bytes: BytesMut::new(), ended: None }
    }

    /// Appends received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes not yet taken as frames, for a reader that appends in place. Append only: what is already
    /// there has been looked at.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Bytes held and not yet taken as frames.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory behind the buffer.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes the next frame; `None` until more bytes come.
    ///
    /// # Errors
    /// A header was refused. Where [`Refusal::is_fatal`] is false the refused payload is thrown away as it comes
    /// and the frames after it follow; otherwise every later call gives the same refusal and holds no bytes.
    #[expect(
        clippy::should_implement_trait,
        reason = "not an iterator: None means not yet, and more may follow"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, Refusal> {
        loop {
            if let Some(refusal) = self.ended {
                self.bytes = BytesMut::new();
                return Err(refusal);
            }
            match self.decoder.step(&self.bytes) {
                Step::Frame { header, consumed, .. } => {
                    let mut payload = self.bytes.split_to(consumed).freeze();
                    payload.advance(HEADER_LEN);
                    return Ok(Some(Frame { header, payload }));
                }
                Step::Incomplete { .. } => return Ok(None),
                Step::Discard { consumed } => self.bytes.advance(consumed),
                Step::Refused { refusal, fatal, consumed } => {
                    self.bytes.advance(consumed);
                    if !fatal {
                        return Err(refusal);
                    }
                    self.ended = Some(refusal);
                }
            }
        }
    }
}

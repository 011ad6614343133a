//! A [`Decoder`] that owns its input buffer, for clients and tests that keep frames.

use bytes::{Buf, Bytes, BytesMut};

use crate::codec::{Decoder, FrameError, FrameLimit, Step};
use crate::header::Header;
use crate::limits::HEADER_LEN;

/// One frame that owns its payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The header; its length is `payload.len()`.
    pub header: Header,
    /// The payload. It shares the memory of the receive buffer; it is not a copy.
    pub payload: Bytes,
}

/// A buffer of received bytes that yields the frames in them.
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
/// # Ok::<(), jackfield_protocol::FrameError>(())
/// ```
#[derive(Debug)]
pub struct FrameBuffer {
    decoder: Decoder,
    bytes: BytesMut,
    /// The fatal refusal that ended the stream.
    fatal_refusal: Option<FrameError>,
}

impl FrameBuffer {
    /// Creates an empty buffer. It allocates nothing until bytes are pushed.
    #[must_use]
    pub fn new(limit: FrameLimit) -> FrameBuffer {
        FrameBuffer { decoder: Decoder::new(limit), bytes: BytesMut::new(), fatal_refusal: None }
    }

    /// Appends received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the bytes that are not yet taken as frames, for a reader that appends in place.
    ///
    /// Callers may only append: the decoder has already examined the bytes in the buffer.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Returns the number of bytes that are held and not yet taken as frames.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the capacity of the buffer in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes the next frame, or returns `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// A header was refused. If [`FrameError::is_fatal`] is false, the refused payload is discarded
    /// as it arrives and later frames follow. Otherwise every later call returns the same refusal,
    /// and the buffer holds no bytes.
    #[expect(
        clippy::should_implement_trait,
        reason = "not an iterator: None means not yet, and more may follow"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(refusal) = self.fatal_refusal {
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
                    self.fatal_refusal = Some(refusal);
                }
            }
        }
    }
}

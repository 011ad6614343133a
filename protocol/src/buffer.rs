//! A [`Decoder`] that owns its input buffer, for clients and tests that keep frames.

use bytes::{Buf, Bytes, BytesMut};

use crate::codec::{Decoder, FrameError, FrameLimit, Step};
use crate::header::{Header, Kind, Version};
use crate::limits::HEADER_LEN;

/// Bytes of a refused payload that are kept: enough for an id that its sender writes first.
const HEAD_LEN: usize = 1024;

/// One frame that owns its payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The header; its length is `payload.len()`.
    pub header: Header,
    /// The payload. It shares the memory of the receive buffer; it is not a copy.
    pub payload: Bytes,
}

/// A frame over the limit, whose payload was discarded except for its head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedFrame {
    /// The kind of the frame.
    pub kind: Kind,
    /// The announced length of the payload in bytes.
    pub length: u32,
    /// The first bytes of the payload, at most 1,024.
    pub head: Vec<u8>,
}

impl RefusedFrame {
    fn is_head_complete(&self) -> bool {
        self.head.len() == HEAD_LEN || self.head.len() == self.length as usize
    }
}

/// A frame that [`FrameBuffer::next_received`] yields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Received {
    /// A complete frame.
    Frame(Frame),
    /// A frame over the limit.
    Refused(RefusedFrame),
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
    /// The frame whose payload is discarded, until its head is complete.
    refused: Option<RefusedFrame>,
}

impl FrameBuffer {
    /// Creates an empty buffer. It allocates nothing until bytes are pushed.
    #[must_use]
    pub fn new(limit: FrameLimit) -> FrameBuffer {
        FrameBuffer {
            decoder: Decoder::new(limit),
            bytes: BytesMut::new(),
            fatal_refusal: None,
            refused: None,
        }
    }

    /// Sets the version that higher ones are read as, see [`Decoder::set_highest`].
    pub fn set_highest(&mut self, highest: Version) {
        self.decoder.set_highest(highest);
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
            match self.step()? {
                Some(Received::Frame(frame)) => return Ok(Some(frame)),
                Some(Received::Refused(_)) => {}
                None => return Ok(None),
            }
        }
    }

    /// Takes the next frame, also one over the limit, or returns `None` if more bytes are needed.
    ///
    /// A frame over the limit is yielded when its head has arrived; the rest of its payload is
    /// discarded as it arrives.
    ///
    /// # Errors
    ///
    /// The stream cannot continue, see [`FrameError::is_fatal`]. Every later call returns the same
    /// error.
    pub fn next_received(&mut self) -> Result<Option<Received>, FrameError> {
        loop {
            match self.step() {
                Err(refusal) if !refusal.is_fatal() => {}
                received => return received,
            }
        }
    }

    fn step(&mut self) -> Result<Option<Received>, FrameError> {
        loop {
            if let Some(refusal) = self.fatal_refusal {
                self.bytes = BytesMut::new();
                return Err(refusal);
            }

            match self.decoder.step(&self.bytes) {
                Step::Frame { header, consumed, .. } => {
                    let mut payload = self.bytes.split_to(consumed).freeze();
                    payload.advance(HEADER_LEN);
                    return Ok(Some(Received::Frame(Frame { header, payload })));
                }
                Step::Incomplete { .. } => return Ok(None),
                Step::Discard { consumed } => {
                    if let Some(refused) = self.discard(consumed) {
                        return Ok(Some(Received::Refused(refused)));
                    }
                }
                Step::Refused { refusal, fatal, consumed } => {
                    self.bytes.advance(consumed);
                    if fatal {
                        self.fatal_refusal = Some(refusal);
                    } else {
                        self.refused = refused_frame(refusal);
                        return Err(refusal);
                    }
                }
            }
        }
    }

    /// Drops bytes of a refused payload. Returns the frame if its head has become complete.
    fn discard(&mut self, consumed: usize) -> Option<RefusedFrame> {
        if let Some(refused) = &mut self.refused {
            let wanted = HEAD_LEN.saturating_sub(refused.head.len()).min(consumed);
            refused.head.extend_from_slice(self.bytes.get(..wanted).unwrap_or_default());
        }
        self.bytes.advance(consumed);
        self.refused.take_if(|refused| refused.is_head_complete())
    }
}

fn refused_frame(refusal: FrameError) -> Option<RefusedFrame> {
    match refusal {
        FrameError::TooLarge { kind, length, .. } => Some(RefusedFrame { kind, length, head: Vec::new() }),
        FrameError::UnsupportedVersion { .. } => None,
    }
}

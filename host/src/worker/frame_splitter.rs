//! The buffer of a receiving end, and where the frames in it begin and end.
//!
//! The buffer is filled in place and never cleared, so that a read costs no more than its bytes. It
//! grows with bytes that have arrived, never with a length that was announced.

use jackfield_protocol::{HEADER_LEN, Header, UnsupportedVersion};

/// The bit in the kind of a frame whose payload ends in a memory file. The frame itself has the
/// length of that end as eight bytes, and then the beginning of the payload.
pub(super) const DETACHED: u8 = 0x80;

/// Bytes of the length of what is in a memory file.
pub(super) const DETACHED_LEN: usize = size_of::<u64>();

/// The size of the buffer, unless a larger frame arrives. As this much is mapped for itself, only
/// the part that was used takes up memory.
const CAPACITY: usize = 256 << 10;

/// Upper bound for one read. 64 KiB holds several hundred small messages; larger reads fall out of
/// the L2 cache.
const MAX_READ: usize = 64 << 10;

/// Least room for a read.
const MIN_ROOM: usize = 16 << 10;

/// Up to this many bytes of an incomplete frame are moved to the front of the buffer before each
/// read, so that small frames always use the same part of it.
const MOVED: usize = 4 << 10;

/// Why bytes are no frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameFault {
    #[error("a frame has an unknown version: {0}")]
    Version(#[from] UnsupportedVersion),
    #[error("a frame has {announced} bytes, more than {limit}")]
    TooLong { announced: u64, limit: usize },
    #[error("a frame does not have the length of its memory file")]
    Length,
}

/// A frame that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReceivedFrame<'a> {
    Whole {
        kind: u8,
        payload: &'a [u8],
    },

    /// The last `length` bytes of the payload are in a memory file.
    Detached {
        kind: u8,
        head: &'a [u8],
        length: usize,
    },
}

/// Splits bytes into frames.
#[derive(Debug)]
pub(super) struct FrameSplitter {
    /// Upper bound for a payload, in bytes.
    limit: usize,

    buffer: Vec<u8>,

    /// The bytes of the buffer that have arrived and are not used yet.
    start: usize,
    end: usize,
}

impl FrameSplitter {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, buffer: Vec::new(), start: 0, end: 0 }
    }

    /// Returns the room for a read, 16 to 64 KiB. Take all frames first: the buffer grows to hold
    /// those that are left.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() != CAPACITY {
                self.buffer = vec![0; CAPACITY];
            }
        }
        if self.end - self.start <= MOVED || self.buffer.len() - self.end < MIN_ROOM {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() - self.end < MIN_ROOM {
            self.buffer.resize(2 * self.buffer.len(), 0);
        }

        let until = self.buffer.len().min(self.end + MAX_READ);
        &mut self.buffer[self.end..until]
    }

    /// Notes that a read has filled this much of the room.
    pub(super) fn add(&mut self, count: usize) {
        self.end = self.buffer.len().min(self.end + count);
    }

    /// Returns the next frame that is complete.
    ///
    /// # Errors
    ///
    /// The bytes are no frame. Nothing that follows can be understood.
    pub(super) fn next_frame(&mut self) -> Result<Option<ReceivedFrame<'_>>, FrameFault> {
        let rest = &self.buffer[self.start..self.end];
        let Some((header, rest)) = rest.split_first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let header = Header::decode(header)?;
        let length = self.within_limit(header.length.into(), 0)?;
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        self.start += HEADER_LEN + length;

        let kind = header.kind.wire();
        if kind & DETACHED == 0 {
            return Ok(Some(ReceivedFrame::Whole { kind, payload }));
        }
        let (announced, head) = payload.split_first_chunk::<DETACHED_LEN>().ok_or(FrameFault::Length)?;
        let length = self.within_limit(u64::from_be_bytes(*announced), head.len())?;
        Ok(Some(ReceivedFrame::Detached { kind: kind & !DETACHED, head, length }))
    }

    /// Returns a length that was announced, if the payload stays within the limit with it.
    fn within_limit(&self, announced: u64, present: usize) -> Result<usize, FrameFault> {
        let length = usize::try_from(announced).ok();
        length
            .filter(|length| length.checked_add(present).is_some_and(|whole| whole <= self.limit))
            .ok_or(FrameFault::TooLong { announced, limit: self.limit })
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}

#[cfg(test)]
mod tests;

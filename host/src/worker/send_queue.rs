//! The queue of a sending end: frames in the order in which they are sent, joined to segments of
//! one system call each.

use std::collections::VecDeque;
use std::io;

use jackfield_protocol::{HEADER_LEN, Header, Kind, Version};

use super::frame_splitter::{DETACHED, DETACHED_LEN};
use super::message_encode::ChannelMessage;
use super::payload_file::PayloadFile;

/// Bytes after which a segment is not extended.
const SEGMENT_MAX: usize = 64 << 10;

/// Files that are queued at most, so that a peer that does not read uses up no descriptors. Further
/// messages carry their payload themselves.
const MAX_FILES: usize = 64;

/// Bytes of capacity that are kept for the next segment.
const KEPT_CAPACITY: usize = 2 * SEGMENT_MAX;

/// Segments for which the queue keeps its capacity.
const KEPT_SEGMENTS: usize = 16;

/// Bytes that are sent in order. A file goes with the first of them, which then belong to the only
/// frame of the segment.
#[derive(Default)]
pub(super) struct Segment {
    bytes: Vec<u8>,
    sent: usize,
    file: Option<PayloadFile>,
}

impl Segment {
    /// Returns the bytes that are not sent yet.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Returns the file that is sent with them.
    pub(super) fn file(&self) -> Option<&PayloadFile> {
        self.file.as_ref()
    }

    /// Notes that this many bytes have been sent, and the file with them.
    pub(super) fn advance(&mut self, sent: usize) {
        self.sent = self.bytes.len().min(self.sent + sent);
        self.file = None;
    }

    /// Puts the content of the file into the frame, because the file cannot be sent.
    ///
    /// # Errors
    ///
    /// There is no file, or it cannot be read.
    pub(super) fn attach(&mut self) -> io::Result<()> {
        let file = self.file.take().ok_or(io::ErrorKind::NotFound)?;
        let kind = self.bytes[2] & !DETACHED;
        self.bytes.drain(HEADER_LEN..HEADER_LEN + DETACHED_LEN);
        file.read(&mut self.bytes)?;
        write_header(&mut self.bytes, kind);
        Ok(())
    }
}

/// Writes the header of the only frame in `frame`.
fn write_header(frame: &mut [u8], kind: u8) {
    // The receiving end refuses a longer frame, as it does any frame over its limit.
    let length = u32::try_from(frame.len() - HEADER_LEN).unwrap_or(u32::MAX);
    let header = Header { version: Version::HIGHEST, kind: Kind::from_wire(kind), length };
    frame[..HEADER_LEN].copy_from_slice(&header.encode());
}

/// The queue of a sending end.
#[derive(Default)]
pub(super) struct SendQueue {
    segments: VecDeque<Segment>,

    /// The buffer of a segment that was sent, for the next one.
    spare: Vec<u8>,

    is_writing: bool,
    is_closed: bool,
}

impl SendQueue {
    /// Queues a message. `tail` is its tail, if that is in a file, which is closed if too many are
    /// queued.
    pub(super) fn push(&mut self, message: &impl ChannelMessage, tail: Option<PayloadFile>) {
        if self.is_closed {
            return;
        }
        if let Some(tail) = tail
            && self.files() < MAX_FILES
        {
            self.push_detached(message, tail);
            return;
        }

        let bytes = self.open_segment();
        let start = bytes.len();
        bytes.extend_from_slice(&[0; HEADER_LEN]);
        message.encode_head(bytes);
        bytes.extend_from_slice(message.tail());
        write_header(&mut bytes[start..], message.kind());
    }

    fn push_detached(&mut self, message: &impl ChannelMessage, tail: PayloadFile) {
        let mut bytes = vec![0; HEADER_LEN];
        let length = u64::try_from(tail.length()).unwrap_or(u64::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        message.encode_head(&mut bytes);
        write_header(&mut bytes, message.kind() | DETACHED);
        self.segments.push_back(Segment { bytes, sent: 0, file: Some(tail) });
    }

    /// Returns the bytes of the last segment if it can be extended, else those of a new one.
    fn open_segment(&mut self) -> &mut Vec<u8> {
        let is_open = |last: &Segment| last.bytes.len() < SEGMENT_MAX && last.file.is_none();
        if !self.segments.back().is_some_and(is_open) {
            let bytes = std::mem::take(&mut self.spare);
            self.segments.push_back(Segment { bytes, ..Segment::default() });
        }
        let last = self.segments.len() - 1;
        &mut self.segments[last].bytes
    }

    /// Returns the next segment, which only the caller may write from now on. `None` if there is
    /// none, or another thread writes.
    pub(super) fn begin_write(&mut self) -> Option<Segment> {
        if self.is_writing {
            return None;
        }
        let segment = self.segments.pop_front()?;
        self.is_writing = true;
        Some(segment)
    }

    /// Ends the writing of a segment that was sent.
    pub(super) fn end_write(&mut self, segment: Segment) {
        self.is_writing = false;
        let mut bytes = segment.bytes;
        if bytes.capacity() > self.spare.capacity() && bytes.capacity() <= KEPT_CAPACITY {
            bytes.clear();
            self.spare = bytes;
        }
        if self.segments.is_empty() {
            self.segments.shrink_to(KEPT_SEGMENTS);
        }
    }

    /// Ends the writing of a segment of which a part is left.
    pub(super) fn pause_write(&mut self, segment: Segment) {
        self.is_writing = false;
        self.segments.push_front(segment);
    }

    /// Discards everything, also what is queued later.
    pub(super) fn close(&mut self) {
        *self = Self { is_closed: true, ..Self::default() };
    }

    /// Returns the number of bytes that are not sent yet, those in files included, except for the
    /// segment that is being written. Costs a step for each 64 KiB.
    pub(super) fn queued(&self) -> usize {
        let in_file = |segment: &Segment| segment.file.as_ref().map_or(0, PayloadFile::length);
        self.segments.iter().map(|segment| segment.rest().len() + in_file(segment)).sum()
    }

    fn files(&self) -> usize {
        self.segments.iter().filter(|segment| segment.file.is_some()).count()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Returns the bytes of memory that it has allocated.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        let segments = self.segments.iter().map(|segment| segment.bytes.capacity()).sum::<usize>();
        segments + self.spare.capacity() + self.segments.capacity() * size_of::<Segment>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{MessageEnd, WorkerMessage};
    use super::super::payload_file::DETACHED_MIN;
    use super::*;

    #[test]
    fn puts_a_file_into_its_frame_as_if_there_had_been_none() {
        let result = vec![b'7'; DETACHED_MIN + 9];
        let message = WorkerMessage::End { call: 5, end: MessageEnd::Done(&result) };
        let segment = |tail| {
            let mut queue = SendQueue::default();
            queue.push(&message, tail);
            queue.begin_write().unwrap()
        };
        let plain = segment(None);
        let mut detached = segment(PayloadFile::of(&result));
        assert!(detached.file().is_some() && detached.rest().len() < 100);

        detached.attach().unwrap();
        assert!(detached.file().is_none() && detached.rest() == plain.rest());
        assert!(detached.attach().is_err());
    }

    #[test]
    fn joins_messages_to_segments_and_keeps_files_apart() {
        let mut queue = SendQueue::default();
        let message = WorkerMessage::NestedCancelled(1);
        let tail = PayloadFile::of(&[0; DETACHED_MIN]);
        queue.push(&message, None);
        queue.push(&message, None);
        queue.push(&message, tail);
        queue.push(&message, None);

        let mut lengths = Vec::new();
        while let Some(segment) = queue.begin_write() {
            assert!(queue.begin_write().is_none(), "one thread writes at a time");
            lengths.push(segment.rest().len());
            queue.end_write(segment);
        }
        assert_eq!(lengths, [30, 23, 15]);
    }
    #[test]
    fn queues_a_bounded_number_of_files() {
        let mut queue = SendQueue::default();
        let result = vec![b'7'; DETACHED_MIN];
        let message = WorkerMessage::End { call: 5, end: MessageEnd::Done(&result) };
        for _ in 0..MAX_FILES + 3 {
            queue.push(&message, PayloadFile::of(&result));
        }

        let mut files = Vec::new();
        while let Some(segment) = queue.begin_write() {
            files.push(segment.file().is_some());
            queue.end_write(segment);
        }
        assert_eq!(files.iter().filter(|has_file| **has_file).count(), MAX_FILES);
        assert_eq!(files.last(), Some(&false));
    }
}

//! The sending end of a channel, shared by all threads of its process.
//!
//! A thread queues messages and then flushes. One thread at a time writes; what others queue
//! meanwhile goes into its next system call.

use std::collections::VecDeque;
use std::io::{IoSlice, self};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};

use jackfield_protocol::{Header, Kind, Version};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::channel_reader::DETACHED;
use super::message::{HostMessage, WorkerMessage};
use super::payload_file;
use crate::sync::lock;

/// Bodies of at least this many bytes travel in memory files. Copying fewer is cheaper than four
/// system calls on either side.
pub(crate) const DETACHED_MIN: usize = 64 << 10;

/// Bytes after which a segment is not extended.
const SEGMENT_MAX: usize = 64 << 10;

/// The length of a header.
const HEADER: usize = 7;

/// What a flush does when the socket takes no more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// It returns [`Flushed::Blocked`].
    Return,
    /// It waits.
    Wait,
}

/// The result of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing is left, or another thread writes it.
    All,
    /// The socket is full. Flush again when it can be written.
    Blocked,
    /// The other end is closed. All messages are discarded from now on.
    Closed,
}

/// Bytes that are sent in order. The file goes with the first of them.
#[derive(Default)]
struct Segment {
    bytes: Vec<u8>,
    sent: usize,
    file: Option<OwnedFd>,
}

#[derive(Default)]
struct Outbox {
    segments: VecDeque<Segment>,
    /// The buffer of a segment that was sent, for the next one.
    spare: Vec<u8>,
    is_writing: bool,
    is_closed: bool,
}

/// The sending end of a channel.
pub(crate) struct ChannelWriter {
    socket: Arc<OwnedFd>,
    when_full: WhenFull,
    outbox: Mutex<Outbox>,
}

/// Takes messages for one channel.
pub(crate) struct Outgoing<'a>(&'a mut Outbox);

impl Outgoing<'_> {
    pub(crate) fn push_host(&mut self, message: &HostMessage<'_>) {
        self.push(message.kind(), |out| message.encode(out));
    }

    pub(crate) fn push_worker(&mut self, message: &WorkerMessage<'_>) {
        self.push(message.kind(), |out| message.encode(out));
    }

    fn push(&mut self, kind: u8, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.0.is_closed {
            return;
        }
        let bytes = self.0.open_segment();
        let start = bytes.len();
        bytes.extend_from_slice(&[0; HEADER]);
        encode(bytes);
        let length = bytes.len() - start - HEADER;

        if length >= DETACHED_MIN && self.detach(kind, start) {
            return;
        }
        write_header(&mut self.0.last().bytes[start..], kind, length);
    }

    /// Moves the body after `start` into a memory file. Returns `false` if that fails: the message
    /// then stays as it is.
    fn detach(&mut self, kind: u8, start: usize) -> bool {
        let last = self.0.last();
        let Ok(file) = payload_file::create(&last.bytes[start + HEADER..]) else { return false };
        let length = last.bytes.len() - start - HEADER;
        last.bytes.truncate(start);
        last.bytes.shrink_to(SEGMENT_MAX);

        let mut bytes = vec![0; HEADER];
        bytes.extend_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
        write_header(&mut bytes, kind | DETACHED, size_of::<u64>());
        if start == 0 {
            self.0.segments.pop_back();
        }
        self.0.segments.push_back(Segment { bytes, sent: 0, file: Some(file) });
        true
    }
}

fn write_header(at: &mut [u8], kind: u8, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let header = Header { version: Version::HIGHEST, kind: Kind::from_wire(kind), length };
    at[..HEADER].copy_from_slice(&header.encode());
}

impl Outbox {
    /// Returns the bytes of the last segment, which can be extended.
    fn open_segment(&mut self) -> &mut Vec<u8> {
        let is_open = self
            .segments
            .back()
            .is_some_and(|last| last.sent == 0 && last.bytes.len() < SEGMENT_MAX && last.file.is_none());
        if !is_open {
            let bytes = std::mem::take(&mut self.spare);
            self.segments.push_back(Segment { bytes, ..Segment::default() });
        }
        &mut self.last().bytes
    }

    fn last(&mut self) -> &mut Segment {
        if self.segments.is_empty() {
            self.segments.push_back(Segment::default());
        }
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    fn keep(&mut self, mut bytes: Vec<u8>) {
        if bytes.capacity() > self.spare.capacity() && bytes.capacity() <= 2 * SEGMENT_MAX {
            bytes.clear();
            self.spare = bytes;
        }
    }
}

impl ChannelWriter {
    pub(crate) fn new(socket: Arc<OwnedFd>, when_full: WhenFull) -> Self {
        Self { socket, when_full, outbox: Mutex::default() }
    }

    /// Queues messages. They are sent by the next flush.
    pub(crate) fn queue(&self, messages: impl FnOnce(&mut Outgoing<'_>)) {
        messages(&mut Outgoing(&mut lock(&self.outbox)));
    }

    /// Queues messages and flushes.
    pub(crate) fn send(&self, messages: impl FnOnce(&mut Outgoing<'_>)) -> Flushed {
        self.queue(messages);
        self.flush()
    }

    /// Returns the number of bytes that are queued.
    pub(crate) fn queued(&self) -> usize {
        lock(&self.outbox).segments.iter().map(|segment| segment.bytes.len() - segment.sent).sum()
    }

    /// Writes everything that is queued, unless another thread does so.
    pub(crate) fn flush(&self) -> Flushed {
        let mut outbox = lock(&self.outbox);
        if outbox.is_closed {
            return Flushed::Closed;
        }
        if outbox.is_writing {
            return Flushed::All;
        }
        outbox.is_writing = true;

        loop {
            let Some(mut segment) = outbox.segments.pop_front() else {
                outbox.is_writing = false;
                return Flushed::All;
            };
            drop(outbox);
            let written = self.write(&mut segment);
            outbox = lock(&self.outbox);

            match written {
                Flushed::All => outbox.keep(segment.bytes),
                Flushed::Blocked => {
                    outbox.segments.push_front(segment);
                    outbox.is_writing = false;
                    return Flushed::Blocked;
                }
                Flushed::Closed => {
                    outbox.is_writing = false;
                    outbox.is_closed = true;
                    outbox.segments.clear();
                    return Flushed::Closed;
                }
            }
        }
    }

    /// Writes a segment, as far as the socket takes it.
    fn write(&self, segment: &mut Segment) -> Flushed {
        while segment.sent < segment.bytes.len() {
            match self.write_some(segment) {
                Ok(sent) => {
                    segment.sent += sent;
                    segment.file = None;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if self.when_full == WhenFull::Return => return Flushed::Blocked,
                Err(Errno::AGAIN) => wait_until_writable(&self.socket),
                // Too many descriptors are in flight in sockets of this user; some are received soon.
                Err(Errno::TOOMANYREFS | Errno::NOBUFS) if self.when_full == WhenFull::Return => {
                    return Flushed::Blocked;
                }
                Err(_) => return Flushed::Closed,
            }
        }
        Flushed::All
    }

    fn write_some(&self, segment: &Segment) -> rustix::io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let rest = &segment.bytes[segment.sent..];
        let Some(file) = &segment.file else { return rustix::net::send(&*self.socket, rest, flags) };

        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&files));
        sendmsg(&*self.socket, &[IoSlice::new(rest)], &mut control, flags)
    }
}

fn wait_until_writable(socket: &OwnedFd) {
    // An error shows in the next attempt to write.
    let _: rustix::io::Result<usize> = poll(&mut [PollFd::new(socket, PollFlags::OUT)], None);
}

/// Returns the error of a channel whose other end is closed.
pub(crate) fn closed() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

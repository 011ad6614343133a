//! The receiving end of a channel: splits what arrives into frames.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use jackfield_protocol::{Header, UnsupportedVersion};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::payload_file::{self, PayloadFileError};

/// The bit in the kind of a frame whose body is in a memory file. Its payload is the length of the
/// body, eight bytes.
pub(super) const DETACHED: u8 = 0x80;

/// Bytes that are read at once.
const READ: usize = 64 << 10;

/// Descriptors that may wait for their frame. A peer has at most one for each read in flight.
const FILES_MAX: usize = 64;

/// The length of a header.
const HEADER: usize = 7;

/// Why the bytes on a channel are no frames.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    #[error("a frame has an unknown version: {0}")]
    Version(#[from] UnsupportedVersion),
    #[error("a frame has {announced} bytes, more than {limit}")]
    TooLong { announced: u64, limit: usize },
    #[error("a frame needs a descriptor that did not come with it")]
    NoFile,
    #[error("descriptors came without frames for them")]
    SurplusFiles,
    #[error("the body of a frame is not usable: {0}")]
    File(#[from] PayloadFileError),
}

/// What a read has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    Bytes,
    /// There is nothing to read at the moment.
    Nothing,
    /// The other end is closed.
    Closed,
}

/// The receiving end of a channel.
pub(crate) struct ChannelReader {
    socket: Arc<OwnedFd>,
    /// The largest body, in bytes.
    limit: usize,
    buffer: Vec<u8>,
    /// The bytes before this index have been used.
    used: usize,
    files: VecDeque<OwnedFd>,
    /// The body of the last frame that was in a memory file.
    detached: Vec<u8>,
}

impl ChannelReader {
    pub(crate) fn new(socket: Arc<OwnedFd>, limit: usize) -> Self {
        let (buffer, files, detached) = (Vec::new(), VecDeque::new(), Vec::new());
        Self { socket, limit, buffer, used: 0, files, detached }
    }

    /// Reads once. With `waits`, it waits until there is something to read.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub(crate) fn receive(&mut self, waits: bool) -> io::Result<Received> {
        self.buffer.drain(..self.used);
        self.used = 0;

        let filled = self.buffer.len();
        self.buffer.resize(filled + READ, 0);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut flags = RecvFlags::CMSG_CLOEXEC;
        flags.set(RecvFlags::DONTWAIT, !waits);

        let mut into = [IoSliceMut::new(&mut self.buffer[filled..])];
        let received = recvmsg(&*self.socket, &mut into, &mut control, flags);
        let read = received.as_ref().map_or(0, |message| message.bytes);
        self.buffer.truncate(filled + read);
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files);
            }
        }

        match received {
            Ok(_) if read > 0 => Ok(Received::Bytes),
            Ok(_) | Err(Errno::CONNRESET) => Ok(Received::Closed),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Received::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the kind and the body of the next frame that is complete.
    ///
    /// # Errors
    ///
    /// What was received is no frame. Nothing that follows can be understood.
    pub(crate) fn next_frame(&mut self) -> Result<Option<(u8, &[u8])>, ChannelError> {
        let rest = &self.buffer[self.used..];
        let Some(header) = rest.first_chunk::<HEADER>() else {
            return if self.files.len() > FILES_MAX { Err(ChannelError::SurplusFiles) } else { Ok(None) };
        };
        let header = Header::decode(header)?;
        let (kind, announced) = (header.kind.wire(), u64::from(header.length));
        let length = self.within_limit(announced)?;
        let Some(body) = rest[HEADER..].get(..length) else { return Ok(None) };
        let start = self.used + HEADER;
        self.used = start + length;

        if kind & DETACHED == 0 {
            return Ok(Some((kind, &self.buffer[start..start + length])));
        }
        let announced = body.first_chunk().map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes));
        let length = self.within_limit(announced)?;
        let file = self.files.pop_front().ok_or(ChannelError::NoFile)?;
        payload_file::read(file, length, &mut self.detached)?;
        Ok(Some((kind & !DETACHED, &self.detached)))
    }

    fn within_limit(&self, announced: u64) -> Result<usize, ChannelError> {
        let length = usize::try_from(announced).ok().filter(|length| *length <= self.limit);
        length.ok_or(ChannelError::TooLong { announced, limit: self.limit })
    }
}

//! The receiving end of a channel: reads frames, and the memory files that come with them.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

use super::frame_splitter::{FrameFault, FrameSplitter, ReceivedFrame};
use super::payload_file::{PayloadFile, PayloadFileError};

/// Descriptors that one read can bring. A well-behaved peer sends one at a time.
const MAX_FILES_PER_READ: usize = 8;

/// Descriptors that may wait for their frames.
const MAX_FILES: usize = 64;

/// Why the bytes on a channel are no messages.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    #[error(transparent)]
    Frame(#[from] FrameFault),
    #[error("a frame needs a descriptor that did not come with it")]
    MissingFile,
    #[error("descriptors were lost: too many came, or this process has as many as it may")]
    LostFiles,
    #[error("the payload of a frame is not usable: {0}")]
    File(#[from] PayloadFileError),
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    Bytes,

    /// There is nothing to read at the moment.
    Nothing,

    /// The other end is closed, and everything that it sent has been read.
    Closed,
}

/// The receiving end of a channel.
pub(crate) struct ChannelReader {
    socket: Arc<OwnedFd>,
    frames: FrameSplitter,

    /// The descriptors whose frames have not been returned.
    files: VecDeque<OwnedFd>,

    /// Whether descriptors were lost. The frames before are still returned.
    has_lost_files: bool,

    /// The payload of the last frame, if it was in a memory file.
    detached: Vec<u8>,
}

impl ChannelReader {
    /// Creates the receiving end of `socket`. `limit` is the upper bound for a payload, in bytes.
    pub(crate) fn new(socket: Arc<OwnedFd>, limit: usize) -> Self {
        Self {
            socket,
            frames: FrameSplitter::new(limit),
            files: VecDeque::new(),
            has_lost_files: false,
            detached: Vec::new(),
        }
    }

    /// Reads once. With `waits`, it waits until there is something to read or a signal is handled.
    ///
    /// Take all frames with [`ChannelReader::next_frame`] before the next read.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub(crate) fn receive(&mut self, waits: bool) -> io::Result<Received> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES_PER_READ))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut flags = RecvFlags::CMSG_CLOEXEC;
        flags.set(RecvFlags::DONTWAIT, !waits);
        let mut into = [IoSliceMut::new(self.frames.room())];

        let received = match recvmsg(&*self.socket, &mut into, &mut control, flags) {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Received::Nothing),
            // The other end was closed before it had read everything.
            Err(Errno::CONNRESET) => return Ok(Received::Closed),
            Err(error) => return Err(error.into()),
        };

        self.frames.add(received.bytes);
        // Files that are not taken out of the buffer are closed with it.
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files);
            }
        }
        self.has_lost_files |= received.flags.contains(ReturnFlags::CTRUNC) || self.files.len() > MAX_FILES;
        self.files.truncate(MAX_FILES);
        Ok(if received.bytes > 0 { Received::Bytes } else { Received::Closed })
    }

    /// Waits until there is something to read, or a signal is handled.
    ///
    /// A thread that waits in `recvmsg(2)` is also woken each time the other end reads, because the
    /// socket has room then. This one is not.
    pub(crate) fn wait(&self) {
        // An error shows in the next read.
        let _: rustix::io::Result<usize> = poll(&mut [PollFd::new(&*self.socket, PollFlags::IN)], None);
    }

    /// Returns the kind and the payload of the next frame that is complete.
    ///
    /// # Errors
    ///
    /// The bytes are no frame. Nothing that follows can be understood.
    pub(crate) fn next_frame(&mut self) -> Result<Option<(u8, &[u8])>, ChannelError> {
        self.detached = Vec::new();

        match self.frames.next_frame()? {
            Some(ReceivedFrame::Whole { kind, payload }) => Ok(Some((kind, payload))),
            Some(ReceivedFrame::Detached { kind, head, length }) => {
                let missing =
                    if self.has_lost_files { ChannelError::LostFiles } else { ChannelError::MissingFile };
                let file = self.files.pop_front().ok_or(missing)?;
                let file = PayloadFile::received(file, length)?;
                self.detached.extend_from_slice(head);
                file.read(&mut self.detached).map_err(PayloadFileError::from)?;
                Ok(Some((kind, &self.detached)))
            }
            None if self.has_lost_files => Err(ChannelError::LostFiles),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;

//! The sending end of a channel, shared by all threads of its process.
//!
//! A thread queues messages and then flushes. One thread at a time writes; what others queue
//! meanwhile goes into its next system call.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::message::{HostMessage, WorkerMessage};
use super::message_encode::ChannelMessage;
use super::payload_file::PayloadFile;
use super::send_queue::{Segment, SendQueue};
use crate::sync::lock;

/// Time until the next attempt when the kernel has no memory for a message.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(1);

/// The behaviour of a flush when the socket takes no more bytes.
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

/// The sending end of a channel.
pub(crate) struct ChannelWriter {
    socket: Arc<OwnedFd>,
    when_full: WhenFull,
    queue: Mutex<SendQueue>,
}

/// Takes messages for one channel. None of its methods makes a system call, except to close a file
/// in excess.
pub(crate) struct Outgoing<'a>(&'a mut SendQueue);

impl Outgoing<'_> {
    /// Queues a message that carries its payload itself, however large it is.
    pub(crate) fn push_host(&mut self, message: &HostMessage<'_>) {
        self.0.push(message, None);
    }

    /// Queues a message. `tail` is its params, state or result in a memory file, if it has one,
    /// which the caller has made before it took any lock.
    pub(crate) fn push_host_with(&mut self, message: &HostMessage<'_>, tail: Option<PayloadFile>) {
        self.0.push(message, tail);
    }

    /// Queues a message that carries its payload itself, however large it is.
    pub(crate) fn push_worker(&mut self, message: &WorkerMessage<'_>) {
        self.0.push(message, None);
    }
}

impl ChannelWriter {
    /// Creates the sending end of `socket`.
    pub(crate) fn new(socket: Arc<OwnedFd>, when_full: WhenFull) -> Self {
        Self { socket, when_full, queue: Mutex::default() }
    }

    /// Queues messages. They are sent by the next flush. Blocks only while another thread queues.
    pub(crate) fn queue(&self, messages: impl FnOnce(&mut Outgoing<'_>)) {
        messages(&mut Outgoing(&mut lock(&self.queue)));
    }

    /// Queues messages and flushes.
    pub(crate) fn send(&self, messages: impl FnOnce(&mut Outgoing<'_>)) -> Flushed {
        self.queue(messages);
        self.flush()
    }

    /// Queues a message. A large payload is copied into a memory file first, so that I/O threads
    /// must not call it; see [`PayloadFile::of`].
    pub(crate) fn queue_host(&self, message: &HostMessage<'_>) {
        self.queue_any(message);
    }

    /// Queues a message and flushes. A large payload is copied into a memory file first.
    pub(crate) fn send_worker(&self, message: &WorkerMessage<'_>) -> Flushed {
        self.queue_any(message);
        self.flush()
    }

    fn queue_any(&self, message: &impl ChannelMessage) {
        let tail = PayloadFile::of(message.tail());
        lock(&self.queue).push(message, tail);
    }

    /// Returns the number of bytes that are queued.
    pub(crate) fn queued(&self) -> usize {
        lock(&self.queue).queued()
    }

    /// Writes everything that is queued, unless another thread does so.
    ///
    /// If it returns [`Flushed::Blocked`], the caller must see to it that some thread flushes once
    /// the socket can be written: others have relied on this one.
    pub(crate) fn flush(&self) -> Flushed {
        let mut queue = lock(&self.queue);
        if queue.is_closed() {
            return Flushed::Closed;
        }

        while let Some(mut segment) = queue.begin_write() {
            drop(queue);
            let written = self.write(&mut segment);
            queue = lock(&self.queue);

            match written {
                Flushed::All => queue.end_write(segment),
                Flushed::Blocked => {
                    queue.pause_write(segment);
                    return Flushed::Blocked;
                }
                Flushed::Closed => {
                    queue.close();
                    return Flushed::Closed;
                }
            }
        }
        Flushed::All
    }

    /// Writes a segment, as far as the socket takes it.
    fn write(&self, segment: &mut Segment) -> Flushed {
        while !segment.rest().is_empty() {
            match self.write_some(segment) {
                Ok(sent) => segment.advance(sent),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) if self.when_full == WhenFull::Return => {
                    return Flushed::Blocked;
                }
                Err(Errno::AGAIN) => wait_until_writable(&self.socket),
                Err(Errno::NOBUFS | Errno::NOMEM) => thread::sleep(SHORTAGE_PAUSE),
                // Too many descriptors are in flight in the sockets of this user.
                Err(Errno::TOOMANYREFS) if segment.attach().is_ok() => {}
                Err(_) => return Flushed::Closed,
            }
        }
        Flushed::All
    }

    fn write_some(&self, segment: &Segment) -> rustix::io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let rest = segment.rest();
        let Some(file) = segment.file() else { return rustix::net::send(&*self.socket, rest, flags) };

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

#[cfg(test)]
mod tests;

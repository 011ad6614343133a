//! Helpers for unit tests: both ends of a channel in one process, and a peer that sends any bytes.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};

use super::channel_reader::{ChannelError, ChannelReader, Received};
use super::channel_writer::{ChannelWriter, WhenFull};

/// Upper bound for a payload.
pub(super) const LIMIT: usize = 8 << 20;

pub(super) fn sockets() -> (Arc<OwnedFd>, Arc<OwnedFd>) {
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    (Arc::new(pair.0), Arc::new(pair.1))
}

pub(crate) fn channel(when_full: WhenFull) -> (ChannelWriter, ChannelReader) {
    let (near, far) = sockets();
    (ChannelWriter::new(near, when_full), ChannelReader::new(far, LIMIT))
}

/// Returns a reading end, and the socket from which it reads.
pub(super) fn reader() -> (Arc<OwnedFd>, ChannelReader) {
    let (near, far) = sockets();
    (near, ChannelReader::new(far, LIMIT))
}

pub(super) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[1, 1, kind][..], &length, payload].concat()
}

/// Sends bytes, and descriptors with the first of them.
pub(super) fn send(socket: &OwnedFd, bytes: &[u8], files: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(250))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(files)));
    }
    let sent = sendmsg(socket.as_fd(), &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).unwrap();
    assert_eq!(sent, bytes.len());
}

/// The kind and the body of a frame.
pub(super) type ReadFrame = (u8, Vec<u8>);

/// Reads until there is nothing to read, and returns the frames and the last result.
pub(super) fn read_all(reader: &mut ChannelReader) -> (Vec<ReadFrame>, Result<Received, ChannelError>) {
    let mut frames = Vec::new();
    loop {
        let received = reader.receive(false).unwrap();
        loop {
            match reader.next_frame() {
                Ok(Some((kind, payload))) => frames.push((kind, payload.to_vec())),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        if received != Received::Bytes {
            return (frames, Ok(received));
        }
    }
}

//! The channel to the host: frames of seven bytes of header and a payload, and descriptors.

use std::fs::File;
use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

pub(crate) const START: u8 = 0x21;
pub(crate) const CALL: u8 = 0x22;
pub(crate) const STOP: u8 = 0x27;

pub(crate) const STEP: u8 = 0x41;
pub(crate) const REFUSED: u8 = 0x42;
pub(crate) const READY: u8 = 0x43;
pub(crate) const LOG: u8 = 0x44;
pub(crate) const END: u8 = 0x45;
pub(crate) const NESTED: u8 = 0x46;
pub(crate) const NESTED_CANCELLED: u8 = 0x47;
pub(crate) const PHASE_END: u8 = 0x48;
pub(crate) const DESCRIBED: u8 = 0x49;

/// The bit of a kind whose payload ends in a memory file.
pub(crate) const DETACHED: u8 = 0x80;

/// The beginnings of the end of a call.
pub(crate) const DONE: u8 = 0;
pub(crate) const PANICKED: u8 = 2;
pub(crate) const CANCELLED: u8 = 3;
pub(crate) const DONE_BYTES: u8 = 4;

/// Returns a frame.
pub(crate) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload of less than 4 GiB").to_be_bytes();
    [&[1, 1, kind][..], &length, payload].concat()
}

/// Returns the payload of an `End`.
pub(crate) fn end(call: u64, end: u8, tail: &[u8]) -> Vec<u8> {
    [&call.to_be_bytes()[..], &[end], tail].concat()
}

/// Returns the payload of an `End` with a result.
pub(crate) fn done(call: u64, result: &str) -> Vec<u8> {
    end(call, DONE, result.as_bytes())
}

/// Returns a memory file of this length with these seals.
pub(crate) fn memory_file(length: u64, seals: SealFlags) -> File {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(memfd_create("hostile", flags).expect("a memory file"));
    file.set_len(length).expect("its length");
    fcntl_add_seals(&file, seals).expect("its seals");
    file
}

/// The seals without which the host reads no file.
pub(crate) fn all_seals() -> SealFlags {
    SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
}

/// The end of this process.
pub(crate) struct Channel(File);

impl Channel {
    pub(crate) fn of_stdout() -> Self {
        Self(File::from(std::io::stdout().as_fd().try_clone_to_owned().expect("a descriptor")))
    }

    /// Reads one frame; `None` if the host has closed its end. Descriptors are discarded.
    pub(crate) fn read_frame(&self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 7];
        (&self.0).read_exact(&mut header).ok()?;
        let [_, _, kind, l0, l1, l2, l3] = header;
        let mut payload = vec![0; u32::from_be_bytes([l0, l1, l2, l3]) as usize];
        (&self.0).read_exact(&mut payload).ok()?;
        Some((kind, payload))
    }

    /// Sends bytes, unless the host has closed its end. Returns whether they were sent.
    pub(crate) fn send_bytes(&self, bytes: &[u8]) -> bool {
        (&self.0).write_all(bytes).is_ok()
    }

    pub(crate) fn send(&self, kind: u8, payload: &[u8]) {
        self.send_bytes(&frame(kind, payload));
    }

    /// Sends an `End` whose result is in a memory file, with these descriptors.
    pub(crate) fn send_detached(&self, call: u64, length: u64, files: &[BorrowedFd<'_>]) {
        let payload = [&length.to_be_bytes()[..], &end(call, DONE, b"")].concat();
        self.send_with(&frame(END | DETACHED, &payload), files);
    }

    /// Sends bytes and descriptors.
    pub(crate) fn send_with(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(250))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(files)), "room for the descriptors");
        }

        let sent = sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL);
        assert_eq!(sent, Ok(bytes.len()));
    }

    pub(crate) fn as_file(&self) -> &File {
        &self.0
    }
}

//! Large payloads of messages, in sealed memory files that are passed as descriptors: they need no
//! room in the socket, and the sender cannot change them while they are read.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::fs::fstat;
use rustix::io::{Errno, pread};

use crate::sealed_file;

/// Payloads of at least this many bytes travel in memory files.
///
/// The socket costs about a fifth of the time per byte, because the kernel allocates new pages for
/// each file. But it holds about 200 KiB, and a message that does not fit delays all others until
/// the receiving end has read it in parts.
pub(crate) const DETACHED_MIN: usize = 128 << 10;

/// Time in which the kernel must release the pages that were written, so that they can be sealed.
const SEAL_LIMIT: Duration = Duration::from_millis(50);

/// Why the descriptor that came with a message is no payload.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PayloadFileError {
    #[error("its memory file is not sealed")]
    Unsealed,
    #[error("its memory file has {found} bytes instead of {announced}")]
    Length { announced: usize, found: u64 },
    #[error("its memory file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// A payload in a sealed memory file.
#[derive(Debug)]
pub(crate) struct PayloadFile {
    file: File,
    length: usize,
}

impl PayloadFile {
    /// Copies a payload into a memory file. `None` if it has fewer than [`DETACHED_MIN`] bytes, or
    /// the system has no memory or descriptor for it: the message then carries it itself.
    ///
    /// Costs four system calls and the copy, and blocks for up to 50 ms if the kernel still uses
    /// the pages. I/O threads do not call it, and no thread does so under a lock that they take.
    pub(crate) fn of(payload: &[u8]) -> Option<Self> {
        if payload.len() < DETACHED_MIN {
            return None;
        }
        let mut file = sealed_file::create("jackfield:message").ok()?;
        file.write_all(payload).ok()?;
        sealed_file::seal(&file, SEAL_LIMIT).ok()?;
        Some(Self { file, length: payload.len() })
    }

    /// Accepts a file of a peer that does not have to be trusted.
    ///
    /// # Errors
    ///
    /// It is no sealed memory file with `announced` bytes.
    pub(super) fn received(file: OwnedFd, announced: usize) -> Result<Self, PayloadFileError> {
        let file = File::from(file);
        if !sealed_file::is_sealed(&file) {
            return Err(PayloadFileError::Unsealed);
        }
        let found = fstat(&file).map_err(io::Error::from)?.st_size.cast_unsigned();
        if usize::try_from(found) != Ok(announced) {
            return Err(PayloadFileError::Length { announced, found });
        }
        Ok(Self { file, length: announced })
    }

    /// Returns the length of the payload in bytes.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Appends the payload to `out`.
    ///
    /// # Errors
    ///
    /// The kernel cannot read it.
    pub(super) fn read(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let end = out.len() + self.length;
        out.reserve_exact(self.length);
        let mut offset = 0;

        // The position of the file is that of the sender, too, so it is not used.
        while out.len() < end {
            match pread(&self.file, spare_capacity(out), offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => offset += u64::try_from(read).unwrap_or(u64::MAX),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl AsFd for PayloadFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::{Seek as _, SeekFrom};

    use rustix::fs::{SealFlags, fcntl_add_seals};

    use super::*;

    fn duplicate(file: &PayloadFile) -> OwnedFd {
        file.as_fd().try_clone_to_owned().unwrap()
    }

    #[test]
    fn carries_large_payloads_only() {
        let payload: Vec<u8> = (0..=u8::MAX).cycle().take(DETACHED_MIN).collect();
        assert!(PayloadFile::of(&payload[1..]).is_none());

        let sent = PayloadFile::of(&payload).unwrap();
        let received = PayloadFile::received(duplicate(&sent), payload.len()).unwrap();
        let mut out = b"head".to_vec();
        received.read(&mut out).unwrap();

        assert_eq!(&out[..4], b"head");
        assert!(out[4..] == payload);
    }

    #[test]
    fn refuses_a_file_with_another_length() {
        let file = PayloadFile::of(&[7; DETACHED_MIN]).unwrap();
        for announced in [0, 1, DETACHED_MIN - 1, DETACHED_MIN + 1, usize::MAX] {
            let refused = PayloadFile::received(duplicate(&file), announced).unwrap_err();
            assert!(matches!(refused, PayloadFileError::Length { found: 131_072, .. }), "{refused}");
        }
    }

    #[test]
    fn refuses_files_that_can_still_change() {
        for seals in [
            SealFlags::empty(),
            SealFlags::WRITE,
            SealFlags::WRITE | SealFlags::SHRINK,
            SealFlags::WRITE | SealFlags::GROW,
            SealFlags::SHRINK | SealFlags::GROW,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE,
        ] {
            let file = sealed_file::create("test").unwrap();
            file.set_len(5).unwrap();
            fcntl_add_seals(&file, seals).unwrap();
            let refused = PayloadFile::received(file.into(), 5).unwrap_err();
            assert!(matches!(refused, PayloadFileError::Unsealed), "{seals:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_memory_file() {
        let (reader, _writer) = io::pipe().unwrap();
        let zero = OpenOptions::new().read(true).open("/dev/zero").unwrap();
        for file in [OwnedFd::from(reader), OwnedFd::from(zero)] {
            assert!(matches!(PayloadFile::received(file, 0), Err(PayloadFileError::Unsealed)));
        }
    }

    #[test]
    fn reads_the_whole_file_wherever_the_sender_has_set_its_position() {
        let sent = PayloadFile::of(&[7; DETACHED_MIN]).unwrap();
        let received = PayloadFile::received(duplicate(&sent), DETACHED_MIN).unwrap();
        (&sent.file).seek(SeekFrom::Start(100_000)).unwrap();

        let mut out = Vec::new();
        received.read(&mut out).unwrap();
        assert!(out == [7; DETACHED_MIN]);
    }

    #[test]
    fn accepts_an_empty_file() {
        let file = sealed_file::create("test").unwrap();
        sealed_file::seal(&file, SEAL_LIMIT).unwrap();
        let mut out = Vec::new();
        PayloadFile::received(file.into(), 0).unwrap().read(&mut out).unwrap();
        assert!(out.is_empty());
    }
}

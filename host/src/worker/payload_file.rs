//! Large bodies of messages, in sealed memory files that are passed as descriptors: they need no
//! room in the socket, and the sender cannot change them while they are read.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create};
use rustix::io::Errno;

/// The seals without which a file is not read.
const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW);

/// Time in which the kernel must release the pages that were written, so that they can be sealed.
const SEAL_LIMIT: Duration = Duration::from_millis(50);

/// Why the descriptor that came with a message is no body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PayloadFileError {
    #[error("its memory file is not sealed")]
    Unsealed,
    #[error("its memory file has {found} bytes instead of {announced}")]
    Length { announced: u64, found: u64 },
    #[error("its memory file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// Copies `body` into a memory file and seals it. Blocks for at most [`SEAL_LIMIT`], which is rare.
///
/// # Errors
///
/// The system has no memory or no descriptor, or the file cannot be sealed in time.
pub(super) fn create(body: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let created = match memfd_create("jackfield:message", flags | MemfdFlags::NOEXEC_SEAL) {
        // Kernels before 6.3 do not know the flag.
        Err(Errno::INVAL) => memfd_create("jackfield:message", flags),
        created => created,
    };
    let mut file = File::from(created?);
    file.write_all(body)?;

    let until = Instant::now() + SEAL_LIMIT;
    loop {
        match fcntl_add_seals(&file, SEALS | SealFlags::SEAL) {
            Ok(()) => return Ok(file.into()),
            // The pages are still in lists of other processors.
            Err(Errno::BUSY) if Instant::now() < until => std::thread::yield_now(),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads the `announced` bytes of a sealed memory file in place of the content of `body`.
///
/// # Errors
///
/// It is no sealed memory file of this length.
pub(super) fn read(file: OwnedFd, announced: usize, body: &mut Vec<u8>) -> Result<(), PayloadFileError> {
    // Only memory files have seals.
    let is_sealed = fcntl_get_seals(file.as_fd()).is_ok_and(|seals| seals.contains(SEALS));
    if !is_sealed {
        return Err(PayloadFileError::Unsealed);
    }
    let found = fstat(&file).map_err(io::Error::from)?.st_size.cast_unsigned();
    let announced_length = u64::try_from(announced).unwrap_or(u64::MAX);
    if found != announced_length {
        return Err(PayloadFileError::Length { announced: announced_length, found });
    }

    body.clear();
    body.resize(announced, 0);
    File::from(file).read_exact_at(body, 0)?;
    Ok(())
}

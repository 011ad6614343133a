//! Sealed memory files: bytes that nobody can change any more, not even the process that made them.

use std::fs::File;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::{Errno, Result};

/// The seals of a file that cannot be written, extended or truncated.
const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW);

/// Creates an empty memory file. `/proc/self/maps` and `/proc/self/fd` show its name.
///
/// The file cannot be executed as a program: `dlopen` does not need that permission, and systems
/// with `vm.memfd_noexec = 2` require the flag. Kernels before 6.3 do not know it.
///
/// # Errors
///
/// The system has no memory or no descriptor, or the name is too long.
pub(crate) fn create(name: &str) -> Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name, flags),
        created => created,
    }
    .map(File::from)
}

/// Makes the content of a memory file immutable. Blocks for at most about `limit`.
///
/// # Errors
///
/// The file is still in use after `limit`, or is no memory file.
pub(crate) fn seal(file: &File, limit: Duration) -> Result<()> {
    // SEAL prevents that seals are added.
    retry_while_busy(limit, || fcntl_add_seals(file, SEALS | SealFlags::SEAL))
}

/// Returns whether the content of a file is immutable. Only memory files can be.
pub(crate) fn is_sealed(file: &File) -> bool {
    fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SEALS))
}

/// Repeats `seal` while the kernel refuses it with EBUSY.
///
/// The kernel still has the pages that were just written in lists of other processors. It waits
/// some time for them, which a machine under load may exceed.
fn retry_while_busy(limit: Duration, mut seal: impl FnMut() -> Result<()>) -> Result<()> {
    let until = Instant::now() + limit;
    loop {
        match seal() {
            Err(Errno::BUSY) if Instant::now() < until => std::thread::yield_now(),
            sealed => return sealed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn makes_a_file_immutable() {
        let mut file = create("test").unwrap();
        file.write_all(b"content").unwrap();
        assert!(!is_sealed(&file));

        seal(&file, LIMIT).unwrap();

        assert!(is_sealed(&file));
        assert!(file.write_all(b"more").is_err() && file.set_len(0).is_err() && file.set_len(99).is_err());
        assert_eq!(fcntl_add_seals(&file, SealFlags::WRITE), Err(Errno::PERM));
    }

    #[test]
    fn takes_no_other_file_for_a_sealed_one() {
        let (reader, writer) = std::io::pipe().unwrap();
        let disk = File::open("/proc/self/status").unwrap();
        for file in [disk, File::from(std::os::fd::OwnedFd::from(reader))] {
            assert!(!is_sealed(&file));
        }
        drop(writer);

        let file = create("test").unwrap();
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        assert!(!is_sealed(&file), "it can be written");
    }

    #[test]
    fn seals_a_file_whose_pages_are_busy_at_first() {
        let mut refusals = 3;
        let sealed = retry_while_busy(LIMIT, || {
            refusals -= 1;
            if refusals == 0 { Ok(()) } else { Err(Errno::BUSY) }
        });

        assert_eq!((sealed, refusals), (Ok(()), 0));
        assert_eq!(retry_while_busy(Duration::ZERO, || Err(Errno::BUSY)), Err(Errno::BUSY));
        assert_eq!(retry_while_busy(LIMIT, || Err(Errno::INVAL)), Err(Errno::INVAL));
    }
}

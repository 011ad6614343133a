//! Sealed memory files: copies of plugin files that nobody can change, not even this process.

use std::fs::File;
use std::io::{self, Seek as _};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

use super::content_hash::ContentHash;
use super::load_error::{LoadError, LoadErrorReason};

/// Time in which a memory file must become free of other users, so that it can be sealed.
const SEAL_LIMIT: Duration = Duration::from_secs(10);

/// Creates a memory file named after a plugin and its content. `/proc/self/maps` shows the name.
///
/// The file cannot be executed as a program: `dlopen` does not need that permission, and systems
/// with `vm.memfd_noexec = 2` require the flag. Kernels before 6.3 do not know it.
pub(super) fn create(plugin: &str, hash: &ContentHash) -> Result<File, LoadError> {
    let name = format!("jackfield:{plugin}:{}", hash.short());
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;

    let created = match memfd_create(&name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(&name, flags),
        created => created,
    };
    created.map(File::from).map_err(|error| no_resources(&error.into()))
}

/// Makes the content of a memory file immutable, and sets the position to its beginning. Blocks for
/// at most about [`SEAL_LIMIT`].
pub(super) fn seal(file: &mut File) -> Result<(), LoadError> {
    // SEAL prevents that the other seals are removed or changed.
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    retry_while_busy(SEAL_LIMIT, || fcntl_add_seals(&*file, seals))
        .map_err(|error| no_resources(&error.into()))?;
    file.rewind().map_err(|error| {
        LoadError::of_system(LoadErrorReason::Unreadable, "cannot read the copy of the file", &error)
    })
}

/// Repeats `seal` while the kernel refuses it with EBUSY.
///
/// The kernel still has the pages that were just written in lists of other processors. It waits
/// some time for them, which a machine under load may exceed.
fn retry_while_busy(
    limit: Duration,
    mut seal: impl FnMut() -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let until = Instant::now() + limit;
    loop {
        match seal() {
            Err(Errno::BUSY) if Instant::now() < until => std::thread::yield_now(),
            sealed => return sealed,
        }
    }
}

/// Returns the error for a memory file that could not be created or written.
pub(super) fn no_resources(error: &io::Error) -> LoadError {
    LoadError::of_system(LoadErrorReason::NoResources, "cannot copy the file into memory", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seals_a_file_whose_pages_are_busy_at_first() {
        let mut refusals = 3;
        let sealed = retry_while_busy(SEAL_LIMIT, || {
            refusals -= 1;
            if refusals == 0 { Ok(()) } else { Err(Errno::BUSY) }
        });

        assert_eq!((sealed, refusals), (Ok(()), 0));
        assert_eq!(retry_while_busy(Duration::ZERO, || Err(Errno::BUSY)), Err(Errno::BUSY));
        assert_eq!(retry_while_busy(SEAL_LIMIT, || Err(Errno::INVAL)), Err(Errno::INVAL));
    }
}

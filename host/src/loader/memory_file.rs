//! Sealed memory files: copies of plugin files that nobody can change, not even this process.

use std::fs::File;
use std::io::{self, Seek as _};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

use super::content_hash::ContentHash;
use super::load_error::{LoadError, LoadErrorReason};

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

/// Makes the content of a memory file immutable, and sets the position to its beginning.
pub(super) fn seal(file: &mut File) -> Result<(), LoadError> {
    // SEAL prevents that the other seals are removed or changed.
    fcntl_add_seals(&*file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
        .map_err(|error| no_resources(&error.into()))?;
    file.rewind().map_err(|error| {
        LoadError::of_system(LoadErrorReason::Unreadable, "cannot read the copy of the file", &error)
    })
}

/// Returns the error for a memory file that could not be created or written.
pub(super) fn no_resources(error: &io::Error) -> LoadError {
    LoadError::of_system(LoadErrorReason::NoResources, "cannot copy the file into memory", error)
}

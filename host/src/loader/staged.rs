//! A plugin's file as a sealed copy in memory: nobody can change it any more, not even this process.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create, sendfile};
use rustix::io::Errno;

use super::inspection::{self, ContentHash, Inspection};
use super::load_error::{LoadError, LoadErrorReason};
use super::{FileStamp, LoadedLibrary, VerifiedSignature, library};

/// A plugin's file, copied and inspected, not yet opened.
#[derive(Debug)]
pub struct StagedPlugin {
    /// What the copy says of itself.
    pub inspection: Inspection,
    /// The file's stamp before it was copied.
    pub stamp: FileStamp,
    memfd: OwnedFd,
    keep_loaded: AtomicBool,
}

impl StagedPlugin {
    /// Copies `file` into a sealed memory file named after the plugin and its content, and inspects the copy.
    ///
    /// The file is read twice: once for the hash that is part of the name, once for the copy. When the second
    /// reading has another hash, somebody is writing to it. `signer` finds out who signed the copy, once it is sealed.
    pub(super) fn copy(
        file: &mut File,
        path: &Path,
        name: String,
        stamp: FileStamp,
        signer: impl FnOnce(&str, &mut File) -> Result<Option<VerifiedSignature>, LoadError>,
    ) -> Result<Self, LoadError> {
        let mut hasher = blake3::Hasher::new();
        inspection::read_through(file, |part| {
            hasher.update(part);
            Ok(())
        })?;
        let hash = ContentHash::of_hasher(&hasher);
        let mut copy = File::from(create(&file_name(&name, &hash))?);
        file.rewind().map_err(|error| LoadError::new(LoadErrorReason::Unreadable, error))?;
        hasher.reset();
        let size = inspection::read_through(file, |part| {
            hasher.update(part);
            copy.write_all(part).map_err(|error| no_room(&error))
        })?;
        if ContentHash::of_hasher(&hasher) != hash {
            return Err(LoadError::new(LoadErrorReason::ChangedWhileRead, "two readings gave two contents"));
        }
        seal(&mut copy)?;
        let memfd = OwnedFd::from(copy.try_clone().map_err(|error| no_room(&error))?);
        // The sealed copy is what is examined, not the file: it is what will run.
        let signed = signer(&name, &mut copy)?;
        let image = inspection::examine(copy, size)?;
        let inspection = image.inspection(path.to_owned(), name, hash, size, signed);
        Ok(Self { inspection, stamp, memfd, keep_loaded: AtomicBool::new(false) })
    }

    /// Opens the copy in this process. Its constructors run here, so [`Prober::probe`](super::Prober::probe) comes
    /// first. Blocks for about as long as the plugin's constructors do.
    ///
    /// # Errors
    /// The dynamic loader or the ABI check refuse it, or it is not the code that its file promised. Nothing stays
    /// loaded, as far as the dynamic loader lets go of it.
    pub fn load(self) -> Result<LoadedLibrary, LoadError> {
        library::load(self.memfd, self.inspection, self.stamp, self.keep_loaded.into_inner())
    }

    /// Its code must not be unloaded: the probe found threads that run on in it.
    pub(super) fn keep_loaded(&self) {
        self.keep_loaded.store(true, Ordering::Relaxed);
    }
}

/// The sealed copy that a plugin was opened from, held to come back to its content one day. It costs a descriptor, and
/// the memory for which the copy was made.
#[derive(Debug)]
pub struct KeptImage {
    inspection: Inspection,
    stamp: FileStamp,
    memfd: OwnedFd,
    keep_loaded: bool,
}

impl KeptImage {
    /// # Errors
    /// There is no descriptor for it.
    pub(super) fn of(
        memfd: BorrowedFd<'_>,
        inspection: &Inspection,
        stamp: FileStamp,
        keep_loaded: bool,
    ) -> Result<Self, LoadError> {
        let memfd = memfd.try_clone_to_owned().map_err(|error| no_room(&error))?;
        Ok(Self { inspection: inspection.clone(), stamp, memfd, keep_loaded })
    }

    /// The content in another memory file, not opened: what was opened once is not opened again. Takes milliseconds.
    ///
    /// # Errors
    /// The system has no memory for it.
    pub fn staged(&self) -> Result<StagedPlugin, LoadError> {
        let Self { inspection, stamp, .. } = self;
        let mut copy = File::from(create(&file_name(&inspection.name, &inspection.hash))?);
        let mut at = 0;
        while at < inspection.size {
            let left = usize::try_from(inspection.size - at).unwrap_or(usize::MAX);
            // From an offset of its own: the other's position is shared with whoever else reads it.
            let sent =
                sendfile(&copy, &self.memfd, Some(&mut at), left).map_err(|error| no_room(&error.into()))?;
            if sent == 0 {
                return Err(LoadError::new(LoadErrorReason::Unreadable, "the copy is shorter than it was"));
            }
        }
        seal(&mut copy)?;
        let keep_loaded = AtomicBool::new(self.keep_loaded);
        Ok(StagedPlugin { inspection: inspection.clone(), stamp: *stamp, memfd: copy.into(), keep_loaded })
    }
}

impl AsFd for StagedPlugin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }
}

/// Lets nobody change it any more, and goes back to its beginning.
fn seal(copy: &mut File) -> Result<(), LoadError> {
    // SEAL last of all: what is sealed now stays so.
    fcntl_add_seals(&*copy, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
        .map_err(|error| no_room(&error.into()))?;
    copy.rewind().map_err(|error| LoadError::new(LoadErrorReason::Unreadable, error))
}

fn no_room(error: &io::Error) -> LoadError {
    LoadError::new(LoadErrorReason::NoResources, format_args!("no memory file for the copy: {error}"))
}

/// What `/proc/self/maps` calls it.
fn file_name(name: &str, hash: &ContentHash) -> String {
    format!("jackfield:{name}:{}", hash.short())
}

/// A memory file without the right to be executed as a program: `dlopen` does not need it, and systems with
/// `vm.memfd_noexec = 2` allow no other. Kernels before 6.3 do not know the flag.
fn create(name: &str) -> Result<OwnedFd, LoadError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name, flags),
        made => made,
    }
    .map_err(|error| no_room(&error.into()))
}

#[cfg(test)]
impl StagedPlugin {
    /// Returns a staged plugin without code, for tests that do not load it.
    pub(crate) fn without_code(inspection: Inspection, stamp: FileStamp) -> Result<Self, LoadError> {
        let mut empty = File::from(create("jackfield:test")?);
        seal(&mut empty)?;
        Ok(Self { inspection, stamp, memfd: empty.into(), keep_loaded: AtomicBool::new(false) })
    }

    /// Returns the content, as a generation keeps it.
    pub(crate) fn image(&self) -> Result<KeptImage, LoadError> {
        KeptImage::of(self.memfd.as_fd(), &self.inspection, self.stamp, false)
    }
}

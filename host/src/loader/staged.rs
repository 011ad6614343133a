//! Plugin files that are staged: copied into sealed memory and inspected, but not opened.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use jackfield_plugin_api::Manifest;
use jackfield_plugin_api::manifest::DeclaredMethod;
use rustix::fs::sendfile;

use super::content_hash::ContentHash;
use super::contract_cell::ContractCell;
use super::file_stamp::FileStamp;
use super::inspection::{self, Inspection};
use super::load_error::{LoadError, LoadErrorReason};
use super::memory_file::{self, no_resources};
use super::plugin_file::read_content;
use super::signature::{SignatureFile, VerifiedSignature};

/// A plugin file that is copied and inspected, but not opened.
#[derive(Debug)]
pub struct StagedPlugin {
    /// The result of the inspection of the copy.
    pub inspection: Inspection,

    /// The metadata of the file before it was copied.
    pub stamp: FileStamp,

    pub(super) memfd: OwnedFd,

    /// Whether its code must never be unloaded.
    pub(super) stays_loaded: AtomicBool,

    /// The contract of its methods.
    pub(crate) contract: ContractCell,
}

impl StagedPlugin {
    /// Copies `file` into a sealed memory file named after the plugin and its content, and inspects
    /// the copy.
    ///
    /// The file is read twice: once for the hash that is part of the name, and once for the copy.
    /// If the hashes differ, another process is writing to the file. `verify` verifies the
    /// signature of the sealed copy.
    pub(super) fn copy(
        file: &mut File,
        path: &Path,
        name: String,
        stamp: FileStamp,
        verify: impl FnOnce(&str, &mut File) -> Result<Option<SignatureFile>, LoadError>,
    ) -> Result<Self, LoadError> {
        let mut hasher = blake3::Hasher::new();
        read_content(file, |part| {
            hasher.update(part);
            Ok(())
        })?;
        let hash = ContentHash::of_hasher(&hasher);

        let mut copy = memory_file::create(&name, &hash)?;
        file.rewind().map_err(|error| {
            LoadError::of_system(LoadErrorReason::Unreadable, "cannot read the file", &error)
        })?;
        hasher.reset();
        let size = read_content(file, |part| {
            hasher.update(part);
            copy.write_all(part).map_err(|error| no_resources(&error))
        })?;
        if ContentHash::of_hasher(&hasher) != hash {
            let detail =
                "the file changed while it was read; write it under another name and rename it into place";
            return Err(LoadError::new(LoadErrorReason::ChangedWhileRead, detail));
        }

        memory_file::seal(&mut copy)?;
        let memfd = OwnedFd::from(copy.try_clone().map_err(|error| no_resources(&error))?);
        // The sealed copy is examined instead of the file, because the copy is what will run.
        let signed = verify(&name, &mut copy)?;
        let image = inspection::examine(copy, size)?;
        let inspection = image.inspection(path.to_owned(), name, hash, size, signed);
        Ok(Self {
            inspection,
            stamp,
            memfd,
            stays_loaded: AtomicBool::new(false),
            contract: ContractCell::default(),
        })
    }

    /// Excludes the code from unloading, because the probe found threads that still run it after
    /// `stop`.
    pub(super) fn keep_loaded(&self) {
        self.stays_loaded.store(true, Ordering::Relaxed);
    }
}

impl StagedPlugin {
    /// Returns the content alone, to be run in other processes.
    pub(crate) fn into_image(self) -> KeptImage {
        let Self { inspection, stamp, memfd, stays_loaded, contract } = self;
        KeptImage { inspection, stamp, memfd, stays_loaded: stays_loaded.into_inner(), contract }
    }
}

impl AsFd for StagedPlugin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }
}

/// The sealed copy that a plugin was opened from, kept for a rollback to its content.
///
/// It costs a descriptor, and the memory of the copy.
#[derive(Debug)]
pub struct KeptImage {
    inspection: Inspection,
    stamp: FileStamp,
    memfd: OwnedFd,
    stays_loaded: bool,
    contract: ContractCell,
}

impl KeptImage {
    /// Keeps the content of a memory file.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub(super) fn new(
        memfd: BorrowedFd<'_>,
        inspection: &Inspection,
        stamp: FileStamp,
        stays_loaded: bool,
        contract: &ContractCell,
    ) -> Result<Self, LoadError> {
        let memfd = memfd.try_clone_to_owned().map_err(|error| no_resources(&error))?;
        Ok(Self { inspection: inspection.clone(), stamp, memfd, stays_loaded, contract: contract.clone() })
    }

    /// Returns the same content once more.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub(crate) fn try_clone(&self) -> Result<Self, LoadError> {
        Self::new(self.memfd.as_fd(), &self.inspection, self.stamp, self.stays_loaded, &self.contract)
    }

    /// Returns what the methods of the content accept and return, as far as it is known.
    pub(crate) fn contract(&self) -> &ContractCell {
        &self.contract
    }

    /// Returns the manifest of the plugin.
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.inspection.manifest
    }

    /// Returns the signature, if keys were trusted when the file was staged.
    pub(crate) fn signature(&self) -> Option<VerifiedSignature> {
        self.inspection.signed
    }

    /// Returns the name of the plugin.
    pub(crate) fn name(&self) -> &str {
        &self.inspection.name
    }

    /// Returns the hash of the content.
    pub(crate) fn hash(&self) -> ContentHash {
        self.inspection.hash
    }

    /// Returns the content of the signature file that was verified for the content.
    pub(crate) fn signature_text(&self) -> Option<&str> {
        self.inspection.signature_text.as_deref()
    }

    /// Writes the content to `file`, from its current position on.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(crate) fn copy_to(&self, file: &File) -> io::Result<()> {
        let size = self.inspection.size;
        let mut offset = 0;
        while offset < size {
            let left = usize::try_from(size - offset).unwrap_or(usize::MAX);
            // Read at an explicit offset: the file position is shared with other descriptors.
            if sendfile(file, &self.memfd, Some(&mut offset), left)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the kept copy is incomplete"));
            }
        }
        Ok(())
    }

    /// Returns the methods that the content declares.
    pub(crate) fn declared(&self) -> &[DeclaredMethod] {
        &self.inspection.manifest.methods
    }

    /// Returns the names of the methods that the content declares.
    pub(crate) fn method_names(&self) -> Vec<String> {
        self.declared().iter().map(|method| method.name.clone()).collect()
    }

    /// Stages the content again, in another memory file: a memory file that was opened once must
    /// not be opened again. Takes milliseconds.
    ///
    /// # Errors
    ///
    /// The system has no memory for the copy.
    pub fn staged(&self) -> Result<StagedPlugin, LoadError> {
        let Self { inspection, stamp, .. } = self;
        let mut copy = memory_file::create(&inspection.name, &inspection.hash)?;
        self.copy_to(&copy).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => LoadError::new(LoadErrorReason::Unreadable, error),
            _ => no_resources(&error),
        })?;

        memory_file::seal(&mut copy)?;
        let stays_loaded = AtomicBool::new(self.stays_loaded);
        Ok(StagedPlugin {
            inspection: inspection.clone(),
            stamp: *stamp,
            memfd: copy.into(),
            stays_loaded,
            contract: self.contract.clone(),
        })
    }
}

impl AsFd for KeptImage {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }
}

#[cfg(test)]
impl StagedPlugin {
    /// Returns a staged plugin without code, for tests that do not load it.
    pub(crate) fn without_code(inspection: Inspection, stamp: FileStamp) -> Result<Self, LoadError> {
        let mut empty = memory_file::create("test", &inspection.hash)?;
        memory_file::seal(&mut empty)?;
        Ok(Self {
            inspection,
            stamp,
            memfd: empty.into(),
            stays_loaded: AtomicBool::new(false),
            contract: ContractCell::default(),
        })
    }

    /// Returns the content, as a generation keeps it.
    pub(crate) fn image(&self) -> Result<KeptImage, LoadError> {
        KeptImage::new(self.memfd.as_fd(), &self.inspection, self.stamp, false, &self.contract)
    }
}

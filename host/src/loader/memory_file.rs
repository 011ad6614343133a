//! Copies of plugin files in sealed memory files, so that nobody changes code that may be mapped.

use std::fs::File;
use std::io::{self, Seek as _};
use std::time::Duration;

use super::content_hash::ContentHash;
use super::load_error::{LoadError, LoadErrorReason};
use crate::sealed_file;

/// Time in which a memory file must become free of other users, so that it can be sealed.
const SEAL_LIMIT: Duration = Duration::from_secs(10);

/// Creates a memory file named after a plugin and its content.
pub(super) fn create(plugin: &str, hash: &ContentHash) -> Result<File, LoadError> {
    let name = format!("jackfield:{plugin}:{}", hash.short());
    sealed_file::create(&name).map_err(|error| no_resources(&error.into()))
}

/// Makes the content of a memory file immutable, and sets the position to its beginning. Blocks for
/// at most about [`SEAL_LIMIT`].
pub(super) fn seal(file: &mut File) -> Result<(), LoadError> {
    sealed_file::seal(file, SEAL_LIMIT).map_err(|error| no_resources(&error.into()))?;
    file.rewind().map_err(|error| {
        LoadError::of_system(LoadErrorReason::Unreadable, "cannot read the copy of the file", &error)
    })
}

/// Returns the error for a memory file that could not be created or written.
pub(super) fn no_resources(error: &io::Error) -> LoadError {
    LoadError::of_system(LoadErrorReason::NoResources, "cannot copy the file into memory", error)
}

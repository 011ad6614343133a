//! The last known state of each plugin file, so that each content is acted on once.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::Instant;

use crate::loader::{ContentHash, FileStamp, LoadError};

/// The state of one file.
#[derive(Debug, Clone)]
enum SeenFile {
    /// The content was acted on: it serves, or was refused after it was read.
    Settled { stamp: FileStamp, hash: ContentHash },
    /// The file could not be read, because it was being written. `hash` is the content that was
    /// acted on before.
    Incomplete { hash: Option<ContentHash> },
    /// The file is loaded again by the next scan, or by the first one after `not_before`. If it
    /// does not have `stamp` any more, it does not wait.
    Retry { not_before: Option<Instant>, stamp: Option<FileStamp> },
    /// The file was refused before its content was known. Without a stamp it is compared by the
    /// error only.
    Refused { stamp: Option<FileStamp>, refused: LoadError },
}

impl SeenFile {
    /// Returns whether the file was refused, and its stamp, if there is one, proves that it has
    /// not changed.
    fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { stamp, .. } if stamp.is_none_or(|stamp| stamp.is_settled()))
    }
}

/// The files of the plugin directory that were seen.
#[derive(Debug, Default)]
pub(super) struct SeenFiles {
    /// Files that were refused before their content was known, and that certainly have not changed
    /// if their metadata has not. There may be many of them.
    refused: BTreeMap<OsString, SeenFile>,

    /// All other files.
    others: BTreeMap<OsString, SeenFile>,
}

impl SeenFiles {
    /// Returns the names of all files, in no particular order.
    pub(super) fn names(&self) -> impl Iterator<Item = &OsString> {
        self.refused.keys().chain(self.others.keys())
    }

    /// Returns the names of the files except for those that were refused and that certainly have
    /// not changed if their metadata has not.
    pub(super) fn not_refused(&self) -> impl Iterator<Item = &OsString> {
        self.others.keys()
    }

    /// Returns the number of the files that [`SeenFiles::not_refused`] leaves out.
    pub(super) fn refused_count(&self) -> usize {
        self.refused.len()
    }

    /// Returns the content of the file that was acted on last.
    pub(super) fn content(&self, file: &OsStr) -> Option<ContentHash> {
        match self.get(file)? {
            SeenFile::Settled { hash, .. } => Some(*hash),
            SeenFile::Incomplete { hash } => *hash,
            SeenFile::Retry { .. } | SeenFile::Refused { .. } => None,
        }
    }

    /// Returns whether a file with this stamp was acted on and has certainly not changed since.
    pub(super) fn is_unchanged(&self, file: &OsStr, stamp: &FileStamp) -> bool {
        match self.get(file) {
            Some(SeenFile::Settled { stamp: seen, .. } | SeenFile::Refused { stamp: Some(seen), .. }) => {
                stamp.is_unchanged_since(seen)
            }
            _ => false,
        }
    }

    /// Returns whether the file was refused with exactly this error.
    pub(super) fn is_refused_with(&self, file: &OsStr, error: &LoadError) -> bool {
        matches!(self.get(file), Some(SeenFile::Refused { refused, .. }) if refused == error)
    }

    /// Returns whether a retry of the file, which has this stamp now, has to wait.
    pub(super) fn is_retried_later(&self, file: &OsStr, now: FileStamp, at: Instant) -> bool {
        match self.get(file) {
            Some(SeenFile::Retry { not_before: Some(until), stamp }) => {
                at < *until && stamp.is_none_or(|stamp| stamp.is_equal_to(&now))
            }
            _ => false,
        }
    }

    /// Returns whether the next scan loads the file, even if it does not change.
    pub(super) fn is_pending(&self, file: &OsStr) -> bool {
        matches!(self.get(file), Some(SeenFile::Incomplete { .. } | SeenFile::Retry { not_before: None, .. }))
    }

    /// Records that this content of the file was acted on.
    pub(super) fn settle(&mut self, file: &OsStr, stamp: FileStamp, hash: ContentHash) {
        self.set(file, SeenFile::Settled { stamp, hash });
    }

    /// Records that the file is being written. The content that was acted on before stays known,
    /// so that a file that is only touched is not loaded again.
    pub(super) fn read_again(&mut self, file: &OsStr) {
        let hash = self.content(file);
        self.set(file, SeenFile::Incomplete { hash });
    }

    /// Records that the file was refused, as `stamp` describes it.
    pub(super) fn refuse(&mut self, file: &OsStr, stamp: Option<FileStamp>, refused: LoadError) {
        self.set(file, SeenFile::Refused { stamp, refused });
    }

    /// Has the next scan load the file, whatever its content.
    pub(super) fn retry(&mut self, file: &OsStr) {
        self.set(file, SeenFile::Retry { not_before: None, stamp: None });
    }

    /// Has the first scan after `not_before` load the file.
    pub(super) fn retry_after(&mut self, file: &OsStr, not_before: Instant) {
        self.set(file, SeenFile::Retry { not_before: Some(not_before), stamp: None });
    }

    /// As [`SeenFiles::retry_after`], but the next scan loads the file if it changes before.
    /// `stamp` is that of the content that failed. Without it, the content that was acted on last
    /// is meant.
    pub(super) fn retry_unchanged_after(
        &mut self,
        file: &OsStr,
        stamp: Option<FileStamp>,
        not_before: Instant,
    ) {
        let settled = match self.get(file) {
            Some(SeenFile::Settled { stamp, .. }) => Some(*stamp),
            _ => None,
        };
        self.set(file, SeenFile::Retry { not_before: Some(not_before), stamp: stamp.or(settled) });
    }

    /// Has the next scan load every file.
    pub(super) fn retry_all(&mut self) {
        self.others.append(&mut self.refused);
        self.others.values_mut().for_each(|seen| *seen = SeenFile::Retry { not_before: None, stamp: None });
    }

    /// Forgets a file that was removed.
    pub(super) fn forget(&mut self, file: &OsStr) {
        self.refused.remove(file);
        self.others.remove(file);
    }

    fn get(&self, file: &OsStr) -> Option<&SeenFile> {
        self.others.get(file).or_else(|| self.refused.get(file))
    }

    fn set(&mut self, file: &OsStr, seen: SeenFile) {
        self.forget(file);
        let files = if seen.is_refused() { &mut self.refused } else { &mut self.others };
        files.insert(file.to_owned(), seen);
    }
}

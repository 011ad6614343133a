//! The names in the plugin directory, which are read again only if they may have changed.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use super::plugin_files::PluginFiles;
use crate::loader::{FileStamp, LoadError};

/// The interval at which the directory is listed, and every file examined, even if the metadata of
/// the directory shows no change. Some file systems do not update it.
pub(super) const EXAMINE_INTERVAL: Duration = Duration::from_secs(30);

/// The names as they were listed last.
#[derive(Default)]
pub(super) struct Listing {
    /// The names, in byte order.
    pub(super) names: Vec<OsString>,

    /// The metadata of the directory before it was listed.
    directory: Option<FileStamp>,

    /// The time of the listing, `None` if the directory must be listed again.
    listed_at: Option<Instant>,
}

impl Listing {
    /// Has the next refresh list the directory.
    pub(super) fn expire(&mut self) {
        self.listed_at = None;
    }

    /// Lists the directory, unless its metadata proves that no name has changed. Returns whether
    /// it was listed.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub(super) fn refresh(&mut self, directory: &dyn PluginFiles, now: Instant) -> Result<bool, LoadError> {
        let is_recent = self.listed_at.is_some_and(|at| now.duration_since(at) < EXAMINE_INTERVAL);
        // Taken before the listing: a change meanwhile is found by the next refresh.
        let stamp = directory.own_stamp();
        let is_unchanged =
            stamp.zip(self.directory).is_some_and(|(stamp, earlier)| stamp.is_unchanged_since(&earlier));
        if is_recent && is_unchanged {
            return Ok(false);
        }

        self.expire();
        self.names = directory.list()?;
        self.directory = stamp;
        self.listed_at = Some(now);
        Ok(true)
    }
}

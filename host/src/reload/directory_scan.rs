//! Scans the plugin directory and finds new, changed and removed files.
//!
//! A file is acted on when it is complete: a watcher saw it closed or renamed into place, an
//! operator asks for a scan, or it has not changed for [`QUIET`]. Until then the scan is
//! *unsettled*, and is repeated soon.
//!
//! A scan without changes must cost little, however many files the directory has that are no
//! plugins. It lists the directory only if names may have changed ([`Listing`]), and then examines
//! every file. Otherwise it examines the files that were not refused, those that an event names,
//! and the refused ones only if they are few ([`REFUSED_MAX`]).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::listing::Listing;
use super::plugin_files::{OpenDirectory, PluginFiles};
use super::seen_files::SeenFiles;
use crate::loader::{FileStamp, LoadError, LoadErrorReason, PluginDirectory};
use crate::log::printable;

/// The interval of periodic scans. They catch what the watcher misses, which has to take effect
/// within 5 s.
pub(super) const SCAN_INTERVAL: Duration = Duration::from_secs(2);

/// How long a file must not have changed to count as complete. A copy that pauses for longer is
/// still caught by the checks of its content.
const QUIET: Duration = Duration::from_millis(300);

/// How long a file must have been missing to count as removed. Builds and copies may remove a file
/// a moment before they write it again.
const REMOVED_AFTER: Duration = Duration::from_millis(150);

/// The number of refused files up to which every scan examines them. If there are more, it takes
/// up to [`EXAMINE_INTERVAL`](super::listing::EXAMINE_INTERVAL) to find a change that no event
/// reports.
const REFUSED_MAX: usize = 64;

/// The time of a scan on both clocks: files are dated by the wall clock, waits are measured by the
/// monotonic one.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScanTime {
    pub(super) monotonic: Instant,
    pub(super) wall: SystemTime,
}

impl ScanTime {
    /// Reads both clocks.
    pub(super) fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }
}

/// The files that a scan takes as complete, however recently they changed.
#[derive(Debug, Clone, Copy)]
pub(super) enum CompleteFiles<'a> {
    /// These files.
    Named(&'a [OsString]),
    /// Every file. A missing file counts as removed at once.
    All,
}

impl CompleteFiles<'_> {
    fn are_all(self) -> bool {
        matches!(self, Self::All)
    }

    fn named(&self) -> &[OsString] {
        match self {
            Self::Named(files) => files,
            Self::All => &[],
        }
    }

    fn contains(self, file: &OsString) -> bool {
        match self {
            Self::Named(files) => files.contains(file),
            Self::All => true,
        }
    }
}

/// A file that needs an action.
#[derive(Debug, PartialEq)]
pub(super) enum FileChange {
    /// The file may have new content.
    Changed(OsString),
    /// The file cannot be a plugin file, which was not reported yet.
    Unusable(OsString, LoadError),
    /// The file was removed.
    Removed(OsString),
}

/// The result of one scan.
#[derive(Debug, Default)]
pub(super) struct ScanResult {
    pub(super) changes: Vec<FileChange>,

    /// Whether a file was incomplete or has to be retried, so that another scan is due soon.
    pub(super) is_unsettled: bool,
}

/// The plugin directory and the files that were seen in it.
pub(super) struct DirectoryScan {
    path: PathBuf,
    open: OpenDirectory,
    directory: Option<Box<dyn PluginFiles>>,

    /// The number of directories that were opened at the path.
    opened_directories: u64,

    /// Why the directory cannot be used, so that it is logged once.
    fault: Option<LoadError>,

    pub(super) files: SeenFiles,
    listing: Listing,

    /// Files that the last scan found incomplete, or that may not be unusable for long.
    waiting: BTreeSet<OsString>,

    /// Files that are missing, and since when.
    missing_since: BTreeMap<OsString, Instant>,

    /// Files that cannot be plugin files as they are, and since when. They may be on the way.
    unusable_since: BTreeMap<OsString, Instant>,
}

impl DirectoryScan {
    /// Returns a scan of the directory at `path`, which need not exist.
    pub(super) fn new(path: PathBuf) -> Self {
        let open = |path: &Path| PluginDirectory::open(path).map(|opened| Box::new(opened) as _);
        Self::with_directory(path, Box::new(open))
    }

    /// Returns a scan of the directories that `open` returns.
    pub(super) fn with_directory(path: PathBuf, open: OpenDirectory) -> Self {
        Self {
            path,
            open,
            directory: None,
            opened_directories: 0,
            fault: None,
            files: SeenFiles::default(),
            listing: Listing::default(),
            waiting: BTreeSet::new(),
            missing_since: BTreeMap::new(),
            unusable_since: BTreeMap::new(),
        }
    }

    /// Returns the path of the directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory, if it could be opened.
    pub(super) fn directory(&self) -> Option<&dyn PluginFiles> {
        self.directory.as_deref()
    }

    /// Returns how many directories were opened at the path. The number identifies the current one.
    pub(super) fn opened_directories(&self) -> u64 {
        self.opened_directories
    }

    /// Opens the directory again if the path leads to another one by now.
    ///
    /// A directory that is missing or must not be used changes nothing of what serves.
    pub(super) fn open_current(&mut self) {
        if self.directory.as_ref().is_some_and(|directory| directory.is_current()) {
            return;
        }

        match (self.open)(&self.path) {
            Ok(directory) => {
                self.directory = Some(directory);
                self.listing = Listing::default();
                self.opened_directories += 1;
                self.fault = None;
            }
            Err(refused) => {
                self.directory = None;
                self.log_fault(refused);
            }
        }
    }

    /// Has the next scan list the directory and examine every file.
    pub(super) fn examine_all(&mut self) {
        self.listing.expire();
    }

    /// Compares the files that may have changed with what was seen of them.
    pub(super) fn scan(&mut self, complete: CompleteFiles<'_>, now: ScanTime) -> ScanResult {
        let mut result = ScanResult::default();
        if complete.are_all() {
            self.examine_all();
        }
        let Some(directory) = &self.directory else { return result };
        let is_listed = match self.listing.refresh(&**directory, now.monotonic) {
            Ok(is_listed) => is_listed,
            Err(refused) => {
                self.log_fault(refused);
                return result;
            }
        };

        // Removed files come first: a renamed file frees its plugin name and methods for the
        // file's new name.
        let names = std::mem::take(&mut self.listing.names);
        let is_listed_in = |file: &OsString| names.binary_search(file).is_ok();
        if is_listed || !self.missing_since.is_empty() {
            self.find_removed(is_listed_in, complete, now, &mut result);
            self.unusable_since.retain(|file, _| is_listed_in(file));
        }

        let waiting = std::mem::take(&mut self.waiting);
        if is_listed || self.files.refused_count() <= REFUSED_MAX {
            names.iter().for_each(|file| self.examine(file, complete, now, &mut result));
        } else {
            let mut due = waiting;
            due.extend(self.files.not_refused().chain(complete.named()).cloned());
            due.retain(is_listed_in);
            due.iter().for_each(|file| self.examine(file, complete, now, &mut result));
        }
        self.listing.names = names;
        result
    }

    fn examine(
        &mut self,
        file: &OsString,
        complete: CompleteFiles<'_>,
        now: ScanTime,
        result: &mut ScanResult,
    ) {
        let Some(stamp) = self.directory.as_ref().map(|directory| directory.stamp(file)) else { return };
        match stamp {
            Ok(stamp) => self.check_present(file, &stamp, complete, now, result),
            Err(refused) if refused.reason == LoadErrorReason::NotFound => {
                // The file was removed after the listing.
                self.examine_all();
                result.is_unsettled = true;
            }
            Err(refused) => self.check_unusable(file, refused, complete, now, result),
        }
    }

    fn find_removed(
        &mut self,
        is_listed: impl Fn(&OsString) -> bool,
        complete: CompleteFiles<'_>,
        now: ScanTime,
        result: &mut ScanResult,
    ) {
        let missing: BTreeSet<_> = self.files.names().filter(|file| !is_listed(file)).cloned().collect();
        self.missing_since.retain(|file, _| missing.contains(file));

        for file in missing {
            let since = *self.missing_since.entry(file.clone()).or_insert(now.monotonic);
            if complete.are_all() || now.monotonic.duration_since(since) >= REMOVED_AFTER {
                self.missing_since.remove(&file);
                self.files.forget(&file);
                result.changes.push(FileChange::Removed(file));
            } else {
                result.is_unsettled = true;
            }
        }
    }

    /// Checks a file that may be a plugin file.
    fn check_present(
        &mut self,
        file: &OsString,
        stamp: &FileStamp,
        complete: CompleteFiles<'_>,
        now: ScanTime,
        result: &mut ScanResult,
    ) {
        self.unusable_since.remove(file);
        if self.files.is_unchanged(file, stamp) {
            return;
        }

        let is_retried_later =
            !complete.are_all() && self.files.is_retried_later(file, *stamp, now.monotonic);
        let is_complete = stamp.is_unchanged_for(QUIET, now.wall) || complete.contains(file);
        if is_retried_later || !is_complete {
            self.waiting.insert(file.clone());
            result.is_unsettled = true;
        } else {
            result.changes.push(FileChange::Changed(file.clone()));
        }
    }

    /// Checks a file that cannot be a plugin file as it is.
    fn check_unusable(
        &mut self,
        file: &OsString,
        refused: LoadError,
        complete: CompleteFiles<'_>,
        now: ScanTime,
        result: &mut ScanResult,
    ) {
        if self.files.is_refused_with(file, &refused) {
            return;
        }

        // A copy begins with an empty file, and the upgrade of a package with a second name. A link
        // may be made before its target, and removed after it.
        let may_pass = matches!(
            refused.reason,
            LoadErrorReason::Empty | LoadErrorReason::HardLinked | LoadErrorReason::Symlink
        );
        let since = *self.unusable_since.entry(file.clone()).or_insert(now.monotonic);
        if may_pass && !complete.are_all() && now.monotonic.duration_since(since) < QUIET {
            self.waiting.insert(file.clone());
            result.is_unsettled = true;
        } else {
            result.changes.push(FileChange::Unusable(file.clone(), refused));
        }
    }

    fn log_fault(&mut self, refused: LoadError) {
        if self.fault.as_ref() == Some(&refused) {
            return;
        }

        let directory = self.path.display().to_string();
        let shown = printable(&directory);
        if refused.reason == LoadErrorReason::NotFound {
            tracing::warn!(
                %directory,
                "plugin directory {shown} does not exist; no plugins are loaded from it (create it or set \
                 plugins.directory)"
            );
        } else {
            let reason = refused.reason.code();
            let detail = refused.detail_about(&self.path);
            tracing::error!(
                %directory,
                reason,
                "plugin directory {shown} refused ({reason}): {detail}; no plugins are loaded from it"
            );
        }
        self.fault = Some(refused);
    }
}

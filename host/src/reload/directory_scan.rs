//! What was last seen of each file in the plugin directory, so that each content is acted on once.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::loader::{ContentHash, FileStamp, LoadError, LoadErrorReason, PluginDirectory};

/// How long nothing must have happened to a file that nobody said is whole: a copy that pauses for longer is caught
/// by the checks of its content.
const REST: Duration = Duration::from_millis(300);

/// How long a file must have been missing to count as gone: a build or a copy may remove it a moment before it
/// writes it anew.
const GONE: Duration = Duration::from_millis(150);

/// How long a file and its signature must have been at rest before they are told not to belong together: they are two
/// files, and one of them comes first.
const PAIR: Duration = Duration::from_secs(1);

/// The last sight of one file.
#[derive(Debug, Clone)]
pub(super) struct SeenFile {
    stamp: Option<FileStamp>,
    /// The content that was acted on last; `None` when there was none, or it is to be tried again.
    hash: Option<ContentHash>,
    /// Why it was not even staged, so that it is said once.
    refused: Option<LoadError>,
    /// It is left alone until then.
    not_before: Option<Instant>,
}

/// What there is to do about one file.
pub(super) enum FileChange {
    /// It may have another content.
    Read(OsString),
    /// It cannot be a plugin's file, and this was not said yet.
    Refused(OsString, LoadError),
    /// It has gone.
    Gone(OsString),
}

/// What one look at the directory found.
#[derive(Default)]
pub(super) struct ScanResult {
    pub(super) changes: Vec<FileChange>,
    /// Something was on the move: look again soon.
    pub(super) unsettled: bool,
}

/// The directory and the last sights of its files.
pub(super) struct DirectoryScan {
    path: PathBuf,
    directory: Option<PluginDirectory>,
    /// How many directories the path has led to.
    opened: u64,
    /// Why the directory cannot be used, so that it is said once.
    fault: Option<LoadError>,
    seen: BTreeMap<OsString, SeenFile>,
    /// Files that are not there, and since when.
    missed: BTreeMap<OsString, Instant>,
    /// Files that cannot be a plugin's as they are, and since when: that may pass.
    passing: BTreeMap<OsString, Instant>,
}

impl DirectoryScan {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            directory: None,
            opened: 0,
            fault: None,
            seen: BTreeMap::new(),
            missed: BTreeMap::new(),
            passing: BTreeMap::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn directory(&self) -> Option<&PluginDirectory> {
        self.directory.as_ref()
    }

    /// Which one of those that the path has led to it is.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    /// Makes sure that the directory at hand is the one that the path leads to. One that has gone, or may not be
    /// used, changes nothing of what serves.
    pub(super) fn open(&mut self) {
        if self.directory.as_ref().is_some_and(PluginDirectory::is_current) {
            return;
        }
        match PluginDirectory::open(&self.path) {
            Ok(directory) => {
                self.directory = Some(directory);
                self.opened += 1;
                self.fault = None;
            }
            Err(refused) => {
                self.directory = None;
                self.complain(refused);
            }
        }
    }

    fn complain(&mut self, refused: LoadError) {
        if self.fault.as_ref() == Some(&refused) {
            return;
        }
        let directory = self.path.display();
        if refused.reason == LoadErrorReason::NotFound {
            tracing::warn!(%directory, "there is no such directory: no plugin is loaded from it");
        } else {
            let reason = refused.reason.code();
            tracing::error!(%directory, reason, "no plugin is loaded from the directory: {refused}");
        }
        self.fault = Some(refused);
    }

    /// Looks at every file. `whole` names files that nobody writes to any more; with `all`, every file is taken for
    /// such a one, and one that has gone is not looked for again.
    pub(super) fn look(&mut self, whole: &[OsString], all: bool) -> ScanResult {
        let mut look = ScanResult::default();
        let files = match self.directory.as_ref().map(PluginDirectory::list) {
            Some(Ok(files)) => files,
            Some(Err(refused)) => {
                self.complain(refused);
                return look;
            }
            None => return look,
        };
        // First: a file that was renamed leaves its names free for the other.
        self.look_for_the_gone(&files, all, &mut look);
        self.passing.retain(|file, _| files.contains(file));
        let Some(directory) = &self.directory else { return look };
        for file in &files {
            let known = self.seen.get(file);
            match directory.stamp(file) {
                Ok(stamp) => {
                    self.passing.remove(file);
                    let same = known
                        .and_then(|sight| sight.stamp)
                        .is_some_and(|seen| stamp.is_unchanged_since(&seen));
                    if same && known.is_some_and(|sight| sight.hash.is_some() || sight.refused.is_some()) {
                        continue;
                    }
                    let not_before = known.and_then(|sight| sight.not_before).filter(|_| !all);
                    if not_before.is_some_and(|until| Instant::now() < until) {
                        look.unsettled = true;
                        continue;
                    }
                    if all || whole.contains(file) || stamp.is_unchanged_for(REST) {
                        look.changes.push(FileChange::Read(file.clone()));
                    } else {
                        look.unsettled = true;
                    }
                }
                // Between the listing and the stamp.
                Err(refused) if refused.reason == LoadErrorReason::NotFound => look.unsettled = true,
                Err(refused) => {
                    if known.and_then(|sight| sight.refused.as_ref()) == Some(&refused) {
                        continue;
                    }
                    // A copy begins with an empty file, and a package's upgrade with a second name.
                    let passes =
                        matches!(refused.reason, LoadErrorReason::Empty | LoadErrorReason::HardLinked);
                    let since = *self.passing.entry(file.clone()).or_insert_with(Instant::now);
                    if passes && !all && since.elapsed() < REST {
                        look.unsettled = true;
                    } else {
                        look.changes.push(FileChange::Refused(file.clone(), refused));
                    }
                }
            }
        }
        look
    }

    fn look_for_the_gone(&mut self, files: &[OsString], all: bool, look: &mut ScanResult) {
        let missing: Vec<_> = self.seen.keys().filter(|file| !files.contains(file)).cloned().collect();
        self.missed.retain(|file, _| missing.contains(file));
        for file in missing {
            let since = self.missed.entry(file.clone()).or_insert_with(Instant::now);
            if all || since.elapsed() >= GONE {
                self.missed.remove(&file);
                self.seen.remove(&file);
                look.changes.push(FileChange::Gone(file));
            } else {
                look.unsettled = true;
            }
        }
    }

    /// The content of the file that was acted on last.
    pub(super) fn content(&self, file: &OsStr) -> Option<ContentHash> {
        self.seen.get(file)?.hash
    }

    /// The file has this content, and it has been acted on.
    pub(super) fn settle(&mut self, file: &OsStr, stamp: FileStamp, hash: ContentHash) {
        let sight = SeenFile { stamp: Some(stamp), hash: Some(hash), refused: None, not_before: None };
        self.seen.insert(file.to_owned(), sight);
    }

    /// The file could not be read just now: at the next look it is, and what was acted on before is still known.
    pub(super) fn read_again(&mut self, file: &OsStr) {
        let hash = self.content(file);
        self.seen.insert(file.to_owned(), SeenFile { stamp: None, hash, refused: None, not_before: None });
    }

    /// Whether the file could not be read when it was last looked at.
    pub(super) fn is_to_be_read(&self, file: &OsStr) -> bool {
        self.seen.get(file).is_some_and(|sight| {
            sight.stamp.is_none() && sight.refused.is_none() && sight.not_before.is_none()
        })
    }

    /// The file was refused for a cause that may pass: it is tried at every look.
    pub(super) fn try_again(&mut self, file: &OsStr) {
        let sight = SeenFile { stamp: None, hash: None, refused: None, not_before: None };
        self.seen.insert(file.to_owned(), sight);
    }

    /// As [`DirectoryScan::try_again`], but not sooner than this.
    pub(super) fn try_again_after(&mut self, file: &OsStr, length: Duration) {
        let not_before = Some(Instant::now() + length);
        self.seen.insert(file.to_owned(), SeenFile { stamp: None, hash: None, refused: None, not_before });
    }

    /// The file was refused before it could be read, or as it was by `stamp`.
    pub(super) fn refuse(&mut self, file: &OsStr, stamp: Option<FileStamp>, refused: LoadError) {
        let sight = SeenFile { stamp, hash: None, refused: Some(refused), not_before: None };
        self.seen.insert(file.to_owned(), sight);
    }

    /// Every file that was seen.
    pub(super) fn files(&self) -> impl Iterator<Item = &OsString> {
        self.seen.keys()
    }
}

/// Whether the signature may well be on its way.
pub(super) fn is_early(reason: LoadErrorReason, stamp: Option<FileStamp>) -> bool {
    reason.is_in_signature() && stamp.is_none_or(|stamp| !stamp.is_unchanged_for(PAIR))
}

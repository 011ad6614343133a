//! Notices changes of the configuration file.
//!
//! Events of its directory arrive at once, but not for every change: if the path leads through
//! symbolic links, as in a ConfigMap mount, the change is in another directory; a network file
//! system reports no change that another machine makes; and the user may have no file watch left.
//! Therefore a thread also compares the file that the path leads to, every [`COMPARE_INTERVAL`] and
//! after each event of the directory.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use jackfield::log::ShortDuration;
use jackfield::{WatchFailure, WithRemedy};
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The interval at which the file is compared.
const COMPARE_INTERVAL: Duration = Duration::from_secs(2);

/// Age of a change from which on a fingerprint proves that the file has not changed since. File
/// systems record times in ticks (2 s on FAT), and two changes in one tick look like one.
const SETTLING_TIME: Duration = Duration::from_secs(3);

/// A change of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConfigChange {
    /// A process has begun to write the file and has not closed it yet.
    Begun,
    /// The file is complete, as far as can be known.
    Done,
    /// The file differs from the one that was compared before, or may differ. Whether a process
    /// still writes it is not known.
    Found,
}

impl ConfigChange {
    /// Returns what is known after this change and a later one.
    pub(super) fn and_then(self, later: Self) -> Self {
        match (self, later) {
            // The comparison finds what has been written so far.
            (Self::Begun, Self::Found) => Self::Begun,
            _ => later,
        }
    }
}

/// Identifies one content of the file that a path leads to, as far as possible without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileFingerprint {
    /// Device and inode.
    file: (u64, u64),
    pub(super) length: u64,
    pub(super) modified: SystemTime,
    changed: (i64, i64),
}

impl FileFingerprint {
    /// Returns the fingerprint of the file behind all symbolic links; `None` if there is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: metadata.modified().ok()?,
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let age = i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_sub(self.changed.0);
        // If the clock was set back, the change is in the future. The file must not be read for
        // ever.
        age < 0 || age.unsigned_abs() > SETTLING_TIME.as_secs()
    }
}

/// Compares the file with what it was before.
#[derive(Default)]
struct FileComparison {
    /// The last fingerprint, `None` for a missing file, and whether it proves that the content has
    /// not changed since.
    last: Option<(Option<FileFingerprint>, bool)>,
}

impl FileComparison {
    /// Returns whether the file may have changed since the last time that the result was `true`.
    ///
    /// The first result is `true`: the file may have changed after the host read it. A file that
    /// changed shortly before it was compared may have changed again without a trace; this is
    /// reported at the next interval (`is_interval`), not at each event.
    fn finds_change(&mut self, found: Option<FileFingerprint>, now: SystemTime, is_interval: bool) -> bool {
        if let Some((last, is_proof)) = &self.last
            && *last == found
            && (*is_proof || !is_interval)
        {
            return false;
        }
        let is_proof = found.as_ref().is_none_or(|found| found.is_settled(now));
        self.last = Some((found, is_proof));
        true
    }
}

/// The changes of one file.
pub(super) struct ConfigChanges {
    received: UnboundedReceiver<ConfigChange>,

    /// Dropping it ends the watch.
    _watcher: Option<RecommendedWatcher>,

    /// Dropping it, after the watcher has dropped its own, ends the thread.
    _compare: SyncSender<()>,
}

impl ConfigChanges {
    /// Notices changes of the file from now on. The first one is reported after
    /// [`COMPARE_INTERVAL`] at the latest, even if the file has not changed.
    pub(super) fn of(file: &Path) -> Self {
        let (sender, received) = unbounded_channel();
        let sender = Arc::new(move |change| {
            // The receiver is missing when the host ends.
            let _ = sender.send(change);
        });
        // One wake-up that is not handled yet stands for all.
        let (compare, woken) = sync_channel(1);
        let shown = file.display();

        let started = compare_in_background(file.to_owned(), woken, Arc::clone(&sender));
        if let Err(error) = &started {
            let error = WithRemedy(error);
            tracing::warn!(
                file = %shown,
                "{shown} cannot be compared at intervals: {error}; run \"jackfield reload\" after a change that \
                 has no effect"
            );
        }
        let watcher = watch(file, compare.clone(), sender);
        if let Err(error) = &watcher {
            let (error, interval) = (WatchFailure(error), ShortDuration(COMPARE_INTERVAL));
            tracing::warn!(
                file = %shown,
                "{shown} cannot be watched for changes: {error}; it is compared every {interval}"
            );
        }
        Self { received, _watcher: watcher.ok(), _compare: compare }
    }

    /// Returns the next change. Never returns if no change can be noticed.
    pub(super) async fn next(&mut self) -> ConfigChange {
        match self.received.recv().await {
            Some(change) => change,
            None => std::future::pending().await,
        }
    }
}

/// Starts the thread that compares the file, until every sender of wake-ups is dropped.
///
/// The thread that handles the signals must not do this: if the file system does not answer, the
/// comparison does not return.
fn compare_in_background(
    file: PathBuf,
    woken: Receiver<()>,
    report: Arc<impl Fn(ConfigChange) + Send + Sync + 'static>,
) -> io::Result<()> {
    let compare = move || {
        jackfield::touch_thread_locals();
        let mut comparison = FileComparison::default();
        loop {
            let is_interval = match woken.recv_timeout(COMPARE_INTERVAL) {
                Ok(()) => false,
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if comparison.finds_change(FileFingerprint::of(&file), SystemTime::now(), is_interval) {
                report(ConfigChange::Found);
            }
        }
    };
    thread::Builder::new().name("config-watch".into()).spawn(compare).map(drop)
}

/// Watches the directory of the file, because a new file may be renamed into its place. Other
/// events in the directory only cause a comparison: one of its other entries may be a link on the
/// way to the file.
fn watch(
    file: &Path,
    compare: SyncSender<()>,
    report: Arc<impl Fn(ConfigChange) + Send + Sync + 'static>,
) -> notify::Result<RecommendedWatcher> {
    let name = file.file_name().map(ToOwned::to_owned);
    let directory = file.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = directory.canonicalize().map_err(|error: io::Error| notify::Error::io(error))?;

    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // The thread is one of `notify`. If it waited for a plugin while it wakes the receiver,
        // nothing else could wake the receiver meanwhile.
        jackfield::touch_thread_locals();

        let (change, is_ours) = match event {
            Ok(event) if event.need_rescan() => (Some(ConfigChange::Done), true),
            Ok(event) => {
                let is_ours = event.paths.iter().any(|path| path.file_name() == name.as_deref());
                (change_of(event.kind), is_ours)
            }
            Err(_) => (Some(ConfigChange::Done), true),
        };
        match change {
            Some(change) if is_ours => report(change),
            // The thread is missing, or was woken already.
            Some(_) => drop(compare.try_send(())),
            None => {}
        }
    })?;
    watcher.watch(&directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Returns the change that an event on the file stands for; `None` if the file was only read.
fn change_of(kind: EventKind) -> Option<ConfigChange> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(ConfigChange::Done),
        EventKind::Access(_) => None,
        // A file that was created is still to be written. A link is complete, and read a little
        // later than necessary.
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)) => Some(ConfigChange::Begun),
        _ => Some(ConfigChange::Done),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const OLD: FileFingerprint =
        FileFingerprint { file: (1, 2), length: 3, modified: SystemTime::UNIX_EPOCH, changed: (100, 0) };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn reports_a_file_once_until_it_changes() {
        let mut comparison = FileComparison::default();
        let mut finds = |found: Option<FileFingerprint>| comparison.finds_change(found, at(200), true);

        assert!(finds(Some(OLD)), "it may have changed after it was read");
        assert!(!finds(Some(OLD)));
        assert!(finds(None) && !finds(None), "a missing file");
        assert!(finds(Some(OLD)));
        for changed in [
            FileFingerprint { file: (1, 9), ..OLD },
            FileFingerprint { length: 4, ..OLD },
            FileFingerprint { modified: at(1), ..OLD },
            FileFingerprint { changed: (100, 1), ..OLD },
        ] {
            assert!(finds(Some(changed.clone())) && !finds(Some(changed)) && finds(Some(OLD)));
        }
    }

    #[test]
    fn reports_a_file_again_that_may_have_changed_within_a_tick() {
        let mut comparison = FileComparison::default();
        let mut finds = |now: u64, is_interval| comparison.finds_change(Some(OLD), at(now), is_interval);

        assert!(finds(101, true));
        assert!(!finds(102, false), "events do not repeat it");
        assert!(finds(103, true) && finds(105, true) && !finds(107, true));
    }

    #[test]
    fn reports_no_change_for_ever_after_the_clock_was_set_back() {
        let mut comparison = FileComparison::default();

        assert!(comparison.finds_change(Some(OLD), at(50), true));
        assert!(!comparison.finds_change(Some(OLD), at(52), true));
    }

    #[test]
    fn does_not_take_a_file_as_complete_because_it_differs() {
        assert_eq!(ConfigChange::Begun.and_then(ConfigChange::Found), ConfigChange::Begun);
        assert_eq!(ConfigChange::Begun.and_then(ConfigChange::Done), ConfigChange::Done);
        assert_eq!(ConfigChange::Found.and_then(ConfigChange::Begun), ConfigChange::Begun);
    }

    #[test]
    fn compares_the_file_behind_all_links() {
        let scratch = std::env::temp_dir().join(format!("jackfield-config-{}", std::process::id()));
        for directory in ["one", "two"] {
            fs::create_dir_all(scratch.join(directory)).unwrap();
            fs::write(scratch.join(directory).join("config.toml"), "").unwrap();
        }
        symlink("one", scratch.join("data")).unwrap();
        symlink("data/config.toml", scratch.join("config.toml")).unwrap();
        let fingerprint = || FileFingerprint::of(&scratch.join("config.toml"));

        let first = fingerprint();
        symlink("two", scratch.join("new")).unwrap();
        fs::rename(scratch.join("new"), scratch.join("data")).unwrap();
        let second = fingerprint();
        fs::remove_dir_all(scratch.join("two")).unwrap();
        let dangling = fingerprint();
        fs::remove_dir_all(&scratch).unwrap();

        assert!(first.is_some() && second.is_some() && first != second);
        assert_eq!(dangling, None);
    }
}

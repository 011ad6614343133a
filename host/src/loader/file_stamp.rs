//! File metadata by which a directory scan finds changed files without reading them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;

/// The age of the last change above which a stamp is settled. File systems record times in ticks,
/// of 10 ms and less, or of 2 s on FAT, and two changes in one tick look like one.
const SETTLING_SECONDS: i64 = 3;

/// The largest difference between the clock of this machine and that of a file server. A change
/// that lies further in the future was made before the clock was set back. Its file must not be
/// read again and again until that time.
const CLOCK_DIFFERENCE_SECONDS: i64 = 3600;

/// The metadata of a plugin file and of its signature at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    own: FileMetadata,

    /// The metadata of the signature, if there is one.
    signature: Option<FileMetadata>,

    /// Whether the last change of both was older than [`SETTLING_SECONDS`] when the stamp was
    /// taken.
    is_settled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileMetadata {
    /// Device and inode.
    file: (u64, u64),
    size: u64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl FileMetadata {
    fn is_unchanged_for(&self, duration: Duration, now: SystemTime) -> bool {
        let seconds = u64::try_from(self.changed.0).unwrap_or(0);
        let changed = Duration::new(seconds, u32::try_from(self.changed.1).unwrap_or(0));
        // If the clock was set back, the change is in the future. It must not block the file
        // forever.
        since_epoch(now).checked_sub(changed).is_none_or(|age| age >= duration)
    }
}

impl FileStamp {
    /// Returns the stamp of a file without its signature; `None` for a file that has been removed.
    pub(super) fn of(stat: &Stat) -> Option<Self> {
        let changed = (stat.st_ctime, stat.st_ctime_nsec);
        let now = since_epoch(SystemTime::now());
        let age = i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_sub(changed.0);
        let is_settled = !(-CLOCK_DIFFERENCE_SECONDS..=SETTLING_SECONDS).contains(&age);
        let own = FileMetadata {
            file: (stat.st_dev, stat.st_ino),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed,
        };

        (stat.st_nlink > 0).then_some(Self { own, signature: None, is_settled })
    }

    /// Returns the stamp of the file together with its signature.
    pub(super) fn with_signature(self, signature: Option<Self>) -> Self {
        let is_settled = self.is_settled && signature.is_none_or(|signature| signature.is_settled);
        Self { signature: signature.map(|signature| signature.own), is_settled, ..self }
    }

    /// Returns whether the file and its signature have not changed for `duration` at `now`.
    #[must_use]
    pub fn is_unchanged_for(&self, duration: Duration, now: SystemTime) -> bool {
        let is_unchanged = |metadata: &FileMetadata| metadata.is_unchanged_for(duration, now);
        is_unchanged(&self.own) && self.signature.as_ref().is_none_or(is_unchanged)
    }

    /// Returns whether an equal stamp that is taken later proves that nothing has changed in
    /// between.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Returns whether the file, without its signature, has the same metadata as `stat`.
    pub(super) fn has_same_metadata(&self, stat: &Stat) -> bool {
        Self::of(stat).is_some_and(|other| other.own == self.own)
    }

    /// Returns whether the file and its signature have the same metadata as `other`.
    #[must_use]
    pub fn is_equal_to(&self, other: &Self) -> bool {
        Self { is_settled: other.is_settled, ..*self } == *other
    }

    /// Returns whether the file has certainly not changed since `earlier` was taken.
    ///
    /// If the file had changed shortly before `earlier` was taken, it may have changed again
    /// without a trace. The result is then `false`, and the content must be compared.
    #[must_use]
    pub fn is_unchanged_since(&self, earlier: &Self) -> bool {
        earlier.is_settled && Self { is_settled: true, ..*self } == *earlier
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
impl FileStamp {
    /// Returns the stamp that an invented file would have at `now`. `version` distinguishes its
    /// states, `changed` is the time of its last change.
    pub(crate) fn invented(version: u64, changed: SystemTime, now: SystemTime) -> Self {
        let since = since_epoch(changed);
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let own = FileMetadata {
            file: (1, version),
            size: 1,
            modified: (0, 0),
            changed: (seconds, since.subsec_nanos().into()),
        };
        let settling_time = Duration::from_secs(SETTLING_SECONDS.unsigned_abs());
        let is_settled = now.duration_since(changed).is_ok_and(|age| age > settling_time);
        Self { own, signature: None, is_settled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: FileMetadata = FileMetadata { file: (1, 2), size: 3, modified: (4, 5), changed: (6, 7) };
    const OLD: FileStamp = FileStamp { own: OWN, signature: None, is_settled: true };
    const FRESH: FileStamp = FileStamp { is_settled: false, ..OLD };

    #[test]
    fn proves_that_nothing_changed_only_if_the_earlier_stamp_was_settled() {
        assert!(OLD.is_unchanged_since(&OLD) && FRESH.is_unchanged_since(&OLD));
        assert!(!OLD.is_unchanged_since(&FRESH));
    }

    #[test]
    fn detects_a_change_of_any_metadata() {
        for other in [
            FileStamp { own: FileMetadata { file: (1, 3), ..OWN }, ..OLD },
            FileStamp { own: FileMetadata { size: 4, ..OWN }, ..OLD },
            FileStamp { own: FileMetadata { modified: (4, 6), ..OWN }, ..OLD },
            FileStamp { own: FileMetadata { changed: (6, 8), ..OWN }, ..OLD },
            FileStamp { signature: Some(OWN), ..OLD },
        ] {
            assert!(!other.is_unchanged_since(&OLD), "{other:?}");
        }
    }

    #[test]
    fn is_unchanged_for_the_time_since_the_last_change_of_file_and_signature() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let file = FileStamp::invented(1, at(100), at(200));
        let signed = file.with_signature(Some(FileStamp::invented(2, at(150), at(200))));
        let is_unchanged =
            |stamp: FileStamp, now: u64| stamp.is_unchanged_for(Duration::from_secs(60), at(now));
        assert!(!is_unchanged(file, 159) && is_unchanged(file, 160));
        assert!(!is_unchanged(signed, 209) && is_unchanged(signed, 210));
        assert!(is_unchanged(file, 99), "the clock was set back");
    }

    #[test]
    fn is_settled_if_the_last_change_is_old_or_was_made_before_the_clock_was_set_back() {
        let now = i64::try_from(since_epoch(SystemTime::now()).as_secs()).unwrap();
        let is_settled = |changed: i64| {
            let mut stat = rustix::fs::stat("/").unwrap();
            stat.st_ctime = changed;
            FileStamp::of(&stat).unwrap().is_settled()
        };

        assert!(is_settled(now - 60) && is_settled(now + 2 * CLOCK_DIFFERENCE_SECONDS));
        assert!(!is_settled(now) && !is_settled(now + CLOCK_DIFFERENCE_SECONDS / 2));
    }

    #[test]
    fn is_settled_only_together_with_the_signature() {
        assert!(!OLD.with_signature(Some(FRESH)).is_settled && OLD.with_signature(Some(OLD)).is_settled);
    }
}

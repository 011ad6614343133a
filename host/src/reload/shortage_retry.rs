//! Loads files again that were refused because the system had run out of something, such as
//! descriptors, memory or threads. The pauses increase, because an attempt takes more of it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};

use super::seen_files::SeenFiles;
use crate::loader::FileStamp;

/// The pause before the first attempt. Each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// A file that is loaded again later.
#[derive(Debug)]
struct ShortageRetry {
    at: Instant,
    pause: Duration,
}

/// The files that are loaded again later.
#[derive(Debug, Default)]
pub(super) struct ShortageRetries(BTreeMap<OsString, ShortageRetry>);

impl ShortageRetries {
    /// Has a file loaded again that failed at `now`, after a pause of at least `min_pause` or when
    /// it changes. `stamp` describes the file if it could not be read.
    pub(super) fn retry_later(
        &mut self,
        files: &mut SeenFiles,
        file: &OsStr,
        stamp: Option<FileStamp>,
        now: Instant,
        min_pause: Duration,
    ) {
        let not_before = self.failed(file, now, min_pause);
        files.retry_unchanged_after(file, stamp, not_before);
    }

    /// Records that a file failed at `now`, and returns when it is loaded again, which is not
    /// before `min_pause` has passed.
    fn failed(&mut self, file: &OsStr, now: Instant, min_pause: Duration) -> Instant {
        let last = self.0.get(file).map(|retry| retry.pause);
        let pause = last.map_or(FIRST_PAUSE, |pause| (pause * 2).min(MAX_PAUSE)).max(min_pause);
        let at = now + pause;
        self.0.insert(file.to_owned(), ShortageRetry { at, pause });
        at
    }

    /// Forgets a file that was loaded or removed, or that was refused for another reason.
    pub(super) fn forget(&mut self, file: &OsStr) {
        self.0.remove(file);
    }

    /// Returns the files that are to be loaded again.
    pub(super) fn due(&self, now: Instant) -> Vec<OsString> {
        let due = self.0.iter().filter(|(_, retry)| now >= retry.at);
        due.map(|(file, _)| file.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_the_pause_up_to_the_longest_and_starts_again_after_a_success() {
        let mut retries = ShortageRetries::default();
        let now = Instant::now();
        let file = OsStr::new("a.so");
        let mut pause = || (retries.failed(file, now, Duration::ZERO) - now).as_secs();
        assert_eq!([(); 8].map(|()| pause()), [1, 2, 4, 8, 16, 32, 60, 60]);

        retries.forget(file);
        assert_eq!(retries.failed(file, now, Duration::ZERO) - now, FIRST_PAUSE);
        retries.forget(file);
        assert_eq!(retries.failed(file, now, Duration::from_secs(4)) - now, Duration::from_secs(4));
    }
}

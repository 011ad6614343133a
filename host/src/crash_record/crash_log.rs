//! The crash log: recent crashes, and the plugin contents that are quarantined because of them.
//!
//! It is kept from host to host in `deaths.json`. The names of its members do not change, so that a
//! host reads the file that an earlier version wrote.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::record_directory::replace_file;
use super::running_code::LifecyclePhase;

/// Crashes and quarantined contents that are kept. Older ones add no information.
pub(super) const ENTRIES_MAX: usize = 64;

/// The largest file that is read, in bytes: 64 crashes of a thousand threads each take a few MiB.
const SIZE_MAX: u64 = 64 << 20;

/// Plugin code that ran when a host crashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CrashedCall {
    pub(crate) plugin: String,
    pub(crate) generation: u64,
    pub(crate) method: String,

    /// The request id, cut to 64 bytes; empty if the call had none.
    pub(crate) id: String,

    /// The hash of the plugin content; empty for methods that are part of the program.
    pub(crate) hash: String,
}

/// A crash of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Crash {
    /// When the next host found it, in seconds since 1970.
    pub(crate) at: u64,

    /// The plugin code that ran; never empty.
    #[serde(rename = "ran")]
    pub(crate) calls: Vec<CrashedCall>,
}

impl Crash {
    /// Returns whether this content ran.
    pub(super) fn involves(&self, hash: &str) -> bool {
        self.calls.iter().any(|call| call.hash == hash)
    }

    /// Returns whether several plugins were starting, so that the crash does not show which of them
    /// caused it.
    pub(crate) fn is_of_parallel_starts(&self) -> bool {
        let is_start = |call: &&CrashedCall| call.method == LifecyclePhase::Start.name();
        self.calls.iter().filter(is_start).count() > 1
    }
}

/// A plugin content that is not loaded, because it ran in too many crashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quarantined {
    pub(crate) plugin: String,
    pub(crate) hash: String,

    /// The number of crashes in which it ran.
    #[serde(rename = "deaths")]
    pub(crate) crashes: usize,

    /// Its method or lifecycle phase that ran in the last one.
    pub(crate) method: String,
}

/// The crashes and quarantined contents that are kept from host to host, oldest first.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CrashLog {
    #[serde(rename = "deaths")]
    pub(super) crashes: Vec<Crash>,

    #[serde(rename = "left_out")]
    pub(super) quarantined: Vec<Quarantined>,
}

/// Returns the system time in seconds since 1970. A monotonic clock does not survive a restart of
/// the machine.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl CrashLog {
    /// Reads the file; a missing one is an empty log.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is too large, or is not a crash log.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.len() <= SIZE_MAX => Ok(serde_json::from_slice(&fs::read(path)?)?),
            Ok(metadata) => {
                Err(io::Error::other(format!("it has {} bytes, more than {SIZE_MAX}", metadata.len())))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes the file, or removes it if the log is empty.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        if *self != Self::default() {
            return replace_file(path, &serde_json::to_vec_pretty(self)?);
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the crashes that are older than `window`, and those that are further than that in
    /// the future because the clock was set back.
    pub(super) fn expire(&mut self, window: Duration, now: u64) {
        self.crashes.retain(|crash| now.abs_diff(crash.at) <= window.as_secs());
    }

    /// Adds a crash, and drops the oldest one if there are too many.
    pub(super) fn add_crash(&mut self, crash: Crash) {
        self.crashes.push(crash);
        drop_oldest(&mut self.crashes);
    }

    /// Adds quarantined contents, and drops the oldest ones if there are too many.
    pub(super) fn add_quarantined(&mut self, contents: &[Quarantined]) {
        self.quarantined.extend_from_slice(contents);
        drop_oldest(&mut self.quarantined);
    }

    /// Returns the entry of a quarantined content.
    pub(super) fn quarantined(&self, hash: &str) -> Option<&Quarantined> {
        self.quarantined.iter().find(|content| content.hash == hash)
    }

    /// Ends the quarantine of a content, and removes the crashes in which it ran. Returns whether
    /// anything changed.
    ///
    /// The crashes are removed for the other contents that ran in them, too: without the cleared
    /// content, those would appear to have run alone.
    pub(super) fn clear(&mut self, hash: &str) -> bool {
        let before = (self.crashes.len(), self.quarantined.len());
        self.crashes.retain(|crash| !crash.involves(hash));
        self.quarantined.retain(|content| content.hash != hash);

        before != (self.crashes.len(), self.quarantined.len())
    }
}

fn drop_oldest<T>(entries: &mut Vec<T>) {
    let surplus = entries.len().saturating_sub(ENTRIES_MAX);
    entries.drain(..surplus);
}

/// A crash in which each of these contents ran once, as method `m` of `plugin-HASH`.
#[cfg(test)]
pub(super) fn crash_of(hashes: &[&str]) -> Crash {
    let call = |hash: &&str| CrashedCall {
        plugin: format!("plugin-{hash}"),
        generation: 1,
        method: "m".to_owned(),
        id: String::new(),
        hash: (*hash).to_owned(),
    };
    Crash { at: 1000, calls: hashes.iter().map(call).collect() }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A file name that no other test uses.
    fn scratch_file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("jackfield-crash-log-{name}-{}", std::process::id()))
    }

    fn quarantined(hash: &str) -> Quarantined {
        Quarantined { plugin: "p".to_owned(), hash: hash.to_owned(), crashes: 3, method: "m".to_owned() }
    }

    fn log_of(crashes: &[&[&str]]) -> CrashLog {
        let mut log = CrashLog::default();
        crashes.iter().for_each(|hashes| log.add_crash(crash_of(hashes)));
        log
    }

    #[test]
    fn reads_the_file_of_an_earlier_version() {
        let path = scratch_file("format");
        let text = r#"{"deaths":[{"at":1000,"ran":[{"plugin":"plugin-a","generation":1,"method":"m","id":"",
            "hash":"a"}]}],"left_out":[{"plugin":"p","hash":"a","deaths":3,"method":"m"}]}"#;
        fs::write(&path, text).unwrap();
        let mut expected = log_of(&[&["a"]]);
        expected.add_quarantined(&[quarantined("a")]);

        assert_eq!(CrashLog::read(&path).unwrap(), expected);
        expected.write(&path).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();

        fs::remove_file(&path).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(text).unwrap());
    }

    #[test]
    fn distinguishes_a_crash_of_parallel_starts() {
        let crash = |methods: &[&str]| {
            let call = |method: &&str| CrashedCall {
                plugin: "p".to_owned(),
                generation: 1,
                method: (*method).to_owned(),
                id: String::new(),
                hash: "a".to_owned(),
            };
            Crash { at: 0, calls: methods.iter().map(call).collect() }
        };

        assert!(crash(&["(start)", "p.m", "(start)"]).is_of_parallel_starts());
        assert!(!crash(&["(start)", "p.m", "(stop)"]).is_of_parallel_starts());
    }

    #[test]
    fn removes_the_file_of_an_empty_log() {
        let path = scratch_file("empty");
        log_of(&[&["a"]]).write(&path).unwrap();
        CrashLog::default().write(&path).unwrap();
        assert!(!path.exists());
        CrashLog::default().write(&path).unwrap();
        assert_eq!(CrashLog::read(&path).unwrap(), CrashLog::default(), "a missing file is an empty log");
    }

    #[test]
    fn refuses_a_file_that_is_no_crash_log() {
        let path = scratch_file("damaged");
        for text in ["", "[[[[", "{}", r#"{"deaths":[{}],"left_out":[]}"#, "\u{0}"] {
            fs::write(&path, text).unwrap();
            assert!(CrashLog::read(&path).is_err(), "{text}");
        }
        fs::File::create(&path).unwrap().set_len(SIZE_MAX + 1).unwrap();
        let error = CrashLog::read(&path).unwrap_err();
        fs::remove_file(&path).unwrap();
        assert!(error.to_string().contains("bytes"), "{error}");
    }

    #[test]
    fn expires_crashes_outside_of_the_window() {
        let window = Duration::from_secs(10);
        for (now, kept) in [(1010, 1), (1011, 0), (990, 1), (989, 0)] {
            let mut log = log_of(&[&["a"]]);
            log.expire(window, now);
            assert_eq!(log.crashes.len(), kept, "at {now}");
        }
    }

    #[test]
    fn drops_the_oldest_entries_beyond_the_limit() {
        let mut log = CrashLog::default();
        for number in 0..ENTRIES_MAX + 2 {
            log.add_crash(crash_of(&[&number.to_string()]));
            log.add_quarantined(&[quarantined(&number.to_string())]);
        }
        assert_eq!((log.crashes.len(), log.quarantined.len()), (ENTRIES_MAX, ENTRIES_MAX));
        assert!(log.crashes[0].involves("2"));
        assert_eq!(log.quarantined[0].hash, "2");
    }

    #[test]
    fn clears_a_content_together_with_the_crashes_in_which_it_ran() {
        let mut log = log_of(&[&["a", "b"], &["a"], &["b"]]);
        log.add_quarantined(&[quarantined("a")]);

        assert!(log.clear("a"));
        assert!(log.quarantined("a").is_none());
        assert_eq!(log.crashes, [crash_of(&["b"])]);
        assert!(!log.clear("a"), "nothing is left to clear");
    }
}

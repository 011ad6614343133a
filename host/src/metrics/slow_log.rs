//! The slowest and the failed requests of the last minutes, bounded, for operators.
//!
//! A request that is fast and succeeds costs one comparison. No thread waits for another: an entry
//! is dropped and counted if the entries are locked at that moment.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::open_connections::PeerIdentity;
use super::outcome::Outcome;
use crate::clock::{Time, nanoseconds};
use crate::log::printable;
use crate::sync::lock;

/// Number of the slowest successful requests that are kept.
const MAX_SLOW: usize = 64;

/// Number of requests that are kept of each other outcome. The limit is per outcome, so that many
/// failures of one kind do not displace the others.
const MAX_FAILED: usize = 16;

/// Age at which an entry is removed.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Bytes that are kept of an id and of a method name. The names of all methods that can run fit.
const MAX_TEXT: usize = 256;

/// One request that was slow or failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlowLogEntry {
    /// When the request was answered, by the wall clock.
    pub(crate) at: SystemTime,

    /// When the request was answered, by the monotonic clock.
    pub(crate) time: Time,

    /// The number of the connection that logs show.
    pub(crate) connection: u64,

    pub(crate) peer: Option<PeerIdentity>,

    /// The id, as [`printable_excerpt`] returns it.
    pub(crate) id: Box<str>,

    /// The method name, as [`printable_excerpt`] returns it. If no route knows the name, it is
    /// whatever the client sent.
    pub(crate) method: Box<str>,

    /// The plugin and the number of the generation that ran the request, if any did.
    pub(crate) ran_by: Option<(Arc<str>, u64)>,

    /// The time from acceptance to start; to the reply if the request was never started.
    pub(crate) queued: Duration,

    /// The time from start to reply.
    pub(crate) ran: Duration,

    pub(crate) outcome: Outcome,
}

impl SlowLogEntry {
    fn length(&self) -> Duration {
        self.queued + self.ran
    }
}

/// Returns the beginning of a text from outside with unprintable characters escaped, at most
/// [`MAX_TEXT`] bytes.
pub(crate) fn printable_excerpt(text: &str) -> Box<str> {
    let cut = &text[..text.floor_char_boundary(MAX_TEXT)];
    let printable = printable(cut);
    printable[..printable.floor_char_boundary(MAX_TEXT)].into()
}

/// The slow log of a host.
pub(crate) struct SlowLog {
    /// Successful requests that took no longer than this are not kept, in nanoseconds.
    threshold: AtomicU64,
    entries: Mutex<SlowLogEntries>,
    missed: AtomicU64,
}

struct SlowLogEntries {
    /// In no order.
    slow: Vec<SlowLogEntry>,

    /// Indexed by [`Outcome`], the oldest first.
    failed: Vec<VecDeque<SlowLogEntry>>,
}

/// The contents of the slow log at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SlowLogContents {
    /// The slowest first.
    pub(crate) slow: Vec<SlowLogEntry>,

    /// The latest first.
    pub(crate) failed: Vec<SlowLogEntry>,

    /// The number of requests that were not kept because the entries were locked.
    pub(crate) missed: u64,
}

impl Default for SlowLog {
    fn default() -> Self {
        let failed = Outcome::all().map(|_| VecDeque::new()).collect();
        let entries = Mutex::new(SlowLogEntries { slow: Vec::new(), failed });
        Self { threshold: AtomicU64::new(0), entries, missed: AtomicU64::new(0) }
    }
}

impl SlowLog {
    /// Returns whether a request that succeeded took long enough to be kept.
    pub(crate) fn is_slow(&self, length: Duration) -> bool {
        nanoseconds(length) > self.threshold.load(Ordering::Relaxed)
    }

    /// Keeps the entry, unless another thread has locked the entries.
    pub(crate) fn record(&self, entry: SlowLogEntry) {
        let Ok(mut entries) = self.entries.try_lock() else {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        };

        if entry.outcome != Outcome::OK {
            let failed = &mut entries.failed[entry.outcome.index()];
            if failed.len() == MAX_FAILED {
                failed.pop_front();
            }
            failed.push_back(entry);
            return;
        }

        if entries.slow.len() == MAX_SLOW {
            let fastest = entries.slow.iter_mut().min_by_key(|other| other.length());
            // Another thread may have raised the threshold since the caller compared with it.
            if let Some(fastest) = fastest.filter(|fastest| fastest.length() < entry.length()) {
                *fastest = entry;
            }
        } else {
            entries.slow.push(entry);
        }
        self.update_threshold(&entries);
    }

    fn update_threshold(&self, entries: &SlowLogEntries) {
        let fastest = entries.slow.iter().map(SlowLogEntry::length).min();
        let threshold = fastest.filter(|_| entries.slow.len() == MAX_SLOW).map_or(0, nanoseconds);
        self.threshold.store(threshold, Ordering::Relaxed);
    }

    /// Removes old entries. This must be called from time to time, so that the threshold follows
    /// the last minutes.
    pub(crate) fn remove_expired(&self, now: Time) {
        let is_recent = |entry: &SlowLogEntry| now.since(entry.time) < MAX_AGE;

        let mut entries = lock(&self.entries);
        entries.slow.retain(is_recent);
        entries.failed.iter_mut().for_each(|failed| failed.retain(is_recent));
        self.update_threshold(&entries);
    }

    /// Returns a copy of all entries.
    pub(crate) fn contents(&self) -> SlowLogContents {
        let entries = lock(&self.entries);
        let mut slow = entries.slow.clone();
        let mut failed: Vec<_> = entries.failed.iter().flatten().cloned().collect();
        drop(entries);

        slow.sort_by_key(|entry| std::cmp::Reverse(entry.length()));
        failed.sort_by_key(|entry| std::cmp::Reverse(entry.time));
        SlowLogContents { slow, failed, missed: self.missed.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: Time, micros: u64, outcome: Outcome) -> SlowLogEntry {
        SlowLogEntry {
            at: SystemTime::UNIX_EPOCH,
            time: at,
            connection: 1,
            peer: None,
            id: printable_excerpt("x"),
            method: printable_excerpt("a.b"),
            ran_by: None,
            queued: Duration::ZERO,
            ran: Duration::from_micros(micros),
            outcome,
        }
    }

    fn empty(missed: u64) -> SlowLogContents {
        SlowLogContents { slow: Vec::new(), failed: Vec::new(), missed }
    }

    #[test]
    fn keeps_the_slowest_requests_and_adapts_the_threshold() {
        let log = SlowLog::default();
        let now = Time::now();
        for micros in 1..=1000 {
            if log.is_slow(Duration::from_micros(micros)) {
                log.record(entry(now, micros, Outcome::OK));
            }
        }

        let SlowLogContents { slow, failed, missed } = log.contents();
        let micros: Vec<_> = slow.iter().map(|entry| entry.ran.as_micros()).collect();
        assert_eq!(micros, (937..=1000).rev().collect::<Vec<_>>());
        assert_eq!((failed.len(), missed), (0, 0));
        assert!(!log.is_slow(Duration::from_micros(937)) && log.is_slow(Duration::from_micros(938)));
    }

    #[test]
    fn removes_expired_entries_and_lowers_the_threshold() {
        let log = SlowLog::default();
        let now = Time::now();
        (1..=100).for_each(|micros| log.record(entry(now, micros, Outcome::OK)));
        log.record(entry(now, 1, Outcome::ABANDONED));

        log.remove_expired(now.after(MAX_AGE));

        assert_eq!(log.contents(), empty(0));
        assert!(log.is_slow(Duration::from_nanos(1)));
    }

    #[test]
    fn keeps_other_failures_when_one_kind_is_frequent() {
        let log = SlowLog::default();
        let now = Time::now();
        log.record(entry(now, 1, Outcome::PLUGIN_ERROR));
        for number in 0..1000 {
            log.record(entry(now.after(Duration::from_micros(number)), 1, Outcome::ABANDONED));
        }

        let failed = log.contents().failed;
        assert_eq!(failed.len(), MAX_FAILED + 1);
        assert_eq!(failed.last().map(|entry| entry.outcome), Some(Outcome::PLUGIN_ERROR));
        assert!(failed[0].time > failed[1].time, "the latest is not the first");
    }

    #[test]
    fn drops_and_counts_an_entry_while_the_log_is_locked() {
        let log = SlowLog::default();
        let held = lock(&log.entries);
        log.record(entry(Time::now(), 1, Outcome::OK));
        drop(held);
        assert_eq!(log.contents(), empty(1));
    }

    #[test]
    fn keeps_a_short_and_printable_excerpt_of_a_text() {
        assert_eq!(&*printable_excerpt("a\u{1b}[2J\n"), "a\\u{1b}[2J\\n");
        assert!(printable_excerpt(&"\u{1b}ü".repeat(500)).len() <= MAX_TEXT);
    }
}

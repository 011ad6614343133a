//! The slowest requests and the failed ones, lately: bounded, and kept without anybody waiting.
//!
//! A fast request that succeeds costs one comparison. Whoever finds the entries locked leaves its own out and counts it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::{Outcome, PeerIdentity};
use crate::clock::{Time, nanoseconds};
use crate::log::printable;
use crate::sync::lock;

/// So many of the slowest that succeeded.
const SLOW: usize = 64;
/// So many of each outcome that is none: a flood of one does not wash the others away.
const FAILED: usize = 16;
/// What is older is not lately.
const LATELY: Duration = Duration::from_secs(600);
/// So much of an id and of a method's name is kept, in bytes: all of those that can be run.
const LONGEST_TEXT: usize = 256;

/// One request that was slow or failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlowLogEntry {
    /// When it was answered.
    pub(crate) at: SystemTime,
    pub(crate) time: Time,
    /// As logs name its connection.
    pub(crate) connection: u64,
    pub(crate) peer: Option<PeerIdentity>,
    /// Printable, and cut at 256 bytes.
    pub(crate) id: Box<str>,
    /// Printable, and cut at 256 bytes: a name that no route knows is whatever a client sent.
    pub(crate) method: Box<str>,
    /// What ran it, if anything did: the plugin, and which generation of it.
    pub(crate) ran_by: Option<(Arc<str>, u64)>,
    /// From acceptance to when it was begun; all of it, if it was not.
    pub(crate) queued: Duration,
    /// From when it was begun to its reply.
    pub(crate) ran: Duration,
    pub(crate) outcome: Outcome,
}

impl SlowLogEntry {
    fn length(&self) -> Duration {
        self.queued + self.ran
    }
}

/// A text from outside as it is kept.
pub(crate) fn kept(text: &str) -> Box<str> {
    let cut = &text[..text.floor_char_boundary(LONGEST_TEXT)];
    let printable = printable(cut);
    printable[..printable.floor_char_boundary(LONGEST_TEXT)].into()
}

/// The slowest and the failed of a host.
pub(crate) struct SlowLog {
    /// What is not longer is no news, in nanoseconds.
    threshold: AtomicU64,
    entries: Mutex<Entries>,
    missed: AtomicU64,
}

struct Entries {
    /// In no order.
    slow: Vec<SlowLogEntry>,
    /// By [`Outcome`], the oldest first.
    failed: Vec<VecDeque<SlowLogEntry>>,
}

impl Default for SlowLog {
    fn default() -> Self {
        let failed = Outcome::all().map(|_| VecDeque::new()).collect();
        let entries = Mutex::new(Entries { slow: Vec::new(), failed });
        Self { threshold: AtomicU64::new(0), entries, missed: AtomicU64::new(0) }
    }
}

impl SlowLog {
    /// Whether a request that succeeded took long enough to be kept.
    pub(crate) fn is_slow(&self, length: Duration) -> bool {
        nanoseconds(length) > self.threshold.load(Ordering::Relaxed)
    }

    /// Keeps it, if nobody else is at the entries just now.
    pub(crate) fn keep(&self, entry: SlowLogEntry) {
        let Ok(mut entries) = self.entries.try_lock() else {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if entry.outcome != Outcome::OK {
            let failed = &mut entries.failed[entry.outcome.place()];
            if failed.len() == FAILED {
                failed.pop_front();
            }
            failed.push_back(entry);
            return;
        }
        if entries.slow.len() == SLOW {
            let slowest_last = entries.slow.iter_mut().min_by_key(|other| other.length());
            // Others may have raised the threshold since it was looked at.
            if let Some(least) = slowest_last.filter(|least| least.length() < entry.length()) {
                *least = entry;
            }
        } else {
            entries.slow.push(entry);
        }
        self.set_threshold(&entries);
    }

    fn set_threshold(&self, entries: &Entries) {
        let least = entries.slow.iter().map(SlowLogEntry::length).min();
        let least = least.filter(|_| entries.slow.len() == SLOW).map_or(0, nanoseconds);
        self.threshold.store(least, Ordering::Relaxed);
    }

    /// Lets go of what is old: done now and then, so that what is slow for these minutes is kept.
    pub(crate) fn tidy(&self, now: Time) {
        let is_lately = |entry: &SlowLogEntry| now.since(entry.time) < LATELY;
        let mut entries = lock(&self.entries);
        entries.slow.retain(is_lately);
        entries.failed.iter_mut().for_each(|failed| failed.retain(is_lately));
        self.set_threshold(&entries);
    }

    /// The slowest first, then the failed, the last one first; and how many could not be kept.
    pub(crate) fn all(&self) -> (Vec<SlowLogEntry>, Vec<SlowLogEntry>, u64) {
        let (mut slow, mut failed) = {
            let entries = lock(&self.entries);
            (entries.slow.clone(), entries.failed.iter().flatten().cloned().collect::<Vec<_>>())
        };
        slow.sort_by_key(|entry| std::cmp::Reverse(entry.length()));
        failed.sort_by_key(|entry| std::cmp::Reverse(entry.time));
        (slow, failed, self.missed.load(Ordering::Relaxed))
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
            id: kept("x"),
            method: kept("a.b"),
            ran_by: None,
            queued: Duration::ZERO,
            ran: Duration::from_micros(micros),
            outcome,
        }
    }

    #[test]
    fn the_slowest_stay_and_the_threshold_follows() {
        let log = SlowLog::default();
        let now = Time::now();
        for micros in 1..=1000 {
            if log.is_slow(Duration::from_micros(micros)) {
                log.keep(entry(now, micros, Outcome::OK));
            }
        }
        let (slow, failed, missed) = log.all();
        let micros: Vec<_> = slow.iter().map(|entry| entry.ran.as_micros()).collect();
        assert_eq!(micros, (937..=1000).rev().collect::<Vec<_>>());
        assert_eq!((failed.len(), missed), (0, 0));
        assert!(!log.is_slow(Duration::from_micros(937)) && log.is_slow(Duration::from_micros(938)));
        log.tidy(now.after(LATELY));
        assert_eq!(log.all(), (Vec::new(), Vec::new(), 0));
        assert!(log.is_slow(Duration::from_nanos(1)));
    }

    #[test]
    fn one_kind_of_failure_does_not_wash_the_others_away() {
        let log = SlowLog::default();
        let now = Time::now();
        log.keep(entry(now, 1, Outcome::PLUGIN_ERROR));
        for number in 0..1000 {
            log.keep(entry(now.after(Duration::from_micros(number)), 1, Outcome::ABANDONED));
        }
        let (_, failed, _) = log.all();
        assert_eq!(failed.len(), FAILED + 1);
        assert_eq!(failed.last().map(|entry| entry.outcome), Some(Outcome::PLUGIN_ERROR));
        assert!(failed[0].time > failed[1].time, "the last one first");
    }

    #[test]
    fn who_finds_it_locked_does_not_wait() {
        let log = SlowLog::default();
        let held = lock(&log.entries);
        log.keep(entry(Time::now(), 1, Outcome::OK));
        drop(held);
        assert_eq!(log.all(), (Vec::new(), Vec::new(), 1));
    }

    #[test]
    fn what_is_kept_of_a_text_is_short_and_printable() {
        assert_eq!(&*kept("a\u{1b}[2J\n"), "a\\u{1b}[2J\\n");
        assert!(kept(&"\u{1b}ü".repeat(500)).len() <= LONGEST_TEXT);
    }
}

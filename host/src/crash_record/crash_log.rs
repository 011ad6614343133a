//! The deaths of late, and which plugin's content is left out for them.
//!
//! Nothing in a record says which of several threads brought the process down. So a content is left out only when it
//! ran in so many deaths, and nothing else ran in all of those: whatever is at fault every time ran every time, so one
//! that merely ran beside it is never alone in that, and is never left out for it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::post_mortem::CrashedCall;
use super::write_anew;

/// Deaths and contents that are remembered: more of them say nothing more.
const KEPT: usize = 64;
/// The longest book that is read, in bytes: 64 deaths of a thousand threads each are a few MiB.
const BOOK_MAX: u64 = 64 << 20;

/// One death of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Crash {
    /// When it was found, in seconds of the system's clock.
    pub(crate) at: u64,
    /// What ran; never nothing.
    pub(crate) ran: Vec<CrashedCall>,
}

/// A content that is not loaded any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quarantined {
    pub(crate) plugin: String,
    pub(crate) hash: String,
    /// How often a host died while it ran.
    pub(crate) deaths: usize,
    /// What of it ran the last time.
    pub(crate) method: String,
}

/// What is remembered from one host to the next.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CrashLog {
    pub(super) deaths: Vec<Crash>,
    pub(super) left_out: Vec<Quarantined>,
}

/// What a judgement came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum QuarantineVerdict {
    /// These are at fault, and left out from now on.
    Quarantined(Quarantined),
    /// One of these plugins is, and which one cannot be told; in the order of their names.
    Undecided(Vec<String>),
}

/// Now, in seconds of the system's clock: a monotonic one does not outlive a restart of the machine.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl CrashLog {
    /// Reads it; an empty one when there is none.
    ///
    /// # Errors
    /// What is there is no book of ours.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(facts) if facts.len() <= BOOK_MAX => Ok(serde_json::from_slice(&fs::read(path)?)?),
            Ok(facts) => Err(io::Error::other(format!("it has {} bytes", facts.len()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes it whole, or removes it when there is nothing in it.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        if *self != Self::default() {
            return write_anew(path, &serde_json::to_vec_pretty(self)?);
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Forgets what is longer ago than `window`, or in a future that the clock has come back from.
    pub(super) fn forget(&mut self, window: Duration, now: u64) {
        self.deaths.retain(|death| now.abs_diff(death.at) <= window.as_secs());
    }

    /// Adds a death, and finds out whose fault it and those before were, `most` of them being too many.
    pub(super) fn add(&mut self, death: Crash, most: usize) -> Vec<QuarantineVerdict> {
        self.deaths.push(death);
        let surplus = self.deaths.len().saturating_sub(KEPT);
        self.deaths.drain(..surplus);
        if most == 0 {
            return Vec::new();
        }
        let at_fault: Vec<_> = self
            .suspects(most)
            .into_iter()
            .filter(|(_, beside)| !beside)
            .map(|(content, _)| content)
            .collect();
        self.left_out.extend(at_fault.iter().cloned());
        let surplus = self.left_out.len().saturating_sub(KEPT);
        self.left_out.drain(..surplus);
        // Looked at anew: what is explained by now is held against nobody else.
        let mut undecided: Vec<_> =
            self.suspects(most).into_iter().map(|(content, _)| content.plugin).collect();
        // By name, not by hash: what an operator reads does not depend on how a file was built.
        undecided.sort_unstable();
        undecided.dedup();
        let undecided = (!undecided.is_empty()).then_some(QuarantineVerdict::Undecided(undecided));
        at_fault.into_iter().map(QuarantineVerdict::Quarantined).chain(undecided).collect()
    }

    /// The contents that ran in too many deaths which nothing explains yet, and whether another one ran in all of those.
    fn suspects(&self, most: usize) -> Vec<(Quarantined, bool)> {
        let explains = |ran: &CrashedCall| self.is_left_out(&ran.hash);
        let suspect = |(hash, deaths): (&str, Vec<&Crash>)| {
            let unexplained = deaths.iter().filter(|death| !death.ran.iter().any(explains)).count();
            if unexplained < most {
                return None;
            }
            let always = |other: &CrashedCall| {
                deaths.iter().all(|death| death.ran.iter().any(|ran| ran.hash == other.hash))
            };
            let last = deaths.last()?.ran.iter().rev().find(|ran| ran.hash == hash)?;
            let content = Quarantined {
                plugin: last.plugin.clone(),
                hash: hash.to_owned(),
                deaths: deaths.len(),
                method: last.method.clone(),
            };
            Some((content, deaths.first()?.ran.iter().any(|other| other.hash != hash && always(other))))
        };
        self.by_content().into_iter().filter_map(suspect).collect()
    }

    /// The deaths in which each content ran; parts of the program are no content.
    fn by_content(&self) -> BTreeMap<&str, Vec<&Crash>> {
        let mut by_content: BTreeMap<&str, Vec<&Crash>> = BTreeMap::new();
        for death in &self.deaths {
            let mut hashes: Vec<_> = death.ran.iter().map(|ran| &*ran.hash).collect();
            hashes.sort_unstable();
            hashes.dedup();
            for hash in hashes.into_iter().filter(|hash| !hash.is_empty()) {
                by_content.entry(hash).or_default().push(death);
            }
        }
        by_content
    }

    pub(super) fn left_out(&self, hash: &str) -> Option<&Quarantined> {
        self.left_out.iter().find(|left_out| left_out.hash == hash)
    }

    fn is_left_out(&self, hash: &str) -> bool {
        self.left_out(hash).is_some()
    }

    /// Lets a content in again, and forgets the deaths in which it ran: also for those beside it, which would seem to
    /// have run alone. `false` when there was nothing to forget.
    pub(super) fn pardon(&mut self, hash: &str) -> bool {
        let before = (self.deaths.len(), self.left_out.len());
        self.deaths.retain(|death| death.ran.iter().all(|ran| ran.hash != hash));
        self.left_out.retain(|left_out| left_out.hash != hash);
        before != (self.deaths.len(), self.left_out.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 3;

    fn death(contents: &[&str]) -> Crash {
        let ran = |hash: &&str| CrashedCall {
            plugin: format!("plugin-{hash}"),
            generation: 1,
            method: "m".to_owned(),
            id: String::new(),
            hash: (*hash).to_owned(),
        };
        Crash { at: 1000, ran: contents.iter().map(ran).collect() }
    }

    /// Who is left out after these deaths, one after the other.
    fn after(deaths: &[&[&str]]) -> (Vec<String>, Vec<QuarantineVerdict>) {
        let mut book = CrashLog::default();
        let mut last = Vec::new();
        for ran in deaths {
            last = book.add(death(ran), MOST);
        }
        (book.left_out.iter().map(|left_out| left_out.hash.clone()).collect(), last)
    }

    #[test]
    fn one_that_ran_in_all_of_so_many_is_left_out() {
        assert_eq!(after(&[&["a"], &["a"]]).0, [""; 0]);
        assert_eq!(after(&[&["a"], &["a", "a"], &["a"]]).0, ["a"]);
        // Twice in one death is one death.
        assert_eq!(after(&[&["a", "a"], &["a", "a"]]).0, [""; 0]);
    }

    #[test]
    fn one_that_ran_beside_the_culprit_is_not() {
        assert_eq!(after(&[&["a", "b"], &["a"], &["b", "a"]]).0, ["a"]);
        assert_eq!(after(&[&["a", "b"], &["a", "c"], &["a", "b", "c"], &["a", "b"]]).0, ["a"]);
        let (left_out, judged) = after(&[&["a", "b"], &["a", "b"], &["a", "b"]]);
        assert_eq!(left_out, [""; 0]);
        assert_eq!(
            judged,
            [QuarantineVerdict::Undecided(vec!["plugin-a".to_owned(), "plugin-b".to_owned()])]
        );
        // Once they are told apart, those deaths count.
        assert_eq!(after(&[&["a", "b"], &["a", "b"], &["a", "b"], &["a"]]).0, ["a"]);
        // What is explained by one that is left out is not held against who ran beside it.
        assert_eq!(after(&[&["a", "b"], &["a", "b"], &["a"], &["b"], &["b"]]).0, ["a"]);
    }

    #[test]
    fn whoever_is_at_fault_every_time_nobody_else_is_left_out() {
        // All that can run beside `a` in each of five deaths.
        for mask in 0..1_u32 << 10 {
            let deaths: Vec<Vec<&str>> = (0..5)
                .map(|number| {
                    let bits = mask >> (2 * number);
                    let beside = [(1, "b"), (2, "c")].into_iter().filter(|(bit, _)| bits & bit != 0);
                    std::iter::once("a").chain(beside.map(|(_, hash)| hash)).collect()
                })
                .collect();
            let deaths: Vec<&[&str]> = deaths.iter().map(Vec::as_slice).collect();
            let (left_out, _) = after(&deaths);
            assert!(left_out.iter().all(|hash| hash == "a"), "{deaths:?}: {left_out:?}");
        }
    }

    #[test]
    fn two_that_are_at_fault_in_turn_are_both_left_out_and_parts_of_the_program_never() {
        assert_eq!(after(&[&["a"], &["b"], &["a"], &["b"], &["a"], &["b"]]).0, ["a", "b"]);
        assert_eq!(after(&[&[""], &[""], &[""], &[""]]).0, [""; 0]);
        assert_eq!(after(&[&["", "a"], &["a"], &["a"]]).0, ["a"]);
    }

    #[test]
    fn those_that_cannot_be_told_apart_are_named_in_the_order_of_their_names() {
        let mut ran = death(&["a", "b"]);
        ran.ran[0].plugin = "sleeps".to_owned();
        ran.ran[1].plugin = "dies".to_owned();
        let mut book = CrashLog::default();
        let judged = [(); MOST].map(|()| book.add(ran.clone(), MOST));
        let last = vec![QuarantineVerdict::Undecided(vec!["dies".to_owned(), "sleeps".to_owned()])];
        assert_eq!(judged, [vec![], vec![], last]);
    }

    #[test]
    fn what_is_long_ago_or_pardoned_does_not_count() {
        let mut book = CrashLog::default();
        book.add(death(&["a", "b"]), MOST);
        book.add(death(&["a"]), MOST);
        assert!(book.pardon("a") && !book.pardon("a"));
        assert_eq!(book, CrashLog::default());
        book.add(death(&["a"]), MOST);
        book.forget(Duration::from_secs(10), 1010);
        assert_eq!(book.deaths.len(), 1);
        book.forget(Duration::from_secs(10), 1011);
        assert_eq!(book.deaths.len(), 0);
        (0..100).for_each(|_| drop(book.add(death(&["a"]), 0)));
        assert_eq!((book.deaths.len(), book.left_out.len()), (KEPT, 0));
    }
}

//! Decides which plugin contents are quarantined because of crashes. With `action = "worker"`, the
//! same contents are loaded into workers instead.
//!
//! The record does not show which of several threads crashed the process. A content is therefore
//! quarantined only if it ran in at least `most` unexplained crashes and no other content ran in
//! all of its crashes. A content that causes crashes runs in every crash that it causes; a content
//! that merely ran at the same time is never the only one, and is not quarantined for it.
//!
//! A crash is explained if a quarantined content ran in it. It is not held against the others.

use std::collections::BTreeMap;

use super::crash_log::{Crash, CrashLog, CrashedCall, Quarantined};

/// A decision about the crashes of a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum QuarantineVerdict {
    /// This content causes crashes, and is quarantined from now on.
    Quarantined(Quarantined),

    /// One of these plugins causes crashes, but they always ran together. Sorted by name.
    Undecided(Vec<String>),
}

/// A content that ran in too many unexplained crashes.
struct Suspect {
    content: Quarantined,

    /// Whether another content ran in all of the same crashes.
    is_accompanied: bool,
}

/// Adds a crash to the log, and quarantines the contents that are found to cause crashes. `most` is
/// the number of crashes that are too many; 0 quarantines nothing.
pub(super) fn add_crash(log: &mut CrashLog, crash: Crash, most: usize) -> Vec<QuarantineVerdict> {
    log.add_crash(crash);
    if most == 0 {
        return Vec::new();
    }

    let suspects = suspects(log, most).into_iter();
    let found: Vec<_> =
        suspects.filter(|suspect| !suspect.is_accompanied).map(|suspect| suspect.content).collect();
    log.add_quarantined(&found);

    let undecided = undecided(log, most);
    let undecided = (!undecided.is_empty()).then_some(QuarantineVerdict::Undecided(undecided));
    found.into_iter().map(QuarantineVerdict::Quarantined).chain(undecided).collect()
}

/// Returns the names of the plugins that remain suspect after the last decision, which has
/// explained some of the crashes.
fn undecided(log: &CrashLog, most: usize) -> Vec<String> {
    let mut plugins: Vec<_> = suspects(log, most).into_iter().map(|suspect| suspect.content.plugin).collect();
    // Sorted by name instead of hash, so that the message does not depend on how a file was built.
    plugins.sort_unstable();
    plugins.dedup();
    plugins
}

/// Returns the contents that ran in at least `most` unexplained crashes.
fn suspects(log: &CrashLog, most: usize) -> Vec<Suspect> {
    let is_explained = |crash: &Crash| crash.calls.iter().any(|call| log.quarantined(&call.hash).is_some());

    let suspect = |(hash, crashes): (&str, Vec<&Crash>)| {
        let unexplained = crashes.iter().filter(|crash| !is_explained(crash)).count();
        if unexplained < most {
            return None;
        }

        let last_call = crashes.last()?.calls.iter().rev().find(|call| call.hash == hash)?;
        let content = Quarantined {
            plugin: last_call.plugin.clone(),
            hash: hash.to_owned(),
            crashes: crashes.len(),
            method: last_call.method.clone(),
        };
        let is_companion =
            |call: &CrashedCall| call.hash != hash && crashes.iter().all(|crash| crash.involves(&call.hash));
        let is_accompanied = crashes.first()?.calls.iter().any(is_companion);
        Some(Suspect { content, is_accompanied })
    };
    crashes_by_content(log).into_iter().filter_map(suspect).collect()
}

/// Returns the crashes in which each content ran. Methods that are part of the program have none.
fn crashes_by_content(log: &CrashLog) -> BTreeMap<&str, Vec<&Crash>> {
    let mut by_content: BTreeMap<&str, Vec<&Crash>> = BTreeMap::new();
    for crash in &log.crashes {
        let mut hashes: Vec<_> = crash.calls.iter().map(|call| &*call.hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        for hash in hashes.into_iter().filter(|hash| !hash.is_empty()) {
            by_content.entry(hash).or_default().push(crash);
        }
    }
    by_content
}

#[cfg(test)]
mod tests {
    use super::super::crash_log::{ENTRIES_MAX, crash_of};
    use super::*;

    const MOST: usize = 3;

    /// The hashes that are quarantined after these crashes, and the verdicts on the last one.
    fn after(crashes: &[&[&str]]) -> (Vec<String>, Vec<QuarantineVerdict>) {
        let mut log = CrashLog::default();
        let mut last = Vec::new();
        for hashes in crashes {
            last = add_crash(&mut log, crash_of(hashes), MOST);
        }
        (log.quarantined.iter().map(|content| content.hash.clone()).collect(), last)
    }

    fn quarantined_after(crashes: &[&[&str]]) -> Vec<String> {
        after(crashes).0
    }

    #[test]
    fn quarantines_a_content_that_ran_alone_in_too_many_crashes() {
        assert_eq!(quarantined_after(&[&["a"], &["a"]]), [""; 0]);
        assert_eq!(quarantined_after(&[&["a"], &["a", "a"], &["a"]]), ["a"]);
    }

    #[test]
    fn reports_the_number_of_crashes_and_the_last_method() {
        let mut log = CrashLog::default();
        let mut last = crash_of(&["a", "a"]);
        last.calls[1].method = "last".to_owned();
        let verdicts =
            [crash_of(&["a"]), crash_of(&["a"]), last].map(|crash| add_crash(&mut log, crash, MOST));
        let content = Quarantined {
            plugin: "plugin-a".to_owned(),
            hash: "a".to_owned(),
            crashes: 3,
            method: "last".to_owned(),
        };
        assert_eq!(verdicts, [vec![], vec![], vec![QuarantineVerdict::Quarantined(content)]]);
    }

    #[test]
    fn counts_a_crash_once_however_many_threads_ran_the_content() {
        assert_eq!(quarantined_after(&[&["a", "a"], &["a", "a"]]), [""; 0]);
    }

    #[test]
    fn spares_a_content_that_ran_in_some_crashes_of_another() {
        assert_eq!(quarantined_after(&[&["a", "b"], &["a"], &["b", "a"]]), ["a"]);
        assert_eq!(quarantined_after(&[&["a", "b"], &["a", "c"], &["a", "b", "c"], &["a", "b"]]), ["a"]);
    }

    #[test]
    fn stays_undecided_while_two_contents_ran_in_the_same_crashes() {
        let (quarantined, verdicts) = after(&[&["a", "b"], &["a", "b"], &["a", "b"]]);
        assert_eq!(quarantined, [""; 0]);
        let plugins = vec!["plugin-a".to_owned(), "plugin-b".to_owned()];
        assert_eq!(verdicts, [QuarantineVerdict::Undecided(plugins)]);
    }

    #[test]
    fn counts_undecided_crashes_once_the_cause_is_known() {
        assert_eq!(quarantined_after(&[&["a", "b"], &["a", "b"], &["a", "b"], &["a"]]), ["a"]);
    }

    #[test]
    fn does_not_hold_an_explained_crash_against_the_other_contents() {
        assert_eq!(quarantined_after(&[&["a", "b"], &["a", "b"], &["a"], &["b"], &["b"]]), ["a"]);
    }

    #[test]
    fn never_quarantines_a_content_other_than_the_one_that_causes_every_crash() {
        // All combinations of contents that can run at the same time as `a` in five crashes.
        for mask in 0..1_u32 << 10 {
            let crashes: Vec<Vec<&str>> = (0..5)
                .map(|number| {
                    let bits = mask >> (2 * number);
                    let others = [(1, "b"), (2, "c")].into_iter().filter(|(bit, _)| bits & bit != 0);
                    std::iter::once("a").chain(others.map(|(_, hash)| hash)).collect()
                })
                .collect();
            let crashes: Vec<&[&str]> = crashes.iter().map(Vec::as_slice).collect();
            let quarantined = quarantined_after(&crashes);
            assert!(quarantined.iter().all(|hash| hash == "a"), "{crashes:?}: {quarantined:?}");
        }
    }

    #[test]
    fn quarantines_two_contents_that_crash_in_turn() {
        assert_eq!(quarantined_after(&[&["a"], &["b"], &["a"], &["b"], &["a"], &["b"]]), ["a", "b"]);
    }

    #[test]
    fn never_quarantines_methods_that_are_part_of_the_program() {
        assert_eq!(quarantined_after(&[&[""], &[""], &[""], &[""]]), [""; 0]);
        assert_eq!(quarantined_after(&[&["", "a"], &["a"], &["a"]]), ["a"]);
    }

    #[test]
    fn lists_undecided_plugins_by_name() {
        let mut crash = crash_of(&["a", "b"]);
        crash.calls[0].plugin = "sleeps".to_owned();
        crash.calls[1].plugin = "dies".to_owned();
        let mut log = CrashLog::default();
        let verdicts = [(); MOST].map(|()| add_crash(&mut log, crash.clone(), MOST));
        let undecided = QuarantineVerdict::Undecided(vec!["dies".to_owned(), "sleeps".to_owned()]);
        assert_eq!(verdicts, [vec![], vec![], vec![undecided]]);
    }

    #[test]
    fn quarantines_nothing_if_the_limit_is_0() {
        let mut log = CrashLog::default();
        for _ in 0..100 {
            assert_eq!(add_crash(&mut log, crash_of(&["a"]), 0), []);
        }
        assert_eq!((log.crashes.len(), log.quarantined.len()), (ENTRIES_MAX, 0));
    }

    #[test]
    fn starts_to_count_again_after_a_content_was_cleared() {
        let mut log = CrashLog::default();
        for _ in 0..2 {
            add_crash(&mut log, crash_of(&["a", "b"]), MOST);
        }
        assert!(log.clear("a"));
        for _ in 0..2 {
            assert_eq!(add_crash(&mut log, crash_of(&["a"]), MOST), []);
        }
        assert_eq!(add_crash(&mut log, crash_of(&["a"]), MOST).len(), 1);
    }
}

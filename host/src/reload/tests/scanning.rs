//! Tests of directory scans.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::TestClock;
use super::directory::InventedDirectory;
use super::plugin::{Content, Contents};
use crate::loader::LoadErrorReason;
use crate::reload::directory_scan::{CompleteFiles, DirectoryScan, FileChange, ScanResult};

const FILE: &str = "libdevice.so";

/// Longer than every delay of a scan, and than stamps take to vouch for a file.
const LONG: Duration = Duration::from_secs(10);

struct Scans {
    scan: DirectoryScan,
    directory: InventedDirectory,
    clock: TestClock,
}

impl Scans {
    /// Returns an empty directory.
    fn empty() -> Self {
        let clock = TestClock::new();
        let directory = InventedDirectory::new(Contents::default(), clock.clone());
        let mut scan = DirectoryScan::with_directory(PathBuf::from("plugins"), directory.opener());
        scan.open_current();
        Self { scan, directory, clock }
    }

    /// Returns a directory with a file that was acted on long ago.
    fn with_settled_file() -> Self {
        let mut this = Self::empty();
        this.directory.write(FILE, &Content::new("one"));
        this.clock.advance(LONG);
        this.settle("one");
        this
    }

    fn settle(&mut self, content: &str) {
        let stamp = self.scan.directory().unwrap().stamp(FILE.as_ref()).unwrap();
        self.scan.files.settle(FILE.as_ref(), stamp, Content::new(content).hash());
    }

    fn scan(&mut self) -> ScanResult {
        self.scan.scan(CompleteFiles::Named(&[]), self.clock.now())
    }

    fn scan_all(&mut self) -> ScanResult {
        self.scan.scan(CompleteFiles::All, self.clock.now())
    }
}

fn changed() -> Vec<FileChange> {
    vec![FileChange::Changed(FILE.into())]
}

#[track_caller]
fn assert_unsettled(result: &ScanResult) {
    assert_eq!((&result.changes[..], result.is_unsettled), (&[][..], true));
}

#[track_caller]
fn assert_quiet(result: &ScanResult) {
    assert_eq!((&result.changes[..], result.is_unsettled), (&[][..], false));
}

#[test]
fn finds_a_new_file_once_it_has_not_changed_for_a_while() {
    let mut scans = Scans::empty();
    scans.directory.write(FILE, &Content::new("one"));
    assert_unsettled(&scans.scan());

    scans.clock.advance(Duration::from_millis(299));
    assert_unsettled(&scans.scan());

    scans.clock.advance(Duration::from_millis(1));
    assert_eq!(scans.scan().changes, changed());
}

#[test]
fn finds_a_new_file_at_once_if_it_is_known_to_be_complete() {
    let mut scans = Scans::empty();
    scans.directory.write(FILE, &Content::new("one"));

    let other = [OsString::from("libother.so")];
    assert_unsettled(&scans.scan.scan(CompleteFiles::Named(&other), scans.clock.now()));

    let named = [OsString::from(FILE)];
    let result = scans.scan.scan(CompleteFiles::Named(&named), scans.clock.now());
    assert_eq!((result.changes, result.is_unsettled), (changed(), false));
    assert_eq!(scans.scan_all().changes, changed());
}

#[test]
fn reports_no_change_of_a_file_that_was_acted_on() {
    let mut scans = Scans::with_settled_file();

    assert_quiet(&scans.scan());
    assert_quiet(&scans.scan_all());
}

#[test]
fn finds_a_changed_file() {
    let mut scans = Scans::with_settled_file();
    scans.directory.write(FILE, &Content::new("two"));
    assert_unsettled(&scans.scan());

    scans.clock.advance(LONG);
    assert_eq!(scans.scan().changes, changed());
}

#[test]
fn reads_a_file_again_that_may_have_changed_within_a_tick_of_its_stamp() {
    let mut scans = Scans::empty();
    scans.directory.write(FILE, &Content::new("one"));
    scans.settle("one");
    scans.clock.advance(LONG);

    assert_eq!(scans.scan().changes, changed());
}

#[test]
fn reads_a_file_again_that_was_incomplete_and_remembers_its_content() {
    let mut scans = Scans::with_settled_file();
    scans.scan.files.read_again(FILE.as_ref());

    assert!(scans.scan.files.is_pending(FILE.as_ref()));
    assert_eq!(scans.scan.files.content(FILE.as_ref()), Some(Content::new("one").hash()));
    assert_eq!(scans.scan().changes, changed());
}

#[test]
fn retries_a_file_when_its_delay_has_passed() {
    let mut scans = Scans::with_settled_file();
    let not_before = scans.clock.now().monotonic + LONG;
    scans.scan.files.retry_after(FILE.as_ref(), not_before);
    assert_unsettled(&scans.scan());

    scans.clock.advance(LONG);
    assert_eq!(scans.scan().changes, changed());
}

#[test]
fn retries_a_file_before_its_delay_has_passed_if_an_operator_scans() {
    let mut scans = Scans::with_settled_file();
    let not_before = scans.clock.now().monotonic + LONG;
    scans.scan.files.retry_after(FILE.as_ref(), not_before);

    assert_eq!(scans.scan_all().changes, changed());
}

#[test]
fn finds_a_removed_file_after_a_grace_period() {
    let mut scans = Scans::with_settled_file();
    scans.directory.remove(FILE);
    assert_unsettled(&scans.scan());

    scans.clock.advance(Duration::from_millis(149));
    assert_unsettled(&scans.scan());

    scans.clock.advance(Duration::from_millis(1));
    assert_eq!(scans.scan().changes, [FileChange::Removed(FILE.into())]);
    assert_quiet(&scans.scan());
}

#[test]
fn finds_a_removed_file_at_once_if_an_operator_scans() {
    let mut scans = Scans::with_settled_file();
    scans.directory.remove(FILE);

    assert_eq!(scans.scan_all().changes, [FileChange::Removed(FILE.into())]);
}

#[test]
fn does_not_report_a_file_as_removed_that_is_missing_for_a_moment() {
    let mut scans = Scans::with_settled_file();
    for _ in 0..3 {
        scans.directory.remove(FILE);
        assert_unsettled(&scans.scan());
        scans.clock.advance(Duration::from_millis(100));

        scans.directory.write(FILE, &Content::new("one"));
        assert_unsettled(&scans.scan());
        scans.clock.advance(Duration::from_millis(100));
    }
}

#[test]
fn reports_removed_files_before_changed_ones() {
    let mut scans = Scans::with_settled_file();
    scans.directory.rename(FILE, "liba.so");

    let result = scans.scan_all();

    assert_eq!(result.changes, [FileChange::Removed(FILE.into()), FileChange::Changed("liba.so".into())]);
}

#[test]
fn scans_again_when_a_file_is_removed_during_the_scan() {
    let mut scans = Scans::with_settled_file();
    scans.directory.remove_after_listing(FILE);

    assert_unsettled(&scans.scan());
}

#[test]
fn reports_an_unusable_file_once() {
    let mut scans = Scans::empty();
    scans.directory.write(FILE, &Content::new("one"));
    scans.directory.make_unusable(FILE, LoadErrorReason::NotARegularFile);

    let [FileChange::Unusable(file, refused)] = &scans.scan().changes[..] else { panic!("one change") };
    assert_eq!((file.to_str(), refused.reason), (Some(FILE), LoadErrorReason::NotARegularFile));

    scans.scan.files.refuse(file, None, refused.clone());
    assert_quiet(&scans.scan());
}

#[test]
fn gives_an_empty_file_and_a_link_without_target_time_to_be_complete() {
    for reason in [LoadErrorReason::Empty, LoadErrorReason::Symlink] {
        let mut scans = Scans::empty();
        scans.directory.write(FILE, &Content::new("one"));
        scans.directory.make_unusable(FILE, reason);
        assert_unsettled(&scans.scan());

        scans.clock.advance(LONG);
        assert!(matches!(scans.scan().changes[..], [FileChange::Unusable(..)]));
    }
}

#[test]
fn follows_the_path_to_another_directory() {
    let mut scans = Scans::with_settled_file();
    assert_eq!(scans.scan.opened_directories(), 1);

    scans.directory.replace_directory(Some(2));
    scans.scan.open_current();
    scans.scan.open_current();

    assert_eq!(scans.scan.opened_directories(), 2);
    assert_quiet(&scans.scan());
}

#[test]
fn reports_no_change_while_the_directory_is_missing() {
    let mut scans = Scans::with_settled_file();
    scans.directory.replace_directory(None);
    scans.scan.open_current();

    assert!(scans.scan.directory().is_none());
    assert_quiet(&scans.scan_all());
}

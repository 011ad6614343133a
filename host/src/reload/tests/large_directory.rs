//! Scans of a directory with many files that are no plugins: what they cost and what they find.

use std::ffi::OsString;
use std::time::Duration;

use super::Fixture;
use super::directory::ScanCosts;
use super::plugin::Content;
use crate::loader::LoadErrorReason;
use crate::reload::directory_scan::CompleteFiles;
use crate::reload::listing::EXAMINE_INTERVAL;

/// Files that are no plugins.
const REFUSED: usize = 1000;

/// The plugin among them.
const FILE: &str = "libdevice.so";

/// Longer than stamps take to prove that a file has not changed.
const LONG: Duration = Duration::from_secs(10);

fn refused_file(number: usize) -> String {
    format!("libno{number}.so")
}

/// Returns a directory with one plugin that serves, and with files that were refused long ago.
fn with_refused_files() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.directory.write(FILE, &Content::new("one"));
    for number in 0..REFUSED {
        fixture.directory.write(&refused_file(number), &Content::new("no plugin"));
        fixture.directory.set_staging_error(&refused_file(number), Some(LoadErrorReason::NotElf));
    }

    fixture.clock.advance(LONG);
    fixture.scan();
    fixture.assert_serves("device", &Content::new("one"));
    fixture.assert_refused("no7", LoadErrorReason::NotElf);
    let all = REFUSED + 1;
    // Each file is examined by the scan, and again before it is read.
    let costs = ScanCosts { listings: 1, examined: 2 * all, read: all };
    assert_eq!(fixture.directory.take_costs(), costs);
    fixture
}

/// Makes a file a plugin, without a change of its name.
fn repair(fixture: &Fixture, number: usize) -> Content {
    let content = Content::new("repaired").with_method("repaired.call");
    fixture.directory.write(&refused_file(number), &content);
    fixture.clock.advance(LONG);
    content
}

#[test]
fn examines_only_the_plugin_if_nothing_has_changed() {
    let mut fixture = with_refused_files();

    for _ in 0..10 {
        fixture.clock.advance(Duration::from_secs(2));
        assert!(!fixture.scan());
        assert_eq!(fixture.directory.take_costs(), ScanCosts { examined: 1, ..ScanCosts::default() });
    }
}

#[test]
fn reads_no_refused_file_again_until_it_changes() {
    let mut fixture = with_refused_files();

    fixture.clock.advance(EXAMINE_INTERVAL);
    fixture.scan();
    let costs = ScanCosts { listings: 1, examined: REFUSED + 1, read: 0 };
    assert_eq!(fixture.directory.take_costs(), costs);

    fixture.owner.scan.examine_all();
    fixture.scan();
    assert_eq!(fixture.directory.take_costs(), costs);
}

#[test]
fn finds_a_changed_plugin_and_changed_names_at_once() {
    let mut fixture = with_refused_files();

    fixture.directory.write(FILE, &Content::new("two"));
    fixture.clock.advance(LONG);
    fixture.scan();
    fixture.assert_serves("device", &Content::new("two"));
    assert_eq!(fixture.directory.take_costs(), ScanCosts { listings: 0, examined: 2, read: 1 });

    let other = Content::new("other").with_method("other.call");
    fixture.directory.write("libother.so", &other);
    assert!(fixture.scan(), "it may be incomplete");
    fixture.clock.advance(LONG);
    fixture.scan();
    fixture.assert_serves("other", &other);

    fixture.directory.remove(FILE);
    assert!(fixture.scan(), "it may be replaced");
    fixture.clock.advance(LONG);
    fixture.scan();
    assert!(!fixture.is_routed("device"));
}

#[test]
fn finds_a_changed_file_that_was_refused_by_an_event_or_in_time() {
    let mut fixture = with_refused_files();

    let content = repair(&fixture, 1);
    fixture.scan();
    fixture.assert_refused("no1", LoadErrorReason::NotElf);
    let named = [OsString::from(refused_file(1))];
    fixture.owner.scan_directory(CompleteFiles::Named(&named));
    fixture.assert_serves("no1", &content);

    fixture.remove(&refused_file(1));
    let content = repair(&fixture, 2);
    fixture.clock.advance(EXAMINE_INTERVAL);
    fixture.scan();
    fixture.assert_serves("no2", &content);
}

#[test]
fn waits_for_a_refused_file_that_is_being_written() {
    let mut fixture = with_refused_files();
    let content = Content::new("repaired").with_method("repaired.call");

    fixture.directory.write(&refused_file(3), &content);
    fixture.owner.scan.examine_all();
    assert!(fixture.scan(), "it may be incomplete");
    fixture.clock.advance(Duration::from_secs(1));
    fixture.scan();

    fixture.assert_serves("no3", &content);
}

#[test]
fn examines_every_file_if_few_were_refused() {
    let mut fixture = Fixture::new();
    fixture.directory.write(&refused_file(0), &Content::new("no plugin"));
    fixture.directory.set_staging_error(&refused_file(0), Some(LoadErrorReason::NotElf));
    fixture.clock.advance(LONG);
    fixture.scan();

    let content = repair(&fixture, 0);
    fixture.scan();

    fixture.assert_serves("no0", &content);
}

//! Tests of state transfers.

use std::time::Duration;

use super::Fixture;
use super::plugin::Content;
use super::test_plugin::count_of;
use crate::config::Config;
use crate::loader::LoadErrorReason;
use crate::routing::{Found, Requester};

const FILE: &str = "libdevice.so";
const PLUGIN: &str = "device";

fn serving(content: &Content) -> Fixture {
    let mut fixture = Fixture::new();
    fixture.put(FILE, content);
    fixture
}

/// Asserts that no call of the plugin waits at a gate.
#[track_caller]
fn assert_not_held(fixture: &Fixture, method: &str) {
    let table = fixture.owner.dispatcher.table.load();
    assert!(matches!(table.find(method, Requester::Plugin), Ok(Found::Open(_))), "{method}");
}

#[test]
fn imports_the_state_of_the_previous_generation() {
    let (one, two) = (Content::new("one").with_count(3), Content::new("two").with_count(0));
    let mut fixture = serving(&one);

    fixture.put(FILE, &two);

    fixture.assert_serves(PLUGIN, &two);
    assert_eq!(count_of(&fixture.generation(PLUGIN)), 3);
}

#[test]
fn serves_the_previous_generation_when_it_does_not_export_its_state() {
    let one = Content::new("one").with_count(3).failing_to_export().with_method("device.list");
    let mut fixture = serving(&one);

    fixture.put(FILE, &Content::new("two").with_count(0));

    fixture.assert_serves(PLUGIN, &one);
    fixture.assert_refused(PLUGIN, LoadErrorReason::StateExportFailed);
    assert_eq!(
        fixture.status(PLUGIN).refused.unwrap().detail,
        "the previous generation did not export its state: the test keeps its count"
    );
    assert_not_held(&fixture, "device.list");
    fixture.settle();
    assert_eq!(fixture.status(PLUGIN).unloaded, 1, "the new generation was retired");
}

#[test]
fn serves_the_previous_generation_when_the_new_one_does_not_import_the_state() {
    let one = Content::new("one").with_count(3).with_method("device.list");
    let mut fixture = serving(&one);

    fixture.put(FILE, &Content::new("two").with_count(0).failing_to_import());

    fixture.assert_serves(PLUGIN, &one);
    fixture.assert_refused(PLUGIN, LoadErrorReason::StateImportFailed);
    assert_eq!(
        fixture.status(PLUGIN).refused.unwrap().detail,
        "the new generation did not import the state: the test takes no count"
    );
    assert_eq!(count_of(&fixture.generation(PLUGIN)), 3);
    assert_not_held(&fixture, "device.list");
}

#[test]
fn drops_a_state_that_the_new_content_does_not_import() {
    let one = Content::new("one").with_count(3).failing_to_export();
    let two = Content::new("two");
    let mut fixture = serving(&one);

    fixture.put(FILE, &two);

    fixture.assert_serves(PLUGIN, &two);
}

#[test]
fn retries_a_transfer_that_calls_prevented_after_a_pause() {
    let (one, two) = (Content::new("one").with_count(3), Content::new("two").with_count(0));
    let config = Config::default();
    let pause = config.plugins.state_transfer * 4;
    let mut fixture = Fixture::with_config(config);
    fixture.put(FILE, &one);
    // As an I/O thread does that an inline method blocks.
    let used = fixture.owner.dispatcher.table.load_full();

    assert!(fixture.put(FILE, &two), "another scan is due");
    fixture.assert_refused(PLUGIN, LoadErrorReason::StateTransferBusy);
    fixture.assert_serves(PLUGIN, &one);
    drop(used);

    fixture.clock.advance(pause - Duration::from_millis(1));
    assert!(fixture.scan_complete(FILE), "it is too soon");
    fixture.assert_serves(PLUGIN, &one);

    fixture.clock.advance(Duration::from_millis(1));
    assert!(!fixture.scan_complete(FILE));
    fixture.assert_serves(PLUGIN, &two);
    assert_eq!(count_of(&fixture.generation(PLUGIN)), 3);
}

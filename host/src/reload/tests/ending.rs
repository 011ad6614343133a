//! Tests of reloads while the host ends: no step begins, and no plugin is at fault.

use std::ffi::OsStr;
use std::sync::Arc;

use super::plugin::Content;
use super::{Fixture, assert_result};
use crate::decisions::Decider;
use crate::loader::{LoadError, LoadErrorReason};
use crate::reload::command::ReloadCommand;
use crate::reload::transaction::{Candidate, PreparedGeneration, Purpose};

const FILE: &str = "libdevice.so";
const PLUGIN: &str = "device";

fn serving(content: &Content) -> Fixture {
    let mut fixture = Fixture::new();
    fixture.put(FILE, content);
    fixture
}

/// Prepares the content of the file, as a load does.
fn prepare(fixture: &mut Fixture) -> PreparedGeneration {
    let staged = fixture.owner.scan.directory().unwrap().stage(OsStr::new(FILE), &[]).unwrap();
    let candidate =
        Candidate { staged, file: FILE.into(), purpose: Purpose::LoadFile { allow_incompatible: false } };
    let config = Arc::clone(&fixture.owner.config);
    fixture.owner.prepare(candidate, &config).unwrap()
}

#[test]
fn loads_nothing_and_blames_no_plugin() {
    let one = Content::new("one");
    let mut fixture = serving(&one);
    fixture.owner.shutdown.begin();

    assert!(!fixture.put(FILE, &Content::new("two")));
    let results = fixture.owner.reload(Some(PLUGIN), false);

    assert_result(&results[0], Some(LoadErrorReason::HostEnds));
    fixture.assert_serves(PLUGIN, &one);
    assert_eq!(fixture.status(PLUGIN).refused, None);
    assert_eq!(fixture.count("plugins_refused"), 0);
}

#[test]
fn retires_a_generation_that_was_prepared_before() {
    for (one, two) in [
        (Content::new("one"), Content::new("two")),
        (Content::new("one").with_count(1), Content::new("two").with_count(2)),
    ] {
        let mut fixture = serving(&one);
        fixture.directory.write(FILE, &two);
        let prepared = prepare(&mut fixture);
        fixture.owner.shutdown.begin();

        let committed = fixture.owner.commit_one(prepared);

        assert_eq!(committed, Err(LoadError::host_ends()));
        fixture.assert_serves(PLUGIN, &one);
        fixture.settle();
        assert_eq!(fixture.status(PLUGIN).unloaded, 1);
    }
}

#[test]
fn rolls_nothing_back() {
    let mut fixture = serving(&Content::new("one"));
    let two = Content::new("two");
    fixture.put(FILE, &two);
    fixture.owner.shutdown.begin();

    let result = fixture.owner.roll_back(PLUGIN, Decider::Operator { uid: None });

    assert_result(&result, Some(LoadErrorReason::HostEnds));
    fixture.assert_serves(PLUGIN, &two);
}

#[test]
fn answers_queued_lists_and_drops_queued_reloads() {
    let mut fixture = serving(&Content::new("one"));
    let reload = fixture.owner.commands.ask(|reply| ReloadCommand::Reload {
        name: None,
        allow_incompatible: false,
        reply,
    });
    let list = fixture.owner.commands.ask(ReloadCommand::List);
    fixture.owner.shutdown.begin();

    for _ in 0..2 {
        let command = fixture.commands.recv().unwrap();
        fixture.owner.execute_while_ending(command);
    }

    assert!(reload.blocking_recv().is_err(), "no reply");
    assert_eq!(list.blocking_recv().unwrap().len(), 1);
}

//! Tests of the end of generations.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::plugin::Content;
use super::{Fixture, LIMIT};
use crate::plugin::{RetentionReason, RetirementOutcome};

const FILE: &str = "libdevice.so";
const PLUGIN: &str = "device";

#[test]
fn lists_a_retained_generation_with_its_reason() {
    let mut fixture = Fixture::new();
    fixture.put(FILE, &Content::new("one"));
    let retired = fixture.status(PLUGIN).generation.unwrap();
    fixture.put(FILE, &Content::new("two"));
    assert_eq!(fixture.status(PLUGIN).draining, [retired]);

    let outcome = RetirementOutcome::Retained(RetentionReason::CallsRunning(2));
    fixture.owner.retired(PLUGIN, retired, &outcome);

    let status = fixture.status(PLUGIN);
    assert_eq!((status.draining.len(), status.unloaded), (0, 0));
    assert_eq!(
        (status.retained[0].generation, &*status.retained[0].reason),
        (retired, "2 calls did not end")
    );
    assert_eq!(fixture.count("generations_retained"), 1);
}

#[test]
fn waits_for_every_generation_when_the_host_ends() {
    let mut fixture = Fixture::new();
    fixture.put(FILE, &Content::new("one"));
    fixture.put(FILE, &Content::new("two"));
    fixture.put("libother.so", &Content::new("other"));
    let dispatcher = Arc::clone(&fixture.owner.dispatcher);

    fixture.owner.retire_all(&fixture.commands, Instant::now() + LIMIT);

    assert!(dispatcher.table.load().plugins().is_empty());
    assert_eq!(dispatcher.metrics.snapshot().counts()["generations_unloaded"], 3);
}

#[test]
fn gives_up_a_generation_that_is_in_use_at_the_deadline() {
    let mut fixture = Fixture::new();
    fixture.put(FILE, &Content::new("one"));
    let in_use = fixture.generation(PLUGIN);
    let dispatcher = Arc::clone(&fixture.owner.dispatcher);

    fixture.owner.retire_all(&fixture.commands, Instant::now() + Duration::from_millis(10));

    assert_eq!(dispatcher.metrics.snapshot().counts()["generations_retained"], 1);
    drop(in_use);
}

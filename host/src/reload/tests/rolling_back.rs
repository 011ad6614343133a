//! Tests of rollbacks: by an operator, and after a failed probation.

use super::plugin::Content;
use super::{Fixture, LIMIT, assert_result};
use crate::admin::PluginState;
use crate::config::Config;
use crate::decisions::Decider;
use crate::loader::LoadErrorReason;
use crate::plugin::ProbationVerdict;
use crate::reload::ReloadCommand;

const FILE: &str = "libdevice.so";
const PLUGIN: &str = "device";
const OPERATOR: Decider = Decider::Operator { uid: Some(7) };

/// Returns a fixture in which the second content has replaced the first.
fn replaced(one: &Content, two: &Content) -> Fixture {
    let mut config = Config::default();
    config.plugins.probation.calls = 10;
    config.plugins.probation.failures = 3;
    let mut fixture = Fixture::with_config(config);
    fixture.put(FILE, one);
    fixture.put(FILE, two);
    fixture.settle();
    fixture.assert_serves(PLUGIN, two);
    fixture
}

/// Returns the verdict of a failed probation.
fn failure() -> ProbationVerdict {
    let fixture = replaced(&Content::new("one"), &Content::new("two"));
    let generation = fixture.generation(PLUGIN);
    (0..3).for_each(|_| generation.record_timeout(None));

    match fixture.commands.recv_timeout(LIMIT) {
        Ok(ReloadCommand::ProbationEnded { verdict, .. }) => verdict,
        _ => panic!("no probation ended"),
    }
}

#[test]
fn returns_to_the_previous_content_and_forward_again_for_an_operator() {
    let (one, two) = (Content::new("one"), Content::new("two"));
    let mut fixture = replaced(&one, &two);

    for expected in [&one, &two, &one] {
        let result = fixture.owner.roll_back(PLUGIN, OPERATOR);

        assert_result(&result, None);
        assert_eq!(result.hash, Some(expected.hash().to_string()));
        fixture.assert_serves(PLUGIN, expected);
        assert_eq!(fixture.status(PLUGIN).state, PluginState::Serving, "it is not on probation");
    }
}

#[test]
fn refuses_to_roll_back_without_previous_content() {
    let one = Content::new("one");
    let mut fixture = Fixture::new();
    fixture.put(FILE, &one);
    // The same content again is not previous content.
    fixture.owner.reload(Some(PLUGIN), false);

    let result = fixture.owner.roll_back(PLUGIN, OPERATOR);

    assert_result(&result, Some(LoadErrorReason::NothingToRollBack));
    fixture.assert_serves(PLUGIN, &one);
    assert_result(&fixture.owner.roll_back("nobody", OPERATOR), Some(LoadErrorReason::NoSuchPlugin));
}

#[test]
fn rolls_back_again_after_a_rollback_that_failed() {
    let (one, two) = (Content::new("one"), Content::new("two"));
    let mut fixture = replaced(&one, &two);
    fixture.contents.add(&one.clone().failing_in_probe(LoadErrorReason::ProbeFailed));

    assert_result(&fixture.owner.roll_back(PLUGIN, OPERATOR), Some(LoadErrorReason::ProbeFailed));
    fixture.assert_serves(PLUGIN, &two);

    fixture.contents.add(&one);
    assert_result(&fixture.owner.roll_back(PLUGIN, OPERATOR), None);
    fixture.assert_serves(PLUGIN, &one);
}

#[test]
fn does_not_load_content_again_that_an_operator_rolled_back_from() {
    let (one, two) = (Content::new("one"), Content::new("two"));
    let mut fixture = replaced(&one, &two);
    fixture.owner.roll_back(PLUGIN, OPERATOR);

    fixture.put(FILE, &two);
    fixture.assert_serves(PLUGIN, &one);
    assert_eq!(fixture.status(PLUGIN).refused, None);

    assert_result(&fixture.owner.reload(Some(PLUGIN), false)[0], None);
    fixture.assert_serves(PLUGIN, &two);
}

#[test]
fn rolls_back_a_generation_that_fails_its_probation() {
    let (one, two) = (Content::new("one"), Content::new("two"));
    let mut fixture = replaced(&one, &two);
    let failed = fixture.status(PLUGIN);
    assert_eq!(failed.state, PluginState::Probation);

    fixture.fail_probation(PLUGIN);

    fixture.assert_serves(PLUGIN, &one);
    let status = fixture.status(PLUGIN);
    assert_eq!(status.state, PluginState::Serving);
    fixture.assert_refused(PLUGIN, LoadErrorReason::ProbationFailed);
    assert_eq!(
        status.refused.unwrap().detail,
        format!(
            "generation {} failed its probation (3 of its first 10 calls failed) and was rolled back; \
             install a corrected file",
            failed.generation.unwrap()
        )
    );
    assert_eq!(fixture.count("plugins_rolled_back"), 1);
    assert_result(&fixture.owner.roll_back(PLUGIN, OPERATOR), Some(LoadErrorReason::NothingToRollBack));
}

#[test]
fn does_not_load_failed_content_again_but_other_content() {
    let (one, two, three) = (Content::new("one"), Content::new("two"), Content::new("three"));
    let mut fixture = replaced(&one, &two);
    fixture.fail_probation(PLUGIN);
    fixture.settle();
    let rolled_back = fixture.status(PLUGIN);

    fixture.put(FILE, &two);
    assert_eq!(fixture.status(PLUGIN).generation, rolled_back.generation);
    fixture.assert_refused(PLUGIN, LoadErrorReason::ProbationFailed);

    fixture.put(FILE, &three);
    fixture.assert_serves(PLUGIN, &three);
    assert_eq!(fixture.status(PLUGIN).refused, None);
}

#[test]
fn does_not_load_rolled_back_content_again_after_other_content() {
    let (one, two, three) = (Content::new("one"), Content::new("two"), Content::new("three"));
    let mut fixture = replaced(&one, &two);
    fixture.owner.roll_back(PLUGIN, OPERATOR);
    fixture.put(FILE, &three);

    fixture.put(FILE, &two);

    fixture.assert_serves(PLUGIN, &three);
}

#[test]
fn serves_on_when_the_first_content_fails() {
    let one = Content::new("one");
    let mut fixture = Fixture::new();
    fixture.put(FILE, &one);
    let number = fixture.status(PLUGIN).generation.unwrap();
    assert_eq!(fixture.status(PLUGIN).state, PluginState::Serving, "it is not on probation");

    fixture.owner.probation_ended(PLUGIN, number, failure());

    fixture.assert_serves(PLUGIN, &one);
}

#[test]
fn ignores_the_probation_of_a_replaced_generation() {
    let (one, two) = (Content::new("one"), Content::new("two"));
    let mut fixture = replaced(&one, &two);
    let number = fixture.status(PLUGIN).generation.unwrap();

    fixture.owner.probation_ended(PLUGIN, number - 1, failure());
    fixture.owner.probation_ended(PLUGIN, number, ProbationVerdict::Passed);

    fixture.assert_serves(PLUGIN, &two);
}

#[test]
fn retries_an_automatic_rollback_that_failed_for_the_moment() {
    let (one, two) = (Content::new("one"), Content::new("two"));
    let mut fixture = replaced(&one, &two);
    fixture.contents.add(&one.clone().failing_in_probe(LoadErrorReason::ProbeFailed));
    fixture.fail_probation(PLUGIN);
    fixture.assert_serves(PLUGIN, &two);
    fixture.contents.add(&one);

    fixture.owner.retry_rollbacks();
    fixture.assert_serves(PLUGIN, &two);

    fixture.clock.advance(fixture.owner.config.plugins.state_transfer * 4);
    fixture.owner.retry_rollbacks();
    fixture.assert_serves(PLUGIN, &one);
    assert_eq!(fixture.count("plugins_rolled_back"), 1);
}

#[test]
fn does_not_retry_an_automatic_rollback_that_cannot_succeed() {
    let (one, two) = (Content::new("one"), Content::new("two"));
    let mut fixture = replaced(&one, &two);
    fixture.contents.add(&one.clone().failing_in_probe(LoadErrorReason::ProbeCrashed));
    fixture.fail_probation(PLUGIN);
    fixture.contents.add(&one);

    fixture.clock.advance(fixture.owner.config.plugins.state_transfer * 4);
    fixture.owner.retry_rollbacks();

    fixture.assert_serves(PLUGIN, &two);
    assert_result(&fixture.owner.roll_back(PLUGIN, OPERATOR), None);
    fixture.assert_serves(PLUGIN, &one);
}

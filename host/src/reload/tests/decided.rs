//! Tests of decisions against contents: in effect until they are cleared, also in the next host.

use super::plugin::Content;
use super::{Fixture, assert_result};
use crate::admin::PluginState;
use crate::config::Config;
use crate::decisions::Decider;
use crate::decisions::test_support::MemoryState;
use crate::loader::LoadErrorReason;

const FILE: &str = "libdevice.so";
const PLUGIN: &str = "device";
const OPERATOR: Decider = Decider::Operator { uid: Some(7) };

fn contents() -> (Content, Content) {
    let one = Content::new("one").with_method("device.get");
    (one, Content::new("two").with_method("device.get").with_method("device.new"))
}

/// Returns a fixture in which the second content has replaced the first.
fn replaced(state: &MemoryState) -> Fixture {
    let (one, two) = contents();
    let mut fixture = Fixture::with_state(Config::default(), state);
    fixture.put(FILE, &one);
    fixture.put(FILE, &two);
    fixture.assert_serves(PLUGIN, &two);
    fixture
}

/// Returns the next host, whose directory has this content, before it has loaded anything.
fn next_host(state: &MemoryState, content: &Content) -> Fixture {
    let fixture = Fixture::with_state(Config::default(), state);
    let (one, two) = contents();
    [one, two].iter().for_each(|known| fixture.contents.add(known));
    fixture.directory.write(FILE, content);
    fixture
}

#[test]
fn loads_the_kept_content_in_the_next_host_after_a_rollback_by_command() {
    let (one, two) = contents();
    let state = MemoryState::default();
    let mut fixture = replaced(&state);
    let number = fixture.status(PLUGIN).generation.unwrap();
    fixture.owner.roll_back(PLUGIN, OPERATOR);
    assert_eq!(state.kept(), [PLUGIN]);

    let mut next = next_host(&state, &two);
    next.owner.load_all(&|_| ());

    next.assert_serves(PLUGIN, &one);
    let status = next.status(PLUGIN);
    assert_eq!((status.state, status.refused), (PluginState::Serving, None));
    let [decision] = &status.decisions[..] else { panic!("one decision: {:?}", status.decisions) };
    assert_eq!((decision.hash.as_str(), decision.uid), (two.hash().to_string().as_str(), Some(7)));
    assert_eq!((decision.by.as_str(), decision.reason.as_str()), ("operator", "rolled-back"));
    assert_eq!(decision.detail, format!("by command, from generation {number}"));
}

#[test]
fn loads_the_kept_content_in_the_next_host_after_a_failed_probation() {
    let (one, two) = contents();
    let state = MemoryState::default();
    replaced(&state).fail_probation(PLUGIN);

    let mut next = next_host(&state, &two);
    next.owner.load_all(&|_| ());

    next.assert_serves(PLUGIN, &one);
    next.assert_refused(PLUGIN, LoadErrorReason::ProbationFailed);
    assert_eq!(next.status(PLUGIN).decisions[0].by, "host");
    assert_eq!(next.reason_of("device.new"), Some("probation-failed"));

    next.scan();
    assert_eq!(next.count("plugins_loaded"), 1, "it is loaded once");
}

#[test]
fn serves_the_content_again_after_a_reload_by_name() {
    let (one, two) = contents();
    let state = MemoryState::default();
    replaced(&state).owner.roll_back(PLUGIN, OPERATOR);
    let mut next = next_host(&state, &two);
    next.owner.load_all(&|_| ());

    // A reload of all plugins clears nothing.
    assert_result(&next.owner.reload(None, false)[0], Some(LoadErrorReason::RolledBack));
    next.assert_serves(PLUGIN, &one);

    assert_result(&next.owner.reload(Some(PLUGIN), false)[0], None);
    next.assert_serves(PLUGIN, &two);
    assert!(next.status(PLUGIN).decisions.is_empty());
    assert_eq!(state.kept(), [""; 0], "nothing is to be returned to");

    let mut third = next_host(&state, &two);
    third.owner.load_all(&|_| ());
    third.assert_serves(PLUGIN, &two);
}

#[test]
fn keeps_a_decision_against_content_that_a_reload_by_name_refuses() {
    let (one, two) = contents();
    let state = MemoryState::default();
    replaced(&state).owner.roll_back(PLUGIN, OPERATOR);
    let mut next = next_host(&state, &two);
    next.owner.load_all(&|_| ());

    next.contents.add(&two.clone().failing_in_probe(LoadErrorReason::ProbeCrashed));
    assert_result(&next.owner.reload(Some(PLUGIN), false)[0], Some(LoadErrorReason::ProbeCrashed));
    assert_eq!(next.status(PLUGIN).decisions.len(), 1);

    let mut third = next_host(&state, &two);
    third.owner.load_all(&|_| ());
    third.assert_serves(PLUGIN, &one);
}

#[test]
fn matches_no_other_content_and_no_other_plugin() {
    let (_, two) = contents();
    let three = Content::new("three").with_method("device.get");
    let state = MemoryState::default();
    replaced(&state).owner.roll_back(PLUGIN, OPERATOR);

    let mut next = next_host(&state, &three);
    next.owner.load_all(&|_| ());
    next.assert_serves(PLUGIN, &three);

    next.remove(FILE);
    next.put("libother.so", &two);
    next.assert_serves("other", &two);
}

#[test]
fn keeps_the_content_that_served_last_when_rolled_back_content_returns() {
    let (_, two) = contents();
    let three = Content::new("three").with_method("device.get");
    let state = MemoryState::default();
    let mut fixture = replaced(&state);
    fixture.owner.roll_back(PLUGIN, OPERATOR);
    fixture.put(FILE, &three);

    fixture.put(FILE, &two);
    fixture.assert_serves(PLUGIN, &three);

    let mut next = next_host(&state, &two);
    next.contents.add(&three);
    next.owner.load_all(&|_| ());
    next.assert_serves(PLUGIN, &three);
}

#[test]
fn returns_to_the_kept_content_when_a_removed_file_comes_back() {
    let (one, two) = contents();
    let state = MemoryState::default();
    let mut fixture = replaced(&state);
    fixture.owner.roll_back(PLUGIN, OPERATOR);

    fixture.remove(FILE);
    fixture.put(FILE, &two);

    fixture.assert_serves(PLUGIN, &one);
}

#[test]
fn refuses_the_content_if_there_is_nothing_to_return_to() {
    let (_, two) = contents();
    let state = MemoryState::default();
    replaced(&state).owner.roll_back(PLUGIN, OPERATOR);
    state.set_staging_error(Some(LoadErrorReason::UnknownKey));

    let mut next = next_host(&state, &two);
    next.owner.load_all(&|_| ());

    next.assert_refused(PLUGIN, LoadErrorReason::RolledBack);
    assert_eq!(next.reason_of("device.get"), Some("rolled-back"));
    let detail = next.status(PLUGIN).refused.unwrap().detail;
    let end = "install another file or run \"jackfield plugin reload device\"; the kept content is refused, too \
               (unknown-key): a test says so";
    assert!(detail.starts_with("uid 7 rolled it back (by command, ") && detail.ends_with(end), "{detail}");
}

#[test]
fn tries_again_to_return_to_the_kept_content_if_the_cause_is_transient() {
    let (one, two) = contents();
    let state = MemoryState::default();
    replaced(&state).owner.roll_back(PLUGIN, OPERATOR);
    state.set_staging_error(Some(LoadErrorReason::NoResources));
    let mut next = next_host(&state, &two);
    next.owner.load_all(&|_| ());
    next.assert_refused(PLUGIN, LoadErrorReason::RolledBack);

    state.set_staging_error(None);
    next.scan_complete(FILE);

    next.assert_serves(PLUGIN, &one);
}

#[test]
fn reports_why_the_kept_content_does_not_start() {
    let (one, two) = contents();
    let state = MemoryState::default();
    replaced(&state).owner.roll_back(PLUGIN, OPERATOR);
    let mut next = next_host(&state, &two);
    next.contents.add(&one.clone().failing_in_probe(LoadErrorReason::ProbeFailed));

    next.owner.load_all(&|_| ());
    next.assert_refused(PLUGIN, LoadErrorReason::ProbeFailed);

    // The reason is transient, so the host tries again.
    next.contents.add(&one);
    next.clock.advance(std::time::Duration::from_secs(1));
    next.scan_complete(FILE);
    next.assert_serves(PLUGIN, &one);
}

#[test]
fn follows_an_operator_who_rolls_forward_again() {
    let (_, two) = contents();
    let state = MemoryState::default();
    let mut fixture = replaced(&state);
    fixture.owner.roll_back(PLUGIN, OPERATOR);
    fixture.owner.roll_back(PLUGIN, OPERATOR);
    fixture.assert_serves(PLUGIN, &two);

    let mut next = next_host(&state, &two);
    next.owner.load_all(&|_| ());

    next.assert_serves(PLUGIN, &two);
}

#[test]
fn forgets_decisions_at_the_end_of_a_host_without_a_state_directory() {
    let (one, two) = contents();
    let mut fixture = replaced(&MemoryState::default());
    fixture.owner.decisions = crate::decisions::DecisionStore::default();
    fixture.owner.roll_back(PLUGIN, OPERATOR);
    fixture.put(FILE, &two);
    fixture.assert_serves(PLUGIN, &one);

    fixture.remove(FILE);
    fixture.put(FILE, &two);

    fixture.assert_refused(PLUGIN, LoadErrorReason::RolledBack);
    assert_result(&fixture.owner.reload(Some(PLUGIN), false)[0], None);
    fixture.assert_serves(PLUGIN, &two);
}

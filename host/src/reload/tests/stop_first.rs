//! Tests of stop-first plugins: their resource is exclusive, so the next generation can only start
//! after the previous one was stopped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::plugin::Content;
use super::test_plugin::count_of;
use super::{Fixture, LIMIT, assert_result};
use crate::admin::PluginState;
use crate::config::{Config, ReplacePolicy};
use crate::decisions::Decider;
use crate::loader::LoadErrorReason;
use crate::routing::{RequestError, Requester};

pub(super) const FILE: &str = "libdevice.so";
pub(super) const PLUGIN: &str = "device";
pub(super) const METHOD: &str = "device.list";
pub(super) const OPERATOR: Decider = Decider::Operator { uid: None };

/// Returns contents of one plugin that need the same resource.
pub(super) fn contents<const N: usize>(names: [&str; N]) -> [Content; N] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let resource = NEXT.fetch_add(1, Ordering::Relaxed);
    names.map(|name| Content::new(name).with_method(METHOD).with_count(0).with_resource(resource))
}

pub(super) fn config(replace: ReplacePolicy) -> Config {
    let mut config = Config::default();
    config.plugins.probation.calls = 10;
    config.plugins.probation.failures = 3;
    // A test waits for it once, and a busy machine must not exceed it in the others.
    config.plugins.state_transfer = Duration::from_secs(1);
    config.plugin.entry(PLUGIN.to_owned()).or_default().replace = replace;
    config
}

/// Returns a fixture in which `content` serves, with a count of 3.
pub(super) fn serving(content: &Content) -> Fixture {
    let mut fixture = Fixture::with_config(config(ReplacePolicy::StopFirst));
    fixture.put(FILE, &content.clone().with_count(3));
    fixture.contents.add(content);
    fixture.assert_serves(PLUGIN, content);
    fixture
}

impl Fixture {
    /// Asserts that this content serves, and with which count.
    #[track_caller]
    pub(super) fn assert_counts(&self, content: &Content, count: u64) {
        self.assert_serves(PLUGIN, content);
        assert_eq!(count_of(&self.generation(PLUGIN)), count);
    }
}

#[test]
fn replaces_a_plugin_whose_resource_only_one_instance_can_have() {
    let [one, two] = contents(["one", "two"]);
    let mut fixture = serving(&one);

    fixture.put(FILE, &two);

    fixture.assert_counts(&two, 3);
    assert_eq!(fixture.status(PLUGIN).state, PluginState::Probation);
    fixture.settle();
    assert_eq!(fixture.status(PLUGIN).unloaded, 1);
}

#[test]
fn names_the_policy_when_such_a_plugin_cannot_start_beside_the_previous_generation() {
    let [one, two] = contents(["one", "two"]);
    let mut fixture = Fixture::with_config(config(ReplacePolicy::StartFirst));
    fixture.put(FILE, &one);

    fixture.put(FILE, &two);

    fixture.assert_serves(PLUGIN, &one);
    fixture.assert_refused(PLUGIN, LoadErrorReason::StartFailed);
    let detail = fixture.status(PLUGIN).refused.unwrap().detail;
    assert!(detail.contains("plugin.device.replace = \"stop-first\""), "{detail}");

    // The policy applies to the next replacement. It is no reason to start the plugin again.
    let generation = fixture.status(PLUGIN).generation;
    fixture.owner.configure(Arc::new(config(ReplacePolicy::StopFirst))).unwrap();
    assert_eq!(fixture.status(PLUGIN).generation, generation);
    assert_result(&fixture.owner.reload(Some(PLUGIN), false)[0], None);
    fixture.assert_serves(PLUGIN, &two);
}

#[test]
fn does_not_name_the_policy_when_nothing_serves_or_something_else_is_wrong() {
    let [one, two] = contents(["one", "two"]);
    let mut fixture = Fixture::new();
    fixture.put(FILE, &one.clone().failing_to_start());
    let refused = fixture.status(PLUGIN).refused.unwrap().detail;
    assert!(!refused.contains("stop-first"), "{refused}");

    fixture.put(FILE, &two);
    fixture.put(FILE, &one.failing_in_probe(LoadErrorReason::AbiMismatch));
    let refused = fixture.status(PLUGIN).refused.unwrap().detail;
    assert!(!refused.contains("stop-first"), "{refused}");
}

#[test]
fn starts_the_previous_content_again_with_its_state_when_the_new_one_fails() {
    let [one, two, three] = contents(["one", "two", "three"]);
    let mut fixture = serving(&one);
    let first = fixture.status(PLUGIN).generation;

    fixture.put(FILE, &two.failing_to_start());
    fixture.assert_counts(&one, 3);
    fixture.assert_refused(PLUGIN, LoadErrorReason::StartFailed);
    assert!(fixture.status(PLUGIN).generation > first, "it was started again");

    fixture.put(FILE, &three.failing_to_import());
    fixture.assert_counts(&one, 3);
    fixture.assert_refused(PLUGIN, LoadErrorReason::StateImportFailed);

    // There is nothing to do for the same file, and no content to roll back to.
    let generation = fixture.status(PLUGIN).generation;
    fixture.scan_complete(FILE);
    assert_eq!(fixture.status(PLUGIN).generation, generation);
    assert_result(&fixture.owner.roll_back(PLUGIN, OPERATOR), Some(LoadErrorReason::NothingToRollBack));
}

#[test]
fn does_not_stop_a_plugin_whose_code_fails_in_the_probe_or_whose_state_is_not_exported() {
    let [one, two] = contents(["one", "two"]);
    let mut fixture = serving(&one.clone().failing_to_export());
    let generation = fixture.status(PLUGIN).generation;

    fixture.put(FILE, &two.clone().failing_in_probe(LoadErrorReason::AbiMismatch));
    fixture.assert_refused(PLUGIN, LoadErrorReason::AbiMismatch);
    fixture.contents.add(&two);
    fixture.owner.reload(Some(PLUGIN), false);

    fixture.assert_refused(PLUGIN, LoadErrorReason::StateExportFailed);
    assert_eq!(fixture.status(PLUGIN).generation, generation);
}

#[test]
fn does_not_stop_a_plugin_whose_calls_have_not_ended() {
    let [one, two] = contents(["one", "two"]);
    let mut fixture = serving(&one);
    let generation = fixture.status(PLUGIN).generation;
    // As an `async` call does.
    let call = fixture.generation(PLUGIN);

    assert!(fixture.put(FILE, &two), "another scan is due");
    fixture.assert_refused(PLUGIN, LoadErrorReason::StateTransferBusy);
    let detail = fixture.status(PLUGIN).refused.unwrap().detail;
    assert!(detail.contains("1 call did not end within plugins.state_transfer"), "{detail}");
    fixture.assert_serves(PLUGIN, &one);
    assert_eq!(fixture.status(PLUGIN).generation, generation);

    drop(call);
    fixture.clock.advance(fixture.owner.config.plugins.state_transfer * 4);
    fixture.scan_complete(FILE);
    fixture.assert_counts(&two, 3);
}

#[test]
fn rolls_back_and_forward_by_command() {
    let [one, two] = contents(["one", "two"]);
    let mut fixture = serving(&one);
    fixture.put(FILE, &two);

    for expected in [&one, &two] {
        assert_result(&fixture.owner.roll_back(PLUGIN, OPERATOR), None);
        fixture.assert_counts(expected, 3);
    }

    fixture.contents.add(&one.failing_to_start());
    assert_result(&fixture.owner.roll_back(PLUGIN, OPERATOR), Some(LoadErrorReason::StartFailed));
    fixture.assert_counts(&two, 3);
}

#[test]
fn rolls_back_content_that_fails_its_probation() {
    let [one, two] = contents(["one", "two"]);
    let mut fixture = serving(&one);
    fixture.put(FILE, &two);

    fixture.fail_probation(PLUGIN);

    fixture.assert_counts(&one, 3);
    fixture.assert_refused(PLUGIN, LoadErrorReason::ProbationFailed);
}

#[test]
fn puts_content_on_probation_again_whose_rollback_failed() {
    let [one, two] = contents(["one", "two"]);
    let mut fixture = serving(&one);
    fixture.put(FILE, &two);
    fixture.contents.add(&one.clone().failing_to_start());

    fixture.fail_probation(PLUGIN);
    fixture.assert_counts(&two, 3);
    assert_eq!(fixture.status(PLUGIN).state, PluginState::Probation);
    fixture.contents.add(&one);
    fixture.fail_probation(PLUGIN);

    fixture.assert_counts(&one, 3);
}

#[test]
fn applies_settings_or_returns_to_the_previous_ones() {
    let [one] = contents(["one"]);
    let mut fixture = serving(&one);
    let with_settings = |settings| {
        let mut config = config(ReplacePolicy::StopFirst);
        config.plugin.get_mut(PLUGIN).unwrap().settings = settings;
        Arc::new(config)
    };

    fixture.owner.configure(with_settings(json!({ "word": "two" }))).unwrap();
    fixture.assert_counts(&one, 3);
    let generation = fixture.status(PLUGIN).generation;

    let faults = fixture.owner.configure(with_settings(json!({ "fail": true }))).unwrap_err();
    assert!(
        faults[0].contains("plugin.device: cannot run with its new settings (start-failed)"),
        "{faults:?}"
    );
    fixture.assert_counts(&one, 3);
    assert!(fixture.status(PLUGIN).generation > generation, "it was started again");
    assert_eq!(fixture.owner.config.plugin[PLUGIN].settings["word"], "two");
}

#[test]
fn restores_every_plugin_of_a_configuration_when_one_of_them_does_not_start() {
    let [one] = contents(["one"]);
    let [other] = contents(["other"]);
    let other = other.with_resource(u64::MAX);
    let with_words = |word: &str, fails: bool| {
        let mut config = config(ReplacePolicy::StopFirst);
        config.plugin.get_mut(PLUGIN).unwrap().settings = json!({ "word": word });
        let own = config.plugin.entry("other".to_owned()).or_default();
        own.replace = ReplacePolicy::StopFirst;
        own.settings = json!({ "word": word, "fail": fails });
        config
    };
    let mut fixture = Fixture::with_config(with_words("one", false));
    fixture.put(FILE, &one);
    fixture.put("libother.so", &Content::new("other").with_resource(u64::MAX));

    let faults = fixture.owner.configure(Arc::new(with_words("two", true))).unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:?}");
    fixture.assert_serves(PLUGIN, &one);
    fixture.assert_serves("other", &other);

    fixture.owner.configure(Arc::new(with_words("three", false))).unwrap();
    fixture.assert_serves(PLUGIN, &one);
    fixture.assert_serves("other", &other);
}

#[test]
fn answers_held_calls_when_a_start_takes_longer_than_the_limit() {
    let [one, two] = contents(["one", "two"]);
    let barrier = Arc::new(Barrier::new(2));
    let mut fixture = serving(&one);
    let dispatcher = Arc::clone(&fixture.owner.dispatcher);
    let is_unavailable = move || {
        let error = dispatcher.table.load().find(METHOD, Requester::Plugin).err().map(RequestError::from);
        matches!(error, Some(RequestError::PluginUnavailable { .. }))
    };

    let starting = Arc::clone(&barrier);
    let observer = thread::spawn(move || {
        let deadline = Instant::now() + LIMIT;
        while !is_unavailable() {
            assert!(Instant::now() < deadline, "calls are still held");
            thread::yield_now();
        }
        starting.wait();
    });
    fixture.put(FILE, &two.clone().starting_at(&barrier));

    observer.join().unwrap();
    fixture.assert_counts(&two, 3);
}

//! Tests of what happens to content that breaks callers of what serves.

use std::sync::Arc;

use serde_json::{Value, json};

use super::plugin::Content;
use super::{Fixture, assert_result};
use crate::config::{Config, IncompatiblePolicy, Isolation, ReplacePolicy};
use crate::decisions::Decider;
use crate::loader::LoadErrorReason;

const FILE: &str = "libdevice.so";
const PLUGIN: &str = "device";

fn config(policy: IncompatiblePolicy) -> Config {
    let mut config = Config::default();
    config.plugins.incompatible = policy;
    config
}

/// Returns content with one method that requires these params.
fn requiring(name: &str, params: &[&str]) -> Content {
    let schema: Value = json!({ "type": "object", "required": params });
    Content::new(name).with_method("device.get").with_params(schema)
}

/// Returns a fixture with content that serves, and content that breaks its callers.
fn serving(config: Config) -> (Fixture, Content, Content) {
    let (one, two) = (requiring("one", &["id"]), Content::new("two").with_method("device.set"));
    let mut fixture = Fixture::with_config(config);
    fixture.put(FILE, &one);
    fixture.assert_serves(PLUGIN, &one);
    (fixture, one, two)
}

#[test]
fn loads_incompatible_content_unless_it_is_to_be_refused() {
    for policy in [IncompatiblePolicy::Ignore, IncompatiblePolicy::Warn] {
        let (mut fixture, _, two) = serving(config(policy));
        fixture.put(FILE, &two);
        fixture.assert_serves(PLUGIN, &two);
    }

    let (mut fixture, one, two) = serving(config(IncompatiblePolicy::Refuse));
    fixture.put(FILE, &two);
    fixture.assert_serves(PLUGIN, &one);
    fixture.assert_refused(PLUGIN, LoadErrorReason::Incompatible);
    assert!(!fixture.scan_complete(FILE), "the same content is not tried again");
    assert_eq!(fixture.count("plugins_refused"), 1);
}

#[test]
fn prefers_the_policy_of_the_plugin() {
    let mut own = config(IncompatiblePolicy::Refuse);
    own.plugin.entry(PLUGIN.to_owned()).or_default().incompatible = Some(IncompatiblePolicy::Warn);
    let (mut fixture, _, two) = serving(own);
    fixture.put(FILE, &two);
    fixture.assert_serves(PLUGIN, &two);
}

#[test]
fn loads_it_for_an_operator_who_says_so() {
    let (mut fixture, one, two) = serving(config(IncompatiblePolicy::Refuse));
    fixture.put(FILE, &two);

    assert_result(&fixture.owner.reload(Some(PLUGIN), false)[0], Some(LoadErrorReason::Incompatible));
    assert_result(&fixture.owner.reload(None, false)[0], Some(LoadErrorReason::Incompatible));
    fixture.assert_serves(PLUGIN, &one);
    assert_result(&fixture.owner.reload(Some(PLUGIN), true)[0], None);
    fixture.assert_serves(PLUGIN, &two);
    assert_eq!(fixture.status(PLUGIN).refused, None);
}

#[test]
fn tries_it_again_when_it_is_no_longer_to_be_refused() {
    let (mut fixture, _, two) = serving(config(IncompatiblePolicy::Refuse));
    fixture.put(FILE, &two);
    let serving = fixture.status(PLUGIN).generation;

    fixture.owner.configure(Arc::new(config(IncompatiblePolicy::Warn))).unwrap();
    assert_eq!(fixture.status(PLUGIN).generation, serving, "the policy alone starts nothing again");
    fixture.scan_complete(FILE);
    fixture.assert_serves(PLUGIN, &two);
}

#[test]
fn checks_a_worker_after_its_start_and_a_stop_first_plugin_before_its_stop() {
    for (isolation, replace) in [
        (Isolation::Worker, ReplacePolicy::StartFirst),
        (Isolation::Worker, ReplacePolicy::StopFirst),
        (Isolation::InProcess, ReplacePolicy::StopFirst),
    ] {
        let mut config = config(IncompatiblePolicy::Refuse);
        let own = config.plugin.entry(PLUGIN.to_owned()).or_default();
        (own.isolation, own.replace) = (isolation, replace);
        let (mut fixture, one, two) = serving(config);
        let first = fixture.status(PLUGIN).generation;

        fixture.put(FILE, &two);
        fixture.assert_refused(PLUGIN, LoadErrorReason::Incompatible);
        fixture.assert_serves(PLUGIN, &one);
        assert_eq!(fixture.status(PLUGIN).generation, first, "{isolation:?}, {replace:?}");
        fixture.settle();
    }
}

#[test]
fn never_refuses_what_is_not_a_new_file() {
    let (mut fixture, one, two) = serving(config(IncompatiblePolicy::Refuse));
    fixture.put(FILE, &two);
    fixture.owner.reload(Some(PLUGIN), true);

    // The previous content does not have the method that serves now.
    let result = fixture.owner.roll_back(PLUGIN, Decider::Operator { uid: None });
    assert_result(&result, None);
    fixture.assert_serves(PLUGIN, &one);

    let mut changed = config(IncompatiblePolicy::Refuse);
    let own = changed.plugin.entry(PLUGIN.to_owned()).or_default();
    (own.settings, own.isolation) = (json!({ "word": "two" }), Isolation::Worker);
    fixture.owner.configure(Arc::new(changed)).unwrap();
    fixture.assert_serves(PLUGIN, &one);

    fixture.remove(FILE);
    let three = Content::new("three").with_method("device.set");
    fixture.put(FILE, &three);
    fixture.assert_serves(PLUGIN, &three);
}

#[test]
fn does_not_refuse_what_it_cannot_compare() {
    let (mut fixture, _, _) = serving(config(IncompatiblePolicy::Refuse));
    let unknown = Content::new("unknown").with_method("device.get");
    fixture.put(FILE, &unknown);
    fixture.assert_serves(PLUGIN, &unknown);
}

//! Tests of plugins that were stopped and of which no content starts.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::plugin::Content;
use super::stop_first::{FILE, METHOD, OPERATOR, PLUGIN, config, contents, serving};
use super::{Fixture, assert_result};
use crate::admin::PluginState;
use crate::config::ReplacePolicy;
use crate::loader::LoadErrorReason;
use crate::routing::{RequestError, Requester};

impl Fixture {
    /// Asserts that calls are answered PLUGIN_UNAVAILABLE with this reason.
    #[track_caller]
    fn assert_unavailable(&self, reason: &str) {
        let table = self.owner.dispatcher.table.load();
        let Some(error) = table.find(METHOD, Requester::Plugin).err() else { panic!("it serves") };
        let data = RequestError::from(error).data().expect("data");
        assert!(data.contains(reason) && data.contains("retry_after_ms"), "{data}");
        assert_eq!(self.status(PLUGIN).state, PluginState::Unavailable);
    }

    fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
        self.owner.retry_starts();
    }
}

#[test]
fn tries_again_with_increasing_pauses_while_no_content_starts() {
    let [one, two] = contents(["one", "two"]);
    let mut fixture = serving(&one);
    fixture.contents.add(&one.clone().failing_to_start());

    fixture.put(FILE, &two.failing_to_start());
    fixture.assert_unavailable("start-failed");
    fixture.assert_refused(PLUGIN, LoadErrorReason::StartFailed);
    assert!(fixture.owner.dispatcher.check_readiness().unwrap_err().contains("plugin device"));

    // The attempts are due after 1 s, 3 s and 7 s.
    fixture.advance(Duration::from_secs(1));
    fixture.assert_unavailable("start-failed");
    fixture.contents.add(&one);
    fixture.advance(Duration::from_millis(1900));
    fixture.assert_unavailable("start-failed");
    fixture.advance(Duration::from_millis(100));

    fixture.assert_counts(&one, 3);
    fixture.assert_refused(PLUGIN, LoadErrorReason::StartFailed);
}

#[test]
fn bounds_the_pause_between_two_attempts() {
    let [one, two] = contents(["one", "two"]);
    let mut fixture = serving(&one);
    fixture.contents.add(&one.clone().failing_to_start());
    fixture.put(FILE, &two.failing_to_start());
    for _ in 0..20 {
        fixture.advance(Duration::from_secs(60));
    }

    fixture.contents.add(&one);
    fixture.advance(Duration::from_secs(60));

    fixture.assert_counts(&one, 3);
}

#[test]
fn loads_a_corrected_file_with_the_state_while_the_plugin_is_unavailable() {
    let [one, two, three] = contents(["one", "two", "three"]);
    let mut fixture = serving(&one);
    fixture.contents.add(&one.clone().failing_to_start());
    fixture.put(FILE, &two.failing_to_start());
    fixture.assert_unavailable("start-failed");

    fixture.put(FILE, &three);

    fixture.assert_counts(&three, 3);
    assert!(fixture.status(PLUGIN).refused.is_none());
    fixture.contents.add(&one);
    assert_result(&fixture.owner.roll_back(PLUGIN, OPERATOR), None);
    fixture.assert_counts(&one, 3);
}

#[test]
fn keeps_the_names_of_an_unavailable_plugin_until_its_file_is_removed() {
    let [one, two] = contents(["one", "two"]);
    let mut fixture = serving(&one);
    fixture.contents.add(&one.clone().failing_to_start());
    fixture.put(FILE, &two.failing_to_start());

    let other = Content::new("other").with_method(METHOD);
    fixture.put("libother.so", &other);
    fixture.assert_refused("other", LoadErrorReason::MethodTaken);
    fixture.assert_unavailable("start-failed");

    fixture.remove(FILE);
    assert_eq!(fixture.status(PLUGIN).state, PluginState::Removed);
    fixture.scan_complete("libother.so");
    fixture.assert_serves("other", &other);
    fixture.advance(Duration::from_secs(60));
    assert!(!fixture.is_routed(PLUGIN));
}

#[test]
fn applies_settings_that_let_an_unavailable_plugin_start() {
    let [one, two] = contents(["one", "two"]);
    let mut fixture = serving(&one);
    fixture.contents.add(&one.clone().failing_to_start());
    fixture.put(FILE, &two.failing_to_start());
    fixture.contents.add(&one);

    let mut changed = config(ReplacePolicy::StopFirst);
    changed.plugin.get_mut(PLUGIN).unwrap().settings = json!({ "word": "two" });
    fixture.owner.configure(Arc::new(changed)).unwrap();

    fixture.assert_counts(&one, 3);
}

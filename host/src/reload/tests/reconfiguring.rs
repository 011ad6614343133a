//! Tests of new configurations.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Fixture;
use super::plugin::Content;
use super::test_plugin::count_of;
use crate::config::{Config, Isolation, Place};
use crate::loader::LoadErrorReason;

const FILE: &str = "libdevice.so";
const PLUGIN: &str = "device";

fn config(settings: Value) -> Config {
    let mut config = Config::default();
    config.plugin.entry(PLUGIN.to_owned()).or_default().settings = settings;
    config
}

#[test]
fn starts_a_plugin_again_when_its_settings_change() {
    let content = Content::new("one").with_count(3);
    let mut fixture = Fixture::with_config(config(json!({ "word": "one" })));
    fixture.put(FILE, &content);
    fixture.put("libother.so", &Content::new("other"));
    let (first, other) = (fixture.status(PLUGIN).generation, fixture.status("other").generation);

    fixture.owner.configure(Arc::new(config(json!({ "word": "two" })))).unwrap();

    fixture.assert_serves(PLUGIN, &content);
    assert!(fixture.status(PLUGIN).generation > first);
    assert_eq!(count_of(&fixture.generation(PLUGIN)), 3);
    assert_eq!(fixture.status("other").generation, other);
    assert_eq!(fixture.owner.config.plugin[PLUGIN].settings["word"], "two");
}

#[test]
fn does_not_start_a_plugin_again_for_other_changes() {
    let mut fixture = Fixture::with_config(config(json!({})));
    fixture.put(FILE, &Content::new("one"));
    let first = fixture.status(PLUGIN).generation;
    let mut new = config(json!({}));
    new.limits.connections = 7;
    new.plugin.get_mut(PLUGIN).unwrap().place = Place { line: 7, column: 7 };

    fixture.owner.configure(Arc::new(new)).unwrap();

    assert_eq!(fixture.status(PLUGIN).generation, first);
    assert_eq!(fixture.owner.dispatcher.rules.load().limits.connections, 7);
}

#[test]
fn applies_nothing_when_a_plugin_does_not_start_with_its_settings() {
    let mut old = config(json!({}));
    old.plugin.entry("another".to_owned()).or_default();
    let mut fixture = Fixture::with_config(old);
    let (one, other) = (Content::new("one"), Content::new("other"));
    fixture.put(FILE, &one);
    fixture.put("libanother.so", &other);
    let generations = [PLUGIN, "another"].map(|plugin| fixture.status(plugin).generation);

    let mut new = config(json!({ "fail": true }));
    new.limits.connections = 7;
    new.plugin.entry("another".to_owned()).or_default().settings = json!({ "word": "two" });
    let errors = fixture.owner.configure(Arc::new(new)).unwrap_err();

    let expected =
        "plugin.device: cannot run with its new settings (start-failed): a test says so; if it needs";
    assert!(errors.len() == 1 && errors[0].starts_with(expected), "{errors:?}");
    assert_eq!([PLUGIN, "another"].map(|plugin| fixture.status(plugin).generation), generations);
    assert_eq!(fixture.owner.config.plugin["another"].settings, json!({}));
    assert_ne!(fixture.owner.dispatcher.rules.load().limits.connections, 7);
    fixture.settle();
    assert_eq!(fixture.status("another").unloaded, 1, "the generation that was prepared");
}

#[test]
fn applies_nothing_when_a_state_is_not_transferred() {
    let content = Content::new("one").with_count(3).failing_to_import();
    let mut fixture = Fixture::with_config(config(json!({})));
    fixture.put(FILE, &content);
    let first = fixture.status(PLUGIN).generation;

    let errors = fixture.owner.configure(Arc::new(config(json!({ "word": "two" })))).unwrap_err();

    let expected = "plugin.device: cannot run with its new settings (take-over-failed): the new generation did not \
                    import the state: the test takes no count";
    assert_eq!(errors, [expected]);
    assert_eq!(fixture.status(PLUGIN).generation, first);
    assert_eq!(fixture.owner.config.plugin[PLUGIN].settings, json!({}));
}

#[test]
fn loads_a_file_again_that_was_refused_with_the_old_settings() {
    let content = Content::new("one");
    let mut fixture = Fixture::with_config(config(json!({ "fail": true })));
    fixture.put(FILE, &content);
    fixture.assert_refused(PLUGIN, LoadErrorReason::StartFailed);

    fixture.owner.configure(Arc::new(config(json!({ "fail": false })))).unwrap();
    fixture.scan_complete(FILE);

    fixture.assert_serves(PLUGIN, &content);
}

#[test]
fn loads_a_file_again_that_was_refused_for_lack_of_room() {
    let mut old = Config::default();
    old.plugins.retained = 1;
    let mut new = old.clone();
    new.plugins.retained = 2;
    let content = Content::new("one");
    let mut fixture = Fixture::with_config(old);
    fixture.put(FILE, &Content::new("hangs").hanging_in_start());
    fixture.put("libother.so", &content);
    fixture.assert_refused("other", LoadErrorReason::TooManyRetained);

    fixture.owner.configure(Arc::new(new)).unwrap();
    fixture.scan_complete("libother.so");

    fixture.assert_serves("other", &content);
}

#[test]
fn starts_a_plugin_again_when_its_isolation_changes() {
    let in_worker = |count| {
        let mut config = config(json!({}));
        let own = config.plugin.get_mut(PLUGIN).unwrap();
        own.isolation = Isolation::Worker;
        own.worker.count = count;
        config
    };
    let mut fixture = Fixture::with_config(config(json!({})));
    fixture.put(FILE, &Content::new("one"));

    let mut generation = fixture.status(PLUGIN).generation;
    for new in [in_worker(1), in_worker(2), config(json!({}))] {
        fixture.owner.configure(Arc::new(new)).unwrap();
        assert!(fixture.status(PLUGIN).generation > generation);
        generation = fixture.status(PLUGIN).generation;
    }

    let mut unused = config(json!({}));
    unused.plugin.get_mut(PLUGIN).unwrap().worker.count = 3;
    fixture.owner.configure(Arc::new(unused)).unwrap();
    assert_eq!(fixture.status(PLUGIN).generation, generation, "it does not run in workers");
}

//! Tests of decisions about where plugins run.

use std::fs;
use std::sync::Arc;

use super::plugin::Content;
use super::stop_first::{FILE, OPERATOR, PLUGIN, config, contents};
use super::{Fixture, assert_result};
use crate::config::{Config, CrashAction, CrashConfig, Isolation, PluginConfig, ReplacePolicy};
use crate::crash_record::CrashRecord;
use crate::decisions::test_support::MemoryState;
use crate::loader::LoadErrorReason;

/// Opens the crash record of a host after crashes that this content caused.
fn record_of(content: &Content, action: CrashAction) -> Arc<CrashRecord> {
    let directory =
        std::env::temp_dir().join(format!("jackfield-isolating-{}-{action:?}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let content = serde_json::json!({
        "plugin": PLUGIN, "hash": content.hash().to_string(), "deaths": 3, "method": "device.list",
    });
    let log = serde_json::json!({ "deaths": [], "left_out": [content] });
    fs::write(directory.join("deaths.json"), log.to_string()).unwrap();

    let limits = CrashConfig { record: Some(directory.clone()), action, ..CrashConfig::default() };
    let record = CrashRecord::open(&limits).unwrap();
    fs::remove_dir_all(directory).unwrap();
    assert!(record.is_persistent());
    record
}

impl Fixture {
    /// Returns the configuration with which the generation that serves was started.
    fn started_with(&self) -> PluginConfig {
        self.contents.config_of(&self.generation(PLUGIN))
    }

    #[track_caller]
    fn assert_runs(&self, isolation: Isolation) {
        assert_eq!(self.started_with().isolation, isolation);
    }
}

/// Returns a fixture in which this content serves.
fn serving(content: &Content, config: Config, state: &MemoryState) -> Fixture {
    let mut fixture = Fixture::with_state(config, state);
    fixture.put(FILE, content);
    fixture.assert_serves(PLUGIN, content);
    fixture
}

#[test]
fn moves_a_plugin_into_a_worker_and_back_for_an_operator() {
    let [one] = contents(["one"]);
    for policy in [ReplacePolicy::StartFirst, ReplacePolicy::StopFirst] {
        // Beside the previous generation, it could not have its resource.
        let one =
            if policy == ReplacePolicy::StartFirst { Content::new("one").with_count(3) } else { one.clone() };
        let mut fixture = serving(&one, config(policy), &MemoryState::default());
        let first = fixture.status(PLUGIN).generation;
        fixture.assert_runs(Isolation::InProcess);

        assert_result(&fixture.owner.isolate(PLUGIN, false, OPERATOR), None);
        fixture.assert_serves(PLUGIN, &one);
        fixture.assert_runs(Isolation::Worker);
        assert_eq!(fixture.contents.probed_for(&one), Isolation::Worker);
        let status = fixture.status(PLUGIN);
        assert!(status.generation > first, "the content was started again");
        let isolated = status.isolated.unwrap();
        assert_eq!(
            (&*isolated.by, &*isolated.reason, &*isolated.detail),
            ("operator", "isolated", "by command")
        );
        fixture.owner.report_counts();
        let counts = &fixture.owner.dispatcher.metrics.snapshot().plugins[PLUGIN];
        assert_eq!(counts.generations.isolated_by, Some("operator"));

        assert_result(&fixture.owner.isolate(PLUGIN, true, OPERATOR), None);
        fixture.assert_serves(PLUGIN, &one);
        fixture.assert_runs(Isolation::InProcess);
        assert!(fixture.status(PLUGIN).isolated.is_none());
    }
}

#[test]
fn isolates_every_later_content_and_the_next_host_until_an_operator_ends_it() {
    let [one, two] = ["one", "two"].map(Content::new);
    let state = MemoryState::default();
    let mut fixture = serving(&one, Config::default(), &state);
    fixture.owner.isolate(PLUGIN, false, OPERATOR);
    fixture.put(FILE, &two);
    fixture.assert_runs(Isolation::Worker);
    fixture.owner.roll_back(PLUGIN, OPERATOR);
    fixture.assert_serves(PLUGIN, &one);
    fixture.assert_runs(Isolation::Worker);

    let mut next = Fixture::with_state(Config::default(), &state);
    next.directory.write(FILE, &one);
    next.owner.load_all(&|_| ());
    next.assert_runs(Isolation::Worker);
    next.owner.isolate(PLUGIN, true, OPERATOR);

    let mut third = Fixture::with_state(Config::default(), &state);
    third.directory.write(FILE, &one);
    third.owner.load_all(&|_| ());
    third.assert_runs(Isolation::InProcess);
}

#[test]
fn changes_nothing_if_the_plugin_does_not_start_in_a_worker() {
    for policy in [ReplacePolicy::StartFirst, ReplacePolicy::StopFirst] {
        let one = Content::new("one").with_count(3).failing_in(Isolation::Worker);
        let state = MemoryState::default();
        let mut fixture = serving(&one, config(policy), &state);

        let result = fixture.owner.isolate(PLUGIN, false, OPERATOR);

        assert_result(&result, Some(LoadErrorReason::StartFailed));
        fixture.assert_counts(&one, 3);
        assert!(fixture.status(PLUGIN).isolated.is_none());
        fixture.assert_runs(Isolation::InProcess);
        assert!(!state.open().has_isolation(PLUGIN));
    }
}

#[test]
fn does_not_start_a_plugin_again_that_runs_where_it_is_to_run() {
    let one = Content::new("one");
    let mut config = Config::default();
    config.plugin.entry(PLUGIN.to_owned()).or_default().isolation = Isolation::Worker;
    let mut fixture = serving(&one, config, &MemoryState::default());
    let first = fixture.status(PLUGIN).generation;

    for is_off in [false, true] {
        assert_result(&fixture.owner.isolate(PLUGIN, is_off, OPERATOR), None);
        assert_eq!(fixture.status(PLUGIN).generation, first);
        assert_eq!(fixture.status(PLUGIN).isolated.is_some(), !is_off);
    }
    fixture.assert_runs(Isolation::Worker);
}

#[test]
fn refuses_to_move_unknown_plugins_and_to_end_what_nobody_decided() {
    let mut fixture = serving(&Content::new("one"), Config::default(), &MemoryState::default());

    let unknown = fixture.owner.isolate("nobody", false, OPERATOR);
    assert_result(&unknown, Some(LoadErrorReason::NoSuchPlugin));
    let result = fixture.owner.isolate(PLUGIN, true, OPERATOR);
    assert_result(&result, Some(LoadErrorReason::NotIsolated));
    let detail = result.refused.unwrap().detail;
    assert_eq!(
        detail,
        "no decision isolates the plugin \"device\"; plugin.device.isolation sets where it runs"
    );
    fixture.remove(FILE);
    let removed = fixture.owner.isolate(PLUGIN, false, OPERATOR);
    assert_result(&removed, Some(LoadErrorReason::NoSuchPlugin));
}

#[test]
fn loads_content_that_caused_crashes_into_a_worker() {
    let [one, two] = ["one", "two"].map(Content::new);
    let state = MemoryState::default();
    let record = record_of(&one, CrashAction::Worker);
    let mut fixture = Fixture::after_crashes(Config::default(), &state, record);
    assert_eq!(fixture.owner.dispatcher.crash_record.quarantined_count(), 0);
    fixture.directory.write(FILE, &one);
    fixture.owner.load_all(&|_| ());

    fixture.assert_serves(PLUGIN, &one);
    fixture.assert_runs(Isolation::Worker);
    let isolated = fixture.status(PLUGIN).isolated.unwrap();
    let why = "it was running in 3 crashes of the host within 10 min, last in device.list";
    assert_eq!((&*isolated.by, &*isolated.detail), ("host", why));

    // A reload by name starts it again, and does not move it.
    assert_result(&fixture.owner.reload(Some(PLUGIN), false)[0], None);
    fixture.assert_runs(Isolation::Worker);

    // The decision is about this content only, and it outlives the crash record.
    fixture.put(FILE, &two);
    fixture.assert_runs(Isolation::InProcess);
    assert!(fixture.status(PLUGIN).isolated.is_none());
    let mut next = Fixture::with_state(Config::default(), &state);
    next.put(FILE, &one);
    next.assert_runs(Isolation::Worker);
}

#[test]
fn ends_an_automatic_isolation_together_with_its_crashes() {
    let one = Content::new("one");
    let state = MemoryState::default();
    let record = record_of(&one, CrashAction::Worker);
    let mut fixture = Fixture::after_crashes(Config::default(), &state, record);
    fixture.put(FILE, &one);

    assert_result(&fixture.owner.isolate(PLUGIN, true, OPERATOR), None);
    fixture.assert_runs(Isolation::InProcess);

    fixture.owner.reload(Some(PLUGIN), false);
    fixture.assert_runs(Isolation::InProcess);
    assert!(!state.open().has_isolation(PLUGIN));
}

#[test]
fn loads_quarantined_content_into_a_worker_for_an_operator() {
    let one = Content::new("one").with_method("device.list");
    let record = record_of(&one, CrashAction::Quarantine);
    let mut fixture = Fixture::after_crashes(Config::default(), &MemoryState::default(), record);
    fixture.put(FILE, &one);
    fixture.assert_refused(PLUGIN, LoadErrorReason::TooManyCrashes);

    assert_result(&fixture.owner.isolate(PLUGIN, false, OPERATOR), None);
    fixture.assert_serves(PLUGIN, &one);
    fixture.assert_runs(Isolation::Worker);
    assert_eq!(fixture.owner.dispatcher.crash_record.quarantined_count(), 1, "for the host itself");

    assert_result(&fixture.owner.isolate(PLUGIN, true, OPERATOR), None);
    fixture.assert_runs(Isolation::InProcess);
    assert_eq!(fixture.owner.dispatcher.crash_record.quarantined_count(), 0);
}

#[test]
fn does_not_quarantine_a_plugin_that_is_configured_to_run_in_a_worker() {
    let one = Content::new("one");
    let record = record_of(&one, CrashAction::Quarantine);
    let mut fixture = Fixture::after_crashes(Config::default(), &MemoryState::default(), record);
    fixture.put(FILE, &one);
    fixture.assert_refused(PLUGIN, LoadErrorReason::TooManyCrashes);

    let mut new = Config::default();
    new.plugin.entry(PLUGIN.to_owned()).or_default().isolation = Isolation::Worker;
    fixture.owner.configure(Arc::new(new)).unwrap();
    fixture.scan_complete(FILE);

    fixture.assert_serves(PLUGIN, &one);
    assert!(fixture.status(PLUGIN).isolated.is_none(), "nobody decided that");
}

#[test]
fn starts_an_isolated_plugin_again_if_the_options_of_its_worker_change() {
    let one = Content::new("one");
    let mut fixture = serving(&one, Config::default(), &MemoryState::default());
    let configured = |memory, isolation| {
        let mut config = Config::default();
        let own = config.plugin.entry(PLUGIN.to_owned()).or_default();
        (own.worker.memory, own.isolation) = (memory, isolation);
        Arc::new(config)
    };
    let has_started = |fixture: &mut Fixture, config| {
        let before = fixture.status(PLUGIN).generation;
        fixture.owner.configure(config).unwrap();
        fixture.status(PLUGIN).generation > before
    };
    assert!(!has_started(&mut fixture, configured(1, Isolation::InProcess)), "it has no worker");
    fixture.owner.isolate(PLUGIN, false, OPERATOR);

    assert!(has_started(&mut fixture, configured(2, Isolation::InProcess)));
    assert_eq!(fixture.started_with().worker.memory, 2);
    assert!(!has_started(&mut fixture, configured(2, Isolation::Worker)));
    assert!(!has_started(&mut fixture, configured(2, Isolation::InProcess)));
    fixture.assert_runs(Isolation::Worker);
}

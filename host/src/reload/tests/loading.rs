//! Tests of loading files: what serves afterwards, what is reported, and what is tried again.

use std::time::Duration;

use super::plugin::Content;
use super::{Fixture, assert_result};
use crate::admin::PluginState;
use crate::config::Config;
use crate::loader::LoadErrorReason;
use crate::plugin::BuiltInPlugin;
use crate::reload::ReloadCommand;

const FILE: &str = "libdevice.so";
const PLUGIN: &str = "device";

/// Returns a fixture with a content that serves.
fn serving(content: &Content) -> Fixture {
    let mut fixture = Fixture::new();
    fixture.put(FILE, content);
    fixture.assert_serves(PLUGIN, content);
    fixture
}

#[test]
fn replaces_and_unloads_the_previous_generation() {
    let (one, two) = (Content::new("one"), Content::new("two"));
    let mut fixture = serving(&one);
    let first = fixture.status(PLUGIN).generation;

    fixture.put(FILE, &two);

    fixture.assert_serves(PLUGIN, &two);
    let status = fixture.status(PLUGIN);
    assert_eq!(status.draining, Vec::from_iter(first));
    assert_eq!(status.state, PluginState::Probation);
    fixture.settle();
    let status = fixture.status(PLUGIN);
    assert_eq!((status.draining.len(), status.unloaded, status.retained.len()), (0, 1, 0));
    assert_eq!(fixture.count("plugins_loaded"), 2);
}

#[test]
fn loads_the_same_content_again_only_for_an_operator() {
    let content = Content::new("one");
    let mut fixture = serving(&content);
    let first = fixture.status(PLUGIN).generation;

    assert!(!fixture.put(FILE, &content), "no other scan is due");
    assert_eq!(fixture.status(PLUGIN).generation, first);

    let results = fixture.owner.reload(Some(PLUGIN), false);
    assert_result(&results[0], None);
    assert!(results[0].generation > first);
    fixture.assert_serves(PLUGIN, &content);
}

#[test]
fn waits_for_a_file_that_is_being_written_without_reporting_it() {
    let (one, two) = (Content::new("one"), Content::new("two"));
    let mut fixture = serving(&one);
    fixture.directory.write(FILE, &two);
    fixture.directory.set_staging_error(FILE, Some(LoadErrorReason::ChangedWhileRead));

    assert!(fixture.scan_complete(FILE), "another scan is due");
    assert_eq!(fixture.status(PLUGIN).refused, None);
    fixture.assert_serves(PLUGIN, &one);

    fixture.directory.set_staging_error(FILE, None);
    assert!(!fixture.scan_complete(FILE));
    fixture.assert_serves(PLUGIN, &two);
    assert_eq!(fixture.count("plugins_refused"), 0);
}

#[test]
fn refuses_a_half_written_file_and_loads_it_when_it_is_complete() {
    let (one, two) = (Content::new("one"), Content::new("two"));
    let mut fixture = serving(&one);
    fixture.directory.write(FILE, &two);
    fixture.directory.set_staging_error(FILE, Some(LoadErrorReason::Truncated));

    assert!(!fixture.scan_complete(FILE), "the content is at fault");
    fixture.assert_refused(PLUGIN, LoadErrorReason::Truncated);
    fixture.assert_serves(PLUGIN, &one);

    fixture.put(FILE, &two);
    fixture.assert_serves(PLUGIN, &two);
    assert_eq!(fixture.status(PLUGIN).refused, None);
}

#[test]
fn serves_the_previous_generation_when_the_probe_fails() {
    let one = Content::new("one");
    let mut fixture = serving(&one);
    let bad = Content::new("bad").failing_in_probe(LoadErrorReason::ProbeCrashed);

    assert!(!fixture.put(FILE, &bad));

    fixture.assert_serves(PLUGIN, &one);
    fixture.assert_refused(PLUGIN, LoadErrorReason::ProbeCrashed);
    let status = fixture.status(PLUGIN);
    assert_eq!((status.draining.len(), status.unloaded), (0, 0), "no generation was started");
}

#[test]
fn serves_the_previous_generation_when_the_start_fails() {
    let one = Content::new("one");
    let mut fixture = serving(&one);
    let bad = Content::new("bad").failing_to_start();

    fixture.put(FILE, &bad);

    fixture.assert_serves(PLUGIN, &one);
    fixture.assert_refused(PLUGIN, LoadErrorReason::StartFailed);
    assert_eq!(fixture.status(PLUGIN).retained.len(), 0);
}

#[test]
fn counts_the_code_that_a_failed_start_leaves_in_the_process() {
    let mut fixture = serving(&Content::new("one"));
    let hangs = Content::new("hangs").hanging_in_start();

    fixture.put(FILE, &hangs);

    let retained = fixture.status(PLUGIN).retained;
    assert_eq!((retained.len(), retained[0].reason.as_str()), (1, "start did not return"));
    assert_eq!(fixture.count("generations_retained"), 1);
}

#[test]
fn reports_a_refusal_once_and_retries_a_transient_one() {
    let (one, two) = (Content::new("one"), Content::new("two"));
    let mut fixture = serving(&one);
    let scarce = two.clone().failing_in_probe(LoadErrorReason::ProbeFailed);

    assert!(fixture.put(FILE, &scarce), "another scan is due");
    for pause in [1, 2, 4] {
        fixture.clock.advance(Duration::from_secs(pause));
        assert!(fixture.scan_complete(FILE));
    }
    assert_eq!(fixture.count("plugins_refused"), 1);
    fixture.assert_refused(PLUGIN, LoadErrorReason::ProbeFailed);

    fixture.contents.add(&two);
    assert!(fixture.scan_complete(FILE), "the pauses increase");
    fixture.assert_refused(PLUGIN, LoadErrorReason::ProbeFailed);

    fixture.clock.advance(Duration::from_secs(8));
    assert!(!fixture.scan_complete(FILE));
    fixture.assert_serves(PLUGIN, &two);
    assert_eq!(fixture.status(PLUGIN).refused, None);
}

#[test]
fn forgets_a_refusal_when_the_serving_content_returns() {
    let one = Content::new("one");
    let mut fixture = serving(&one);
    let first = fixture.status(PLUGIN).generation;
    fixture.put(FILE, &Content::new("bad").failing_in_probe(LoadErrorReason::ProbeCrashed));

    fixture.put(FILE, &one);

    let status = fixture.status(PLUGIN);
    assert_eq!((status.generation, status.refused), (first, None));
}

#[test]
fn lists_a_plugin_that_never_served_until_its_file_is_removed() {
    let mut fixture = Fixture::new();
    fixture.put(FILE, &Content::new("bad").failing_in_probe(LoadErrorReason::ProbeCrashed));
    assert_eq!(fixture.status(PLUGIN).state, PluginState::Refused);

    fixture.remove(FILE);
    assert!(fixture.owner.list().is_empty());
}

#[test]
fn reports_an_unusable_file_of_a_serving_plugin() {
    let one = Content::new("one");
    let mut fixture = serving(&one);
    fixture.directory.write(FILE, &one);
    fixture.directory.make_unusable(FILE, LoadErrorReason::WritableByOthers);

    fixture.scan();

    fixture.assert_serves(PLUGIN, &one);
    fixture.assert_refused(PLUGIN, LoadErrorReason::WritableByOthers);
}

#[test]
fn ends_a_plugin_whose_file_is_removed_and_loads_it_when_it_returns() {
    let one = Content::new("one");
    let mut fixture = serving(&one);

    fixture.remove(FILE);

    assert!(!fixture.is_routed(PLUGIN));
    assert_eq!(fixture.status(PLUGIN).state, PluginState::Removed);
    fixture.settle();
    assert_eq!(fixture.status(PLUGIN).unloaded, 1);

    fixture.put(FILE, &one);
    fixture.assert_serves(PLUGIN, &one);
    assert_eq!(fixture.status(PLUGIN).state, PluginState::Serving, "there is nothing to roll back to");
}

#[test]
fn keeps_a_method_for_the_plugin_that_has_it_until_it_is_removed() {
    let owner = Content::new("owner").with_method("device.list");
    let other = Content::new("other").with_method("other.get").with_method("device.list");
    let mut fixture = serving(&owner);

    fixture.put("libother.so", &other);
    fixture.assert_refused("other", LoadErrorReason::MethodTaken);
    assert!(!fixture.is_routed("other"));

    fixture.remove(FILE);
    fixture.scan_complete("libother.so");
    fixture.assert_serves("other", &other);
}

#[test]
fn keeps_a_name_for_the_file_that_has_it() {
    let one = Content::new("one");
    let mut fixture = serving(&one);
    // Both file names stand for the plugin `device`.
    fixture.directory.write("device.so", &Content::new("two"));

    fixture.scan_complete("device.so");
    fixture.assert_serves(PLUGIN, &one);
    assert_eq!(fixture.status(PLUGIN).refused, None, "the refusal is not about the file that serves");
    assert_eq!(fixture.count("plugins_refused"), 1);

    let result = &fixture.owner.reload(Some(PLUGIN), false)[0];
    assert_result(result, Some(LoadErrorReason::NameTaken));
    assert_eq!((result.plugin.as_str(), result.generation), (PLUGIN, None));
}

#[test]
fn loads_a_renamed_file_under_its_new_name() {
    let one = Content::new("one").with_method("a.b");
    let mut fixture = serving(&one);
    fixture.directory.rename(FILE, "liba.so");

    let (reply, mut done) = tokio::sync::oneshot::channel();
    fixture.owner.execute(ReloadCommand::ScanAll(reply));
    assert_eq!(done.try_recv(), Ok(()));

    fixture.assert_serves("a", &one);
    assert!(!fixture.is_routed(PLUGIN));
}

#[test]
fn refuses_the_name_of_a_built_in_plugin() {
    let mut fixture = Fixture::new();
    let methods = jackfield_plugin_api::Methods::<()>::new();
    fixture.owner.add_built_in(BuiltInPlugin::new("system", (), methods)).unwrap();
    fixture.owner.publish(None);

    fixture.put("libsystem.so", &Content::new("one"));

    assert_eq!(fixture.status("system").refused.unwrap().reason, LoadErrorReason::NameTaken.code());
    assert_eq!(fixture.generation("system").identity.hash, "");
}

#[test]
fn refuses_a_generation_when_too_many_are_retained() {
    let mut config = Config::default();
    config.plugins.retained = 1;
    let mut fixture = Fixture::with_config(config);
    fixture.put(FILE, &Content::new("hangs").hanging_in_start());

    fixture.put("libother.so", &Content::new("one"));

    fixture.assert_refused("other", LoadErrorReason::TooManyRetained);
    let detail = fixture.status("other").refused.unwrap().detail;
    assert_eq!(detail, "plugins.retained is reached: 1 generation could not be unloaded; restart the host");
}

#[test]
fn refuses_a_generation_while_too_many_drain() {
    let mut fixture = serving(&Content::new("0"));
    let mut in_use = Vec::new();
    for number in 1..=8 {
        in_use.push(fixture.generation(PLUGIN));
        fixture.put(FILE, &Content::new(&number.to_string()));
    }

    assert!(fixture.put(FILE, &Content::new("9")), "another scan is due");
    fixture.assert_refused(PLUGIN, LoadErrorReason::TooManyDraining);
    fixture.assert_serves(PLUGIN, &Content::new("8"));

    in_use.clear();
    assert!(fixture.execute_next(), "the end of a generation makes room, so another scan is due");
    fixture.scan_complete(FILE);
    fixture.assert_serves(PLUGIN, &Content::new("9"));
    fixture.settle();
    assert_eq!(fixture.status(PLUGIN).unloaded, 9);
}

#[test]
fn reports_a_reload_of_a_plugin_without_a_file() {
    let mut fixture = serving(&Content::new("one"));

    let results = fixture.owner.reload(Some("nobody"), false);

    assert_eq!(results.len(), 1);
    assert_result(&results[0], Some(LoadErrorReason::NoSuchPlugin));
    assert!(fixture.owner.list().iter().all(|status| status.name != "nobody"));
}

#[test]
fn reloads_every_file_and_reports_each() {
    let mut fixture = serving(&Content::new("one"));
    fixture.put("libbad.so", &Content::new("bad").failing_in_probe(LoadErrorReason::ProbeCrashed));

    let results = fixture.owner.reload(None, false);

    assert_eq!(results.iter().map(|result| &*result.plugin).collect::<Vec<_>>(), ["bad", PLUGIN]);
    assert_result(&results[0], Some(LoadErrorReason::ProbeCrashed));
    assert_result(&results[1], None);
}

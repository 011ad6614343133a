//! The events that a program which embeds the host receives.

use std::time::Duration;

use super::plugin::Content;
use super::stop_first::{contents, serving};
use super::{Fixture, error};
use crate::config::Config;
use crate::decisions::Decider;
use crate::loader::LoadErrorReason;
use crate::plugin_events::{PluginEvent, PluginEvents};
use crate::routing::HealthWatch;

const FILE: &str = "libdevice.so";
const PLUGIN: &str = "device";

/// Returns the names of the events that wait, with the generation that each is about.
fn received(events: &mut PluginEvents) -> Vec<(&'static str, u64)> {
    let name = |event| match event {
        PluginEvent::Loaded { generation, .. } => ("loaded", generation),
        PluginEvent::Refused { .. } => ("refused", 0),
        PluginEvent::Quarantined { .. } => ("quarantined", 0),
        PluginEvent::RolledBack { from, .. } => ("rolled back", from),
        PluginEvent::Unavailable { .. } => ("unavailable", 0),
        PluginEvent::Removed { generation, .. } => ("removed", generation),
        PluginEvent::Unloaded { generation, .. } => ("unloaded", generation),
        PluginEvent::Retained { generation, .. } => ("retained", generation),
        PluginEvent::Unhealthy { generation, .. } => ("unhealthy", generation),
        PluginEvent::Healthy { generation, .. } => ("healthy", generation),
        PluginEvent::Missed { .. } => ("missed", 0),
    };
    std::iter::from_fn(|| events.try_next()).inspect(|event| println!("{event}")).map(name).collect()
}

fn config() -> Config {
    let mut config = Config::default();
    config.plugins.probation.calls = 10;
    config.plugins.probation.failures = 3;
    config
}

#[test]
fn tells_of_loads_refusals_rollbacks_and_removals_in_their_order() {
    let (one, two) = (Content::new("one"), Content::new("two"));
    let mut fixture = Fixture::with_config(config());
    let mut events = fixture.owner.dispatcher.events.subscribe();

    fixture.put(FILE, &one);
    let first = fixture.generation(PLUGIN).identity.number;
    assert_eq!(received(&mut events), [("loaded", first)]);

    fixture.put(FILE, &Content::new("bad").failing_in_probe(LoadErrorReason::ProbeFailed));
    assert_eq!(received(&mut events), [("refused", 0)]);

    fixture.put(FILE, &two);
    fixture.settle();
    let second = fixture.generation(PLUGIN).identity.number;
    assert_eq!(received(&mut events), [("loaded", second), ("unloaded", first)]);

    fixture.fail_probation(PLUGIN);
    fixture.settle();
    let third = fixture.generation(PLUGIN).identity.number;
    let expected = [("loaded", third), ("rolled back", second), ("unloaded", second)];
    assert_eq!(received(&mut events), expected);

    fixture.owner.reload(Some(PLUGIN), false);
    fixture.settle();
    let fourth = fixture.generation(PLUGIN).identity.number;
    fixture.owner.roll_back(PLUGIN, Decider::Operator { uid: None });
    fixture.settle();
    let fifth = fixture.generation(PLUGIN).identity.number;
    let expected = [
        ("loaded", fourth),
        ("unloaded", third),
        ("loaded", fifth),
        ("rolled back", fourth),
        ("unloaded", fourth),
    ];
    assert_eq!(received(&mut events), expected);

    fixture.remove(FILE);
    fixture.settle();
    assert_eq!(received(&mut events), [("removed", fifth), ("unloaded", fifth)]);
}

#[test]
fn names_a_quarantine_as_such() {
    let mut fixture = Fixture::new();
    let mut events = fixture.owner.dispatcher.events.subscribe();

    fixture.owner.report_refused(FILE.as_ref(), &error(LoadErrorReason::TooManyCrashes));

    assert_eq!(received(&mut events), [("quarantined", 0)]);
}

#[test]
fn tells_once_that_a_plugin_is_unhealthy_and_once_that_it_recovered() {
    let mut fixture = Fixture::with_config(config());
    fixture.put(FILE, &Content::new("one"));
    let generation = fixture.generation(PLUGIN);
    let number = generation.identity.number;
    let mut events = fixture.owner.dispatcher.events.subscribe();
    let mut watch = HealthWatch::default();
    let mut observe = || {
        watch.publish_changes(&fixture.owner.dispatcher);
        received(&mut events)
    };

    assert_eq!(observe(), []);
    generation.begin_stall();
    assert_eq!((observe(), observe()), (vec![("unhealthy", number)], vec![]));
    generation.end_stall();
    assert_eq!((observe(), observe()), (vec![("healthy", number)], vec![]));
}

#[test]
fn tells_once_that_a_stopped_plugin_does_not_start_again() {
    let [one, two] = contents(["one", "two"]);
    let mut fixture = serving(&one);
    fixture.contents.add(&one.clone().failing_to_start());
    let mut events = fixture.owner.dispatcher.events.subscribe();

    fixture.put(FILE, &two.failing_to_start());
    fixture.settle();
    let names = |events: &mut PluginEvents| -> Vec<_> {
        received(events).into_iter().map(|(name, _)| name).collect()
    };
    let happened = names(&mut events);
    assert!(happened.contains(&"unavailable") && happened.contains(&"refused"), "{happened:?}");

    fixture.clock.advance(Duration::from_secs(60));
    fixture.owner.retry_starts();
    assert!(!names(&mut events).contains(&"unavailable"));
    fixture.contents.add(&one);
    fixture.clock.advance(Duration::from_secs(60));
    fixture.owner.retry_starts();
    assert_eq!(names(&mut events), ["loaded"]);
}

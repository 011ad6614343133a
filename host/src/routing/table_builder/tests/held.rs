//! The routing table while plugins are being replaced.

use super::*;

fn held_in<'t>(table: &'t RoutingTable, method: &str) -> Option<&'t HeldTarget> {
    match table.find(method, GUEST) {
        Ok(Found::Held(held)) => Some(held),
        _ => None,
    }
}

#[test]
fn holds_the_methods_of_a_plugin_whose_state_is_transferred() {
    let device = plugin("device", &["device.get"]);
    let other = plugin("other", &["other.get"]);
    let held = HeldPlugins { plugins: ["device".to_owned()].into(), ..HeldPlugins::default() };
    let table = Source { held: Some(held), ..Source::default() }.build(&[&device, &other]);

    let held = held_in(&table, "device.get").unwrap();
    assert!(held.previous.is_some() && !held.awaits_async);
    assert!(held_in(&table, "other.get").is_none());
    assert_eq!(table.references_to(&device), 2, "the generation and one method");
}

#[test]
fn holds_the_methods_of_a_plugin_that_is_stopped_for_those_who_may_call_them() {
    let private = Route { allow: Some(Arc::new(Allow::new([7], []))), ..route("device.get", "device") };
    let mut source = Source::with_routes(vec![private]);
    source.refuse("device", &["device.get", "device.set"]);
    let plugins = BTreeSet::from(["device".to_owned()]);
    source.held = Some(HeldPlugins { plugins: plugins.clone(), stopping: plugins, ..HeldPlugins::default() });
    let table = source.build(&[]);

    assert!(held_in(&table, "device.set").unwrap().previous.is_none());
    assert!(matches!(error_of(&table, "device.get", STRANGER), RequestError::PermissionDenied));
    assert!(matches!(table.find("device.get", Requester::Plugin), Ok(Found::Held(_))));
    assert_eq!(table.method_names(), ["device.get", "device.set"]);
}

#[test]
fn answers_unavailable_once_calls_were_held_for_too_long() {
    let (device, other) = (plugin("device", &["device.get"]), plugin("other", &["other.get"]));
    let mut source = Source::default();
    source.refuse("stopped", &["stopped.get"]);
    let plugins = BTreeSet::from(["device".to_owned(), "stopped".to_owned()]);
    let held = HeldPlugins { plugins: plugins.clone(), stopping: plugins, ..HeldPlugins::default() };
    let Source { config, built_in, permits, method_names, unavailable, .. } = &source;
    let hold = CallHold::Over(&held);
    let builder = TableBuilder { config, built_in, permits, hold, method_names };
    let table = builder.build(vec![device, other], unavailable.clone());

    for method in ["device.get", "stopped.get"] {
        let data = error_of(&table, method, STRANGER).data().unwrap();
        assert!(data.contains("\"retry_after_ms\":1000"), "{method}: {data}");
    }
    assert_eq!(plugin_of(&table, "other.get"), "other");
}

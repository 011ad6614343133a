//! The methods of refused content.

use super::*;

/// Returns the plugin and the reason of a method that is unavailable for a stranger.
fn unavailable_of(table: &RoutingTable, method: &str) -> (String, Option<&'static str>) {
    match error_of(table, method, STRANGER) {
        RequestError::PluginUnavailable { plugin, reason, .. } => (plugin, reason),
        error => panic!("{method}: {error:?}"),
    }
}

#[test]
fn reports_the_methods_of_refused_content_as_unavailable_with_the_reason() {
    let mut source = Source::with_routes(vec![route("x.*", "broken"), route("y.z", "broken")]);
    source.refuse("broken", &["broken.get"]);
    let table = source.build(&[]);

    // A route gives the plugin further names, which its manifest need not have.
    for method in ["broken.get", "x.a", "y.z"] {
        assert_eq!(unavailable_of(&table, method), ("broken".to_owned(), Some("probe-crashed")), "{method}");
    }
    assert!(matches!(error_of(&table, "broken.set", STRANGER), RequestError::MethodNotFound(_)));
    assert_eq!(table.method_names(), [""; 0]);
    assert_eq!(table.counted("broken.get"), source.method_names.intern("broken.get"));
    let data = error_of(&table, "broken.get", STRANGER).data().unwrap();
    assert_eq!(data, r#"{"plugin":"broken","reason":"probe-crashed","retry_after_ms":1000}"#);
}

#[test]
fn suggests_the_delay_that_the_refusal_knows() {
    let mut source = Source::default();
    source.refuse("broken", &["broken.get"]);
    source.unavailable[0].retry_after = Some(Duration::from_millis(20));

    let error = error_of(&source.build(&[]), "broken.get", STRANGER);
    assert!(error.data().unwrap().contains(r#""retry_after_ms":20}"#), "{error:?}");
}

#[test]
fn gives_refused_content_no_name_that_a_plugin_serves_or_a_route_gives_away() {
    let device = plugin("device", &["device.get"]);
    let disabled = Route { enabled: false, ..route("a.off", "broken") };
    let routes = vec![disabled, route("a.other", "gone"), route("b.*", "device")];
    let mut source = Source::with_routes(routes);
    source.refuse("broken", &["device.get", "a.off", "a.other", "b.new", "c.new"]);
    source.refuse("later", &["c.new"]);
    let table = source.build(&[&device]);

    assert_eq!(plugin_of(&table, "device.get"), "device");
    assert_eq!(unavailable_of(&table, "a.other"), ("gone".to_owned(), None));
    for method in ["a.off", "b.new"] {
        assert!(matches!(error_of(&table, method, STRANGER), RequestError::MethodNotFound(_)), "{method}");
    }
    assert_eq!(unavailable_of(&table, "c.new").0, "broken", "two refused contents have the name");
}

#[test]
fn reports_new_methods_of_refused_content_beside_the_methods_that_serve() {
    let device = plugin("device", &["device.get"]);
    let mut source = Source::default();
    source.refuse("device", &["device.get", "device.new"]);
    let table = source.build(&[&device]);

    assert_eq!(plugin_of(&table, "device.get"), "device");
    assert_eq!(unavailable_of(&table, "device.new").1, Some("probe-crashed"));
}

#[test]
fn applies_routes_and_auto_route_to_refused_content() {
    let allow = Some(Arc::new(Allow::new([7], [])));
    let mut source = Source::with_routes(vec![Route { allow, ..route("a.*", "broken") }]);
    source.config.plugins.auto_route = false;
    source.refuse("broken", &["a.get", "b.get"]);
    let table = source.build(&[]);

    assert!(matches!(error_of(&table, "a.get", STRANGER), RequestError::PermissionDenied));
    assert!(matches!(error_of(&table, "a.get", GUEST), RequestError::PluginUnavailable { .. }));
    assert!(matches!(error_of(&table, "b.get", GUEST), RequestError::MethodNotFound(_)));
}

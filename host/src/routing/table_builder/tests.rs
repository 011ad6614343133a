//! The routing table as the configuration and the plugins define it.

use std::sync::Arc;
use std::time::Duration;

use jackfield_plugin_api::{Error, Methods, Run};

use super::super::request_error::RequestError;
use super::super::table::{CountedError, Found, Requester};
use super::*;
use crate::config::Allow;
use crate::metrics::PeerIdentity;
use crate::plugin::BuiltInPlugin;
use crate::plugin::test_support::start_built_in;

mod callable_methods;
mod held;
mod unavailable;

const GUEST: Requester = Requester::Client(Some(PeerIdentity { uid: 7, gid: 7, pid: 1 }));
const STRANGER: Requester = Requester::Client(Some(PeerIdentity { uid: 8, gid: 8, pid: 1 }));

fn ok(_: &()) -> Result<(), Error> {
    Ok(())
}

/// Returns a generation of a plugin with these `inline` methods.
fn plugin(name: &str, methods: &[&str]) -> Arc<Generation> {
    let declared = methods.iter().fold(Methods::new(), |all, method| all.inline(*method, ok));
    start_built_in(BuiltInPlugin::new(name, (), declared), &Config::default())
}

fn route(pattern: &str, plugin: &str) -> Route {
    Route::to(pattern.parse().unwrap(), plugin)
}

/// Everything that a table is built from, with a mutable configuration.
#[derive(Default)]
struct Source {
    config: Config,
    built_in: BTreeSet<String>,
    permits: RoutePermits,
    held: Option<HeldPlugins>,
    method_names: MethodNames,
    unavailable: Vec<UnavailablePlugin>,
}

impl Source {
    fn with_routes(routes: Vec<Route>) -> Self {
        let mut source = Self::default();
        source.set_routes(routes);
        source
    }

    fn set_routes(&mut self, routes: Vec<Route>) {
        self.permits.update(&routes);
        self.config.routes = routes;
    }

    /// Adds content of `plugin` with these methods that was refused as `probe-crashed`.
    fn refuse(&mut self, plugin: &str, methods: &[&str]) {
        self.unavailable.push(UnavailablePlugin {
            plugin: plugin.to_owned(),
            reason: "probe-crashed",
            retry_after: None,
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
            is_down: false,
        });
    }

    fn build(&self, serving: &[&Arc<Generation>]) -> RoutingTable {
        let Self { config, built_in, permits, held, method_names, unavailable } = self;
        let hold = held.as_ref().map_or(CallHold::None, CallHold::AtGate);
        let builder = TableBuilder { config, built_in, permits, hold, method_names };
        let serving = serving.iter().map(|generation| Arc::clone(generation)).collect();
        builder.build(serving, unavailable.clone())
    }
}

/// Returns the plugin that answers a method.
fn target_of<'t>(table: &'t RoutingTable, method: &str, requester: Requester) -> &'t RouteTarget {
    match table.find(method, requester) {
        Ok(Found::Open(target)) => target,
        Ok(Found::Held(_)) => panic!("{method} is held"),
        Err(CountedError { error, .. }) => panic!("{method}: {error:?}"),
    }
}

fn plugin_of<'t>(table: &'t RoutingTable, method: &str) -> &'t str {
    &target_of(table, method, STRANGER).generation.identity.plugin
}

fn error_of(table: &RoutingTable, method: &str, requester: Requester) -> RequestError {
    table.find(method, requester).err().map(RequestError::from).expect("the method was found")
}

#[test]
fn routes_the_methods_of_a_plugin_without_a_route() {
    let device = plugin("device", &["device.get", "device.set"]);
    let source = Source::default();
    let table = source.build(&[&device]);

    let target = target_of(&table, "device.set", STRANGER);
    assert_eq!((target.method, target.run()), (1, Run::Inline));
    assert_eq!(target.timeout, source.config.timeouts.request);
    assert!(target.permits.is_none() && target.allow.is_none());
    assert_eq!(table.method_names(), ["device.get", "device.set"]);
    assert!(matches!(error_of(&table, "device.del", STRANGER), RequestError::MethodNotFound(_)));
}

#[test]
fn requires_a_route_without_auto_route_except_for_built_in_plugins() {
    let device = plugin("device", &["device.get", "other.get"]);
    let own = plugin("own", &["own.get"]);
    let mut source = Source::with_routes(vec![route("other.*", "device")]);
    source.config.plugins.auto_route = false;
    source.built_in.insert("own".to_owned());

    let table = source.build(&[&device, &own]);
    assert_eq!(table.method_names(), ["other.get", "own.get"]);
}

#[test]
fn prefers_the_longest_prefix() {
    let short = plugin("short", &["a.b.c.d", "a.x"]);
    let long = plugin("long", &["a.b.c.e"]);
    let table =
        Source::with_routes(vec![route("a.*", "short"), route("a.b.*", "long")]).build(&[&short, &long]);

    assert_eq!(plugin_of(&table, "a.x"), "short");
    assert_eq!(plugin_of(&table, "a.b.c.e"), "long");
    // The longer prefix gives the name to a plugin that does not have the method.
    assert!(matches!(error_of(&table, "a.b.c.d", STRANGER), RequestError::MethodNotFound(_)));
}

#[test]
fn prefers_an_exact_route_to_every_prefix() {
    let device = plugin("device", &["a.b.c", "a.b.d"]);
    let exact = Route { timeout: Some(Duration::from_secs(1)), ..route("a.b.c", "device") };
    let prefix = Route { timeout: Some(Duration::from_secs(2)), ..route("a.b.*", "device") };

    for routes in [vec![exact.clone(), prefix.clone()], vec![prefix, exact]] {
        let table = Source::with_routes(routes).build(&[&device]);
        let timeouts = ["a.b.c", "a.b.d"].map(|method| target_of(&table, method, GUEST).timeout);
        assert_eq!(timeouts.map(|timeout| timeout.as_secs()), [1, 2]);
    }
}

#[test]
fn matches_no_prefix_with_the_prefix_itself_or_with_part_of_a_segment() {
    let device = plugin("device", &["a", "ab.c"]);
    let mut source = Source::with_routes(vec![route("a.*", "device")]);
    source.config.plugins.auto_route = false;
    assert!(source.build(&[&device]).method_names().is_empty());
}

#[test]
fn closes_the_methods_of_a_disabled_route() {
    let device = plugin("device", &["a.b", "a.c"]);
    let disabled = Route { enabled: false, ..route("a.b", "device") };
    let missing = Route { enabled: false, ..route("x.y", "missing") };
    let missing_prefix = Route { enabled: false, ..route("z.*", "missing") };
    let table = Source::with_routes(vec![disabled, missing, missing_prefix]).build(&[&device]);

    assert_eq!(table.method_names(), ["a.c"]);
    for method in ["a.b", "x.y", "z.y"] {
        assert!(matches!(error_of(&table, method, GUEST), RequestError::MethodNotFound(_)), "{method}");
    }
}

#[test]
fn reports_a_missing_plugin_as_unavailable() {
    let device = plugin("device", &["device.get"]);
    let table = Source::with_routes(vec![route("x.*", "gone"), route("y.z", "gone")]).build(&[&device]);

    for method in ["x.a", "x.a.b", "y.z"] {
        let error = error_of(&table, method, STRANGER);
        assert!(
            matches!(error, RequestError::PluginUnavailable { plugin, .. } if plugin == "gone"),
            "{method}"
        );
    }
    assert!(matches!(error_of(&table, "x", STRANGER), RequestError::MethodNotFound(_)));
    assert!(matches!(error_of(&table, "y.z.a", STRANGER), RequestError::MethodNotFound(_)));
}

#[test]
fn hides_a_missing_plugin_from_users_who_are_not_allowed() {
    let allow = Some(Arc::new(Allow::new([7], [])));
    let routes = [route("x.*", "gone"), route("y.z", "gone")].map(|r| Route { allow: allow.clone(), ..r });
    let table = Source::with_routes(routes.to_vec()).build(&[]);

    for method in ["x.a", "y.z"] {
        assert!(matches!(error_of(&table, method, STRANGER), RequestError::PermissionDenied));
        for requester in [GUEST, Requester::Plugin] {
            assert!(matches!(error_of(&table, method, requester), RequestError::PluginUnavailable { .. }));
        }
    }
}

#[test]
fn admits_listed_users_and_plugins_to_a_restricted_route() {
    let device = plugin("device", &["device.get"]);
    let allow = Some(Arc::new(Allow::new([7], [])));
    let restricted = Route { allow, ..route("device.*", "device") };
    let table = Source::with_routes(vec![restricted]).build(&[&device]);

    for requester in [GUEST, Requester::Plugin] {
        assert!(table.find("device.get", requester).is_ok());
    }
    for requester in [STRANGER, Requester::Client(None)] {
        assert!(matches!(error_of(&table, "device.get", requester), RequestError::PermissionDenied));
    }
}

#[test]
fn keeps_counting_held_permits_in_the_next_table() {
    let device = plugin("device", &["device.get", "device.set"]);
    let limited = |limit| Route { max_in_flight: Some(limit), ..route("device.*", "device") };
    let permits_of = |table: &RoutingTable, method: &str| {
        Arc::clone(target_of(table, method, GUEST).permits.as_ref().unwrap())
    };
    let mut source = Source::with_routes(vec![limited(2)]);
    let first = source.build(&[&device]);
    let held = permits_of(&first, "device.get").take();
    assert!(held.is_some());

    source.set_routes(vec![limited(1)]);
    let second = source.build(&[&device]);
    drop(first);
    assert!(permits_of(&second, "device.set").take().is_none(), "both methods share the route's permits");
    drop(held);
    assert!(permits_of(&second, "device.set").take().is_some());
}

#[test]
fn ignores_routes_for_the_system_plugin() {
    let system = plugin(SystemPlugin::NAME, &["system.ping"]);
    let mut source = Source::with_routes(vec![Route {
        enabled: false,
        // The configuration refuses such a route; the table does not depend on that.
        method: Pattern::Prefix("system".to_owned()),
        ..route("a.*", "a")
    }]);
    source.built_in.insert(SystemPlugin::NAME.to_owned());
    assert_eq!(source.build(&[&system]).method_names(), ["system.ping"]);
}

#[test]
fn needs_no_route_for_a_table_of_built_in_plugins() {
    let admin = plugin("admin", &["admin.reload"]);
    let table = RoutingTable::of_built_in(vec![admin], &MethodNames::default());
    assert_eq!(table.method_names(), ["admin.reload"]);
    assert_eq!(table.plugins().len(), 1);
}

#[test]
fn counts_requests_by_the_methods_that_routes_name() {
    let device = plugin("device", &["device.get", "a.b"]);
    let disabled = Route { enabled: false, ..route("a.b", "device") };
    let source = Source::with_routes(vec![disabled, route("x.*", "gone"), route("y.z", "gone")]);
    let table = source.build(&[&device]);

    for method in ["device.get", "a.b", "y.z"] {
        assert_eq!(table.counted(method), source.method_names.intern(method));
    }
    // Clients could send any number of names with the prefix.
    for method in ["x.a", "unknown"] {
        assert_eq!(table.counted(method), MethodId::UNKNOWN);
    }
    let Err(CountedError { counted, .. }) = table.find("y.z", GUEST) else { panic!("the plugin is missing") };
    assert_eq!(counted, source.method_names.intern("y.z"));
}

#[test]
fn finds_a_serving_generation_by_its_number() {
    let device = plugin("device", &["device.get"]);
    let table = Source::default().build(&[&device]);
    let number = device.identity.number;
    assert!(table.generation(number).is_some_and(|found| Arc::ptr_eq(found, &device)));
    assert!(table.generation(number + 1).is_none());
    assert!(table.unhealthy().is_empty());
    device.begin_stall();
    assert_eq!(table.unhealthy(), ["device"]);
}

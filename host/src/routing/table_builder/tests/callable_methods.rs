//! The methods that `rpc.discover` lists for a requester.

use jackfield_plugin_api::Caller;
use jackfield_plugin_api::abi::Credentials;

use super::*;

/// Returns the names of the methods that a requester may call.
fn callable_by(table: &RoutingTable, requester: Requester) -> Vec<String> {
    let methods = table.callable_methods(requester);
    let mut names: Vec<_> = methods.into_iter().map(|(name, _)| name.to_string()).collect();
    names.sort();
    names
}

#[test]
fn lists_the_methods_whose_route_permits_the_requester() {
    let device = plugin("device", &["device.get", "device.set", "device.off"]);
    let private = Route { allow: Some(Arc::new(Allow::new([7], []))), ..route("device.set", "device") };
    let closed = Route { enabled: false, ..route("device.off", "device") };
    let mut source = Source::with_routes(vec![private, closed, route("absent.get", "absent")]);
    source.refuse("refused", &["refused.get"]);
    let table = source.build(&[&device]);

    assert_eq!(callable_by(&table, GUEST), ["device.get", "device.set"]);
    assert_eq!(callable_by(&table, Requester::Plugin), ["device.get", "device.set"]);
    for requester in [STRANGER, Requester::Client(None)] {
        assert_eq!(callable_by(&table, requester), ["device.get"]);
    }
}

#[test]
fn lists_the_methods_of_a_plugin_that_is_being_replaced() {
    let device = plugin("device", &["device.get"]);
    let plugins = BTreeSet::from(["device".to_owned(), "stopped".to_owned()]);
    let held = HeldPlugins { stopping: plugins.clone(), plugins, ..HeldPlugins::default() };
    let mut source = Source { held: Some(held), ..Source::default() };
    source.refuse("stopped", &["stopped.get"]);

    let methods = source.build(&[&device]).callable_methods(STRANGER);
    let of = |name: &str| methods.iter().find(|(method, _)| **method == *name).unwrap();
    assert_eq!(methods.len(), 2);
    assert!(of("device.get").1.is_some() && of("stopped.get").1.is_none());
}

#[test]
fn takes_the_credentials_of_local_callers_alone() {
    let listener = || "run/a.sock".to_owned();
    let credentials = Some(Credentials { uid: 7, gid: 7, pid: 1 });
    let local = Caller::Local { listener: listener(), credentials };
    let peer = |requester| match requester {
        Requester::Client(peer) => peer.map(|peer: PeerIdentity| peer.uid),
        Requester::Plugin => panic!("a plugin"),
    };

    assert_eq!(peer(Requester::of(&local)), Some(7));
    for unidentified in [
        Caller::Local { listener: listener(), credentials: None },
        Caller::Remote { listener: listener(), claim: Some("root".to_owned()) },
        Caller::Unknown,
    ] {
        assert_eq!(peer(Requester::of(&unidentified)), None, "{unidentified:?}");
    }
    assert!(matches!(Requester::of(&Caller::Program), Requester::Plugin));
}

//! `rpc.discover` returns a valid OpenRPC document of exactly what its caller may call.

use std::fs;

use serde_json::{Value, json};

use super::meta_schema::assert_is_openrpc;
use crate::routing::acl::{connect_as, traversable};
use crate::support::build::root;
use crate::support::host::install;
use crate::support::line_peer::LinePeer;
use crate::support::peer::{INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, PERMISSION_DENIED};
use crate::support::program::jackfield;
use crate::support::user::{OTHER_USER, THIRD_USER, acting_as, is_root};
use crate::support::{HostProcess, Peer, admin};

const DISCOVER: &str = "rpc.discover";

/// Returns the names of the methods of a document, which must be valid.
#[track_caller]
fn names(document: &Value) -> Vec<&str> {
    assert_is_openrpc(document);
    let methods = document["methods"].as_array().expect("methods");
    methods.iter().map(|method| method["name"].as_str().expect("a name")).collect()
}

/// Returns the document that a client gets.
#[track_caller]
fn discover(peer: &mut Peer) -> Value {
    peer.result(DISCOVER, &Value::Null)
}

/// Asserts that a client is refused all methods of the host but those that it discovers.
#[track_caller]
fn assert_exact(peer: &mut Peer, document: &Value) {
    let listed = names(document);
    let all = peer.result("system.methods", &Value::Null);
    for method in all.as_array().expect("names").iter().filter_map(Value::as_str) {
        let code = peer.call(method, &json!({ "unexpected": 1 })).code();
        assert_eq!(code != Some(PERMISSION_DENIED), listed.contains(&method), "{method}: {code:?}");
    }
    assert!(listed.iter().all(|method| all.to_string().contains(method)), "{listed:?} in {all}");
}

/// Returns the member `methods` with this name.
#[track_caller]
fn method<'d>(document: &'d Value, name: &str) -> &'d Value {
    let methods = document["methods"].as_array().expect("methods");
    methods.iter().find(|method| method["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn lists_the_methods_that_the_routes_permit_the_caller() {
    if !is_root("callers of several users") {
        return;
    }
    let config = format!(
        "[[listener]]\nsocket = \"run/jackfield.sock\"\nmode = \"0666\"\n\
         allow = {{ users = [{OTHER_USER}, {THIRD_USER}] }}\n\
         [[listener]]\nsocket = \"run/lines.sock\"\nmode = \"0666\"\nframing = \"line\"\n\
         allow = {{ users = [{OTHER_USER}] }}\n\
         [[listener]]\nsocket = \"run/proxy.sock\"\nmode = \"0666\"\nremote = true\n\
         [[route]]\nmethod = \"device.*\"\nplugin = \"device\"\nallow = {{ users = [{OTHER_USER}, 0] }}\n\
         [[route]]\nmethod = \"device.list\"\nplugin = \"device\"\nallow = {{ groups = [{THIRD_USER}] }}\n\
         [[route]]\nmethod = \"hello.greet\"\nplugin = \"hello\"\nenabled = false\n\
         [[route]]\nmethod = \"absent.get\"\nplugin = \"absent\"\n"
    );
    let host = traversable().plugin("device").plugin("hello").config(&config).start();
    let own = [DISCOVER, "system.echo", "system.info", "system.methods", "system.ping"];
    let update = ["device.report", "device.status.get", "device.status.update"];

    let mut by_user = connect_as(&host.socket(), OTHER_USER, OTHER_USER);
    let document = discover(&mut by_user);
    assert_eq!(names(&document), [&update[..], &own].concat());
    assert_exact(&mut by_user, &document);

    let mut by_group = connect_as(&host.socket(), THIRD_USER, THIRD_USER);
    let document = discover(&mut by_group);
    assert_eq!(names(&document), [&["device.list"][..], &own].concat());
    assert_exact(&mut by_group, &document);

    // The proxy runs as a user that the routes allow, but it is not the sender.
    let mut remote = Peer::connect(&host.path("run/proxy.sock"));
    let document = discover(&mut remote);
    assert_eq!(names(&document), own);
    assert_exact(&mut remote, &document);

    let lines = host.path("run/lines.sock");
    let mut lines = acting_as(OTHER_USER, THIRD_USER, || LinePeer::connect(&lines));
    lines.send("{\"id\":1,\"method\":\"rpc.discover\"}\n");
    let reply = lines.json();
    assert_eq!(names(&reply["result"]), [&["device.list"][..], &update, &own].concat());
}

#[test]
fn describes_methods_in_the_host_and_in_workers_alike() {
    let documents = ["in-process", "worker"].map(|isolation| {
        let config = format!(
            "[plugin.described]\nisolation = \"{isolation}\"\n[plugin.journal.settings]\ndirectory = \"journal\""
        );
        let builder = ["described", "device", "hello", "journal", "echoes"]
            .into_iter()
            .fold(HostProcess::builder().config(&config), |builder, name| builder.plugin(name));
        if cfg!(target_arch = "x86_64") {
            let file = root().join("tests/frozen/libfrozen-api-0.1.so");
            install(&file, &builder.directory().join("plugins/libfrozen.so"));
        }
        let host = builder.start();

        let mut peer = host.peer();
        let document = discover(&mut peer);
        assert_exact(&mut peer, &document);
        assert_eq!(discover(&mut peer), document, "the same plugins have the same document");
        document
    });

    let [document, in_worker] = documents;
    assert_eq!(document, in_worker);
    assert_eq!(document["info"]["title"], "jackfield");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));

    let create = method(&document, "orders.create");
    let params = create["params"].as_array().expect("params");
    assert!(
        params.iter().any(|param| param["name"] == "customerId" && param["required"] == true),
        "{create}"
    );
    assert_eq!(create["paramStructure"], "by-name");
    assert_eq!(method(&document, "orders.sum")["x-jackfield-params"], "value");
    assert_eq!(method(&document, "orders.count")["params"], json!([]));

    // The example plugins describe all of their methods.
    let methods = document["methods"].as_array().expect("methods");
    for prefix in ["device.", "hello.", "journal."] {
        let own: Vec<_> =
            methods.iter().filter(|method| method["name"].to_string().contains(prefix)).collect();
        assert!(!own.is_empty(), "{prefix}");
        for method in own {
            assert!(method["x-jackfield-result"].is_null(), "{method}");
            assert_ne!(method["params"][0]["schema"], json!(true), "{method}");
        }
    }

    // A plugin of the first API describes nothing. The file is for one kind of machine.
    if cfg!(target_arch = "x86_64") {
        let frozen = method(&document, "frozen.add");
        assert_eq!(frozen["params"], json!([{ "name": "params", "schema": true, "required": false }]));
    }
    assert_eq!(method(&document, DISCOVER)["x-jackfield-idempotent"], true);
}

#[test]
fn lists_the_methods_for_operators_on_the_admin_socket_alone() {
    let host = HostProcess::with(&["hello"]);

    let document = discover(&mut admin::connect(&host));
    let listed = names(&document);
    assert!(listed.contains(&"admin.plugin.reload") && listed.contains(&"system.ping"), "{listed:?}");
    assert!(listed.contains(&DISCOVER) && !listed.contains(&"hello.greet"), "{listed:?}");
    let described = document["methods"].as_array().expect("methods");
    assert!(described.iter().all(|method| method["summary"].is_string()), "{document:#}");

    let document = discover(&mut host.peer());
    assert!(!names(&document).iter().any(|name| name.starts_with("admin.")), "{document:#}");
}

#[test]
fn lists_for_a_nested_call_what_the_first_caller_may_call() {
    let own = rustix::process::geteuid().as_raw();
    let config = format!(
        "[[listener]]\nsocket = \"run/jackfield.sock\"\n\
         [[listener]]\nsocket = \"run/proxy.sock\"\nremote = true\n\
         [[route]]\nmethod = \"hello.*\"\nplugin = \"hello\"\nallow = {{ users = [{own}] }}\n"
    );
    for isolation in ["in-process", "worker"] {
        let config = format!("{config}[plugin.calls]\nisolation = \"{isolation}\"");
        let host = HostProcess::builder().plugin("calls").plugin("hello").config(&config).start();
        for way in ["calls.chain", "calls.wait"] {
            let through = |peer: &mut Peer| peer.result(way, &json!({ "method": DISCOVER }));
            assert!(names(&through(&mut host.peer())).contains(&"hello.greet"), "{way}");

            let mut remote = Peer::connect(&host.path("run/proxy.sock"));
            assert!(!names(&through(&mut remote)).contains(&"hello.greet"), "{way}");
        }
    }
}

#[test]
fn follows_reloads() {
    let host = HostProcess::builder().plugin("hello").config("[plugins]\nwatch = false").start();
    let mut peer = host.peer();
    let mut lists = |name: &str| names(&discover(&mut peer)).contains(&name);
    assert!(lists("hello.greet") && !lists("device.list"));

    let config = fs::read_to_string(host.path("config.toml")).expect("the configuration");
    let closed = "[[route]]\nmethod = \"hello.*\"\nplugin = \"hello\"\nenabled = false\n";
    host.scratch().write("config.toml", format!("{config}\n{closed}"));
    let device = crate::support::build::artifacts().library("device");
    install(device, &host.path("plugins/libdevice.so"));
    let reloaded = jackfield(host.directory(), &["reload"]);
    assert_eq!(reloaded.code, 0, "{reloaded:?}");

    assert!(!lists("hello.greet") && lists("device.list"));
}

#[test]
fn takes_no_params_and_keeps_within_the_frame_limit() {
    let host = HostProcess::builder().plugin("described").config("[limits]\nframe = \"4KiB\"").start();
    let mut peer = host.peer();

    peer.call(DISCOVER, &json!({ "a": 1 })).error(INVALID_PARAMS);
    let error = peer.call(DISCOVER, &Value::Null).error(INTERNAL_ERROR);
    assert_eq!(error["data"]["limit"], 4096, "{error}");
    peer.call("rpc.other", &Value::Null).error(METHOD_NOT_FOUND);
    peer.assert_usable();
}

#[test]
fn answers_many_callers_without_keeping_an_io_thread() {
    let host = HostProcess::builder().plugin("described").config("[io]\nthreads = 1").start();
    let mut callers: Vec<_> = (0..8).map(|_| host.peer()).collect();
    for caller in &mut callers {
        for number in 0..40 {
            caller.send_async(&number.to_string(), DISCOVER, &Value::Null);
        }
    }
    host.peer().assert_usable();

    for caller in &mut callers {
        for reply in caller.receive_all(40) {
            assert!(reply.result()["methods"].is_array());
        }
    }
    assert!(!host.log_contains("is inline but ran") && !host.log_contains("has blocked I/O thread"));
}

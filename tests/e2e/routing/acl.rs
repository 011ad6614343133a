//! Who may call: by the socket's mode, by the lists of listeners and routes, as the kernel saw the
//! peer at connect.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::peer::{
    ASYNC_REQUEST, ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, PERMISSION_DENIED, PLUGIN_UNAVAILABLE, SYNC,
    V1_0, V1_1, envelope_with, frame,
};
use crate::support::user::{OTHER_USER, THIRD_USER, acting_as, is_root};
use crate::support::{HostBuilder, HostProcess, Peer, wait_until};

/// A host whose directory others can walk through.
fn reachable() -> HostBuilder {
    let builder = HostProcess::builder();
    fs::set_permissions(builder.directory(), Permissions::from_mode(0o711)).expect("its mode");
    builder
}

/// A connection that this user made, and that anybody uses.
#[track_caller]
fn of_user(socket: &Path, uid: u32, gid: u32) -> Peer {
    acting_as(uid, gid, || Peer::connect(socket))
}

/// The one thing that a listener says to whom it does not let in, and its end.
#[track_caller]
fn assert_sent_away(mut peer: Peer) {
    let said = peer.receive_until_close();
    let [notice] = &said[..] else { panic!("one notice, not {said:?}") };
    assert_eq!((notice.version, notice.kind), (V1_0, ERROR), "{notice:?}");
    let error = notice.error(PERMISSION_DENIED);
    assert_eq!(error, json!({ "code": PERMISSION_DENIED, "message": "permission denied" }));
}

#[test]
fn the_sockets_mode_and_group_come_first() {
    if !is_root("the socket's mode") {
        return;
    }
    let host = reachable().config("[[listener]]\nmode = \"0660\"\nsocket = \"run/jackfield.sock\"").start();
    chown(host.socket(), None, Some(OTHER_USER)).expect("the socket's group");
    acting_as(THIRD_USER, OTHER_USER, || host.peer().assert_usable());
    let refused = acting_as(THIRD_USER, THIRD_USER, || UnixStream::connect(host.socket()));
    assert_eq!(refused.map(|_| ()).map_err(|error| error.kind()), Err(ErrorKind::PermissionDenied));
    host.peer().assert_usable();
}

#[test]
fn the_operators_socket_is_for_the_hosts_user_alone() {
    let host = reachable().config("[[listener]]\nmode = \"0666\"\nsocket = \"run/jackfield.sock\"").start();
    let admin = host.path("run/jackfield-admin.sock");
    assert_eq!(fs::metadata(&admin).expect("the socket").permissions().mode() & 0o777, 0o600);
    // Its methods are not reachable where everybody may connect, whatever a route or a plugin says.
    let mut peer = host.peer();
    for method in ["admin.plugin.list", "admin.plugin.reload", "admin.plugin.rollback", "admin.reload"] {
        peer.call(method, &Value::Null).error(METHOD_NOT_FOUND);
    }
    let methods = peer.result("system.methods", &Value::Null).to_string();
    assert!(!methods.contains("admin"), "{methods}");
    assert!(Peer::connect(&admin).result("admin.plugin.list", &Value::Null).is_array());
    if is_root("another user at the operators' socket") {
        let refused = acting_as(OTHER_USER, OTHER_USER, || UnixStream::connect(&admin));
        assert_eq!(refused.map(|_| ()).map_err(|error| error.kind()), Err(ErrorKind::PermissionDenied));
    }
}

#[test]
fn a_listener_lets_in_whom_it_names_and_reads_nothing_of_others() {
    if !is_root("a listener's list") {
        return;
    }
    let config = format!(
        "[[listener]]\nsocket = \"run/jackfield.sock\"\nmode = \"0666\"\n\
         allow = {{ users = [{OTHER_USER}], groups = [{OTHER_USER}] }}\n\
         [[listener]]\nsocket = \"run/lines.sock\"\nmode = \"0666\"\nframing = \"line\"\n\
         allow = {{ users = [{OTHER_USER}] }}\n\
         [[listener]]\nsocket = \"run/open.sock\"\nmode = \"0666\"\n"
    );
    let host = reachable().config(&config).start();
    let socket = host.socket();
    of_user(&socket, OTHER_USER, THIRD_USER).assert_usable();
    of_user(&socket, THIRD_USER, OTHER_USER).assert_usable();
    // The host asks itself, so its own user always may.
    host.peer().assert_usable();
    assert_sent_away(of_user(&socket, THIRD_USER, THIRD_USER));
    of_user(&host.path("run/open.sock"), THIRD_USER, THIRD_USER).assert_usable();

    // Whatever it sent before: a request, half a frame, rubbish. Written while it is being sent
    // away, it may find a closed socket, but nothing is answered.
    let request = frame(V1_1, ASYNC_REQUEST, envelope_with("x", "system.echo", &json!(1)));
    for bytes in [&request[..], &request[..9], b"\xff\xff\xff\xff\xff\xff\xff"] {
        let peer = acting_as(THIRD_USER, THIRD_USER, || {
            let mut peer = Peer::connect(&socket);
            let _ = peer.try_send(bytes);
            peer
        });
        assert_sent_away(peer);
    }
    assert_eq!(host.count("connections_denied"), 4);
    assert_eq!(host.count("denied"), 0, "no request was looked at");

    let mut lines = acting_as(THIRD_USER, OTHER_USER, || {
        UnixStream::connect(host.path("run/lines.sock")).expect("a socket")
    });
    let _ = lines.write_all(b"{\"method\":\"system.ping\"}\n");
    let mut said = String::new();
    // Reset instead of an end, if the line came to lie there unread.
    let _ = lines.read_to_string(&mut said);
    let said: Value = serde_json::from_str(&said).expect("one line");
    assert_eq!(said["error"]["code"], PERMISSION_DENIED);

    let line = host.wait_for_log("a connection is refused");
    assert!(line.contains("WARN") && line.contains(&format!("uid={THIRD_USER}")), "{line}");
    wait_until("all are counted", || host.count("connections_denied") == 5);
    let said = host.log_lines().iter().filter(|line| line.contains("a connection is refused")).count();
    assert!(said < 5, "a flood is not repeated in the log");
}

#[test]
fn what_counts_is_who_connected_not_who_writes() {
    if !is_root("the kernel's credentials") {
        return;
    }
    let config = format!(
        "[[listener]]\nsocket = \"run/jackfield.sock\"\nmode = \"0666\"\n\
         [[route]]\nmethod = \"hello.*\"\nplugin = \"hello\"\nallow = {{ users = [{OTHER_USER}] }}"
    );
    let host = reachable().plugin("hello").config(&config).start();
    let greeting = json!({ "name": "Ada" });
    // Handed over after it was connected: to root here, and there to somebody who may not.
    let mut allowed = of_user(&host.socket(), OTHER_USER, OTHER_USER);
    assert_eq!(allowed.result("hello.greet", &greeting), "hello, Ada");
    let replied = acting_as(THIRD_USER, THIRD_USER, || allowed.result("hello.greet", &greeting));
    assert_eq!(replied, "hello, Ada");
    let mut refused = of_user(&host.socket(), THIRD_USER, THIRD_USER);
    let replied = acting_as(OTHER_USER, OTHER_USER, || refused.call("hello.greet", &greeting));
    replied.error(PERMISSION_DENIED);
    refused.assert_usable();
}

#[test]
fn a_route_refuses_each_request_before_its_params_and_the_connection_goes_on() {
    // Nobody runs the tests as this user: root is not excepted either.
    let config = format!(
        "[[route]]\nmethod = \"device.*\"\nplugin = \"device\"\nallow = {{ users = [{OTHER_USER}] }}\n\
         [[route]]\nmethod = \"device.list\"\nplugin = \"device\"\n\
         [[route]]\nmethod = \"absent.*\"\nplugin = \"absent\"\nallow = {{ users = [{OTHER_USER}] }}\n\
         [[route]]\nmethod = \"gone\"\nplugin = \"gone\"\nallow = {{ users = [{OTHER_USER}] }}\n\
         [[listener]]\nsocket = \"run/jackfield.sock\"\nmode = \"0666\""
    );
    let host = reachable().plugin("device").config(&config).start();
    let mut peer = host.peer();
    // With params that the method would not take: they are not looked at.
    let error = peer.call("device.status.update", &json!("not these")).error(PERMISSION_DENIED);
    assert_eq!(error, json!({ "code": PERMISSION_DENIED, "message": "permission denied" }));
    peer.send_async("a", "device.report", &Value::Null);
    let reply = peer.receive();
    assert_eq!(reply.id().as_deref(), Some("a"));
    reply.error(PERMISSION_DENIED);
    // Whether its plugin is there is not for everybody, either.
    for method in ["absent.one", "gone"] {
        peer.call(method, &Value::Null).error(PERMISSION_DENIED);
    }
    peer.send_frame(V1_0, SYNC, envelope_with("7", "device.status.get", &Value::Null));
    let reply = peer.receive();
    assert_eq!((reply.kind, reply.id().as_deref()), (SYNC, Some("7")));
    reply.error(PERMISSION_DENIED);
    // The longest match decides, and nothing of the connection is lost.
    peer.result("device.list", &json!({}));
    peer.assert_usable();
    wait_until("each is counted", || host.count("denied") == 5);
    let info = host.info();
    assert_eq!(info["counts"]["requests"].as_u64().map(|requests| requests - 1), {
        let answered = |name: &str| info["counts"][name].as_u64();
        answered("results").zip(answered("errors")).map(|(results, errors)| results + errors)
    });
    let line = host.wait_for_log("a request is refused");
    assert!(line.contains("WARN") && line.contains("method=\"device.status.update\""), "{line}");
    if is_root("the user whom the route is for") {
        let mut peer = of_user(&host.socket(), OTHER_USER, THIRD_USER);
        peer.call("device.status.update", &json!("not these")).error(INVALID_PARAMS);
        peer.call("absent.one", &Value::Null).error(PLUGIN_UNAVAILABLE);
    }
}

#[test]
fn the_lists_follow_the_configuration_while_it_serves() {
    if !is_root("lists that change") {
        return;
    }
    let config = |listener: &str, route: &str| {
        format!(
            "[[listener]]\nsocket = \"run/jackfield.sock\"\nmode = \"0666\"\n{listener}\n\
             [[route]]\nmethod = \"hello.*\"\nplugin = \"hello\"\n{route}\n"
        )
    };
    let only = |uid: u32| format!("allow.users = [{uid}]");
    let host = reachable().plugin("hello").config(&config("", "")).start();
    let take = |text: &str| {
        host.scratch().write("config.toml", text);
        let reloaded = crate::support::program::jackfield(host.directory(), &["reload"]);
        assert_eq!(reloaded.code, 0, "{reloaded:?}");
    };
    let greeting = json!({ "name": "Ada" });
    let mut early = of_user(&host.socket(), THIRD_USER, THIRD_USER);
    assert_eq!(early.result("hello.greet", &greeting), "hello, Ada");

    take(&config(&only(OTHER_USER), ""));
    assert_sent_away(of_user(&host.socket(), THIRD_USER, THIRD_USER));
    of_user(&host.socket(), OTHER_USER, OTHER_USER).assert_usable();
    // Decided when it connected.
    assert_eq!(early.result("hello.greet", &greeting), "hello, Ada");
    assert!(!host.log_contains("[[listener]] has changed"), "it needs no restart");

    take(&config("", &only(OTHER_USER)));
    early.call("hello.greet", &greeting).error(PERMISSION_DENIED);
    of_user(&host.socket(), THIRD_USER, THIRD_USER).assert_usable();
    assert_eq!(
        of_user(&host.socket(), OTHER_USER, OTHER_USER).result("hello.greet", &greeting),
        "hello, Ada"
    );

    take(&config("", ""));
    assert_eq!(early.result("hello.greet", &greeting), "hello, Ada");

    // A name that is not there is a fault, and nothing is applied.
    let faulty = config("allow.users = [\"no such user\"]", &only(OTHER_USER));
    host.scratch().write("config.toml", faulty);
    let reload = ["reload", "--socket", "run/jackfield-admin.sock"];
    let reloaded = crate::support::program::jackfield(host.directory(), &reload);
    assert_eq!(reloaded.code, 1, "{reloaded:?}");
    assert!(reloaded.stderr.contains("config.toml:4:16: there is no user "), "{reloaded:?}");
    assert_eq!(early.result("hello.greet", &greeting), "hello, Ada");
}

#[test]
fn a_call_between_plugins_is_the_plugins_own() {
    let config = format!(
        "[[route]]\nmethod = \"fixture.*\"\nplugin = \"echoes\"\nallow = {{ users = [{OTHER_USER}] }}"
    );
    let host = HostProcess::builder().plugin("calls").plugin("echoes").config(&config).start();
    let mut peer = host.peer();
    peer.call("fixture.echo", &json!(1)).error(PERMISSION_DENIED);
    let through = json!({ "method": "fixture.echo", "params": 1 });
    assert_eq!(peer.result("calls.chain", &through), 1);
}

#[test]
fn the_client_tells_a_refusal_and_does_not_try_again() {
    if !is_root("a client of another user's") {
        return;
    }
    let config = format!(
        "[[listener]]\nsocket = \"run/jackfield.sock\"\nmode = \"0666\"\nallow = {{ users = [{OTHER_USER}] }}\n\
         [[route]]\nmethod = \"hello.*\"\nplugin = \"hello\"\nallow = {{ users = [0] }}"
    );
    let host = reachable().plugin("hello").config(&config).start();
    let call = |method: &str| {
        let client = jackfield_client::blocking::Client::builder(host.socket()).build();
        client.call::<_, Value>(method, &json!({ "name": "Ada" })).expect_err("it is refused")
    };
    for uid in [OTHER_USER, THIRD_USER] {
        // By the route, in a reply; by the listener, in a notice before its end.
        let error = acting_as(uid, uid, || call("hello.greet"));
        assert_eq!((error.code(), error.is_retryable()), (Some(PERMISSION_DENIED), false), "{error:?}");
    }
    assert_eq!(host.count("connections_denied"), 1, "it was tried once");
}

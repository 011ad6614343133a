//! Access control: the mode of a socket and the allow lists of listeners and routes, applied to the
//! credentials that the kernel recorded when the client connected.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::peer::{
    ASYNC_REQUEST, ERROR, INVALID_PARAMS, PERMISSION_DENIED, PLUGIN_UNAVAILABLE, SYNC, V1_0, V1_1,
    envelope_with, frame,
};
use crate::support::user::{OTHER_USER, THIRD_USER, acting_as, is_root};
use crate::support::{HostBuilder, HostProcess, Peer, wait_until};

/// Returns a host whose directory other users can traverse.
pub(crate) fn traversable() -> HostBuilder {
    let builder = HostProcess::builder();
    fs::set_permissions(builder.directory(), Permissions::from_mode(0o711)).expect("its mode");
    builder
}

/// Opens a connection as this user; afterwards the test uses it as any user.
#[track_caller]
pub(crate) fn connect_as(socket: &Path, uid: u32, gid: u32) -> Peer {
    acting_as(uid, gid, || Peer::connect(socket))
}

/// Asserts that a listener rejects a connection with one frame and closes it.
#[track_caller]
pub(super) fn assert_rejected(mut peer: Peer) {
    let received = peer.receive_until_close();
    let [notice] = &received[..] else { panic!("one notice, not {received:?}") };
    assert_eq!((notice.version, notice.kind), (V1_0, ERROR), "{notice:?}");
    let error = notice.error(PERMISSION_DENIED);
    assert_eq!(error, json!({ "code": PERMISSION_DENIED, "message": "permission denied" }));
}

#[test]
fn applies_the_mode_and_group_of_the_socket() {
    if !is_root("the socket's mode") {
        return;
    }

    let host = traversable().config("[[listener]]\nmode = \"0660\"\nsocket = \"run/jackfield.sock\"").start();

    chown(host.socket(), None, Some(OTHER_USER)).expect("the socket's group");
    acting_as(THIRD_USER, OTHER_USER, || host.peer().assert_usable());

    let refused = acting_as(THIRD_USER, THIRD_USER, || UnixStream::connect(host.socket()));
    assert_eq!(refused.map(|_| ()).map_err(|error| error.kind()), Err(ErrorKind::PermissionDenied));
    host.peer().assert_usable();
}

#[test]
fn rejects_connections_of_users_that_a_listener_does_not_allow() {
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
    let host = traversable().config(&config).start();

    let socket = host.socket();
    connect_as(&socket, OTHER_USER, THIRD_USER).assert_usable();
    connect_as(&socket, THIRD_USER, OTHER_USER).assert_usable();

    // The user of the host is always permitted, because the host checks its own sockets.
    host.peer().assert_usable();

    assert_rejected(connect_as(&socket, THIRD_USER, THIRD_USER));
    connect_as(&host.path("run/open.sock"), THIRD_USER, THIRD_USER).assert_usable();

    // The same holds if the client sent something before: a request, a partial frame, or garbage. A
    // client that writes while it is being rejected may find a closed socket, but no request is
    // answered.
    let request = frame(V1_1, ASYNC_REQUEST, envelope_with("x", "system.echo", &json!(1)));
    for bytes in [&request[..], &request[..9], b"\xff\xff\xff\xff\xff\xff\xff"] {
        let peer = acting_as(THIRD_USER, THIRD_USER, || {
            let mut peer = Peer::connect(&socket);
            let _ = peer.try_send(bytes);
            peer
        });
        assert_rejected(peer);
    }
    assert_eq!(host.count("connections_denied"), 4);
    assert_eq!(host.count("denied"), 0, "no request was considered");

    let mut lines = acting_as(THIRD_USER, OTHER_USER, || {
        UnixStream::connect(host.path("run/lines.sock")).expect("a socket")
    });
    let _ = lines.write_all(b"{\"method\":\"system.ping\"}\n");
    let mut received = String::new();

    // The connection is reset instead of closed if the line arrives unread.
    let _ = lines.read_to_string(&mut received);

    let received: Value = serde_json::from_str(&received).expect("one line");
    assert_eq!(received["error"]["code"], PERMISSION_DENIED);

    let line = host.wait_for_log("rejected: not in allow of the listener");
    assert!(line.contains("WARN") && line.contains(&format!("uid={THIRD_USER}")), "{line}");
    assert!(line.contains(&format!(".sock: connection of uid {THIRD_USER} rejected")), "{line}");
    wait_until("all are counted", || host.count("connections_denied") == 5);
    let received = host
        .log_lines()
        .iter()
        .filter(|line| line.contains("rejected: not in allow of the listener"))
        .count();
    assert!(received < 5, "repeated rejections are not logged one by one");
}

#[test]
fn checks_the_user_who_connected_and_not_the_one_who_writes() {
    if !is_root("the kernel's credentials") {
        return;
    }
    let config = format!(
        "[[listener]]\nsocket = \"run/jackfield.sock\"\nmode = \"0666\"\n\
         [[route]]\nmethod = \"hello.*\"\nplugin = \"hello\"\nallow = {{ users = [{OTHER_USER}] }}"
    );
    let host = traversable().plugin("hello").config(&config).start();

    let greeting = json!({ "name": "Ada" });

    // The connections are used by other users afterwards: by root, and by a user who is not
    // permitted.
    let mut allowed = connect_as(&host.socket(), OTHER_USER, OTHER_USER);
    assert_eq!(allowed.result("hello.greet", &greeting), "hello, Ada");
    let replied = acting_as(THIRD_USER, THIRD_USER, || allowed.result("hello.greet", &greeting));
    assert_eq!(replied, "hello, Ada");

    let mut refused = connect_as(&host.socket(), THIRD_USER, THIRD_USER);
    let replied = acting_as(OTHER_USER, OTHER_USER, || refused.call("hello.greet", &greeting));
    replied.error(PERMISSION_DENIED);
    refused.assert_usable();
}

#[test]
fn rejects_requests_of_users_that_a_route_does_not_allow() {
    // The tests run as another user, and root is not exempt either.
    let config = format!(
        "[[route]]\nmethod = \"device.*\"\nplugin = \"device\"\nallow = {{ users = [{OTHER_USER}] }}\n\
         [[route]]\nmethod = \"device.list\"\nplugin = \"device\"\n\
         [[route]]\nmethod = \"absent.*\"\nplugin = \"absent\"\nallow = {{ users = [{OTHER_USER}] }}\n\
         [[route]]\nmethod = \"gone\"\nplugin = \"gone\"\nallow = {{ users = [{OTHER_USER}] }}\n\
         [[listener]]\nsocket = \"run/jackfield.sock\"\nmode = \"0666\""
    );
    let host = traversable().plugin("device").config(&config).start();

    let mut peer = host.peer();

    // The params are invalid, but they are not considered.
    let error = peer.call("device.status.update", &json!("not these")).error(PERMISSION_DENIED);
    assert_eq!(error, json!({ "code": PERMISSION_DENIED, "message": "permission denied" }));

    peer.send_async("a", "device.report", &Value::Null);
    let reply = peer.receive();
    assert_eq!(reply.id().as_deref(), Some("a"));
    reply.error(PERMISSION_DENIED);

    // Whether the plugin of a route exists is not revealed, either.
    for method in ["absent.one", "gone"] {
        peer.call(method, &Value::Null).error(PERMISSION_DENIED);
    }

    peer.send_frame(V1_0, SYNC, envelope_with("7", "device.status.get", &Value::Null));
    let reply = peer.receive();
    assert_eq!((reply.kind, reply.id().as_deref()), (SYNC, Some("7")));
    reply.error(PERMISSION_DENIED);

    // The longest match decides, and the connection continues.
    peer.result("device.list", &json!({}));
    peer.assert_usable();

    wait_until("each is counted", || host.count("denied") == 5);
    let info = host.info();
    assert_eq!(info["counts"]["requests"].as_u64().map(|requests| requests - 1), {
        let answered = |name: &str| info["counts"][name].as_u64();
        answered("results").zip(answered("errors")).map(|(results, errors)| results + errors)
    });

    let line = host.wait_for_log("rejected: not in allow of the route");
    assert!(line.contains("WARN") && line.contains("method=\"device.status.update\""), "{line}");
    assert!(line.contains(" device.status.update: request of uid "), "{line}");

    if is_root("the user that the route allows") {
        let mut peer = connect_as(&host.socket(), OTHER_USER, THIRD_USER);
        peer.call("device.status.update", &json!("not these")).error(INVALID_PARAMS);
        peer.call("absent.one", &Value::Null).error(PLUGIN_UNAVAILABLE);
    }
}

#[test]
fn applies_changed_allow_lists_at_runtime() {
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
    let host = traversable().plugin("hello").config(&config("", "")).start();

    let apply = |text: &str| {
        host.scratch().write("config.toml", text);
        let reloaded = crate::support::program::jackfield(host.directory(), &["reload"]);
        assert_eq!(reloaded.code, 0, "{reloaded:?}");
    };

    let greeting = json!({ "name": "Ada" });
    let mut early = connect_as(&host.socket(), THIRD_USER, THIRD_USER);
    assert_eq!(early.result("hello.greet", &greeting), "hello, Ada");

    apply(&config(&only(OTHER_USER), ""));
    assert_rejected(connect_as(&host.socket(), THIRD_USER, THIRD_USER));
    connect_as(&host.socket(), OTHER_USER, OTHER_USER).assert_usable();

    // The permission of a connection is decided when it connects.
    assert_eq!(early.result("hello.greet", &greeting), "hello, Ada");
    assert!(!host.log_contains("[[listener]] changed"), "the change needs no restart");

    apply(&config("", &only(OTHER_USER)));
    early.call("hello.greet", &greeting).error(PERMISSION_DENIED);
    connect_as(&host.socket(), THIRD_USER, THIRD_USER).assert_usable();

    assert_eq!(
        connect_as(&host.socket(), OTHER_USER, OTHER_USER).result("hello.greet", &greeting),
        "hello, Ada"
    );

    apply(&config("", ""));
    assert_eq!(early.result("hello.greet", &greeting), "hello, Ada");

    // An unknown user name is a fault, and nothing is applied.
    let faulty = config("allow.users = [\"no such user\"]", &only(OTHER_USER));

    host.scratch().write("config.toml", faulty);
    let reload = ["reload", "--socket", "run/jackfield-admin.sock"];
    let reloaded = crate::support::program::jackfield(host.directory(), &reload);
    assert_eq!(reloaded.code, 1, "{reloaded:?}");
    assert!(reloaded.stderr.contains("config.toml:4:16: listener.allow.users: the user "), "{reloaded:?}");

    assert_eq!(early.result("hello.greet", &greeting), "hello, Ada");
}

#[test]
fn permits_nobody_on_a_listener_for_remote_requests() {
    let own = rustix::process::geteuid().as_raw();
    let config = format!(
        "[[listener]]\nsocket = \"run/jackfield.sock\"\n\
         [[listener]]\nsocket = \"run/proxy.sock\"\nremote = true\nallow = {{ users = [{own}] }}\n\
         [[route]]\nmethod = \"hello.*\"\nplugin = \"hello\"\nallow = {{ users = [{own}] }}"
    );
    let host = HostProcess::builder().plugin("hello").config(&config).start();
    let greeting = json!({ "name": "Ada" });
    assert_eq!(host.peer().result("hello.greet", &greeting), "hello, Ada");

    // The list of the listener is about the proxy, that of the route about the sender.
    let mut remote = Peer::connect(&host.path("run/proxy.sock"));
    remote.call("hello.greet", &greeting).error(PERMISSION_DENIED);
    assert_eq!(remote.result("system.echo", &json!(1)), 1);
    host.wait_for_log("hello.greet: request of an unknown user rejected: not in allow of the route");
}

#[test]
fn permits_nested_calls_of_plugins() {
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
fn reports_a_rejection_to_the_client_without_retrying() {
    if !is_root("a client of another user's") {
        return;
    }
    let config = format!(
        "[[listener]]\nsocket = \"run/jackfield.sock\"\nmode = \"0666\"\nallow = {{ users = [{OTHER_USER}] }}\n\
         [[route]]\nmethod = \"hello.*\"\nplugin = \"hello\"\nallow = {{ users = [0] }}"
    );
    let host = traversable().plugin("hello").config(&config).start();

    let call = |method: &str| {
        let client = jackfield_client::blocking::Client::builder(host.socket()).build();
        client.call::<_, Value>(method, &json!({ "name": "Ada" })).expect_err("the call is rejected")
    };

    for uid in [OTHER_USER, THIRD_USER] {
        // The route rejects it in a reply, the listener in a notice before closing.
        let error = acting_as(uid, uid, || call("hello.greet"));
        assert_eq!((error.code(), error.is_retryable()), (Some(PERMISSION_DENIED), false), "{error:?}");
    }
    assert_eq!(host.count("connections_denied"), 1, "the client does not retry");
}

//! The admin socket: its methods are reachable nowhere else, and only operators may use it.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::acl::{assert_rejected, connect_as, traversable};
use crate::support::Peer;
use crate::support::peer::METHOD_NOT_FOUND;
use crate::support::program::jackfield;
use crate::support::user::{OTHER_USER, THIRD_USER, acting_as, is_root};

#[test]
fn restricts_the_admin_socket_to_the_user_of_the_host() {
    let host = traversable().config("[[listener]]\nmode = \"0666\"\nsocket = \"run/jackfield.sock\"").start();

    let admin = host.path("run/jackfield-admin.sock");
    assert_eq!(fs::metadata(&admin).expect("the socket").permissions().mode() & 0o777, 0o600);

    // The methods are not reachable on a socket that everyone may connect to, whatever routes and
    // plugins declare.
    let mut peer = host.peer();
    for method in ["admin.plugin.list", "admin.plugin.reload", "admin.plugin.isolate", "admin.reload"] {
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
fn admits_only_root_the_own_user_and_listed_users_to_the_admin_socket() {
    if !is_root("other users at the admin socket") {
        return;
    }
    let host = traversable().start();
    let admin = host.path("run/jackfield-admin.sock");
    // As a drop-in of the socket unit or an operator may do.
    fs::set_permissions(&admin, Permissions::from_mode(0o666)).expect("its mode");
    let is_served = |mut peer: Peer| peer.result("admin.plugin.list", &Value::Null).is_array();

    assert_rejected(connect_as(&admin, OTHER_USER, 0));
    assert!(is_served(connect_as(&admin, 0, OTHER_USER)));
    let line = host.wait_for_log("not allowed on the admin socket");
    assert!(line.contains("WARN") && line.contains(&format!("connection of uid {OTHER_USER}")), "{line}");

    drop(host);

    let config = |uid: u32| format!("[admin]\nallow = {{ users = [{uid}] }}\n[io]\nthreads = 2\n");
    let host = traversable().config(&config(OTHER_USER)).start();
    let admin = host.path("run/jackfield-admin.sock");
    assert!(is_served(connect_as(&admin, OTHER_USER, THIRD_USER)));
    assert!(is_served(connect_as(&admin, 0, 0)));
    assert_rejected(connect_as(&admin, THIRD_USER, OTHER_USER));

    host.scratch().write("config.toml", config(THIRD_USER));
    let reloaded = jackfield(host.directory(), &["reload"]);
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    assert!(is_served(connect_as(&admin, THIRD_USER, THIRD_USER)));
    assert_rejected(connect_as(&admin, OTHER_USER, OTHER_USER));
    assert!(!host.log_contains("[admin] changed"), "the change needs no restart");
}

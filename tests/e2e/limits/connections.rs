//! The limit of connections: who comes beyond it is told so at once, and whoever goes makes room.

use std::io::Read;
use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::support::footprint::{assert_settles, idle_footprint};
use crate::support::peer::{ERROR, HEARTBEAT, OVERLOADED, SYNC, V1_0, frame};
use crate::support::{CEILING, HostProcess, Peer, wait_until};

const MOST: usize = 5;

fn host() -> HostProcess {
    let config = r#"
        [[listener]]
        socket = "run/jackfield.sock"
        [[listener]]
        socket = "run/lines.sock"
        framing = "line"
        [limits]
        connections = 5
    "#;
    HostProcess::builder().config(config).start()
}

/// As many as may be, each known to be served.
fn full(host: &HostProcess) -> Vec<Peer> {
    let mut peers: Vec<Peer> = (0..MOST).map(|_| host.peer()).collect();
    peers.iter_mut().for_each(Peer::assert_usable);
    peers
}

#[test]
fn who_comes_beyond_the_limit_is_told_in_words_it_understands() {
    let host = host();
    let mut peers = full(&host);
    for _ in 0..50 {
        let mut refused = host.peer();
        let came = refused.receive_until_close();
        assert_eq!(came.len(), 1, "{came:?}");
        assert_eq!((came[0].version, came[0].kind), (V1_0, ERROR));
        let error = came[0].error(OVERLOADED);
        assert!(error["data"]["retry_after_ms"].as_u64().unwrap() > 0, "{error}");
    }
    // One that speaks first, and may find nobody to speak to, can read it all the same.
    for _ in 0..50 {
        let mut refused = host.peer();
        let _ = refused.try_send(frame(V1_0, SYNC, r#"{"method":"system.ping"}"#));
        let came = refused.receive_until_close();
        assert_eq!(came.len(), 1, "{came:?}");
        came[0].error(OVERLOADED);
    }
    let mut line = host.line_peer("run/lines.sock");
    assert_eq!(line.json()["error"]["code"], OVERLOADED);
    assert_eq!(line.line(), None);
    // Those inside notice nothing; the limit is over all listeners.
    peers.iter_mut().for_each(Peer::assert_usable);
    let counts = peers[0].result("system.info", &json!(null))["counts"].clone();
    assert_eq!((&counts["connections_refused"], &counts["connections_open"]), (&json!(101), &json!(MOST)));
}

#[test]
fn whoever_goes_makes_room() {
    let host = host();
    let mut peers = full(&host);
    for round in 0..20 {
        drop(peers.remove(round % MOST));
        // The host may not have seen yet that it has gone.
        let mut newcomer = None;
        wait_until("there is room again", || {
            let mut peer = host.peer();
            let _ = peer.try_send(frame(V1_0, HEARTBEAT, ""));
            let served = peer.receive().kind != ERROR;
            newcomer = served.then_some(peer);
            served
        });
        peers.extend(newcomer);
        peers.iter_mut().for_each(Peer::assert_usable);
    }
}

#[test]
fn refused_connections_leave_nothing() {
    let host = host();
    let peers = full(&host);
    drop(peers);
    let before = idle_footprint(host.pid());
    let peers = full(&host);
    for _ in 0..500 {
        let mut stream = UnixStream::connect(host.socket()).expect("the host takes connections");
        stream.set_read_timeout(Some(CEILING)).unwrap();
        let mut told = Vec::new();
        stream.read_to_end(&mut told).expect("the refusal");
        assert!(told.starts_with(&[1, 0, 3]), "{}", told.escape_ascii());
    }
    drop(peers);
    assert_settles(host.pid(), &before);
    host.peer().assert_usable();
}

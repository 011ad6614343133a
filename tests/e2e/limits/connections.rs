//! The connection limit: a connection beyond it receives an error at once, and a closed one makes
//! room.

use std::io::Read;
use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::support::footprint::{assert_released, idle_footprint};
use crate::support::peer::{ERROR, HEARTBEAT, OVERLOADED, SYNC, V1_0, frame};
use crate::support::{CEILING, HostProcess, Peer, wait_until};

const LIMIT: usize = 5;

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

/// Opens as many connections as the limit permits.
fn open_all(host: &HostProcess) -> Vec<Peer> {
    let mut peers: Vec<Peer> = (0..LIMIT).map(|_| host.peer()).collect();
    peers.iter_mut().for_each(Peer::assert_usable);

    peers
}

#[test]
fn rejects_connections_beyond_the_limit_in_their_framing() {
    let host = host();
    let mut peers = open_all(&host);

    for _ in 0..50 {
        let mut refused = host.peer();

        let replies = refused.receive_until_close();
        assert_eq!(replies.len(), 1, "{replies:?}");
        assert_eq!((replies[0].version, replies[0].kind), (V1_0, ERROR));
        let error = replies[0].error(OVERLOADED);
        assert!(error["data"]["retry_after_ms"].as_u64().unwrap() > 0, "{error}");
    }

    // A client that sends first receives the error, too, even if the host does not read its
    // request.
    for _ in 0..50 {
        let mut refused = host.peer();

        let _ = refused.try_send(frame(V1_0, SYNC, r#"{"method":"system.ping"}"#));
        let replies = refused.receive_until_close();
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies[0].error(OVERLOADED);
    }

    let mut line = host.line_peer("run/lines.sock");
    assert_eq!(line.json()["error"]["code"], OVERLOADED);
    assert_eq!(line.line(), None);

    // The other connections are not affected. The limit covers all listeners together.
    peers.iter_mut().for_each(Peer::assert_usable);
    let counts = peers[0].result("system.info", &json!(null))["counts"].clone();
    assert_eq!((&counts["connections_refused"], &counts["connections_open"]), (&json!(101), &json!(LIMIT)));
}

#[test]
fn admits_a_connection_after_another_is_closed() {
    let host = host();
    let mut peers = open_all(&host);

    for round in 0..20 {
        drop(peers.remove(round % LIMIT));

        // The host may not have noticed the disconnection yet.
        let mut admitted = None;
        wait_until("there is room again", || {
            let mut peer = host.peer();
            let _ = peer.try_send(frame(V1_0, HEARTBEAT, ""));
            let served = peer.receive().kind != ERROR;
            admitted = served.then_some(peer);
            served
        });
        peers.extend(admitted);

        peers.iter_mut().for_each(Peer::assert_usable);
    }
}

#[test]
fn releases_all_resources_of_rejected_connections() {
    let host = host();
    let peers = open_all(&host);

    drop(peers);
    let before = idle_footprint(host.pid());

    let peers = open_all(&host);

    for _ in 0..500 {
        let mut stream = UnixStream::connect(host.socket()).expect("the host takes connections");
        stream.set_read_timeout(Some(CEILING)).unwrap();

        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("the refusal");
        assert!(received.starts_with(&[1, 0, 3]), "{}", received.escape_ascii());
    }

    drop(peers);
    assert_released(host.pid(), &before);
    host.peer().assert_usable();
}

//! Frame kinds in each version: each reply has the right kind and version, byte for byte.

use serde_json::{Value, json};

use crate::support::peer::{
    ASYNC_REQUEST, ASYNC_RESPONSE, ERROR, HEARTBEAT, INVALID_REQUEST, SYNC, UNSUPPORTED_VERSION, V1_0, V1_1,
    envelope, frame,
};
use crate::support::{Frame, HostProcess, wait_until};

#[test]
fn answers_each_kind_in_each_version() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();
    for version in [V1_0, V1_1] {
        peer.send_frame(version, SYNC, r#"{"method":"system.echo","params":[1,2]}"#);
        let wanted = Frame { version, kind: SYNC, payload: br#"{"result":[1,2]}"#.to_vec() };
        assert_eq!(peer.receive(), wanted);

        peer.send_frame(version, SYNC, r#"{"id":7,"method":"system.echo","params":{"a":"b"}}"#);
        let wanted = Frame { version, kind: SYNC, payload: br#"{"id":7,"result":{"a":"b"}}"#.to_vec() };
        assert_eq!(peer.receive(), wanted);

        peer.send_frame(version, ASYNC_REQUEST, r#"{"id":"x","method":"system.echo","params":null}"#);
        let wanted =
            Frame { version, kind: ASYNC_RESPONSE, payload: br#"{"id":"x","result":null}"#.to_vec() };
        assert_eq!(peer.receive(), wanted);

        peer.send_frame(version, HEARTBEAT, "");
        assert_eq!(peer.receive(), Frame { version, kind: HEARTBEAT, payload: Vec::new() });

        peer.send_frame(version, SYNC, r#"{"id":7,"method":"no.such"}"#);
        let error = r#"{"id":7,"error":{"code":-32601,"message":"method not found: no.such"}}"#;
        assert_eq!(peer.receive(), Frame { version, kind: SYNC, payload: error.into() });
    }
}

#[test]
fn answers_later_minor_versions_with_the_highest_known_one() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();
    for version in [0x0102, 0x0107, 0x01ff] {
        peer.send_frame(version, SYNC, envelope("system.ping", &Value::Null));
        peer.send_frame(version, HEARTBEAT, "");

        let replies = peer.receive_all(2);
        assert_eq!((replies[0].version, replies[0].kind), (V1_1, SYNC));
        assert_eq!((replies[1].version, replies[1].kind), (V1_1, HEARTBEAT));
    }
    peer.assert_usable();
}

#[test]
fn rejects_unknown_major_versions_with_the_supported_ones() {
    let host = HostProcess::with(&[]);
    for version in [0x0000, 0x0001, 0x0200, 0xffff] {
        let mut peer = host.peer();
        // Earlier requests are answered. Bytes behind the frame are ignored.
        let ping = frame(V1_0, SYNC, envelope("system.ping", &Value::Null));
        peer.send([&ping[..], &frame(version, SYNC, "{}"), &ping].concat());

        let replies = peer.receive_until_close();
        assert_eq!(replies.len(), 2, "{replies:?}");
        assert_eq!((replies[1].version, replies[1].kind), (V1_0, ERROR));
        let error = replies[1].error(UNSUPPORTED_VERSION);
        assert_eq!(error["data"], json!({ "supported": ["1.0", "1.1"] }));
    }
    wait_until("each is counted", || host.count("connections_cut") == 4);
}

#[test]
fn rejects_kinds_that_only_a_host_sends() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();
    for version in [V1_0, V1_1] {
        for kind in [ERROR, ASYNC_RESPONSE] {
            for payload in ["", "{", r#"{"id":1,"result":1}"#, r#"{"id":1,"method":"system.ping"}"#] {
                peer.send_frame(version, kind, payload);
                let reply = peer.receive();
                assert_eq!((reply.version, reply.kind), (version, ERROR), "{reply:?}");
                reply.error(INVALID_REQUEST);
                assert_eq!(reply.json().get("id"), None);
            }
        }
    }
    peer.assert_usable();
}

#[test]
fn discards_and_counts_unknown_kinds() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();
    let known = [SYNC, HEARTBEAT, ERROR, ASYNC_REQUEST, ASYNC_RESPONSE];

    let unknown: Vec<u8> = (0..=255).filter(|kind| !known.contains(kind)).collect();
    for kind in &unknown {
        peer.send_frame(V1_0, *kind, envelope("system.ping", &Value::Null));
        peer.send_frame(V1_1, *kind, vec![0xff; usize::from(*kind)]);
    }

    peer.assert_usable();
    assert_eq!(host.count("unknown_kinds"), 2 * unknown.len() as u64);
}

#[test]
fn answers_heartbeats_in_order_ahead_of_queued_requests() {
    let host = HostProcess::with(&["sleeps"]);
    let mut peer = host.peer();
    let latch = host.latch("slow");
    peer.send_sync("sleep.blocking_until", &latch.params());

    let versions = [V1_0, V1_1, V1_1, V1_0, V1_1, V1_0];
    for version in versions {
        peer.send_frame(version, HEARTBEAT, "ignored");
    }

    for version in versions {
        assert_eq!(peer.receive(), Frame { version, kind: HEARTBEAT, payload: Vec::new() });
    }

    latch.open();
    assert_eq!(peer.receive().result(), true);
    assert_eq!(host.count("heartbeats"), versions.len() as u64);
}

//! Every kind in every version: what comes back is of the right kind, in the right version, byte
//! for byte.

use serde_json::{Value, json};

use crate::support::peer::{
    ASYNC_REQUEST, ASYNC_RESPONSE, ERROR, HEARTBEAT, INVALID_REQUEST, SYNC, UNSUPPORTED_VERSION, V1_0, V1_1,
    envelope, frame,
};
use crate::support::{Frame, HostProcess, wait_until};

#[test]
fn every_kind_a_client_sends_in_every_version() {
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
fn an_unknown_low_byte_is_the_highest_version_known() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();
    for version in [0x0102, 0x0107, 0x01ff] {
        peer.send_frame(version, SYNC, envelope("system.ping", &Value::Null));
        peer.send_frame(version, HEARTBEAT, "");
        let came = peer.receive_all(2);
        assert_eq!((came[0].version, came[0].kind), (V1_1, SYNC));
        assert_eq!((came[1].version, came[1].kind), (V1_1, HEARTBEAT));
    }
    peer.assert_usable();
}

#[test]
fn an_unknown_framing_is_told_what_is_spoken_and_closed() {
    let host = HostProcess::with(&[]);
    for version in [0x0000, 0x0001, 0x0200, 0xffff] {
        let mut peer = host.peer();
        // What was asked before is still answered; what comes behind is never looked at.
        let ping = frame(V1_0, SYNC, envelope("system.ping", &Value::Null));
        peer.send([&ping[..], &frame(version, SYNC, "{}"), &ping].concat());
        let came = peer.receive_until_close();
        assert_eq!(came.len(), 2, "{came:?}");
        assert_eq!((came[1].version, came[1].kind), (V1_0, ERROR));
        let error = came[1].error(UNSUPPORTED_VERSION);
        assert_eq!(error["data"], json!({ "supported": ["1.0", "1.1"] }));
    }
    wait_until("each is counted", || host.count("connections_cut") == 4);
}

#[test]
fn what_only_a_server_sends_is_refused() {
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
fn unknown_kinds_are_read_away_and_counted() {
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
fn heartbeats_are_answered_in_order_and_do_not_wait_for_the_lane() {
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

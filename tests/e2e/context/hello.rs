//! Hellos: what is granted, and that a peer without a grant notices nothing.

use serde_json::{Value, json};

use crate::support::hello::{
    ALL, Ack, BLOCK, CAN_CANCEL, CAN_EXTEND, CAN_TIME, CANCEL, V1_2, WITH_BYTES, agree, hello, hello_with,
};
use crate::support::peer::{
    ASYNC_REQUEST, ASYNC_RESPONSE, HEARTBEAT, INTERNAL_ERROR, INVALID_REQUEST, SYNC, UNSUPPORTED_EXTENSION,
    V1_0, V1_1, envelope, envelope_with, frame,
};
use crate::support::{Frame, HostProcess};

fn ping() -> String {
    envelope("system.ping", &Value::Null)
}

#[test]
fn grants_what_it_offers_of_what_the_client_wishes_for() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();
    // The first request is sent right behind the hello, in its old form.
    let wish = hello(u64::MAX, 42, WITH_BYTES);
    peer.send([frame(V1_0, HEARTBEAT, wish), frame(V1_1, SYNC, ping())].concat());
    let replies = peer.receive_all(2);
    let ack = Ack::parse(&replies[0].payload);
    assert_eq!((ack.version, ack.granted, ack.nonce), (V1_2, ALL, 42));
    assert_eq!((ack.largest, ack.in_flight), (16 << 20, 1024));
    assert_eq!(ack.field(3), Some(&[3][..]));
    assert!(ack.field(1).is_some_and(|agent| agent.starts_with(b"jackfield/")));
    assert_eq!(replies[1].text(), r#"{"result":"pong"}"#);

    // Another connection learns the same instance, and what it has not wished for is not granted.
    let other = agree(&mut host.peer(), CAN_CANCEL);
    assert_eq!((other.granted, other.field(3)), (CAN_CANCEL, None));
    assert_eq!(other.field(2).map(<[u8]>::len), Some(16));
    assert_eq!(other.field(2), ack.field(2));
    assert_eq!(agree(&mut host.peer(), CAN_TIME).granted, 0, "timing needs the block");
    assert_eq!(host.count("hellos"), 3);
}

#[test]
fn answers_what_is_no_hello_like_any_heartbeat() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();
    let valid = hello(ALL, 1, WITH_BYTES);
    let changed = |at: usize, byte: u8| {
        let mut payload = valid.clone();
        payload[at] = byte;
        payload
    };
    let long = [&valid[..], &[0x7F, 4, 0], &[0; 1024]].concat();
    for payload in [
        b"".to_vec(),
        b"IPC2".to_vec(),
        valid[..31].to_vec(),
        valid[..valid.len() - 1].to_vec(),
        changed(0, b'X'),
        changed(4, 2),
        // An acknowledgement grants nothing to the host.
        changed(5, 1),
        long,
    ] {
        peer.send_frame(V1_1, HEARTBEAT, &payload);
        let empty = Frame { version: V1_1, kind: HEARTBEAT, payload: Vec::new() };
        assert_eq!(peer.receive(), empty, "{payload:02x?}");
    }

    // Nothing was granted: 1.2 is read as 1.1, and its kinds are unknown.
    peer.send_frame(V1_2, SYNC, ping());
    assert_eq!(peer.receive().version, V1_1);
    peer.send_frame(V1_2, SYNC | BLOCK, [b"\0\0", ping().as_bytes()].concat());
    peer.send_frame(V1_1, CANCEL, r#"{"id":1}"#);
    peer.assert_usable();
    assert_eq!((host.count("unknown_kinds"), host.count("hellos")), (2, 0));
}

#[test]
fn answers_version_1_2_once_it_is_granted() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();
    agree(&mut peer, CAN_EXTEND);
    for version in [V1_0, V1_1, V1_2] {
        peer.send_frame(version, SYNC, ping());
        peer.send_frame(version, ASYNC_REQUEST, envelope_with("\"a\"", "system.echo", &json!([1])));
        let replies = peer.receive_all(2);
        assert_eq!((replies[0].version, replies[0].kind), (version, SYNC));
        assert_eq!((replies[1].version, replies[1].kind), (version, ASYNC_RESPONSE));
    }

    // A later version is read as the highest granted one.
    peer.send_frame(0x0107, SYNC, ping());
    assert_eq!(peer.receive().version, V1_2);

    // The next hello replaces the grant.
    agree(&mut peer, 0);
    peer.send_frame(V1_2, SYNC, ping());
    assert_eq!(peer.receive().version, V1_1);
}

#[test]
fn reads_requests_with_an_extension_block() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();
    agree(&mut peer, CAN_EXTEND);
    let echo = envelope_with("7", "system.echo", &json!("x"));
    let body = |block: &[u8]| [block, echo.as_bytes()].concat();

    for block in [&b"\0\0"[..], b"\0\x03\x85\x01\0", b"\0\x05\x05\x03abc", b"\0\x02\x0F\0"] {
        peer.send_frame(V1_2, SYNC | BLOCK, body(block));
        assert_eq!(peer.receive().result(), json!("x"), "{block:02x?}");
    }
    // The id is readable as long as it is known where the block ends.
    for (block, id) in [
        (&b"\0\xFF"[..], None),
        (b"\0\x02\x85\0", Some("7")),
        (b"\0\x06\x85\x01\0\x85\x01\0", Some("7")),
        (b"\0\x01\x05", Some("7")),
    ] {
        peer.send_frame(V1_2, SYNC | BLOCK, body(block));
        let reply = peer.receive();
        reply.error(INVALID_REQUEST);
        assert_eq!((reply.version, reply.kind, reply.id().as_deref()), (V1_2, SYNC, id), "{block:02x?}");
    }
    for (block, tag) in [(&b"\0\x03\x90\x01\0"[..], 0x90), (b"\0\x03\x85\x01\x09", 0x85)] {
        peer.send_frame(V1_2, ASYNC_REQUEST | BLOCK, body(block));
        let reply = peer.receive();
        assert_eq!(reply.error(UNSUPPORTED_EXTENSION)["data"], json!({ "tag": tag }));
        assert_eq!((reply.kind, reply.id().as_deref()), (ASYNC_RESPONSE, Some("7")));
    }
    peer.assert_usable();
}

#[test]
fn keeps_replies_within_what_the_client_accepts() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();
    peer.send_frame(V1_0, HEARTBEAT, hello_with(0, 2000, 1, &[]));
    assert_eq!(Ack::parse(&peer.receive().payload).granted, 0);

    let echo = |length: usize| envelope("system.echo", &json!("x".repeat(length)));
    peer.send_frame(V1_1, SYNC, echo(1900));
    assert_eq!(peer.receive().payload.len(), 1900 + r#"{"result":""}"#.len());
    peer.send_frame(V1_1, SYNC, echo(2000));
    let error = peer.receive().error(INTERNAL_ERROR);
    assert_eq!(error["data"], json!({ "limit": 2000 }));
    assert!(error["message"].as_str().is_some_and(|message| message.ends_with("that the client accepts")));
    assert!(!host.log_contains("does not fit"), "neither plugin nor host is at fault");
}

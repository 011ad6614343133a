//! Frames of version 1.2 that are malformed, contradict themselves, or use what was not agreed on.

use serde_json::{Value, json};

use crate::support::hello::{
    ALL, BLOCK, CAN_CANCEL, CANCEL, V1_2, agree, hello_with, start_neighbour, without_block,
};
use crate::support::peer::{
    ASYNC_REQUEST, ASYNC_RESPONSE, ERROR, FRAME_TOO_LARGE, HEARTBEAT, INVALID_PARAMS, INVALID_REQUEST,
    METHOD_NOT_FOUND, OVERLOADED, PARSE_ERROR, SYNC, V1_0, V1_1, envelope, envelope_with, frame, header,
};
use crate::support::random::SeededRandom;
use crate::support::{HostProcess, Peer, is_soak, wait_until};

const UNSUPPORTED_EXTENSION: i64 = -32010;

fn connect(host: &HostProcess) -> Peer {
    let mut peer = host.peer();
    agree(&mut peer, ALL);
    peer
}

/// Returns the payload of a frame with an extension block of these fields.
fn with_fields(fields: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(fields.len()).unwrap();
    [&length.to_be_bytes()[..], fields, body].concat()
}

/// Returns a body of content type 3.
fn bytes_body(envelope: &str, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(envelope.len()).unwrap();
    [&length.to_be_bytes()[..], envelope.as_bytes(), bytes].concat()
}

/// The answer to a frame with an empty JSON object for its payload: version, kind, and code.
fn answer_to(version: u16, kind: u8, is_granted: bool) -> Option<(u16, u8, Option<i64>)> {
    let version = match version {
        V1_0 | V1_1 => version,
        _ if is_granted => V1_2,
        _ => V1_1,
    };
    let code = Some(INVALID_REQUEST);
    match kind {
        SYNC if version == V1_2 => Some((version, SYNC | BLOCK, code)),
        SYNC => Some((version, SYNC, code)),
        HEARTBEAT => Some((version, HEARTBEAT, None)),
        ERROR | ASYNC_RESPONSE | ASYNC_REQUEST => Some((version, ERROR, code)),
        CANCEL if is_granted => Some((version, ERROR, code)),
        // The two bytes of the object announce a block that is longer than the frame.
        0x81 if version == V1_2 => Some((version, SYNC | BLOCK, code)),
        0x84 if version == V1_2 => Some((version, ERROR, code)),
        _ => None,
    }
}

#[test]
fn answers_each_kind_by_what_was_agreed_on() {
    let host = HostProcess::with(&[]);
    let mut neighbour = start_neighbour(&host);
    for is_granted in [false, true] {
        let mut peer = if is_granted { connect(&host) } else { host.peer() };
        for version in [V1_0, V1_1, V1_2, 0x01FF] {
            let mut unknown = 0;
            let before = host.count("unknown_kinds");
            for kind in 0..=u8::MAX {
                peer.send_frame(version, kind, "{}");
                match answer_to(version, kind, is_granted) {
                    None => unknown += 1,
                    Some((version, answer, code)) => {
                        let reply = peer.receive();
                        assert_eq!((reply.version, reply.kind), (version, answer), "{kind:02x}: {reply:?}");
                        if let Some(code) = code {
                            without_block(reply).error(code);
                        }
                    }
                }
                peer.assert_usable();
            }
            assert_eq!(host.count("unknown_kinds") - before, unknown);
        }
    }
    assert!(neighbour.stop() > Some(0));
}

#[test]
fn rejects_blocks_and_bodies_that_contradict_themselves() {
    let host = HostProcess::with(&["echoes"]);
    let mut peer = connect(&host);
    let call = r#"{"id":7,"method":"system.ping"}"#;
    let with_params = r#"{"id":7,"method":"system.ping","params":null}"#;
    let bytes = &[0x85, 1, 3][..];

    let invalid: Vec<(&str, Vec<u8>)> = vec![
        ("no block", Vec::new()),
        ("half a length", vec![0]),
        ("a block beyond the payload", [&[0, 1], &b""[..]].concat()),
        ("a length of 65535", [&[0xFF, 0xFF], call.as_bytes()].concat()),
        ("half a field", with_fields(&[0x05], call.as_bytes())),
        ("a field beyond the block", with_fields(&[0x05, 200, 1], call.as_bytes())),
        ("two content types", with_fields(&[0x85, 1, 0, 0x85, 1, 3], call.as_bytes())),
        ("the same content type twice", with_fields(&[0x85, 1, 0, 0x85, 1, 0], call.as_bytes())),
        ("an empty content type", with_fields(&[0x85, 0], call.as_bytes())),
        ("a content type of two bytes", with_fields(&[0x85, 2, 0, 0], call.as_bytes())),
        ("params beside bytes", with_fields(bytes, &bytes_body(with_params, b"\0\xFF"))),
        ("an envelope beyond the body", with_fields(bytes, &[&[0, 0, 1, 0], call.as_bytes()].concat())),
        ("an envelope of 4 GiB", with_fields(bytes, &[&[0xFF; 4], call.as_bytes()].concat())),
        ("half a length of the envelope", with_fields(bytes, &[0, 0, 0])),
        ("bytes without a method", with_fields(bytes, &bytes_body(r#"{"id":7}"#, b"x"))),
    ];
    for (what, payload) in &invalid {
        peer.send_frame(V1_2, SYNC | BLOCK, payload);
        let reply = peer.receive();
        assert_eq!((reply.version, reply.kind), (V1_2, SYNC | BLOCK), "{what}: {reply:?}");
        without_block(reply).error(INVALID_REQUEST);

        // An async request whose id is unknown has an error notification, which has no block.
        peer.send_frame(V1_2, ASYNC_REQUEST | BLOCK, payload);
        let reply = peer.receive();
        assert_eq!(reply.version, V1_2, "{what}: {reply:?}");
        assert!(matches!(reply.kind, ERROR | 0x85), "{what}: {reply:?}");
        let id = without_block(reply.clone()).json()["id"].clone();
        assert_eq!(id.is_null(), reply.kind == ERROR, "{what}: {reply:?}");
        without_block(reply).error(INVALID_REQUEST);
    }
    for (what, payload) in [
        ("no JSON", with_fields(bytes, &bytes_body("{\"id\":", b"x"))),
        ("an empty envelope", with_fields(bytes, &bytes_body("", b"x"))),
        ("an envelope in bytes", with_fields(bytes, &bytes_body("\0", call.as_bytes()))),
    ] {
        peer.send_frame(V1_2, SYNC | BLOCK, payload);
        assert_eq!(without_block(peer.receive()).code(), Some(PARSE_ERROR), "{what}");
    }
    for (fields, tag) in
        [(&[0x85, 1, 1][..], 0x85), (&[0x85, 1, 255], 0x85), (&[0x80, 0], 0x80), (&[0xFF, 1, 0], 0xFF)]
    {
        peer.send_frame(V1_2, SYNC | BLOCK, with_fields(fields, call.as_bytes()));
        let error = without_block(peer.receive()).error(UNSUPPORTED_EXTENSION);
        assert_eq!(error["data"], json!({ "tag": tag }));
    }
    peer.assert_usable();

    // Without the grant, content type 3 is refused, and a block in version 1.1 is none.
    peer.send_frame(V1_0, HEARTBEAT, hello_with(ALL, 0, 1, &[]));
    assert_eq!(peer.receive().kind, HEARTBEAT);
    peer.send_frame(V1_2, SYNC | BLOCK, with_fields(bytes, &bytes_body(call, b"x")));
    let error = without_block(peer.receive()).error(UNSUPPORTED_EXTENSION);
    assert_eq!(error["data"], json!({ "tag": 0x85 }));
    peer.send_frame(V1_1, SYNC | BLOCK, with_fields(&[], call.as_bytes()));
    peer.assert_usable();
}

#[test]
fn answers_each_random_block_once() {
    let count = if is_soak() { 500_000 } else { 10_000 };
    let host = HostProcess::with(&["echoes"]);
    let mut neighbour = start_neighbour(&host);
    let (mut peer, mut random) = (connect(&host), SeededRandom::new(0xb10c_b10c));
    let mut seen = std::collections::BTreeMap::<Option<i64>, usize>::new();

    for _ in 0..count / 100 {
        let mut frames = Vec::new();
        for _ in 0..100 {
            let length = random.below(12);
            let mut fields = random.bytes(length);
            if random.below(2) == 0 {
                fields
                    .splice(0..0, [*random.one_of(&[0x85, 0x0E, 0x0F, 0x05]), 1, *random.one_of(&[0, 3, 9])]);
            }
            let call = r#"{"id":7,"method":"system.ping"}"#;
            let body =
                if random.below(2) == 0 { call.as_bytes().to_vec() } else { bytes_body(call, &fields) };
            let mut payload = with_fields(&fields, &body);
            if random.below(4) == 0 {
                let at = random.below(payload.len());
                payload[at] ^= 1 << random.below(8);
            }
            frames.extend(frame(V1_2, SYNC | BLOCK, payload));
        }
        peer.send(frames);
        for reply in peer.receive_all(100) {
            assert_eq!((reply.version, reply.kind), (V1_2, SYNC | BLOCK), "{reply:?}");
            assert_eq!(reply.payload[..4], [0, 14, 0x0E, 12], "{reply:?}");
            let code = without_block(reply).code();
            *seen.entry(code).or_default() += 1;
        }
        peer.assert_usable();
    }

    println!("replies to {count} random blocks by code: {seen:?}");
    let known = [
        None,
        Some(INVALID_PARAMS),
        Some(INVALID_REQUEST),
        Some(METHOD_NOT_FOUND),
        Some(PARSE_ERROR),
        Some(UNSUPPORTED_EXTENSION),
    ];
    assert!(seen.keys().all(|code| known.contains(code)), "{seen:?}");
    assert!(seen.len() >= 4, "{seen:?}");
    assert!(neighbour.stop() > Some(0));
}

#[test]
fn answers_oversized_frames_without_a_block() {
    let host = HostProcess::builder().config("[limits]\nframe = \"64KiB\"\n").start();
    let mut neighbour = start_neighbour(&host);
    let mut peer = connect(&host);
    for kind in [SYNC, ASYNC_REQUEST, SYNC | BLOCK, ASYNC_REQUEST | BLOCK, HEARTBEAT, CANCEL, 0x60] {
        peer.send_frame(V1_2, kind, vec![0; (64 << 10) + 1]);
        let reply = peer.receive();
        assert_eq!((reply.version, reply.kind), (V1_2, ERROR), "{kind:02x}: {reply:?}");
        assert_eq!(reply.error(FRAME_TOO_LARGE)["data"], json!({ "limit": 64 << 10 }));
        peer.assert_usable();
    }
    for kind in [SYNC | BLOCK, HEARTBEAT, CANCEL] {
        let mut peer = connect(&host);
        peer.send(header(V1_2, kind, (256 << 10) + 1));
        let replies = peer.receive_until_close();
        assert_eq!((replies.len(), replies[0].kind), (1, ERROR), "{kind:02x}: {replies:?}");
        replies[0].error(FRAME_TOO_LARGE);
    }
    assert!(neighbour.stop() > Some(0));
}

#[test]
fn rejects_extended_frames_beyond_the_buffer_budget_by_their_kind() {
    const MIB: usize = 1 << 20;
    let config = "[limits]\nframe = \"2MiB\"\nbuffers = \"2560KiB\"\n";
    let host = HostProcess::builder().plugin("echoes").config(config).start();
    let mut holder = host.peer();
    holder.send(&frame(V1_0, SYNC, vec![b'x'; 2 * MIB])[..2 * MIB - 100]);
    wait_until("the frame is buffered", || host.count("buffered_bytes") >= 2 * MIB as u64 - 32_768);

    let mut peer = connect(&host);
    let payload =
        with_fields(&[0x85, 1, 3], &bytes_body(r#"{"id":7,"method":"system.echo"}"#, &vec![0; MIB]));
    for (kind, answer) in [(SYNC, SYNC | BLOCK), (ASYNC_REQUEST, ERROR)] {
        peer.send_frame(V1_2, kind | BLOCK, &payload);
        let reply = peer.receive();
        assert_eq!((reply.version, reply.kind), (V1_2, answer), "{reply:?}");
        let reply = without_block(reply);
        reply.error(OVERLOADED);
        assert_eq!(reply.json().get("id"), None);
        peer.assert_usable();
    }
    // A hello or a cancellation that is not read is none.
    peer.send_frame(V1_2, HEARTBEAT, [b"IPC2\x01", &vec![0; MIB][..]].concat());
    assert_eq!((peer.receive().payload.len(), host.count("hellos")), (0, 1));
    peer.send_frame(V1_2, CANCEL, vec![b' '; MIB]);
    let reply = peer.receive();
    assert_eq!((reply.kind, host.count("cancels")), (ERROR, 0), "{reply:?}");
    peer.assert_usable();
}

#[test]
fn shortens_errors_to_what_the_client_accepts() {
    let host = HostProcess::with(&["errors"]);
    let mut peer = host.peer();
    let params = json!({ "code": 7, "message": "m".repeat(8000), "data": "d".repeat(8000) });
    for (capabilities, version) in [(0, V1_1), (ALL, V1_2), (CAN_CANCEL, V1_1)] {
        peer.send_frame(V1_0, HEARTBEAT, hello_with(capabilities, 1, 1, &[]));
        assert_eq!(peer.receive().kind, HEARTBEAT);
        for method in ["errors.fail", "errors.fail_blocking", "errors.fail_async", &"n".repeat(256)] {
            let id = "i".repeat(126);
            peer.send_frame(V1_2, SYNC, envelope_with(&id, method, &params));
            let reply = peer.receive();
            assert_eq!(reply.version, version);
            assert!(reply.payload.len() <= 1024, "{method}: {} bytes", reply.payload.len());
            let reply = without_block(reply);
            assert_eq!(reply.id(), Some(id));
            assert!(matches!(reply.code(), Some(7 | METHOD_NOT_FOUND)), "{method}: {reply:?}");
        }
    }
    peer.send_frame(V1_2, SYNC, envelope("system.ping", &Value::Null));
    assert_eq!(peer.receive().result(), json!("pong"));
}

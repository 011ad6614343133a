//! Payload lengths: zero, one, the limit, one more, four times the limit, and announcements of 4
//! GiB without a payload.

use serde_json::{Value, json};

use crate::support::footprint::{assert_released, idle_footprint, resident_kib};
use crate::support::peer::{
    ASYNC_REQUEST, ERROR, FRAME_TOO_LARGE, HEARTBEAT, INTERNAL_ERROR, PARSE_ERROR, SYNC, V1_0, V1_1, frame,
    header,
};
use crate::support::{HostProcess, Peer, wait_until};

const LIMIT: usize = 4096;
const LIMIT_U32: u32 = 4096;

/// Clients that announce a payload without sending it.
const CONNECTIONS: usize = 1000;

fn limited_host() -> HostProcess {
    HostProcess::builder().config("[limits]\nframe = \"4KiB\"").start()
}

/// Returns a request whose payload has exactly this many bytes.
fn request_of_length(length: usize) -> String {
    let (head, tail) = (r#"{"method":"system.echo","params":""#, r#""}"#);
    format!("{head}{}{tail}", "x".repeat(length - head.len() - tail.len()))
}

#[track_caller]
fn expect_too_large(peer: &mut Peer, version: u16) {
    let reply = peer.receive();
    assert_eq!((reply.version, reply.kind), (version, ERROR), "{reply:?}");
    let error = reply.error(FRAME_TOO_LARGE);
    assert_eq!(error["data"], json!({ "limit": LIMIT }));
    assert!(error["message"].as_str().unwrap().contains("4096"), "{error}");
}

#[test]
fn accepts_lengths_up_to_the_limit() {
    let host = limited_host();
    let mut peer = host.peer();

    for payload in ["", "x"] {
        peer.send_frame(V1_0, SYNC, payload);
        let reply = peer.receive();
        assert_eq!(reply.kind, SYNC);
        reply.error(PARSE_ERROR);
    }

    // The longest requests. Their replies are shorter, so they are within the limit as well.
    peer.send_frame(V1_0, SYNC, request_of_length(LIMIT - 1));
    peer.receive().result();
    peer.send_frame(V1_0, SYNC, request_of_length(LIMIT));
    peer.receive().result();

    peer.send_frame(V1_0, HEARTBEAT, vec![0; LIMIT]);
    assert_eq!(peer.receive().kind, HEARTBEAT);
    peer.assert_usable();
}

#[test]
fn discards_frames_up_to_four_times_the_limit() {
    let host = limited_host();
    let mut peer = host.peer();

    let ping = frame(V1_0, SYNC, r#"{"method":"system.ping"}"#);
    for length in [LIMIT + 1, 2 * LIMIT, 4 * LIMIT] {
        for (version, kind) in [(V1_0, SYNC), (V1_1, ASYNC_REQUEST), (V1_1, HEARTBEAT), (V1_0, 0x60)] {
            // The discarded bytes look like requests, and none of them may be taken for one.
            let mut payload = ping.repeat(length / ping.len() + 1);
            payload.truncate(length);

            peer.send_frame(version, kind, payload);
            expect_too_large(&mut peer, version);
            peer.assert_usable();
        }
    }

    assert_eq!(host.count("connections_cut"), 0);
}

#[test]
fn rejects_a_frame_before_its_payload_arrives() {
    let host = limited_host();
    let mut peer = host.peer();
    peer.send(header(V1_0, SYNC, 2 * LIMIT_U32));
    expect_too_large(&mut peer, V1_0);

    // The payload arrives byte by byte, followed by a request.
    for _ in 0..2 * LIMIT {
        peer.send([b'{']);
    }
    peer.assert_usable();
}

#[test]
fn closes_the_connection_above_four_times_the_limit() {
    let host = limited_host();
    for length in [4 * LIMIT_U32 + 1, 0x7fff_ffff, 0xffff_ffff] {
        let mut peer = host.peer();
        peer.send(header(V1_1, ASYNC_REQUEST, length));
        expect_too_large(&mut peer, V1_1);
        peer.expect_close();
    }

    wait_until("each is counted", || host.count("connections_cut") == 3);
    host.peer().assert_usable();
}

#[test]
fn replaces_a_result_beyond_the_limit_by_an_error() {
    let host = HostProcess::builder().plugin("echoes").config("[limits]\nframe = \"4KiB\"").start();
    let mut peer = host.peer();

    for bytes in [LIMIT - 100, LIMIT - r#"{"result":""}"#.len()] {
        assert_eq!(peer.result("fixture.large", &json!({ "bytes": bytes })), "x".repeat(bytes));
    }

    for bytes in [LIMIT - r#"{"result":""}"#.len() + 1, 10 * LIMIT] {
        peer.call("fixture.large", &json!({ "bytes": bytes })).error(INTERNAL_ERROR);
    }

    peer.assert_usable();
}

#[test]
fn uses_no_memory_for_announcements() {
    /// Permitted memory per client, in KiB.
    const MAX_KIB: usize = 64;
    let config = r#"
        [limits]
        frame = "4294967295B"
        buffers = "8GiB"
        [timeouts]
        frame = "10m"
    "#;
    let host = HostProcess::builder().config(config).start();

    // A first round, because memory that the allocator keeps is not a leak.
    drop(announced(&host));
    let before = idle_footprint(host.pid());

    let peers = announced(&host);

    let grown = resident_kib(host.pid()).saturating_sub(before.resident);
    assert!(grown <= CONNECTIONS * MAX_KIB, "{grown} KiB more for {CONNECTIONS} announcements");

    host.peer().assert_usable();
    drop(peers);
    assert_released(host.pid(), &before);
}

/// Opens connections that announced 4 GiB and sent a few bytes, and waits until the host has read
/// them.
fn announced(host: &HostProcess) -> Vec<Peer> {
    let before = host.count("bytes_in");
    let announcement = header(V1_0, SYNC, u32::MAX);
    let mut peers: Vec<Peer> = (0..CONNECTIONS).map(|_| host.peer()).collect();

    for peer in &mut peers {
        peer.send(announcement);
        peer.send([b'{'; 100]);
    }

    let read = (CONNECTIONS * 107) as u64;
    wait_until("the host has read all of them", || host.count("bytes_in") >= before + read);
    wait_until("all connections are open", || host.count("connections_open") == CONNECTIONS as u64 + 1);
    assert_eq!(host.count("buffered_bytes"), 0, "an announcement uses nothing of the budget");
    peers
}

#[test]
fn serves_a_frame_as_large_as_the_buffer_budget() {
    let config = "[limits]\nframe = \"1MiB\"\nbuffers = \"1MiB\"";
    let host = HostProcess::builder().plugin("echoes").config(config).start();
    let mut peer = host.peer();
    let reply_overhead = r#"{"result":}"#.len();
    let params = "x".repeat((1 << 20) - 100 - reply_overhead);

    for method in ["system.echo", "fixture.echo_blocking"] {
        assert_eq!(
            peer.result(method, &Value::from(params.clone())),
            Value::from(params.clone()),
            "{method}"
        );
    }
}

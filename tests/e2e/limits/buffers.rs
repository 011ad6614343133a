//! The buffer budget: frames beyond it are rejected according to their kind and discarded, and use
//! no memory.

use serde_json::{Value, json};

use crate::support::footprint::{assert_levels_off, idle_footprint, resident_kib};
use crate::support::peer::{
    ASYNC_REQUEST, ERROR, HEARTBEAT, OVERLOADED, SYNC, V1_0, V1_1, envelope, frame, header,
};
use crate::support::{Frame, HostProcess, Peer, wait_until};

const MIB: usize = 1 << 20;

fn host(limits: &str) -> HostProcess {
    let config = format!("[limits]\n{limits}");
    HostProcess::builder().plugin("echoes").config(&config).start()
}

/// Returns a request of about this many bytes.
fn request(bytes: usize) -> Vec<u8> {
    frame(V1_0, SYNC, envelope("fixture.echo_blocking", &json!("x".repeat(bytes))))
}

/// Opens connections that hold so much of the budget that a frame of more than half a MiB does not
/// fit.
fn holders(host: &HostProcess) -> Vec<(Peer, Vec<u8>)> {
    let whole = request(MIB);
    let mut holders: Vec<_> = (0..2).map(|_| (host.peer(), whole.clone())).collect();
    for (peer, whole) in &mut holders {
        let rest = whole.split_off(MIB - MIB / 10);
        peer.send(&*whole);
        *whole = rest;
    }

    wait_until("the frames are buffered", || {
        host.count("buffered_bytes") >= 2 * (MIB - MIB / 10) as u64 / 16_384 * 16_384
    });
    holders
}

#[test]
fn rejects_a_frame_beyond_the_budget_by_its_kind() {
    let host = host("frame = \"2MiB\"\nbuffers = \"2560KiB\"");
    let mut holders = holders(&host);

    let mut peer = host.peer();
    let payload = vec![b'x'; 2 * MIB];

    for (kind, reply) in [(SYNC, SYNC), (ASYNC_REQUEST, ERROR)] {
        peer.send_frame(V1_1, kind, &payload);
        let refused = peer.receive();
        assert_eq!((refused.version, refused.kind), (V1_1, reply), "{refused:?}");
        let error = refused.error(OVERLOADED);
        assert!(error["data"]["retry_after_ms"].as_u64().unwrap() > 0, "{error}");
        assert_eq!(refused.json().get("id"), None);
        peer.assert_usable();
    }

    // A heartbeat and an unknown kind are treated as if they were small.
    peer.send_frame(V1_1, HEARTBEAT, &payload);
    assert_eq!(peer.receive(), Frame { version: V1_1, kind: HEARTBEAT, payload: Vec::new() });
    peer.send_frame(V1_1, 0x60, &payload);
    peer.assert_usable();
    assert_eq!(host.count("unknown_kinds"), 1);

    // The frames that are buffered already are served.
    for (holder, rest) in &mut holders {
        holder.send(&*rest);
        assert_eq!(holder.receive().result().as_str().map(str::len), Some(MIB));
    }

    peer.send(request(MIB));
    peer.receive().result();

    drop(holders);
    wait_until("nothing is buffered", || host.count("buffered_bytes") == 0);
}

#[test]
fn answers_a_rejected_sync_request_in_order() {
    let config = "[limits]\nframe = \"2MiB\"\nbuffers = \"2560KiB\"";
    let host = HostProcess::builder().plugin("echoes").plugin("sleeps").config(config).start();
    let _holders = holders(&host);
    let mut peer = host.peer();

    peer.send_sync("sleep.blocking", &json!({ "ms": 200 }));
    peer.send_frame(V1_0, SYNC, vec![b'x'; 2 * MIB]);
    peer.send_sync("system.ping", &Value::Null);

    let replies = peer.receive_all(3);
    assert_eq!((replies[0].result(), replies[2].result()), (json!(200), json!("pong")));
    replies[1].error(OVERLOADED);
}

#[test]
fn keeps_concurrent_large_requests_within_the_budget() {
    const CLIENTS: usize = 100;
    /// In MiB. A frame uses a few times its size while it becomes a reply.
    const BUDGET: usize = 8;
    let host = host("frame = \"2MiB\"\nbuffers = \"8MiB\"");
    let whole = request(MIB);

    let round = || {
        let before = host.count("results");
        let mut most = 0;

        let outcomes: Vec<Option<i64>> = std::thread::scope(|scope| {
            let running: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    scope.spawn(|| {
                        let mut peer = host.peer();
                        peer.send(&whole);
                        let reply = peer.receive();
                        assert_eq!(reply.kind, SYNC);
                        peer.heartbeat();
                        assert_eq!(
                            peer.receive().kind,
                            HEARTBEAT,
                            "the connection is usable after either reply"
                        );
                        reply.code()
                    })
                })
                .collect();

            while running.iter().any(|running| !running.is_finished()) {
                most = most.max(resident_kib(host.pid()));
                std::thread::yield_now();
            }
            running.into_iter().map(|running| running.join().unwrap()).collect()
        });

        let served = outcomes.iter().filter(|code| code.is_none()).count();
        let refused = outcomes.iter().filter(|code| **code == Some(OVERLOADED)).count();
        assert_eq!(served + refused, CLIENTS, "{outcomes:?}");
        assert!(served > 0, "some requests are served");
        wait_until("all are counted", || host.count("results") >= before + served as u64);

        most
    };

    round();
    wait_until("nothing is buffered", || host.count("buffered_bytes") == 0);
    let before = idle_footprint(host.pid());

    let most = round();
    let grown = most.saturating_sub(before.resident) / 1024;
    assert!(grown <= 6 * BUDGET, "{grown} MiB more than when idle, with a budget of {BUDGET}");

    assert_levels_off(host.pid(), BUDGET * 1024, || {
        round();
    });

    wait_until("nothing is buffered", || host.count("buffered_bytes") == 0);
}

#[test]
fn releases_the_memory_of_a_large_frame() {
    /// In MiB. The allocators of two I/O threads may keep one frame each, but not the frames of all
    /// ten connections.
    const MOST: usize = 32;
    let host = host("frame = \"16MiB\"\nbuffers = \"64MiB\"");
    let mut peers: Vec<Peer> = (0..10).map(|_| host.peer()).collect();
    peers.iter_mut().for_each(Peer::assert_usable);

    let before = resident_kib(host.pid());
    let large = frame(V1_0, SYNC, envelope("fixture.no_such", &json!("x".repeat(4 * MIB))));

    for peer in &mut peers {
        peer.send(&large);
        // The start of the next frame stays in the buffer.
        peer.send(header(V1_0, SYNC, 100));
        peer.receive().error(-32601);
    }

    // The budget is released at the end of the turn in which the last reply leaves.
    wait_until("nothing is buffered", || host.count("buffered_bytes") == 0);

    let grown = resident_kib(host.pid()).saturating_sub(before) / 1024;
    assert!(grown < MOST, "{grown} MiB are held for {} partial frames", peers.len());
}

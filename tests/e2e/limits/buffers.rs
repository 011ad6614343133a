//! The budget of buffered bytes: what does not fit is refused by its kind, read away, and costs no
//! memory.

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

/// A request of about so many bytes.
fn request(bytes: usize) -> Vec<u8> {
    frame(V1_0, SYNC, envelope("fixture.echo_blocking", &json!("x".repeat(bytes))))
}

/// Clients that hold so much that a frame of more than half a MiB does not fit.
fn holders(host: &HostProcess) -> Vec<(Peer, Vec<u8>)> {
    let whole = request(MIB);
    let mut holders: Vec<_> = (0..2).map(|_| (host.peer(), whole.clone())).collect();
    for (peer, whole) in &mut holders {
        let rest = whole.split_off(MIB - MIB / 10);
        peer.send(&*whole);
        *whole = rest;
    }
    wait_until("they are held", || {
        host.count("buffered_bytes") >= 2 * (MIB - MIB / 10) as u64 / 16_384 * 16_384
    });
    holders
}

#[test]
fn a_frame_without_room_is_refused_by_its_kind_and_read_away() {
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
    // What asks for nothing is answered as if it had been small.
    peer.send_frame(V1_1, HEARTBEAT, &payload);
    assert_eq!(peer.receive(), Frame { version: V1_1, kind: HEARTBEAT, payload: Vec::new() });
    peer.send_frame(V1_1, 0x60, &payload);
    peer.assert_usable();
    assert_eq!(host.count("unknown_kinds"), 1);
    // Those that had their room keep it.
    for (holder, rest) in &mut holders {
        holder.send(&*rest);
        assert_eq!(holder.receive().result().as_str().map(str::len), Some(MIB));
    }
    peer.send(request(MIB));
    peer.receive().result();
    drop(holders);
    wait_until("nothing is held", || host.count("buffered_bytes") == 0);
}

#[test]
fn a_refused_sync_request_waits_for_its_turn() {
    let config = "[limits]\nframe = \"2MiB\"\nbuffers = \"2560KiB\"";
    let host = HostProcess::builder().plugin("echoes").plugin("sleeps").config(config).start();
    let _holders = holders(&host);
    let mut peer = host.peer();
    peer.send_sync("sleep.blocking", &json!({ "ms": 200 }));
    peer.send_frame(V1_0, SYNC, vec![b'x'; 2 * MIB]);
    peer.send_sync("system.ping", &Value::Null);
    let came = peer.receive_all(3);
    assert_eq!((came[0].result(), came[2].result()), (json!(200), json!("pong")));
    came[1].error(OVERLOADED);
}

#[test]
fn a_hundred_large_requests_at_once_stay_within_the_budget() {
    const CLIENTS: usize = 100;
    /// In MiB; what one frame takes while it becomes a reply is a few times that.
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
                        assert_eq!(peer.receive().kind, HEARTBEAT, "it is usable, whatever came");
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
        assert!(served > 0, "somebody is served");
        wait_until("all are counted", || host.count("results") >= before + served as u64);
        most
    };
    round();
    wait_until("nothing is held", || host.count("buffered_bytes") == 0);
    let before = idle_footprint(host.pid());
    let most = round();
    let grown = most.saturating_sub(before.resident) / 1024;
    assert!(grown <= 6 * BUDGET, "{grown} MiB more than at rest, with a budget of {BUDGET}");
    assert_levels_off(host.pid(), BUDGET * 1024, || {
        round();
    });
    wait_until("nothing is held", || host.count("buffered_bytes") == 0);
}

#[test]
fn a_large_frame_leaves_no_room_behind_it() {
    /// In MiB: what the allocators of two I/O threads keep of one frame each, and far from ten of
    /// them.
    const MOST: usize = 32;
    let host = host("frame = \"16MiB\"\nbuffers = \"64MiB\"");
    let mut peers: Vec<Peer> = (0..10).map(|_| host.peer()).collect();
    peers.iter_mut().for_each(Peer::assert_usable);
    let before = resident_kib(host.pid());
    let large = frame(V1_0, SYNC, envelope("fixture.no_such", &json!("x".repeat(4 * MIB))));
    for peer in &mut peers {
        peer.send(&large);
        // The beginning of the next one, which stays.
        peer.send(header(V1_0, SYNC, 100));
        peer.receive().error(-32601);
    }
    // Given back at the end of the turn in which the last reply left.
    wait_until("nothing is held", || host.count("buffered_bytes") == 0);
    let grown = resident_kib(host.pid()).saturating_sub(before) / 1024;
    assert!(grown < MOST, "{grown} MiB are kept for {} beginnings of a frame", peers.len());
}

//! Time limits of connections: slow headers and payloads, replies that are not read, idle
//! connections, and clients that are slow within the limits.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::footprint::{assert_levels_off, assert_released, connections, cpu_time, idle_footprint};
use crate::support::peer::{
    ASYNC_REQUEST, DEADLINE_EXCEEDED, ERROR, HEARTBEAT, SYNC, V1_0, V1_1, envelope, envelope_with, frame,
    header,
};
use crate::support::wait::wait_for;
use crate::support::{CEILING, HostProcess, Peer, wait_until};

fn host(timeouts: &str) -> HostProcess {
    let config = format!(
        "[[listener]]\nsocket = \"run/jackfield.sock\"\n[[listener]]\nsocket = \"run/lines.sock\"\n\
         framing = \"line\"\n[timeouts]\n{timeouts}"
    );
    HostProcess::builder().plugin("echoes").plugin("sleeps").config(&config).start()
}

/// Asserts that the connection is closed because its frame arrived too slowly.
#[track_caller]
fn expect_too_slow(peer: &mut Peer, timeout_ms: u64) {
    let replies = peer.receive_until_close();
    assert_eq!((replies.len(), replies[0].version, replies[0].kind), (1, V1_0, ERROR), "{replies:?}");
    assert_eq!(replies[0].error(DEADLINE_EXCEEDED)["data"], json!({ "timeout_ms": timeout_ms }));
}

#[test]
fn closes_a_connection_whose_frame_is_incomplete() {
    let host = host("frame = \"300ms\"");

    let whole = frame(V1_0, SYNC, envelope("system.ping", &Value::Null));
    for cut in [1, 6, 7, 8, whole.len() - 1] {
        let mut peer = host.peer();

        // The time of a frame does not include that of earlier frames.
        peer.assert_usable();
        let begun = Instant::now();
        peer.send(&whole[..cut]);
        expect_too_slow(&mut peer, 300);
        assert!(begun.elapsed() >= Duration::from_millis(300), "too early: {:?}", begun.elapsed());
    }

    let mut line = host.line_peer("run/lines.sock");
    line.send("{\"method\":");
    assert_eq!(line.json()["error"]["code"], DEADLINE_EXCEEDED);
    assert_eq!(line.line(), None);
    wait_until("each is counted", || host.count("connections_cut") == 6);
}

#[test]
fn closes_connections_with_slow_headers() {
    const CLIENTS: usize = 200;
    let host = host("frame = \"400ms\"");

    host.peer().assert_usable();
    let before = idle_footprint(host.pid());
    let mut peers: Vec<Peer> = (0..CLIENTS).map(|_| host.peer()).collect();

    // The time for a header does not grow with the bytes that arrive.
    let mut observer = host.peer();
    for byte in header(V1_0, SYNC, 100) {
        for peer in &mut peers {
            let _ = peer.try_send([byte]);
        }
        let next = Instant::now() + Duration::from_millis(100);
        wait_until("others are served meanwhile", || {
            observer.assert_usable();
            Instant::now() >= next
        });
    }

    for peer in &mut peers {
        expect_too_slow(peer, 400);
    }

    assert_eq!(host.count("connections_cut"), CLIENTS as u64);
    drop((peers, observer));
    assert_released(host.pid(), &before);
}

#[test]
fn gives_a_payload_time_in_proportion_to_its_size() {
    let host = host("frame = \"500ms\"");

    // 5 KiB per second: bytes arrive all the time, but the connection is closed.
    let mut trickling = host.peer();
    trickling.send(header(V1_0, SYNC, 1 << 20));
    let begun = Instant::now();
    while trickling.try_send([b' '; 100]).is_ok() {
        assert!(begun.elapsed() < CEILING, "a payload of 5 KiB per second is never cut");
        std::thread::sleep(Duration::from_millis(20));
    }
    expect_too_slow(&mut trickling, 500);

    // About 500 KiB per second, for longer than the time-out: a large payload is given time in
    // proportion.
    let whole = frame(V1_0, SYNC, envelope("system.echo", &json!("x".repeat(1 << 20))));

    let mut steady = host.peer();
    for part in whole.chunks(26 * 1024) {
        steady.send(part);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(steady.receive().result().as_str().map(str::len), Some(1 << 20));
}

#[test]
fn closes_a_connection_whose_discarded_payload_is_slow() {
    let config = "[limits]\nframe = \"4KiB\"\n[timeouts]\nframe = \"300ms\"";
    let host = HostProcess::builder().config(config).start();

    let mut peer = host.peer();
    peer.send(header(V1_0, SYNC, 8192));
    peer.receive().error(-32007);
    expect_too_slow(&mut peer, 300);

    // If a discarded payload arrives in time, the next frame has its own time.
    let mut peer = host.peer();
    peer.send(frame(V1_0, SYNC, vec![b'x'; 8192]));
    peer.receive().error(-32007);
    peer.assert_usable();
}

#[test]
fn closes_a_connection_that_does_not_read() {
    let host = host("write = \"300ms\"");

    let large = |id: &str| {
        let params = json!({ "bytes": 1_000_000 });
        frame(V1_1, ASYNC_REQUEST, envelope_with(id, "fixture.large", &params))
    };
    let endless = frame(V1_1, ASYNC_REQUEST, envelope_with("3", "sleep.forever", &Value::Null));
    let mut connections = 0;
    let mut connect = || {
        connections += 1;
        let mut peer = host.peer();
        peer.send([large("1"), large("2"), endless.clone()].concat());
        wait_until("the connection is closed", || host.count("connections_cut") == connections);

        // The requests of the connection end with it.
        wait_until("its future is dropped", || {
            host.count("abandoned") >= connections && host.count("in_flight") == 0
        });
    };
    (0..3).for_each(|_| connect());

    // Six times 2 MB are not read in each round, and are not kept.
    assert_levels_off(host.pid(), 6 * 1024, || (0..6).for_each(|_| connect()));
}

#[test]
fn keeps_a_connection_that_reads_slowly() {
    // Reading takes longer than this in total, and far less from one read to the next.
    const WRITE: Duration = Duration::from_secs(3);

    let host = host("write = \"3s\"");
    let mut slow = host.peer();

    for id in ["1", "2"] {
        slow.send_async(id, "fixture.large", &json!({ "bytes": 1_000_000 }));
    }

    let (mut left, begun) = (2 * 1_000_000_usize, Instant::now());
    let mut chunk = vec![0; 50_000];

    while left > 0 {
        std::thread::sleep(Duration::from_millis(100));
        let count = std::io::Read::read(&mut slow.stream(), &mut chunk).unwrap();
        assert!(count > 0, "the connection was closed with {left} bytes to come");
        left = left.saturating_sub(count);
    }
    assert!(begun.elapsed() > WRITE, "the client was slower than the time-out");

    assert_eq!(host.count("connections_cut"), 0);
}

/// The idle time-out of the test below.
const IDLE: Duration = Duration::from_millis(400);

/// Sends heartbeats for three times the idle time-out and returns the connection. Returns `None` if
/// the test itself was delayed for longer than the time-out.
fn send_heartbeats(host: &HostProcess) -> Option<Peer> {
    let begun = Instant::now();
    let mut beating = host.peer();

    // The last heartbeat that was answered. The host saw it at that time or later.
    let mut last = begun;
    while begun.elapsed() < 3 * IDLE {
        let sent = Instant::now();

        let answer = match beating.try_send(frame(V1_0, HEARTBEAT, "")) {
            Ok(()) => beating.receive_within(CEILING).ok(),
            Err(_) => None,
        };
        let Some(answer) = answer else {
            assert!(last.elapsed() >= IDLE, "closed {:?} after a heartbeat", last.elapsed());
            return None;
        };
        assert_eq!(answer.map(|answer| answer.kind), Some(HEARTBEAT));
        last = sent;
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(beating)
}

#[test]
fn closes_idle_connections_silently() {
    let host = host("idle = \"400ms\"");

    let mut never = host.peer();
    let mut served = host.peer();
    served.assert_usable();
    let mut waiting = host.peer();

    // A connection with a request in flight is not idle, however long that takes, nor is one that
    // sends heartbeats.
    let latch = host.latch("waiting");
    waiting.send_async("1", "sleep.async_until", &latch.params());

    let mut line = host.line_peer("run/lines.sock");
    let mut beating =
        wait_for("a connection with heartbeats outlives the idle time-out", || send_heartbeats(&host));

    never.expect_close();
    served.expect_close();
    assert_eq!(line.line(), None);
    latch.open();

    assert_eq!(waiting.receive().result(), true);
    waiting.expect_close();
    beating.expect_close();
    assert_eq!(host.count("connections_cut"), 0);
    wait_until("all connections are closed", || connections(host.pid()) == 0);
}

#[test]
fn uses_no_processor_time_while_waiting() {
    /// Permitted processor time in the two seconds below. A timer that fires without end would use
    /// all of them.
    const MOST: Duration = Duration::from_millis(300);
    let host = host("idle = \"100ms\"\nframe = \"20s\"\nwrite = \"20s\"");

    // A partial frame that is older than the idle time-out.
    let mut partial = host.peer();
    partial.send([1, 0]);

    // Replies that the client does not read, and a request that the host therefore does not read.
    let mut unread = host.peer();
    let large =
        frame(V1_1, ASYNC_REQUEST, envelope_with("1", "fixture.large", &json!({ "bytes": 1_000_000 })));
    unread.send(&large);
    let ping = frame(V1_0, SYNC, envelope("system.ping", &Value::Null));
    unread.send(&ping);

    // A future that never completes, of a client that has half-closed its connection.
    let mut half = host.peer();
    half.send_async("1", "sleep.forever", &Value::Null);
    half.half_close();

    let before = cpu_time(host.pid());
    let end = Instant::now() + Duration::from_secs(2);
    wait_until("two seconds have passed", || Instant::now() >= end);
    let took = cpu_time(host.pid()) - before;

    assert!(took < MOST, "{took:?} of processor time for three waiting connections");
    // All three connections still work.
    partial.send(&ping[2..]);
    assert_eq!(partial.receive().result(), "pong");
    let kinds: Vec<u8> = unread.receive_all(2).iter().map(|frame| frame.kind).collect();
    assert!(kinds.contains(&SYNC), "{kinds:?}");
    assert_eq!(half.stream().flush().ok(), Some(()));
}

//! Floods: garbage of each kind, heartbeats, and thousands of requests in flight. `make soak` sends
//! 4 GiB of garbage, 1,000,000 heartbeats and 10,000 requests.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::background::BackgroundThread;
use crate::support::footprint::{assert_released, assert_released_within, cpu_time, idle_footprint};
use crate::support::neighbour::assert_slowdown_bounded;
use crate::support::peer::{HEARTBEAT, PARSE_ERROR, SYNC, V1_0, V1_1, envelope, frame, take_frame};
use crate::support::random::SeededRandom;
use crate::support::{CEILING, HostProcess, is_soak, wait_until};

/// Size and number of the pieces that one connection sends. A piece fits the buffer of a socket.
const PIECE: usize = 32 * 1024;
const PIECES: usize = 16;

/// Returns a piece of garbage of this kind.
fn piece(random: &mut SeededRandom, kind_of_garbage: usize) -> Vec<u8> {
    match kind_of_garbage {
        // Random bytes: kind 0 for binary frames, kind 2 for line framing.
        0 | 2 => random.bytes(PIECE),
        // A frame with a random payload.
        1 => frame(V1_0, SYNC, random.bytes(PIECE - 7)),
        // Requests with inverted bits.
        3 => {
            let request = frame(V1_1, SYNC, envelope("system.echo", &json!("x".repeat(500))));
            // A bit of a kind is rarely inverted before the framing is lost.
            let mut requests = [frame(V1_1, UNKNOWN_KIND, ""), request.repeat(60)].concat();
            for _ in 0..30 {
                let (at, bit) = (7 + random.below(requests.len() - 7), random.below(8));
                requests[at] ^= 1 << bit;
            }
            requests
        }
        // Headers without payloads.
        _ => {
            let mut headers = random.bytes(PIECE / 7 * 7);
            for header in headers.chunks_mut(7) {
                let kind = 1 + header[5] % 5;
                header[..5].copy_from_slice(&[1, 0, kind, 0, 0]);
            }
            headers
        }
    }
}

const KINDS_OF_GARBAGE: usize = 5;

/// A kind that no version defines.
const UNKNOWN_KIND: u8 = 0x60;

/// Sends a piece and discards what the host sends meanwhile. Returns whether the connection is
/// still open.
fn send(stream: &UnixStream, mut piece: &[u8], stopped: &AtomicBool) -> bool {
    let (mut reader, mut writer, mut discarded) = (stream, stream, vec![0; 64 * 1024]);

    while !piece.is_empty() && !stopped.load(Ordering::Relaxed) {
        match writer.write(piece) {
            Ok(count) => piece = &piece[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_micros(100)),
            Err(_) => return false,
        }

        match reader.read(&mut discarded) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    true
}

/// Opens connections with each kind of garbage in turn until `max_bytes` bytes are sent or
/// `stopped` is set. Without `random` it sends valid requests.
fn flood(host: &HostProcess, random: Option<&mut SeededRandom>, max_bytes: u64, stopped: &AtomicBool) -> u64 {
    let (binary, lines) = (host.socket(), host.path("run/lines.sock"));
    flood_at(&binary, &lines, random, max_bytes, stopped)
}

fn flood_at(
    binary: &std::path::Path,
    lines: &std::path::Path,
    mut random: Option<&mut SeededRandom>,
    max_bytes: u64,
    stopped: &AtomicBool,
) -> u64 {
    let valid = frame(V1_0, SYNC, envelope("system.echo", &json!("x".repeat(500)))).repeat(60);
    let (mut sent, mut kind_of_garbage) = (0, 0);
    while sent < max_bytes && !stopped.load(Ordering::Relaxed) {
        kind_of_garbage = (kind_of_garbage + 1) % KINDS_OF_GARBAGE;
        let socket = if kind_of_garbage == 2 && random.is_some() { lines } else { binary };
        let Ok(stream) = UnixStream::connect(socket) else { continue };
        stream.set_nonblocking(true).expect("the socket becomes non-blocking");
        for _ in 0..PIECES {
            let piece =
                random.as_deref_mut().map_or_else(|| valid.clone(), |random| piece(random, kind_of_garbage));
            sent += piece.len() as u64;
            if !send(&stream, &piece, stopped) {
                break;
            }
        }
    }

    sent
}

/// Starts a flood of garbage or of valid requests on a background thread.
fn flooding(host: &HostProcess, garbage: bool) -> BackgroundThread<u64> {
    let (binary, lines) = (host.socket(), host.path("run/lines.sock"));
    BackgroundThread::start(move |stopped| {
        let mut random = garbage.then_some(SeededRandom::new(0x1234_5678_9abc_def1));
        flood_at(&binary, &lines, random.as_mut(), u64::MAX, stopped)
    })
}

fn host() -> HostProcess {
    let config = "[[listener]]\nsocket = \"run/jackfield.sock\"\n[[listener]]\nsocket = \"run/lines.sock\"\nframing = \"line\"\n[timeouts]\ninline = \"10m\"";
    HostProcess::builder().config(config).start()
}

#[test]
fn survives_garbage_without_leaks_or_delays() {
    let max_bytes = if is_soak() { 4 << 30 } else { 32 << 20 };
    let host = host();
    let (mut random, never_stopped) = (SeededRandom::new(0x9e37_79b9_7f4a_7c15), AtomicBool::new(false));

    // A first round, because memory that the allocator keeps is not a leak.
    flood(&host, Some(&mut random), 8 << 20, &never_stopped);
    let before = idle_footprint(host.pid());

    let sent = flood(&host, Some(&mut random), max_bytes, &never_stopped);
    assert!(sent >= max_bytes);

    let counts = host.info()["counts"].clone();
    println!("{sent} bytes of garbage: {counts}");
    for count in ["errors", "connections_cut", "unknown_kinds"] {
        assert!(counts[count].as_u64() > Some(0), "each kind of garbage was sent: {count} in {counts}");
    }
    assert_released_within(host.pid(), &before, 2048);

    wait_until("nothing is buffered or in flight", || {
        (host.count("buffered_bytes"), host.count("in_flight")) == (0, 0)
    });
    assert_slowdown_bounded(&host, "garbage", || flooding(&host, false), || flooding(&host, true));
}

#[test]
fn answers_each_frame_of_garbage() {
    let host = host();
    let (mut peer, mut random) = (host.peer(), SeededRandom::new(7));
    for round in 0..200 {
        let mut payload = random.bytes(1 + round);
        // A payload that begins with `#` is never JSON.
        payload[0] = b'#';

        peer.send_frame(V1_0, SYNC, payload);
        let reply = peer.receive();
        assert_eq!((reply.kind, reply.code()), (SYNC, Some(PARSE_ERROR)), "{reply:?}");
    }
    peer.assert_usable();
}

/// Sends the same frame `count` times as fast as possible, and counts the frames of this kind that
/// return.
fn send_repeatedly(host: &HostProcess, one: &[u8], count: usize, kind: u8) -> usize {
    const BATCH: usize = 2000;

    let peer = host.peer();
    let stream = peer.stream();
    stream.set_read_timeout(Some(CEILING)).unwrap();
    let (batch, mut answered) = (one.repeat(BATCH), 0);

    thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = stream;
            for _ in 0..count / BATCH {
                writer.write_all(&batch).expect("the host reads the frames");
            }
        });

        let (mut reader, mut bytes, mut chunk) = (stream, Vec::new(), vec![0; 256 * 1024]);
        while answered < count {
            let read = reader.read(&mut chunk).expect("the host answers");
            assert!(read > 0, "the host closed after {answered} answers");
            bytes.extend_from_slice(&chunk[..read]);

            let mut at = 0;
            while let Some(length) = bytes.get(at + 3..at + 7) {
                let end = at + 7 + u32::from_be_bytes(length.try_into().unwrap()) as usize;
                if bytes.len() < end {
                    break;
                }
                assert_eq!(bytes[at + 2], kind);
                (at, answered) = (end, answered + 1);
            }
            bytes.drain(..at);
        }

        assert_eq!(take_frame(&mut bytes), None);
    });
    answered
}

#[test]
fn answers_heartbeats_at_less_cost_than_requests() {
    let count = if is_soak() { 1_000_000 } else { 100_000 };
    let host = host();
    let (beat, ping) = (frame(V1_0, HEARTBEAT, ""), frame(V1_0, SYNC, envelope("system.ping", &Value::Null)));
    send_repeatedly(&host, &beat, 10_000, HEARTBEAT);

    let before = idle_footprint(host.pid());
    let spent = |one: &[u8], kind| {
        let began = cpu_time(host.pid());
        assert_eq!(send_repeatedly(&host, one, count, kind), count);
        cpu_time(host.pid()) - began
    };
    let (beats, pings) = (spent(&beat, HEARTBEAT), spent(&ping, SYNC));

    println!("{count} heartbeats: {beats:?} of processor time; as many pings: {pings:?}");
    assert!(beats <= pings, "heartbeats cost {beats:?}, requests {pings:?}");
    assert!(host.count("heartbeats") >= count as u64);
    assert_released(host.pid(), &before);

    let flood_with = |one: Vec<u8>| {
        let socket = host.socket();
        BackgroundThread::start(move |stopped| {
            let stream = UnixStream::connect(socket).expect("the host accepts connections");
            stream.set_nonblocking(true).expect("the socket becomes non-blocking");
            let batch = one.repeat(PIECE / one.len());
            while !stopped.load(Ordering::Relaxed) && send(&stream, &batch, stopped) {}
        })
    };

    assert_slowdown_bounded(
        &host,
        "a flood of heartbeats",
        || flood_with(ping.clone()),
        || flood_with(beat.clone()),
    );
}

#[test]
fn answers_thousands_of_requests_in_flight() {
    let requests = if is_soak() { 10_000 } else { 1_000 };
    const REQUESTS_PER_CONNECTION: usize = 500;
    let host = HostProcess::with(&["sleeps"]);
    let round = |round: u64| {
        let mut clients: Vec<_> = (0..requests / REQUESTS_PER_CONNECTION)
            .map(|_| (host.peer(), ReplyAccounting::default()))
            .collect();
        for (peer, accounting) in &mut clients {
            for number in 0..REQUESTS_PER_CONNECTION {
                let id = number.to_string();
                accounting.record_request(&id);
                peer.send_async(&id, "sleep.held", &json!(round));
            }
        }

        wait_until("all requests are in flight", || host.count("in_flight") == requests as u64);
        host.peer().result("sleep.release", &json!(round));

        for (peer, accounting) in &mut clients {
            peer.receive_all(REQUESTS_PER_CONNECTION).iter().for_each(|reply| accounting.record_reply(reply));
            assert_eq!((accounting.check(), accounting.count(None)), (Ok(()), REQUESTS_PER_CONNECTION));
        }
    };
    round(1);

    let before = idle_footprint(host.pid());
    round(2);
    assert_released_within(host.pid(), &before, 2048);
}

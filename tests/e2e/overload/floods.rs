//! Floods: garbage of every sort, heartbeats without end, ten thousand requests in flight. `make
//! soak` has them by the gigabyte and the million.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::background::BackgroundThread;
use crate::support::footprint::{assert_settles, assert_settles_within, cpu_time, idle_footprint};
use crate::support::neighbour::assert_slowdown_bounded;
use crate::support::peer::{HEARTBEAT, PARSE_ERROR, SYNC, V1_0, V1_1, envelope, frame, take_frame};
use crate::support::random::SeededRandom;
use crate::support::{CEILING, HostProcess, is_soak, wait_until};

/// Bytes of one connection, in pieces of which each fits a socket's buffer.
const PIECE: usize = 32 * 1024;
const PIECES: usize = 16;

/// What one connection sends, of the given sort.
fn piece(noise: &mut SeededRandom, sort: usize) -> Vec<u8> {
    match sort {
        // Nothing but noise; noise in frames; noise in lines; requests of which a few bits are
        // wrong; headers alone.
        0 | 2 => noise.bytes(PIECE),
        1 => frame(V1_0, SYNC, noise.bytes(PIECE - 7)),
        3 => {
            let mut whole = frame(V1_1, SYNC, envelope("system.echo", &json!("x".repeat(500)))).repeat(60);
            for _ in 0..30 {
                let (at, bit) = (noise.below(whole.len()), noise.below(8));
                whole[at] ^= 1 << bit;
            }
            whole
        }
        _ => {
            let mut headers = noise.bytes(PIECE / 7 * 7);
            for header in headers.chunks_mut(7) {
                let kind = 1 + header[5] % 5;
                header[..5].copy_from_slice(&[1, 0, kind, 0, 0]);
            }
            headers
        }
    }
}

const SORTS: usize = 5;

/// What the host says meanwhile is read away. Whether the connection still stands.
fn send(stream: &UnixStream, mut piece: &[u8], stopped: &AtomicBool) -> bool {
    let (mut reader, mut writer, mut said) = (stream, stream, vec![0; 64 * 1024]);
    while !piece.is_empty() && !stopped.load(Ordering::Relaxed) {
        match writer.write(piece) {
            Ok(count) => piece = &piece[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_micros(100)),
            Err(_) => return false,
        }
        match reader.read(&mut said) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    true
}

/// Connections of the sorts in turn until so many bytes were sent or it is stopped; `None` sends
/// what is in order.
fn flood(host: &HostProcess, noise: Option<&mut SeededRandom>, most: u64, stopped: &AtomicBool) -> u64 {
    let (binary, lines) = (host.socket(), host.path("run/lines.sock"));
    flood_at(&binary, &lines, noise, most, stopped)
}

fn flood_at(
    binary: &std::path::Path,
    lines: &std::path::Path,
    mut noise: Option<&mut SeededRandom>,
    most: u64,
    stopped: &AtomicBool,
) -> u64 {
    let orderly = frame(V1_0, SYNC, envelope("system.echo", &json!("x".repeat(500)))).repeat(60);
    let (mut sent, mut sort) = (0, 0);
    while sent < most && !stopped.load(Ordering::Relaxed) {
        sort = (sort + 1) % SORTS;
        let socket = if sort == 2 && noise.is_some() { lines } else { binary };
        let Ok(stream) = UnixStream::connect(socket) else { continue };
        stream.set_nonblocking(true).expect("a socket that does not block");
        for _ in 0..PIECES {
            let piece = noise.as_deref_mut().map_or_else(|| orderly.clone(), |noise| piece(noise, sort));
            sent += piece.len() as u64;
            if !send(&stream, &piece, stopped) {
                break;
            }
        }
    }
    sent
}

/// A flood on a thread of its own, of garbage or of what is in order.
fn flooding(host: &HostProcess, garbage: bool) -> BackgroundThread<u64> {
    let (binary, lines) = (host.socket(), host.path("run/lines.sock"));
    BackgroundThread::start(move |stopped| {
        let mut noise = garbage.then_some(SeededRandom::new(0x1234_5678_9abc_def1));
        flood_at(&binary, &lines, noise.as_mut(), u64::MAX, stopped)
    })
}

fn host() -> HostProcess {
    let config = "[[listener]]\nsocket = \"run/jackfield.sock\"\n[[listener]]\nsocket = \"run/lines.sock\"\nframing = \"line\"\n[timeouts]\ninline = \"10m\"";
    HostProcess::builder().config(config).start()
}

#[test]
fn garbage_leaves_nothing_and_keeps_nobody_up() {
    let most = if is_soak() { 4 << 30 } else { 32 << 20 };
    let host = host();
    let (mut noise, go_on) = (SeededRandom::new(0x9e37_79b9_7f4a_7c15), AtomicBool::new(false));
    // Once before: what the allocator keeps of it is no leak.
    flood(&host, Some(&mut noise), 8 << 20, &go_on);
    let before = idle_footprint(host.pid());
    let sent = flood(&host, Some(&mut noise), most, &go_on);
    assert!(sent >= most);
    let counts = host.info()["counts"].clone();
    println!("{sent} bytes of garbage: {counts}");
    for what in ["errors", "connections_cut", "unknown_kinds"] {
        assert!(counts[what].as_u64() > Some(0), "the garbage is of every sort: {what} in {counts}");
    }
    assert_settles_within(host.pid(), &before, 2048);
    wait_until("nothing is held", || (host.count("buffered_bytes"), host.count("in_flight")) == (0, 0));
    assert_slowdown_bounded(&host, "garbage", || flooding(&host, false), || flooding(&host, true));
}

#[test]
fn each_frame_of_garbage_has_its_answer() {
    let host = host();
    let (mut peer, mut noise) = (host.peer(), SeededRandom::new(7));
    for round in 0..200 {
        let mut payload = noise.bytes(1 + round);
        // No white space and no digit: what cannot become JSON, whatever follows.
        payload[0] = b'#';
        peer.send_frame(V1_0, SYNC, payload);
        let reply = peer.receive();
        assert_eq!((reply.kind, reply.code()), (SYNC, Some(PARSE_ERROR)), "{reply:?}");
    }
    peer.assert_usable();
}

/// Sends the same frame so many times, as fast as they are taken, and counts the frames of this
/// kind that come back.
fn storm(host: &HostProcess, one: &[u8], count: usize, kind: u8) -> usize {
    const AT_ONCE: usize = 2000;
    let peer = host.peer();
    let stream = peer.stream();
    stream.set_read_timeout(Some(CEILING)).unwrap();
    let (batch, mut answered) = (one.repeat(AT_ONCE), 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = stream;
            for _ in 0..count / AT_ONCE {
                writer.write_all(&batch).expect("the host takes what it answers");
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
fn a_storm_of_heartbeats_is_answered_and_costs_less_than_requests() {
    let count = if is_soak() { 1_000_000 } else { 100_000 };
    let host = host();
    let (beat, ping) = (frame(V1_0, HEARTBEAT, ""), frame(V1_0, SYNC, envelope("system.ping", &Value::Null)));
    storm(&host, &beat, 10_000, HEARTBEAT);
    let before = idle_footprint(host.pid());
    let spent = |one: &[u8], kind| {
        let begun = cpu_time(host.pid());
        assert_eq!(storm(&host, one, count, kind), count);
        cpu_time(host.pid()) - begun
    };
    let (beats, pings) = (spent(&beat, HEARTBEAT), spent(&ping, SYNC));
    println!("{count} heartbeats: {beats:?} of processor; as many pings: {pings:?}");
    assert!(beats <= pings, "heartbeats cost {beats:?}, requests {pings:?}");
    assert!(host.count("heartbeats") >= count as u64);
    assert_settles(host.pid(), &before);
    let storming = |one: Vec<u8>| {
        let socket = host.socket();
        BackgroundThread::start(move |stopped| {
            let stream = UnixStream::connect(socket).expect("the host takes connections");
            stream.set_nonblocking(true).expect("a socket that does not block");
            let batch = one.repeat(PIECE / one.len());
            while !stopped.load(Ordering::Relaxed) && send(&stream, &batch, stopped) {}
        })
    };
    assert_slowdown_bounded(
        &host,
        "a storm of heartbeats",
        || storming(ping.clone()),
        || storming(beat.clone()),
    );
}

#[test]
fn thousands_in_flight_at_once_and_each_has_its_answer() {
    let requests = if is_soak() { 10_000 } else { 1_000 };
    const EACH: usize = 500;
    let host = HostProcess::with(&["sleeps"]);
    let round = |round: u64| {
        let mut crowd: Vec<_> =
            (0..requests / EACH).map(|_| (host.peer(), ReplyAccounting::default())).collect();
        for (peer, accounting) in &mut crowd {
            for number in 0..EACH {
                let id = number.to_string();
                accounting.record_request(&id);
                peer.send_async(&id, "sleep.held", &json!(round));
            }
        }
        wait_until("all are in flight", || host.count("in_flight") == requests as u64);
        host.peer().result("sleep.release", &json!(round));
        for (peer, accounting) in &mut crowd {
            peer.receive_all(EACH).iter().for_each(|reply| accounting.record_reply(reply));
            assert_eq!((accounting.check(), accounting.count(None)), (Ok(()), EACH));
        }
    };
    round(1);
    let before = idle_footprint(host.pid());
    round(2);
    assert_settles_within(host.pid(), &before, 2048);
}

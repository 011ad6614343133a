//! Many frames at once: coalesced in one write, answered in one, and never at the expense of
//! another connection.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::peer::{
    ASYNC_REQUEST, ASYNC_RESPONSE, HEARTBEAT, SYNC, V1_0, V1_1, envelope, envelope_with, frame, take_frame,
};
use crate::support::{CEILING, HostProcess, IO_THREADS};

/// A sync request, a heartbeat and an async request that say which they are.
fn three(number: usize) -> Vec<u8> {
    let id = number.to_string();
    [
        frame(V1_0, SYNC, envelope_with(&id, "system.echo", &json!(number))),
        frame(V1_0, HEARTBEAT, ""),
        frame(V1_1, ASYNC_REQUEST, envelope_with(&format!("a{id}"), "system.echo", &json!(number))),
    ]
    .concat()
}

#[test]
fn one_to_a_thousand_frames_in_one_write() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();
    let counts = (1..=40).chain((41..=333).step_by(23)).chain([333, 334]);
    for count in counts {
        peer.send((0..count).flat_map(three).collect::<Vec<u8>>());
        let (mut next_sync, mut heartbeats, mut accounting) = (0, 0, ReplyAccounting::default());
        (0..count).for_each(|number| accounting.record_request(&format!("a{number}")));
        for reply in peer.receive_all(3 * count) {
            match reply.kind {
                SYNC => {
                    assert_eq!(reply.result(), next_sync, "sync replies come in the order of the requests");
                    assert_eq!(reply.id(), Some(next_sync.to_string()));
                    next_sync += 1;
                }
                HEARTBEAT => heartbeats += 1,
                ASYNC_RESPONSE => {
                    assert_eq!(reply.id(), Some(format!("a{}", reply.result())));
                    accounting.record_reply(&reply);
                }
                _ => panic!("{reply:?}"),
            }
        }
        assert_eq!((next_sync, heartbeats), (count, count));
        assert_eq!(accounting.check(), Ok(()));
    }
    peer.assert_usable();
}

#[test]
fn the_replies_to_one_read_leave_in_one_write() {
    /// Few enough that the socket takes requests and replies as one piece each.
    const AT_ONCE: usize = 50;
    /// A turn that the system interrupts for long ends early, and the rest of its replies with the
    /// next.
    const ROUNDS: usize = 200;
    const WHOLE: usize = 150;
    let host = HostProcess::with(&[]);
    let peer = host.peer();
    let mut stream = peer.stream();
    stream.set_read_timeout(Some(CEILING)).unwrap();
    let requests: Vec<u8> =
        std::iter::repeat_n(frame(V1_0, SYNC, envelope("system.ping", &Value::Null)), AT_ONCE)
            .flatten()
            .collect();
    let replies = frame(V1_0, SYNC, r#"{"result":"pong"}"#).repeat(AT_ONCE);
    let mut whole = 0;
    for _ in 0..ROUNDS {
        stream.write_all(&requests).unwrap();
        let mut came = vec![0; 64 * 1024];
        // One read, as soon as there is anything: it would see the first of several writes alone.
        let count = stream.read(&mut came).unwrap();
        whole += usize::from(count == replies.len());
        stream.read_exact(&mut came[count..replies.len().max(count)]).unwrap();
        assert_eq!(&came[..replies.len()], replies);
    }
    assert!(whole >= WHOLE, "only {whole} of {ROUNDS} times all replies came in one piece");
}

/// Keeps a connection's both directions full until it is shut down; counts the frames that come.
fn flood(stream: &UnixStream, requests: &[u8], kind: u8, answered: &AtomicUsize) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut reader, mut bytes) = (stream, Vec::new());
            let mut chunk = vec![0; 256 * 1024];
            while let Ok(read @ 1..) = reader.read(&mut chunk) {
                bytes.extend_from_slice(&chunk[..read]);
                let mut at = 0;
                while let Some(length) = bytes.get(at + 3..at + 7) {
                    let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
                    if bytes.len() < at + 7 + length {
                        break;
                    }
                    assert_eq!(bytes[at + 2], kind);
                    at += 7 + length;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                bytes.drain(..at);
            }
        });
        let mut writer = stream;
        while writer.write_all(requests).is_ok() {}
    });
}

#[test]
fn a_flood_on_one_connection_does_not_starve_another() {
    /// What half of the bystanders' requests may take, on a busy machine: who starves waits
    /// for a second or more, each time.
    const MOST: Duration = Duration::from_millis(500);
    let host = HostProcess::with(&[]);
    // Enough connections that every I/O thread serves a flood and a bystander.
    let threads = IO_THREADS;
    let heartbeats = frame(V1_0, HEARTBEAT, "").repeat(5000);
    let requests =
        frame(V1_0, SYNC, envelope("system.echo", &json!({ "deviceId": "dev_123", "n": [1, 2, 3] })))
            .repeat(500);
    for (kind, flooding) in [(HEARTBEAT, heartbeats), (SYNC, requests)] {
        let floods: Vec<_> = (0..threads).map(|_| host.peer().stream().try_clone().unwrap()).collect();
        let answered = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for stream in &floods {
                scope.spawn(|| flood(stream, &flooding, kind, &answered));
            }
            let mut bystanders: Vec<_> = (0..threads).map(|_| host.peer()).collect();
            let (mut took, begun) = (Vec::new(), Instant::now());
            // Less were no flood.
            while took.len() < 15 * threads || answered.load(Ordering::Relaxed) < 5000 {
                if begun.elapsed() > CEILING {
                    break;
                }
                for bystander in &mut bystanders {
                    let begun = Instant::now();
                    bystander.assert_usable();
                    took.push(begun.elapsed());
                }
            }
            took.sort_unstable();
            let (half, slowest) = (took[took.len() / 2], took[took.len() - 1]);
            for stream in &floods {
                let _ = stream.shutdown(Shutdown::Both);
            }
            let answered = answered.load(Ordering::Relaxed);
            println!(
                "kind {kind}: {answered} answered in the flood; bystanders took {half:?}, {slowest:?} at most"
            );
            assert!(answered >= 5000, "only {answered}: that was no flood");
            assert!(half < MOST, "half of the bystanders waited {half:?} and more");
        });
    }
}

#[test]
fn a_request_behind_a_large_reply_is_not_forgotten() {
    /// A little over what may wait for a peer while further requests of it are read. Whether it
    /// leaves in one go is up to chance: a host that forgets the request does so in one of some
    /// fifty rounds.
    const LARGE: usize = 256 * 1024 + 100;
    const ROUNDS: usize = 40;
    // No deadline wakes the connection in the meantime, and what is inline stays so although it
    // takes its time.
    let config = "[timeouts]\nrequest = \"10m\"\ninline = \"10m\"";
    let host = HostProcess::builder().plugin("echoes").plugin("counts").config(config).start();
    let peer = host.peer();
    // Connections go to the I/O threads in turn: this one shares the first one's.
    let mut between: Vec<_> = (1..IO_THREADS).map(|_| host.peer()).collect();
    between.iter_mut().for_each(crate::support::Peer::assert_usable);
    let mut neighbour = host.peer();
    let (stream, done) = (peer.stream(), AtomicBool::new(false));
    stream.set_nonblocking(true).unwrap();
    std::thread::scope(|scope| {
        // Reads as fast as it can, so that the reply may leave in one go although it is more than a
        // socket takes.
        let (tell, told) = std::sync::mpsc::channel();
        let ended = &done;
        scope.spawn(move || {
            let (mut reader, mut bytes, mut chunk) = (stream, Vec::new(), vec![0; 1 << 20]);
            while !ended.load(Ordering::Relaxed) {
                match reader.read(&mut chunk) {
                    Ok(count) => bytes.extend_from_slice(&chunk[..count]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                while let Some(frame) = take_frame(&mut bytes) {
                    let _ = tell.send(frame.kind);
                }
            }
        });
        let mut writer = stream;
        let large = envelope_with("1", "fixture.large", &json!({ "bytes": LARGE }));
        for round in 0..ROUNDS {
            // The thread has its hands full while the reply becomes ready and the next request
            // comes: it finds both.
            neighbour.send_sync("counts.inline", &json!({ "ms": 30 }));
            writer.write_all(&frame(V1_1, ASYNC_REQUEST, &large)).unwrap();
            assert_eq!(neighbour.receive().kind, SYNC);
            neighbour.send_sync("counts.inline", &json!({ "ms": 30 }));
            writer.write_all(&frame(V1_0, SYNC, envelope("system.ping", &Value::Null))).unwrap();
            let mut kinds: Vec<u8> = (0..2).filter_map(|_| told.recv_timeout(CEILING).ok()).collect();
            kinds.sort_unstable();
            // The reader ends before this thread does, even in a panic.
            done.store(kinds != [SYNC, ASYNC_RESPONSE] || round + 1 == ROUNDS, Ordering::Relaxed);
            assert_eq!(kinds, [SYNC, ASYNC_RESPONSE], "round {round}");
            assert_eq!(neighbour.receive().kind, SYNC);
        }
    });
}

//! Many frames at once: read together, answered in one write, and never at the expense of other
//! connections.

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

/// Returns a sync request, a heartbeat and an async request that carry this number.
fn three_kinds(number: usize) -> Vec<u8> {
    let id = number.to_string();
    [
        frame(V1_0, SYNC, envelope_with(&id, "system.echo", &json!(number))),
        frame(V1_0, HEARTBEAT, ""),
        frame(V1_1, ASYNC_REQUEST, envelope_with(&format!("a{id}"), "system.echo", &json!(number))),
    ]
    .concat()
}

#[test]
fn answers_any_number_of_frames_in_one_write() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();
    let counts = (1..=40).chain((41..=333).step_by(23)).chain([333, 334]);

    for count in counts {
        peer.send((0..count).flat_map(three_kinds).collect::<Vec<u8>>());
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
fn sends_the_replies_to_one_read_in_one_write() {
    /// Few enough that requests and replies each fit the buffer of a socket.
    const BATCH: usize = 50;
    /// A turn that the kernel interrupts for long ends early, and its remaining replies leave with
    /// the next turn.
    const ROUNDS: usize = 200;
    const MIN_WHOLE: usize = 150;
    let host = HostProcess::with(&[]);
    let peer = host.peer();

    let mut stream = peer.stream();
    stream.set_read_timeout(Some(CEILING)).unwrap();

    let requests: Vec<u8> =
        std::iter::repeat_n(frame(V1_0, SYNC, envelope("system.ping", &Value::Null)), BATCH)
            .flatten()
            .collect();
    let replies = frame(V1_0, SYNC, r#"{"result":"pong"}"#).repeat(BATCH);

    let mut whole = 0;
    for _ in 0..ROUNDS {
        stream.write_all(&requests).unwrap();
        let mut received = vec![0; 64 * 1024];

        // One read, as soon as there is anything. It would see only the first of several writes.
        let count = stream.read(&mut received).unwrap();
        whole += usize::from(count == replies.len());
        stream.read_exact(&mut received[count..replies.len().max(count)]).unwrap();
        assert_eq!(&received[..replies.len()], replies);
    }

    assert!(whole >= MIN_WHOLE, "all replies were received in one read only {whole} of {ROUNDS} times");
}

/// Keeps both directions of a connection full until it is shut down, and counts the frames that
/// arrive.
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
fn does_not_starve_neighbours_of_a_flood() {
    /// Permitted median latency of the neighbours on a busy machine. A starved connection waits for
    /// a second or more each time.
    const MAX_MEDIAN: Duration = Duration::from_millis(500);
    let host = HostProcess::with(&[]);

    // Enough connections that every I/O thread serves a flood and a neighbour.
    let threads = IO_THREADS;
    let heartbeats = frame(V1_0, HEARTBEAT, "").repeat(5000);
    let requests =
        frame(V1_0, SYNC, envelope("system.echo", &json!({ "deviceId": "dev_123", "n": [1, 2, 3] })))
            .repeat(500);
    for (kind, frames) in [(HEARTBEAT, heartbeats), (SYNC, requests)] {
        let floods: Vec<_> = (0..threads).map(|_| host.peer().stream().try_clone().unwrap()).collect();
        let answered = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for stream in &floods {
                scope.spawn(|| flood(stream, &frames, kind, &answered));
            }

            let mut neighbours: Vec<_> = (0..threads).map(|_| host.peer()).collect();
            let (mut took, begun) = (Vec::new(), Instant::now());

            // Fewer replies are not a flood.
            while took.len() < 15 * threads || answered.load(Ordering::Relaxed) < 5000 {
                if begun.elapsed() > CEILING {
                    break;
                }
                for neighbour in &mut neighbours {
                    let begun = Instant::now();
                    neighbour.assert_usable();
                    took.push(begun.elapsed());
                }
            }

            took.sort_unstable();
            let (median, slowest) = (took[took.len() / 2], took[took.len() - 1]);

            for stream in &floods {
                let _ = stream.shutdown(Shutdown::Both);
            }

            let answered = answered.load(Ordering::Relaxed);

            println!(
                "kind {kind}: {answered} answered in the flood; neighbours took {median:?}, {slowest:?} at most"
            );
            assert!(answered >= 5000, "only {answered} replies are not a flood");
            assert!(median < MAX_MEDIAN, "half of the requests of neighbours waited {median:?} or more");
        });
    }
}

#[test]
fn processes_a_request_behind_a_large_reply() {
    /// Slightly more than may wait for a peer while further requests are read. Whether it leaves in
    /// one write depends on chance: a host that forgets the request does so in about one of fifty
    /// rounds.
    const LARGE: usize = 256 * 1024 + 100;
    const ROUNDS: usize = 40;
    // No deadline wakes the connection meanwhile, and the slow inline method is not demoted.
    let config = "[timeouts]\nrequest = \"10m\"\ninline = \"10m\"";
    let host = HostProcess::builder().plugin("echoes").plugin("counts").config(config).start();

    let peer = host.peer();

    // Connections are assigned to the I/O threads in turn, so this one shares the first one's.
    let mut between: Vec<_> = (1..IO_THREADS).map(|_| host.peer()).collect();
    between.iter_mut().for_each(crate::support::Peer::assert_usable);
    let mut neighbour = host.peer();

    let (stream, done) = (peer.stream(), AtomicBool::new(false));
    stream.set_nonblocking(true).unwrap();

    std::thread::scope(|scope| {
        // Reads as fast as possible, so that the reply may leave in one write although it exceeds
        // the buffer of a socket.
        let (sender, receiver) = std::sync::mpsc::channel();
        let done = &done;
        scope.spawn(move || {
            let (mut reader, mut bytes, mut chunk) = (stream, Vec::new(), vec![0; 1 << 20]);
            while !done.load(Ordering::Relaxed) {
                match reader.read(&mut chunk) {
                    Ok(count) => bytes.extend_from_slice(&chunk[..count]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                while let Some(frame) = take_frame(&mut bytes) {
                    let _ = sender.send(frame.kind);
                }
            }
        });

        let mut writer = stream;
        let large = envelope_with("1", "fixture.large", &json!({ "bytes": LARGE }));
        for round in 0..ROUNDS {
            // The I/O thread is busy while the reply becomes ready and the next request arrives, so
            // it finds both.
            neighbour.send_sync("counts.inline", &json!({ "ms": 30 }));
            writer.write_all(&frame(V1_1, ASYNC_REQUEST, &large)).unwrap();
            assert_eq!(neighbour.receive().kind, SYNC);
            neighbour.send_sync("counts.inline", &json!({ "ms": 30 }));
            writer.write_all(&frame(V1_0, SYNC, envelope("system.ping", &Value::Null))).unwrap();

            let mut kinds: Vec<u8> = (0..2).filter_map(|_| receiver.recv_timeout(CEILING).ok()).collect();
            kinds.sort_unstable();
            // The reader ends before this thread, even if the assertion fails.
            done.store(kinds != [SYNC, ASYNC_RESPONSE] || round + 1 == ROUNDS, Ordering::Relaxed);

            assert_eq!(kinds, [SYNC, ASYNC_RESPONSE], "round {round}");
            assert_eq!(neighbour.receive().kind, SYNC);
        }
    });
}

//! Many frames at once: coalesced in one write, answered in one, and never at the expense of another connection.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::ledger::Ledger;
use crate::support::peer::{
    ASYNC_REQUEST, ASYNC_RESPONSE, HEARTBEAT, SYNC, V1_0, V1_1, envelope, envelope_with, frame, take_frame,
};
use crate::support::{CEILING, HostProcess};

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
        let (mut next_sync, mut heartbeats, mut ledger) = (0, 0, Ledger::default());
        (0..count).for_each(|number| ledger.sent(&format!("a{number}")));
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
                    ledger.came(&reply);
                }
                _ => panic!("{reply:?}"),
            }
        }
        assert_eq!((next_sync, heartbeats), (count, count));
        assert_eq!(ledger.check(), Ok(()));
    }
    peer.assert_usable();
}

#[test]
fn the_replies_to_one_read_leave_in_one_write() {
    /// Few enough that the socket takes requests and replies as one piece each.
    const AT_ONCE: usize = 50;
    let host = HostProcess::with(&[]);
    let peer = host.peer();
    let mut stream = peer.stream();
    stream.set_read_timeout(Some(CEILING)).unwrap();
    let requests: Vec<u8> =
        std::iter::repeat_n(frame(V1_0, SYNC, envelope("system.ping", &Value::Null)), AT_ONCE)
            .flatten()
            .collect();
    let replies = frame(V1_0, SYNC, r#"{"result":"pong"}"#).repeat(AT_ONCE);
    for _ in 0..200 {
        stream.write_all(&requests).unwrap();
        let mut came = vec![0; 64 * 1024];
        // One read, as soon as there is anything: it would see the first of several writes alone.
        let count = stream.read(&mut came).unwrap();
        assert_eq!(count, replies.len(), "a part of the replies came alone");
        assert_eq!(&came[..count], replies);
    }
}

/// Keeps a connection's both directions full until it is shut down; gives back how many frames came.
fn flood(stream: &UnixStream, requests: &[u8], kind: u8) -> usize {
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let (mut reader, mut bytes, mut count) = (stream, Vec::new(), 0);
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
                    count += 1;
                }
                bytes.drain(..at);
            }
            count
        });
        let mut writer = stream;
        while writer.write_all(requests).is_ok() {}
        reading.join().unwrap()
    })
}

#[test]
fn a_flood_on_one_connection_does_not_starve_another() {
    /// On a machine of two processors that runs other tests as well: starving would take seconds.
    const MOST: Duration = Duration::from_secs(1);
    let host = HostProcess::with(&[]);
    // Enough connections that every I/O thread serves a flood and a bystander.
    let threads = std::thread::available_parallelism().unwrap().get();
    let heartbeats = frame(V1_0, HEARTBEAT, "").repeat(5000);
    let requests =
        frame(V1_0, SYNC, envelope("system.echo", &json!({ "deviceId": "dev_123", "n": [1, 2, 3] })))
            .repeat(500);
    for (kind, flooding) in [(HEARTBEAT, heartbeats), (SYNC, requests)] {
        let floods: Vec<_> = (0..threads).map(|_| host.peer().stream().try_clone().unwrap()).collect();
        std::thread::scope(|scope| {
            let running: Vec<_> =
                floods.iter().map(|stream| scope.spawn(|| flood(stream, &flooding, kind))).collect();
            let mut bystanders: Vec<_> = (0..threads).map(|_| host.peer()).collect();
            let mut slowest = Duration::ZERO;
            for _ in 0..100 {
                for bystander in &mut bystanders {
                    let begun = Instant::now();
                    bystander.assert_usable();
                    slowest = slowest.max(begun.elapsed());
                }
            }
            for stream in &floods {
                let _ = stream.shutdown(Shutdown::Both);
            }
            let answered: usize = running.into_iter().map(|running| running.join().unwrap()).sum();
            println!("kind {kind}: {answered} answered in the flood, the slowest bystander took {slowest:?}");
            assert!(answered > 5000, "only {answered}: that was no flood");
            assert!(slowest < MOST, "a bystander waited {slowest:?}");
        });
    }
}

#[test]
fn requests_behind_large_replies_are_not_forgotten() {
    let host = HostProcess::with(&["echoes"]);
    let peer = host.peer();
    let stream = peer.stream();
    stream.set_read_timeout(Some(CEILING)).unwrap();
    let sizes: Vec<usize> = (0..150).map(|round| 200_000 + round * 4_001).collect();
    std::thread::scope(|scope| {
        // Reads as fast as it can, so that a reply over the high-water mark may leave in one go.
        let (tell, told) = std::sync::mpsc::channel();
        scope.spawn(move || {
            let (mut reader, mut bytes, mut chunk) = (stream, Vec::new(), vec![0; 1 << 20]);
            loop {
                while let Some(frame) = take_frame(&mut bytes) {
                    if tell.send(frame).is_err() {
                        return;
                    }
                }
                match reader.read(&mut chunk) {
                    Ok(0) | Err(_) => return,
                    Ok(count) => bytes.extend_from_slice(&chunk[..count]),
                }
            }
        });
        let mut writer = stream;
        let ping = frame(V1_0, SYNC, envelope("system.ping", &Value::Null));
        for (round, size) in sizes.iter().enumerate() {
            let large = envelope_with(&round.to_string(), "fixture.large", &json!({ "bytes": size }));
            writer.write_all(&frame(V1_1, ASYNC_REQUEST, large)).unwrap();
            // Written while the reply is on its way, in pieces.
            let (first, second) = ping.split_at(9);
            writer.write_all(first).unwrap();
            std::thread::yield_now();
            writer.write_all(second).unwrap();
            let mut kinds: Vec<u8> =
                (0..2).map(|_| told.recv_timeout(CEILING).expect("both are answered").kind).collect();
            kinds.sort_unstable();
            assert_eq!(kinds, [SYNC, ASYNC_RESPONSE]);
        }
        stream.shutdown(Shutdown::Both).unwrap();
    });
}

//! Many requests in flight: each is answered exactly once. The host does not read from a client
//! that does not read.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::accounting::{Fault, ReplyAccounting};
use crate::support::footprint::{assert_released, idle_footprint, resident_kib};
use crate::support::peer::{ASYNC_REQUEST, SYNC, V1_0, V1_1, envelope, envelope_with, frame};
use crate::support::{CEILING, Frame, HostProcess, Peer, wait_until};

/// Sends an async request for each number, to methods of all kinds, and returns their accounting.
fn send(peer: &mut Peer, numbers: std::ops::Range<usize>) -> ReplyAccounting {
    let mut accounting = ReplyAccounting::default();
    let requests: Vec<u8> = numbers
        .flat_map(|number| {
            let id = format!("{number:032x}");
            accounting.record_request(&id);
            let (method, params) = match number % 4 {
                0 => ("fixture.echo_blocking", json!(number)),
                1 => ("sleep.async", json!({ "ms": number % 50 })),
                2 => ("fixture.echo_async", json!(number)),
                _ => ("fixture.echo", json!(number)),
            };
            frame(V1_1, ASYNC_REQUEST, envelope_with(&id, method, &params))
        })
        .collect();
    peer.send(requests);
    accounting
}

#[test]
fn answers_many_requests_in_flight_on_one_connection() {
    const REQUESTS: usize = 1000;
    let host = HostProcess::with(&["echoes", "sleeps"]);

    let round = || {
        let mut peer = host.peer();
        let mut accounting = send(&mut peer, 0..REQUESTS);
        peer.receive_all(REQUESTS).iter().for_each(|reply| accounting.record_reply(reply));

        assert_eq!(accounting.check(), Ok(()));
        assert_eq!(accounting.count(None), REQUESTS);
        peer.assert_usable();
    };

    round();
    let before = idle_footprint(host.pid());
    (0..3).for_each(|_| round());
    assert_released(host.pid(), &before);

    let counts = host.info()["counts"].clone();
    let requests = counts["requests"].as_u64().unwrap();

    // The request for the counts is counted itself, but has no result yet.
    assert_eq!((&json!(requests - 1), &counts["errors"]), (&counts["results"], &json!(0)));
    assert!(requests > 4 * REQUESTS as u64, "{counts}");
}

#[test]
fn answers_many_requests_that_wait_at_the_same_time() {
    const REQUESTS: usize = 1000;
    let host = HostProcess::with(&["sleeps"]);
    let mut peer = host.peer();
    let mut accounting = ReplyAccounting::default();

    for number in 0..REQUESTS {
        let id = number.to_string();
        accounting.record_request(&id);
        peer.send_async(&id, "sleep.held", &json!(1));
    }

    wait_until("all requests are in flight", || host.count("in_flight") == REQUESTS as u64);
    host.peer().result("sleep.release", &json!(1));

    peer.receive_all(REQUESTS).iter().for_each(|reply| accounting.record_reply(reply));
    assert_eq!((accounting.check(), accounting.count(None)), (Ok(()), REQUESTS));
}

#[test]
fn answers_requests_in_flight_on_many_connections() {
    const CONNECTIONS: usize = 20;
    const IN_FLIGHT: usize = 64;
    const ROUNDS: usize = 20;
    let host = HostProcess::with(&["echoes", "sleeps"]);
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut peer = host.peer();
                for round in 0..ROUNDS {
                    let mut accounting = send(&mut peer, round * IN_FLIGHT..(round + 1) * IN_FLIGHT);
                    peer.receive_all(IN_FLIGHT).iter().for_each(|reply| accounting.record_reply(reply));
                    assert_eq!((accounting.check(), accounting.count(None)), (Ok(()), IN_FLIGHT));
                }
            });
        }
    });

    wait_until("nothing is in flight", || host.count("in_flight") == 0);
}

#[test]
fn detects_a_lost_and_a_duplicate_reply() {
    let host = HostProcess::with(&["echoes", "sleeps"]);
    let mut peer = host.peer();

    let mut complete = send(&mut peer, 0..100);
    let replies = peer.receive_all(100);
    replies.iter().for_each(|reply| complete.record_reply(reply));
    assert_eq!(complete.check(), Ok(()));

    // The replies are recorded as if the host had lost one and sent another one twice.
    let mut faulty = send(&mut peer, 0..100);

    let replies = peer.receive_all(100);
    let (lost, duplicate) = (replies[17].id().unwrap(), replies[63].id().unwrap());

    replies
        .iter()
        .filter(|reply| reply.id().unwrap() != lost)
        .for_each(|reply: &Frame| faulty.record_reply(reply));
    faulty.record_reply(&replies[63]);

    assert_eq!(faulty.check(), Err(vec![Fault::Duplicate(duplicate), Fault::Lost(lost)]));
}

#[test]
fn does_not_read_from_a_client_that_does_not_read() {
    /// Size of the params, and so of the results. The 1000 requests have 62.5 MiB in total.
    const PARAMS_SIZE: usize = 64 * 1024;
    let host = HostProcess::with(&["echoes"]);
    host.peer().assert_usable();
    let before = resident_kib(host.pid());

    let peer = host.peer();
    let mut stream = peer.stream();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let params = json!("x".repeat(PARAMS_SIZE));
    let (mut bytes, mut sent) = (Vec::new(), 0);

    'full: for number in 0..1000 {
        let method = if number % 2 == 0 { "system.echo" } else { "fixture.echo_blocking" };
        bytes = frame(V1_0, SYNC, envelope(method, &json!([number, params])));
        while !bytes.is_empty() {
            match stream.write(&bytes) {
                Ok(count) => drop(bytes.drain(..count)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    break 'full;
                }
                Err(error) => panic!("{error}"),
            }
        }
        sent += 1;
    }

    assert!(sent < 100, "{sent} requests were accepted from a client that does not read");
    let grown = resident_kib(host.pid()).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB were buffered for a client that does not read");

    // Other clients are served meanwhile, and the accepted requests are answered once the client
    // reads.
    host.peer().assert_usable();
    let mut peer = Peer::from_stream(stream.try_clone().unwrap());
    for number in 0..sent {
        assert_eq!(peer.receive().result()[0], number);
    }

    stream.set_write_timeout(Some(CEILING)).unwrap();
    peer.send(&bytes);
    assert_eq!(peer.receive().result()[0], sent);
    assert_eq!(peer.result("system.ping", &Value::Null), "pong");
}

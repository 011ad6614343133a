//! Many concurrent calls: replies in any order, and large frames in both directions.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use jackfield_client::{Client, Mode, Stats, blocking};
use serde_json::{Value, json};

use crate::support::Server;
use crate::support::calls::runtime;

const LONG: Duration = Duration::from_secs(120);

/// Size of large params. A few such frames fill a socket buffer: then neither side can write unless
/// the other reads.
const LARGE: usize = 64 * 1024;

#[test]
fn a_thousand_calls_in_flight_are_answered_in_any_order() {
    let server = Server::play(&json!([[{"serve": "shuffled"}]]));
    runtime().block_on(async {
        let client = Client::builder(&server.socket).timeout(LONG).build();
        let params: Vec<usize> = (0..1_000).collect();
        let calls = params.iter().map(|n| client.request("system.echo", n));
        for (n, echo) in client.batch::<_, usize>(calls).await.into_iter().enumerate() {
            assert_eq!(echo.unwrap(), n);
        }

        let Stats { in_flight, waiting, late_replies, stray_frames, .. } = client.stats();
        assert_eq!((in_flight, waiting, late_replies, stray_frames), (0, 0, 0, 0));
        client.close();
    });

    let report = server.finish();
    assert_eq!(report.requests().len(), 1_000);
    assert_eq!(report.connections().len(), 2, "512 calls share the first, the others a second");
}

#[test]
fn a_thousand_large_calls_on_one_connection_do_not_deadlock() {
    let server = Server::play(&json!([[{"serve": "fifo"}]]));
    runtime().block_on(async {
        let client = Client::builder(&server.socket).timeout(LONG).max_connections(1).build();
        let params: Vec<(usize, String)> = (0..1_000).map(|n| (n, "x".repeat(LARGE))).collect();
        let calls = params.iter().map(|params| client.request("system.echo", params));
        for (echo, params) in client.batch::<_, (usize, String)>(calls).await.into_iter().zip(&params) {
            assert!(echo.unwrap() == *params);
        }
        client.close();
    });
    assert_eq!(server.finish().connections().len(), 1);
}

#[test]
fn threads_with_large_calls_on_one_connection_do_not_deadlock() {
    let server = Server::play(&json!([[{"serve": "lifo"}]]));
    let client = blocking::Client::builder(&server.socket)
        .timeout(LONG)
        .max_connections(1)
        .mode(Mode::Multiplexed)
        .build();
    thread::scope(|scope| {
        for caller in 0..50 {
            let client = &client;
            scope.spawn(move || {
                for round in 0..10 {
                    let params = (caller, round, "x".repeat(LARGE));
                    let echo: (i32, i32, String) = client.call("system.echo", &params).unwrap();
                    assert!(echo == params);
                }
            });
        }
    });
    client.close();
    assert_eq!(server.finish().connections().len(), 1);
}

/// Checks the harness itself: the server stops reading from a client that only writes.
#[test]
fn a_client_that_does_not_read_while_it_writes_deadlocks() {
    let server = Server::play(&json!([[{"serve": "fifo"}]]));
    let mut stream = UnixStream::connect(&server.socket).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();

    let payload = json!({"id": "x", "method": "system.echo", "params": "x".repeat(LARGE)}).to_string();
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let frame = [&[1, 1, 4][..], &length, payload.as_bytes()].concat();

    let is_stalled = (0..1_000).any(|_| stream.write_all(&frame).is_err());
    assert!(is_stalled, "the server took every frame although the client read nothing");
}

#[test]
fn small_and_large_calls_of_both_modes_from_many_threads_are_answered() {
    let server = Server::play(&json!([[{"serve": "shuffled"}]]));
    let client = blocking::Client::builder(&server.socket).timeout(LONG).max_connections(4).build();
    thread::scope(|scope| {
        for caller in 0..40_usize {
            let client = &client;
            scope.spawn(move || {
                for round in 0..25 {
                    let params = json!([caller, round, "x".repeat((caller * 25 + round) % 7 * 1_000)]);
                    let mode = if caller % 2 == 0 { Mode::Exclusive } else { Mode::Multiplexed };
                    let echo: Value = client.request("system.echo", &params).mode(mode).send().unwrap();
                    assert!(echo == params);
                }
            });
        }
    });
    client.close();

    let report = server.finish();
    assert_eq!(report.faults(), &json!([]));
    assert!(report.connections().len() <= 4);
}

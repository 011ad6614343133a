//! Connections that the host closes while they are idle: no call fails because of them.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use jackfield_client::{Client, blocking};
use serde_json::{Value, json};

use crate::support::calls::runtime;
use crate::support::{ScratchDirectory, yield_until};

const LONG: Duration = Duration::from_secs(20);
const CALLS: usize = 20;

/// Idle times before a health check: every call is checked with a heartbeat, or none is.
const HEALTH_CHECKS: [Duration; 2] = [Duration::ZERO, Duration::from_secs(86_400)];

/// Answers each call on a connection of its own, closes that, and sends a message when it is
/// closed.
fn answer_and_close(listener: UnixListener) -> Receiver<()> {
    let (closed, is_closed) = mpsc::channel();
    thread::spawn(move || {
        for _ in 0..CALLS {
            let (mut peer, _) = listener.accept().unwrap();
            echo_one(&mut peer);
            drop(peer);
            closed.send(()).unwrap();
        }
    });
    is_closed
}

/// Reads one request and answers it with its params.
fn echo_one(peer: &mut UnixStream) {
    let mut header = [0; 7];
    peer.read_exact(&mut header).unwrap();
    let mut payload = vec![0; u32::from_be_bytes(header[3..].try_into().unwrap()) as usize];
    peer.read_exact(&mut payload).unwrap();

    let request: Value = serde_json::from_slice(&payload).unwrap();
    let reply = json!({ "id": request["id"], "result": request["params"] }).to_string();

    // The reply to an async request (4) has the next kind, a sync reply the same.
    let kind = if header[2] == 4 { 5 } else { header[2] };
    let length = u32::try_from(reply.len()).unwrap().to_be_bytes();
    peer.write_all(&[&[header[0], header[1], kind][..], &length, reply.as_bytes()].concat()).unwrap();
}

#[test]
fn the_blocking_client_reconnects_before_it_sends() {
    for health_check_after in HEALTH_CHECKS {
        let scratch = ScratchDirectory::new();
        let socket = scratch.join("host.sock");
        let is_closed = answer_and_close(UnixListener::bind(&socket).unwrap());
        let client = blocking::Client::builder(&socket)
            .timeout(LONG)
            .negotiate(false)
            .health_check_after(health_check_after)
            .build();

        for n in 0..CALLS {
            assert_eq!(client.call::<_, usize>("m", &n).unwrap(), n);
            is_closed.recv().unwrap();
            assert_eq!(client.stats().connections, 1);
        }
        assert_eq!(client.stats().retries, 0, "the closed connection is detected before anything is sent");
    }
}

#[test]
fn the_async_client_reconnects_before_it_sends() {
    for health_check_after in HEALTH_CHECKS {
        let scratch = ScratchDirectory::new();
        let socket = scratch.join("host.sock");
        let is_closed = answer_and_close(UnixListener::bind(&socket).unwrap());
        runtime().block_on(async {
            let client = Client::builder(&socket)
                .timeout(LONG)
                .negotiate(false)
                .health_check_after(health_check_after)
                .build();

            for n in 0..CALLS {
                assert_eq!(client.call::<_, usize>("m", &n).await.unwrap(), n);
                is_closed.recv().unwrap();
            }
            assert_eq!(
                client.stats().retries,
                0,
                "the closed connection is detected before anything is sent"
            );
            yield_until("the last connection is removed", || client.stats().connections == 0).await;
        });
    }
}

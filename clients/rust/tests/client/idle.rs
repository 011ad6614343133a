//! G06: connections that the host closes while they are idle cost no call.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use jackfield_client::{Client, blocking};
use serde_json::{Value, json};

use crate::support::calls::runtime;
use crate::support::{Scratch, comes};

const LONG: Duration = Duration::from_secs(20);
const CALLS: usize = 20;
/// Found by a heartbeat, and found without one.
const CHECKS: [Duration; 2] = [Duration::ZERO, Duration::from_secs(86_400)];

/// Answers each call on a connection of its own, closes it, and says so then.
fn answer(listener: &UnixListener) -> Receiver<()> {
    let (closed, is_closed) = mpsc::channel();
    let listener = listener.try_clone().unwrap();
    thread::spawn(move || {
        for _ in 0..CALLS {
            let (mut peer, _) = listener.accept().unwrap();
            answer_one(&mut peer);
            drop(peer);
            closed.send(()).unwrap();
        }
    });
    is_closed
}

/// The reply to the request that comes, with its id and its params.
fn answer_one(peer: &mut UnixStream) {
    let mut header = [0; 7];
    peer.read_exact(&mut header).unwrap();
    let mut payload = vec![0; u32::from_be_bytes(header[3..].try_into().unwrap()) as usize];
    peer.read_exact(&mut payload).unwrap();
    let request: Value = serde_json::from_slice(&payload).unwrap();
    let reply = json!({ "id": request["id"], "result": request["params"] }).to_string();
    // An async request is answered by the kind after its own, a sync one by its own.
    let kind = if header[2] == 4 { 5 } else { header[2] };
    let length = u32::try_from(reply.len()).unwrap().to_be_bytes();
    peer.write_all(&[&[header[0], header[1], kind][..], &length, reply.as_bytes()].concat()).unwrap();
}

#[test]
fn the_blocking_client_connects_anew() {
    for health_check_after in CHECKS {
        let scratch = Scratch::new();
        let socket = scratch.join("host.sock");
        let is_closed = answer(&UnixListener::bind(&socket).unwrap());
        let client =
            blocking::Client::builder(&socket).timeout(LONG).health_check_after(health_check_after).build();
        for n in 0..CALLS {
            assert_eq!(client.call::<_, usize>("m", &n).unwrap(), n);
            is_closed.recv().unwrap();
            assert_eq!(client.stats().connections, 1);
        }
        assert_eq!(client.stats().retries, 0, "it is seen before anything is sent");
    }
}

#[test]
fn the_async_client_connects_anew() {
    for health_check_after in CHECKS {
        let scratch = Scratch::new();
        let socket = scratch.join("host.sock");
        let is_closed = answer(&UnixListener::bind(&socket).unwrap());
        runtime().block_on(async {
            let client =
                Client::builder(&socket).timeout(LONG).health_check_after(health_check_after).build();
            for n in 0..CALLS {
                assert_eq!(client.call::<_, usize>("m", &n).await.unwrap(), n);
                is_closed.recv().unwrap();
            }
            assert_eq!(client.stats().retries, 0, "it is seen before anything is sent");
            comes("the last one is seen to be closed", || client.stats().connections == 0).await;
        });
    }
}

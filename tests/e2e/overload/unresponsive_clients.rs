//! Many unresponsive clients: they announce payloads without sending, request without reading, send
//! slowly, or are idle.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{allow_descriptors, cost, wait_until_open};
use crate::support::admin;
use crate::support::footprint::{assert_released, assert_released_within, connections, idle_footprint};
use crate::support::neighbour::assert_neighbour_unaffected;
use crate::support::peer::{DEADLINE_EXCEEDED, ERROR, FRAME_TOO_LARGE, OVERLOADED, SYNC, V1_0, header};
use crate::support::{CEILING, HostProcess, Peer, wait_until};

#[test]
fn limits_the_memory_of_announced_payloads() {
    const CLIENTS: usize = 1000;
    /// Permitted memory per client, in KiB.
    const MOST: usize = 64;
    allow_descriptors(3000);
    let config = "[limits]\nframe = \"4294967295B\"\nbuffers = \"4GiB\"\n[timeouts]\nframe = \"10m\"";
    let host = HostProcess::builder().config(config).start();

    let gather = || {
        let mut crowd: Vec<Peer> = (0..CLIENTS).map(|_| host.peer()).collect();
        crowd.iter_mut().for_each(|peer| peer.send(header(V1_0, SYNC, u32::MAX)));
        crowd
    };

    let gather_and_wait = || {
        let crowd = gather();
        // The neighbour of the comparison is one of the connections.
        wait_until("all are served", || host.count("connections_open") >= CLIENTS as u64);
        crowd
    };

    drop(gather_and_wait());

    let before = idle_footprint(host.pid());
    let crowd = gather_and_wait();

    assert!(cost(&host, "announcements of 4 GiB", &before, CLIENTS) <= CLIENTS * MOST);
    drop(crowd);

    assert_neighbour_unaffected(&host, "1,000 announcements of 4 GiB", gather_and_wait);

    assert_released(host.pid(), &before);
}

#[test]
fn rejects_announcements_beyond_the_frame_limit() {
    const CLIENTS: usize = 1000;
    allow_descriptors(3000);
    let host = HostProcess::with(&[]);

    let round = || {
        let mut crowd: Vec<Peer> = (0..CLIENTS).map(|_| host.peer()).collect();
        crowd.iter_mut().for_each(|peer| peer.send(header(V1_0, SYNC, u32::MAX)));
        for peer in &mut crowd {
            let replies = peer.receive_until_close();
            assert_eq!((replies.len(), replies[0].kind), (1, ERROR), "{replies:?}");
            replies[0].error(FRAME_TOO_LARGE);
        }
    };

    round();

    let before = idle_footprint(host.pid());
    round();

    assert_released(host.pid(), &before);
}

/// Replies that each client requests without reading. They exceed the buffer of a socket.
const REPLIES: usize = 5;

fn request_without_reading(host: &HostProcess) -> Peer {
    let mut peer = host.peer();
    for number in 0..REPLIES {
        peer.send_async(&number.to_string(), "fixture.large", &json!({ "bytes": 64 * 1024 }));
    }
    peer
}

#[test]
fn limits_the_memory_of_clients_that_do_not_read() {
    const CLIENTS: usize = 1000;
    /// The value of `limits.buffers`, in KiB.
    const BUDGET: usize = 32 * 1024;
    allow_descriptors(3000);
    let config = "[limits]\nbuffers = \"32MiB\"\n[timeouts]\nwrite = \"10m\"\nrequest = \"10m\"\n\
                  [plugin.echoes]\nqueue = 65536";
    let host = HostProcess::builder().plugin("echoes").config(config).start();

    let gather = || {
        let crowd: Vec<Peer> = (0..CLIENTS).map(|_| request_without_reading(&host)).collect();
        // On a busy machine this may take long, but it must make progress.
        let mut left = host.count("in_flight");
        while left > 0 {
            wait_until("some calls are complete", || host.count("in_flight") < left);
            left = host.count("in_flight");
        }
        crowd
    };

    drop(gather());

    let before = idle_footprint(host.pid());
    let cut = host.count("connections_cut");

    let mut crowd = gather();

    let (held, cut) = (host.count("buffered_bytes") / 1024, host.count("connections_cut") - cut);
    let grown = cost(&host, "clients that do not read", &before, CLIENTS);
    println!("{held} KiB of a budget of {BUDGET} are used, {cut} connections were closed");

    // For each client, one reply more than its socket holds is buffered. When the budget is used
    // up, connections with more unread replies are closed.
    assert!(grown <= BUDGET + CLIENTS * 64 + 4096, "{grown} KiB with a budget of {BUDGET}");

    // A connection that was kept has one reply for each request. The others end early.
    let mut is_stopped = 0;
    for peer in &mut crowd {
        let mut ids = BTreeSet::new();
        while ids.len() < REPLIES {
            match peer.receive_within(CEILING) {
                Ok(reply) => assert!(ids.insert(reply.expect("a reply, or the end").id()), "answered twice"),
                Err(_) => break,
            }
        }
        is_stopped += u64::from(ids.len() < REPLIES);
    }

    assert_eq!(is_stopped, cut, "only connections that the host closed lost replies");
    assert!(cut > 0, "the budget was used up");
    drop(crowd);

    wait_until("nothing is buffered", || host.count("buffered_bytes") == 0);
    assert_released_within(host.pid(), &before, BUDGET / 2);

    // The clients that use up the budget do not prevent others from receiving replies.
    assert_neighbour_unaffected(&host, "1,000 clients that do not read", || {
        let crowd = gather();
        assert!(host.count("buffered_bytes") >= BUDGET as u64 * 1024, "the budget is used up");
        crowd
    });
}

/// Clients that send one byte of a header per interval, and never the last one.
struct SlowSenders {
    is_stopped: std::sync::Arc<AtomicBool>,
    sending: Option<thread::JoinHandle<Vec<Peer>>>,
}

impl SlowSenders {
    fn start(host: &HostProcess, clients: usize, every: Duration) -> Self {
        let mut crowd: Vec<Peer> = (0..clients).map(|_| host.peer()).collect();
        let is_stopped = std::sync::Arc::new(AtomicBool::new(false));
        let stop_requested = std::sync::Arc::clone(&is_stopped);
        let sending = thread::spawn(move || {
            for byte in header(V1_0, SYNC, 100).into_iter().take(6) {
                for peer in &mut crowd {
                    // Some connections may be closed by now.
                    let _ = peer.try_send([byte]);
                }
                // In small steps, so that the thread stops soon.
                for _ in 0..20 {
                    if stop_requested.load(Ordering::Relaxed) {
                        return crowd;
                    }
                    thread::sleep(every / 20);
                }
            }
            crowd
        });

        Self { is_stopped, sending: Some(sending) }
    }

    /// Waits until all bytes are sent and returns the clients.
    fn finish(mut self) -> Vec<Peer> {
        self.sending.take().expect("once").join().expect("the clients send")
    }
}

impl Drop for SlowSenders {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        if let Some(sending) = self.sending.take() {
            drop(sending.join());
        }
    }
}

#[test]
fn closes_connections_that_send_a_byte_per_second() {
    const CLIENTS: usize = 2000;
    allow_descriptors(5000);
    let host = HostProcess::builder().config("[timeouts]\nframe = \"3s\"").start();

    let second = Duration::from_secs(1);

    let first = SlowSenders::start(&host, CLIENTS, second);
    wait_until_open(&host, CLIENTS);
    drop(first);

    let before = idle_footprint(host.pid());
    let senders = SlowSenders::start(&host, CLIENTS, second);

    wait_until_open(&host, CLIENTS);
    cost(&host, "clients that send a byte per second", &before, CLIENTS);

    let cut = host.count("connections_cut");
    for peer in &mut senders.finish() {
        let replies = peer.receive_until_close();
        assert_eq!((replies.len(), replies[0].kind), (1, ERROR), "{replies:?}");
        replies[0].error(DEADLINE_EXCEEDED);
    }
    assert_eq!(host.count("connections_cut") - cut, CLIENTS as u64, "the host closes each connection");

    assert_released_within(host.pid(), &before, 1024);
    assert_neighbour_unaffected(&host, "2,000 clients that send a byte per second", || {
        SlowSenders::start(&host, CLIENTS, second)
    });
}

#[test]
fn limits_the_memory_of_idle_connections() {
    const MOST: usize = 1500;
    allow_descriptors(5000);
    let host = HostProcess::builder().config(&format!("[limits]\nconnections = {MOST}")).start();

    let gather = || {
        let crowd: Vec<Peer> = (1..MOST).map(|_| host.peer()).collect();
        wait_until("all are connected", || connections(host.pid()) == MOST);
        crowd
    };

    let operator = || admin::connect(&host);
    // A first round, so that everything that is created on first use exists.
    operator().result("admin.plugin.list", &Value::Null);
    drop((host.peer(), gather()));

    let before = idle_footprint(host.pid());

    let mut accepted = host.peer();
    accepted.assert_usable();
    let crowd = gather();
    let grown = cost(&host, "idle connections", &before, MOST);
    assert!(grown <= MOST * 16, "{grown} KiB for {MOST} idle connections");

    for _ in 0..200 {
        let replies = host.peer().receive_until_close();
        assert_eq!(replies.len(), 1, "{replies:?}");
        assert!(replies[0].error(OVERLOADED)["data"]["retry_after_ms"].as_u64() > Some(0), "{replies:?}");
    }

    accepted.assert_usable();
    // The admin socket accepts connections nevertheless.
    let mut operators: Vec<Peer> = (0..3).map(|_| operator()).collect();
    for operator in &mut operators {
        assert_eq!(operator.result("admin.plugin.list", &Value::Null), json!([]));
    }

    drop((crowd, accepted, operators));
    assert_released(host.pid(), &before);
    host.peer().assert_usable();
}

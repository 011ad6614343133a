//! Crowds that stand there: they announce and do not send, ask and do not read, send a byte now and
//! then, or do nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{allow_descriptors, cost, wait_until_open};
use crate::support::admin;
use crate::support::footprint::{assert_settles, assert_settles_within, connections, idle_footprint};
use crate::support::neighbour::assert_neighbour_unaffected;
use crate::support::peer::{DEADLINE_EXCEEDED, ERROR, FRAME_TOO_LARGE, OVERLOADED, SYNC, V1_0, header};
use crate::support::{CEILING, HostProcess, Peer, wait_until};

#[test]
fn a_thousand_that_announce_4_gib_and_wait() {
    const CLIENTS: usize = 1000;
    /// In KiB, for each.
    const MOST: usize = 64;
    allow_descriptors(3000);
    let config = "[limits]\nframe = \"4294967295B\"\nbuffers = \"4GiB\"\n[timeouts]\nframe = \"10m\"";
    let host = HostProcess::builder().config(config).start();
    let gather = || {
        let mut crowd: Vec<Peer> = (0..CLIENTS).map(|_| host.peer()).collect();
        crowd.iter_mut().for_each(|peer| peer.send(header(V1_0, SYNC, u32::MAX)));
        crowd
    };
    let hold = || {
        let crowd = gather();
        // The bystander is one of them.
        wait_until("all are served", || host.count("connections_open") >= CLIENTS as u64);
        crowd
    };
    drop(hold());
    let before = idle_footprint(host.pid());
    let crowd = hold();
    assert!(cost(&host, "announcements of 4 GiB", &before, CLIENTS) <= CLIENTS * MOST);
    drop(crowd);
    assert_neighbour_unaffected(&host, "a thousand announcements of 4 GiB", hold);
    assert_settles(host.pid(), &before);
}

#[test]
fn a_thousand_that_announce_4_gib_where_16_mib_are_allowed() {
    const CLIENTS: usize = 1000;
    allow_descriptors(3000);
    let host = HostProcess::with(&[]);
    let round = || {
        let mut crowd: Vec<Peer> = (0..CLIENTS).map(|_| host.peer()).collect();
        crowd.iter_mut().for_each(|peer| peer.send(header(V1_0, SYNC, u32::MAX)));
        for peer in &mut crowd {
            let came = peer.receive_until_close();
            assert_eq!((came.len(), came[0].kind), (1, ERROR), "{came:?}");
            came[0].error(FRAME_TOO_LARGE);
        }
    };
    round();
    let before = idle_footprint(host.pid());
    round();
    assert_settles(host.pid(), &before);
}

/// Replies that each is owed: more than a socket holds, and it reads none.
const OWED: usize = 5;

fn ask_and_do_not_read(host: &HostProcess) -> Peer {
    let mut peer = host.peer();
    for number in 0..OWED {
        peer.send_async(&number.to_string(), "fixture.large", &json!({ "bytes": 64 * 1024 }));
    }
    peer
}

#[test]
fn a_thousand_that_do_not_read() {
    const CLIENTS: usize = 1000;
    /// Of `limits.buffers`, in KiB.
    const BUDGET: usize = 32 * 1024;
    allow_descriptors(3000);
    let config = "[limits]\nbuffers = \"32MiB\"\n[timeouts]\nwrite = \"10m\"\nrequest = \"10m\"\n\
                  [plugin.echoes]\nqueue = 65536";
    let host = HostProcess::builder().plugin("echoes").config(config).start();
    let gather = || {
        let crowd: Vec<Peer> = (0..CLIENTS).map(|_| ask_and_do_not_read(&host)).collect();
        // However busy the machine is: as long as it goes on.
        let mut left = host.count("in_flight");
        while left > 0 {
            wait_until("some of it is done", || host.count("in_flight") < left);
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
    println!("{held} KiB of a budget of {BUDGET} are held, {cut} were cut");
    // Of each, one reply more than its socket holds is kept; who lets more wait once the budget is
    // spent, is not.
    assert!(grown <= BUDGET + CLIENTS * 64 + 4096, "{grown} KiB with a budget of {BUDGET}");
    // Whoever was kept finds its replies, one for each request, once it reads; the others find an
    // end.
    let mut ended = 0;
    for peer in &mut crowd {
        let mut ids = BTreeSet::new();
        while ids.len() < OWED {
            match peer.receive_within(CEILING) {
                Ok(reply) => assert!(ids.insert(reply.expect("a reply, or the end").id()), "answered twice"),
                Err(_) => break,
            }
        }
        ended += u64::from(ids.len() < OWED);
    }
    assert_eq!(ended, cut, "nobody lost a reply but those who were cut");
    assert!(cut > 0, "the budget was spent");
    drop(crowd);
    wait_until("nothing is held", || host.count("buffered_bytes") == 0);
    assert_settles_within(host.pid(), &before, BUDGET / 2);
    // Those who spent it by not reading do not silence those who read.
    assert_neighbour_unaffected(&host, "a thousand that do not read", || {
        let crowd = gather();
        assert!(host.count("buffered_bytes") >= BUDGET as u64 * 1024, "the budget is spent");
        crowd
    });
}

/// Clients of which each sends a byte of a header in each interval, and never the last one.
struct Dribble {
    ended: std::sync::Arc<AtomicBool>,
    sending: Option<thread::JoinHandle<Vec<Peer>>>,
}

impl Dribble {
    fn start(host: &HostProcess, clients: usize, every: Duration) -> Self {
        let mut crowd: Vec<Peer> = (0..clients).map(|_| host.peer()).collect();
        let ended = std::sync::Arc::new(AtomicBool::new(false));
        let told = std::sync::Arc::clone(&ended);
        let sending = thread::spawn(move || {
            for byte in header(V1_0, SYNC, 100).into_iter().take(6) {
                for peer in &mut crowd {
                    // Those that were closed meanwhile are.
                    let _ = peer.try_send([byte]);
                }
                // In small steps, so that the end is soon.
                for _ in 0..20 {
                    if told.load(Ordering::Relaxed) {
                        return crowd;
                    }
                    thread::sleep(every / 20);
                }
            }
            crowd
        });
        Self { ended, sending: Some(sending) }
    }

    /// The clients, when no more is sent.
    fn finish(mut self) -> Vec<Peer> {
        self.sending.take().expect("once").join().expect("the clients send")
    }
}

impl Drop for Dribble {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(sending) = self.sending.take() {
            drop(sending.join());
        }
    }
}

#[test]
fn two_thousand_that_send_a_byte_a_second() {
    const CLIENTS: usize = 2000;
    allow_descriptors(5000);
    let host = HostProcess::builder().config("[timeouts]\nframe = \"3s\"").start();
    let second = Duration::from_secs(1);
    let first = Dribble::start(&host, CLIENTS, second);
    wait_until_open(&host, CLIENTS);
    drop(first);
    let before = idle_footprint(host.pid());
    let dribble = Dribble::start(&host, CLIENTS, second);
    wait_until_open(&host, CLIENTS);
    cost(&host, "clients that send a byte a second", &before, CLIENTS);
    let cut = host.count("connections_cut");
    for peer in &mut dribble.finish() {
        let came = peer.receive_until_close();
        assert_eq!((came.len(), came[0].kind), (1, ERROR), "{came:?}");
        came[0].error(DEADLINE_EXCEEDED);
    }
    assert_eq!(host.count("connections_cut") - cut, CLIENTS as u64, "each is cut, and by the host");
    assert_settles_within(host.pid(), &before, 1024);
    assert_neighbour_unaffected(&host, "two thousand that send a byte a second", || {
        Dribble::start(&host, CLIENTS, second)
    });
}

#[test]
fn an_idle_crowd_up_to_the_limit() {
    const MOST: usize = 1500;
    allow_descriptors(5000);
    let host = HostProcess::builder().config(&format!("[limits]\nconnections = {MOST}")).start();
    let gather = || {
        let crowd: Vec<Peer> = (1..MOST).map(|_| host.peer()).collect();
        wait_until("all are in", || connections(host.pid()) == MOST);
        crowd
    };
    let operator = || admin::connect(&host);
    // Once before: what is made at first use is there.
    operator().result("admin.plugin.list", &Value::Null);
    drop((host.peer(), gather()));
    let before = idle_footprint(host.pid());
    let mut inside = host.peer();
    inside.assert_usable();
    let crowd = gather();
    let grown = cost(&host, "idle connections", &before, MOST);
    assert!(grown <= MOST * 16, "{grown} KiB for {MOST} that do nothing");
    for _ in 0..200 {
        let came = host.peer().receive_until_close();
        assert_eq!(came.len(), 1, "{came:?}");
        assert!(came[0].error(OVERLOADED)["data"]["retry_after_ms"].as_u64() > Some(0), "{came:?}");
    }
    inside.assert_usable();
    // Who is to mend it is not one of them.
    let mut operators: Vec<Peer> = (0..3).map(|_| operator()).collect();
    for operator in &mut operators {
        assert_eq!(operator.result("admin.plugin.list", &Value::Null), json!([]));
    }
    drop((crowd, inside, operators));
    assert_settles(host.pid(), &before);
    host.peer().assert_usable();
}

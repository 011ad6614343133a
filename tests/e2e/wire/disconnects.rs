//! Clients that end in the middle: of a header, of a body, of a reply, of a request in flight.
//! Nothing may stay.

use std::io::Read;
use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::support::footprint::{assert_settles_within, idle_footprint};
use crate::support::peer::{
    ASYNC_REQUEST, HEARTBEAT, SYNC, V1_0, V1_1, envelope, envelope_with, frame, header,
};
use crate::support::{HostProcess, is_soak, wait_until};

/// What an allocator may keep more of one time than of another, in KiB: how many of those clients
/// were there at once, each with a MiB, is up to chance. The long run has sixty times as many of
/// them, and the same bound.
const KEPT: usize = 4096;

fn rounds() -> usize {
    if is_soak() { 10_000 } else { 160 }
}

/// One client, and where it ends.
fn one(host: &HostProcess, round: usize) {
    let mut peer = host.peer();
    let large = frame(V1_0, SYNC, envelope("fixture.large", &json!({ "bytes": 1 << 20 })));
    match round % 8 {
        // In a header.
        0 => peer.send(&header(V1_0, SYNC, 100)[..1 + round % 6]),
        // In a body, small and large.
        1 => peer.send(&large[..8 + round % (large.len() - 8)]),
        2 => {
            peer.send(header(V1_1, ASYNC_REQUEST, 8 << 20));
            peer.send(vec![b' '; 300_000]);
        }
        // In a reply that it has not begun to read, or has.
        3 => peer.send(large),
        4 => {
            peer.send(large);
            let mut begun = [0; 1000];
            peer.stream().read_exact(&mut begun).expect("the reply begins");
        }
        // With its writing side closed first.
        5 => {
            peer.send(large.repeat(3));
            peer.half_close();
        }
        // With a request in flight.
        6 => {
            peer.send_frame(V1_1, ASYNC_REQUEST, envelope_with("1", "sleep.deaf", &json!(null)));
            peer.heartbeat();
            assert_eq!(peer.receive().kind, HEARTBEAT);
        }
        // With an answer unread, which resets the connection.
        _ => {
            peer.send_frame(V1_1, ASYNC_REQUEST, envelope_with("1", "sleep.deaf", &json!(null)));
            peer.heartbeat();
            let mut polled = [rustix::event::PollFd::new(peer.stream(), rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut polled, None).expect("the heartbeat's answer");
        }
    }
}

#[test]
fn clients_that_end_anywhere_leave_nothing() {
    let host = HostProcess::with(&["echoes", "sleeps"]);
    // As many before: what is made at first use is there, and the allocator has what it keeps.
    (0..rounds()).for_each(|round| one(&host, round));
    wait_until("what was in flight is given up", || host.count("in_flight") == 0);
    let before = idle_footprint(host.pid());
    (0..rounds()).for_each(|round| one(&host, round));
    let deaf = (2 * rounds() / 4) as u64;
    wait_until("each of them is counted", || host.count("abandoned") >= deaf);
    wait_until("nothing is in flight", || host.count("in_flight") == 0);
    assert_settles_within(host.pid(), &before, KEPT);
    wait_until("nothing is held", || host.count("buffered_bytes") == 0);
    host.peer().assert_usable();
}

#[test]
fn a_client_that_does_nothing_and_one_that_only_connects() {
    let host = HostProcess::with(&[]);
    let connect = || {
        for _ in 0..rounds() {
            drop(UnixStream::connect(host.socket()).expect("the host takes connections"));
        }
        // Those that still wait in the queue are too many for a while.
        wait_until("there is room again", || {
            let mut peer = host.peer();
            peer.send_sync("system.ping", &json!(null));
            peer.receive().kind == SYNC
        });
    };
    connect();
    let before = idle_footprint(host.pid());
    connect();
    // How many of them there were at once is up to chance, too: a leak of each would be more in the
    // long run.
    assert_settles_within(host.pid(), &before, 4 * KEPT);
    host.peer().assert_usable();
}

#[test]
fn the_result_for_a_client_that_has_gone_is_dropped_and_counted() {
    let host = HostProcess::with(&["sleeps"]);
    let mut peer = host.peer();
    let latch = host.latch("slow");
    peer.send_async("1", "sleep.blocking_until", &latch.params());
    peer.send_sync("sleep.blocking_until", &latch.params());
    let mut other = host.peer();
    wait_until("both run", || other.result("sleep.running", &json!(null)) == 2);
    drop(peer);
    wait_until("both are given up", || host.count("abandoned") == 2);
    latch.open();
    wait_until("both results are too late", || host.count("late_results") == 2);
    assert_eq!(other.result("sleep.running", &json!(null)), 0);
    wait_until("nothing is in flight", || host.count("in_flight") == 0);
}

//! Clients that disconnect in the middle of a header, a body, a reply, or a request. The host
//! releases everything.

use std::io::Read;
use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::support::footprint::{assert_released_within, idle_footprint};
use crate::support::peer::{
    ASYNC_REQUEST, HEARTBEAT, SYNC, V1_0, V1_1, envelope, envelope_with, frame, header,
};
use crate::support::{HostProcess, is_soak, wait_until};

/// Memory that an allocator may keep more at one time than at another, in KiB. It depends on how
/// many of these clients, with 1 MiB each, are connected at the same time. A soak run has sixty
/// times as many, and the same bound.
const KEPT_KIB: usize = 4096;

fn rounds() -> usize {
    if is_soak() { 10_000 } else { 160 }
}

/// Connects one client and disconnects it at the point that `round` selects.
fn connect_and_disconnect(host: &HostProcess, round: usize) {
    let mut peer = host.peer();
    let large = frame(V1_0, SYNC, envelope("fixture.large", &json!({ "bytes": 1 << 20 })));

    match round % 8 {
        // In a header.
        0 => peer.send(&header(V1_0, SYNC, 100)[..1 + round % 6]),
        // In a small and in a large body.
        1 => peer.send(&large[..8 + round % (large.len() - 8)]),
        2 => {
            peer.send(header(V1_1, ASYNC_REQUEST, 8 << 20));
            peer.send(vec![b' '; 300_000]);
        }
        // In a reply, before the client has read anything, or after it has read a part.
        3 => peer.send(large),
        4 => {
            peer.send(large);
            let mut start = [0; 1000];
            peer.stream().read_exact(&mut start).expect("the reply begins");
        }
        // With the sending direction closed before.
        5 => {
            peer.send(large.repeat(3));
            peer.half_close();
        }
        // With a request in flight.
        6 => {
            peer.send_frame(V1_1, ASYNC_REQUEST, envelope_with("1", "sleep.forever", &json!(null)));
            peer.heartbeat();
            assert_eq!(peer.receive().kind, HEARTBEAT);
        }
        // With unread data, which resets the connection.
        _ => {
            peer.send_frame(V1_1, ASYNC_REQUEST, envelope_with("1", "sleep.forever", &json!(null)));
            peer.heartbeat();
            let mut polled = [rustix::event::PollFd::new(peer.stream(), rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut polled, None).expect("the heartbeat's answer");
        }
    }
}

#[test]
fn releases_all_resources_of_clients_that_disconnect_anywhere() {
    let host = HostProcess::with(&["echoes", "sleeps"]);

    // A first round, so that everything created on first use exists and the allocator has its
    // reserves.
    (0..rounds()).for_each(|round| connect_and_disconnect(&host, round));
    wait_until("the requests in flight are abandoned", || host.count("in_flight") == 0);

    let before = idle_footprint(host.pid());

    (0..rounds()).for_each(|round| connect_and_disconnect(&host, round));

    let endless = (2 * rounds() / 4) as u64;
    wait_until("each abandoned request is counted", || host.count("abandoned") >= endless);
    wait_until("nothing is in flight", || host.count("in_flight") == 0);

    assert_released_within(host.pid(), &before, KEPT_KIB);
    wait_until("nothing is buffered", || host.count("buffered_bytes") == 0);
    host.peer().assert_usable();
}

#[test]
fn releases_all_resources_of_clients_that_only_connect() {
    let host = HostProcess::with(&[]);

    let connect = || {
        for _ in 0..rounds() {
            drop(UnixStream::connect(host.socket()).expect("the host takes connections"));
        }
        // Connections that are still in the accept queue exceed the limit for a while.
        wait_until("a connection is accepted again", || {
            let mut peer = host.peer();
            peer.send_sync("system.ping", &json!(null));
            peer.receive().kind == SYNC
        });
    };

    connect();

    let before = idle_footprint(host.pid());
    connect();

    // The number of simultaneous connections depends on chance, too. A leak per connection would be
    // larger in a soak run.
    assert_released_within(host.pid(), &before, 4 * KEPT_KIB);
    host.peer().assert_usable();
}

#[test]
fn drops_and_counts_the_result_for_a_disconnected_client() {
    let host = HostProcess::with(&["sleeps"]);

    let mut peer = host.peer();
    let latch = host.latch("slow");
    peer.send_async("1", "sleep.blocking_until", &latch.params());
    peer.send_sync("sleep.blocking_until", &latch.params());

    let mut other = host.peer();
    wait_until("both run", || other.result("sleep.running", &json!(null)) == 2);

    drop(peer);
    wait_until("both requests are abandoned", || host.count("abandoned") == 2);

    latch.open();
    wait_until("both late results are counted", || host.count("late_results") == 2);

    assert_eq!(other.result("sleep.running", &json!(null)), 0);
    wait_until("nothing is in flight", || host.count("in_flight") == 0);
}

//! Many large payloads: all at once, slower than permitted, and together larger than the buffer
//! budget.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{allow_descriptors, cost};
use crate::support::footprint::{assert_levels_off, assert_released_within, idle_footprint, resident_kib};
use crate::support::neighbour::assert_neighbour_unaffected;
use crate::support::peer::{DEADLINE_EXCEEDED, ERROR, OVERLOADED, SYNC, V1_0, envelope, frame, header};
use crate::support::{CEILING, HostProcess, IO_THREADS, Peer, wait_until};

const MIB: usize = 1 << 20;

#[test]
fn keeps_many_large_payloads_within_the_budget() {
    const CLIENTS: usize = 1000;
    /// The value of `limits.buffers`, in MiB.
    const BUDGET: usize = 64;
    allow_descriptors(3000);

    let config = "[limits]\nbuffers = \"64MiB\"\n[timeouts]\nframe = \"10m\"";
    let host = HostProcess::builder().config(config).start();
    let whole = frame(V1_0, SYNC, envelope("system.ping", &json!("x".repeat(MIB))));
    let (first_part, last) = whole.split_at(whole.len() - 1);

    let round = |before: usize| {
        let mut highest = 0;
        let mut crowd: Vec<Peer> = (0..CLIENTS).map(|_| host.peer()).collect();
        for peer in &mut crowd {
            peer.send(first_part);
            highest = highest.max(resident_kib(host.pid()));
        }

        wait_until("everything that fits is buffered", || {
            host.count("buffered_bytes") > (BUDGET - 2) as u64 * MIB as u64
        });
        // Each I/O thread checks the budget before it reads, and there are several.
        let slack = IO_THREADS * MIB;
        assert!(host.count("buffered_bytes") <= (BUDGET * MIB + slack) as u64);

        highest = highest.max(resident_kib(host.pid()));

        // Requests that fit, requests that did not, and requests that are just starting.
        let (mut served, mut refused) = (0, 0);
        for peer in &mut crowd {
            peer.send(last);
            let reply = peer.receive();
            assert_eq!(reply.kind, SYNC);
            match reply.code() {
                None => served += 1,
                Some(code) => {
                    assert_eq!(code, OVERLOADED, "{reply:?}");
                    refused += 1;
                }
            }

            // The connection continues after either reply.
            peer.heartbeat();
            assert_eq!(peer.receive().kind, crate::support::peer::HEARTBEAT);
        }

        assert_eq!(served + refused, CLIENTS);
        assert!(served >= BUDGET / 2 && refused > 0, "{served} served, {refused} refused");

        println!(
            "1,000 payloads of 1 MiB: {served} served, {refused} refused, {} KiB at most",
            highest - before
        );
        highest
    };
    // Two rounds first, because memory that the allocator keeps is not a leak.
    for _ in 0..2 {
        round(0);
    }

    wait_until("nothing is buffered", || host.count("buffered_bytes") == 0);
    let before = idle_footprint(host.pid());

    let highest = round(before.resident);
    let grown = highest.saturating_sub(before.resident);
    assert!(grown <= BUDGET * 1024 * 11 / 10 + 4096, "{grown} KiB with a budget of {BUDGET} MiB");

    assert_released_within(host.pid(), &before, BUDGET * 1024 / 4);
}

#[test]
fn keeps_many_partial_payloads_within_the_budget() {
    const CLIENTS: usize = 1000;
    /// The value of `limits.buffers`, in MiB.
    const BUDGET: usize = 32;
    allow_descriptors(3000);
    let config = "[limits]\nframe = \"32MiB\"\nbuffers = \"32MiB\"\n[timeouts]\nframe = \"10m\"";
    let host = HostProcess::builder().config(config).start();

    let payload = vec![b' '; 300 * 1024];

    let gather = || {
        let mut crowd: Vec<Peer> = (0..CLIENTS).map(|_| host.peer()).collect();
        for peer in &mut crowd {
            peer.send(header(V1_0, SYNC, 32 << 20));
            peer.send(&payload);
        }
        crowd
    };
    let sent = (CLIENTS * (payload.len() + 7)) as u64;

    let gather_and_drop = || {
        let before = host.count("bytes_in");
        drop(gather());
        wait_until("everything is read", || host.count("bytes_in") >= before + sent);
    };
    (0..3).for_each(|_| gather_and_drop());

    let before = idle_footprint(host.pid());
    let crowd = gather();

    wait_until("the budget is used", || host.count("buffered_bytes") > (BUDGET / 2 * MIB) as u64);
    let grown = cost(&host, "announced 32 MiB and sent 300 KiB", &before, CLIENTS);

    assert!(grown <= BUDGET * 1024 * 11 / 10 + 4096, "{grown} KiB with a budget of {BUDGET} MiB");

    drop(crowd);
    assert_levels_off(host.pid(), BUDGET * 1024 / 4, gather_and_drop);
}

#[test]
fn closes_connections_with_slow_payloads() {
    const CLIENTS: usize = 300;
    const ALL: u64 = CLIENTS as u64;
    let host = HostProcess::builder().config("[timeouts]\nframe = \"1s\"").start();

    let gather = || {
        let mut crowd: Vec<Peer> = (0..CLIENTS).map(|_| host.peer()).collect();
        crowd.iter_mut().for_each(|peer| peer.send(header(V1_0, SYNC, 1 << 20)));
        crowd
    };
    drop(gather());

    let before = idle_footprint(host.pid());
    let mut crowd = gather();

    let begun = Instant::now();
    // 1 KiB per second for each client, until all connections are closed.
    let mut closed = 0;
    while closed < ALL {
        assert!(begun.elapsed() < CEILING, "{closed} of {ALL} connections were closed");
        let next = Instant::now() + Duration::from_millis(100);
        for peer in &mut crowd {
            let _ = peer.try_send([b' '; 102]);
        }

        wait_until("others are served meanwhile", || {
            closed = host.count("connections_cut");
            Instant::now() >= next
        });
    }

    for peer in &mut crowd {
        let replies = peer.receive_until_close();
        assert_eq!((replies.len(), replies[0].kind), (1, ERROR), "{replies:?}");
        replies[0].error(DEADLINE_EXCEEDED);
    }

    drop(crowd);
    assert_released_within(host.pid(), &before, 1024);

    assert_neighbour_unaffected(&host, "300 slow payloads", gather);
}

//! Crowds that send: large bodies all at once, bodies that trickle, more than is announced anywhere
//! to fit.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{allow_descriptors, cost};
use crate::support::footprint::{assert_settles_within, idle_footprint, resident_kib};
use crate::support::neighbour::assert_neighbour_unaffected;
use crate::support::peer::{DEADLINE_EXCEEDED, ERROR, OVERLOADED, SYNC, V1_0, envelope, frame, header};
use crate::support::{CEILING, HostProcess, IO_THREADS, Peer, wait_until};

const MIB: usize = 1 << 20;

#[test]
fn a_thousand_bodies_of_1_mib_at_once() {
    const CLIENTS: usize = 1000;
    /// Of `limits.buffers`, in MiB.
    const BUDGET: usize = 64;
    allow_descriptors(3000);
    let config = "[limits]\nbuffers = \"64MiB\"\n[timeouts]\nframe = \"10m\"";
    let host = HostProcess::builder().config(config).start();
    let whole = frame(V1_0, SYNC, envelope("system.ping", &json!("x".repeat(MIB))));
    let (most, last) = whole.split_at(whole.len() - 1);
    let round = |before: usize| {
        let mut highest = 0;
        let mut crowd: Vec<Peer> = (0..CLIENTS).map(|_| host.peer()).collect();
        for peer in &mut crowd {
            peer.send(most);
            highest = highest.max(resident_kib(host.pid()));
        }
        wait_until("what fits is held", || host.count("buffered_bytes") > (BUDGET - 2) as u64 * MIB as u64);
        // Each I/O thread looks before it takes, and they are not one.
        let slack = IO_THREADS * MIB;
        assert!(host.count("buffered_bytes") <= (BUDGET * MIB + slack) as u64);
        highest = highest.max(resident_kib(host.pid()));
        // One of those that fit, and one that did not, as well as those that only begin.
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
            // Whatever came of it, the connection goes on.
            peer.heartbeat();
            assert_eq!(peer.receive().kind, crate::support::peer::HEARTBEAT);
        }
        assert_eq!(served + refused, CLIENTS);
        assert!(served >= BUDGET / 2 && refused > 0, "{served} served, {refused} refused");
        println!(
            "1,000 bodies of 1 MiB: {served} served, {refused} refused, {} KiB at most",
            highest - before
        );
        highest
    };
    // Twice before: what the allocator keeps of it is no leak.
    for _ in 0..2 {
        round(0);
    }
    wait_until("nothing is held", || host.count("buffered_bytes") == 0);
    let before = idle_footprint(host.pid());
    let highest = round(before.resident);
    let grown = highest.saturating_sub(before.resident);
    assert!(grown <= BUDGET * 1024 * 11 / 10 + 4096, "{grown} KiB with a budget of {BUDGET} MiB");
    assert_settles_within(host.pid(), &before, BUDGET * 1024 / 4);
}

#[test]
fn a_thousand_that_announce_as_much_as_they_may_and_send_what_they_can() {
    const CLIENTS: usize = 1000;
    /// Of `limits.buffers`, in MiB.
    const BUDGET: usize = 32;
    allow_descriptors(3000);
    let config = "[limits]\nframe = \"32MiB\"\nbuffers = \"32MiB\"\n[timeouts]\nframe = \"10m\"";
    let host = HostProcess::builder().config(config).start();
    let body = vec![b' '; 300 * 1024];
    let gather = || {
        let mut crowd: Vec<Peer> = (0..CLIENTS).map(|_| host.peer()).collect();
        for peer in &mut crowd {
            peer.send(header(V1_0, SYNC, 32 << 20));
            peer.send(&body);
        }
        crowd
    };
    let sent = (CLIENTS * (body.len() + 7)) as u64;
    let before = host.count("bytes_in");
    for round in 1..=3 {
        drop(gather());
        wait_until("all was read", || host.count("bytes_in") >= before + round * sent);
    }
    let before = idle_footprint(host.pid());
    let crowd = gather();
    wait_until("the budget is held", || host.count("buffered_bytes") > (BUDGET / 2 * MIB) as u64);
    let grown = cost(&host, "announced 32 MiB and sent 300 KiB", &before, CLIENTS);
    assert!(grown <= BUDGET * 1024 * 11 / 10 + 4096, "{grown} KiB with a budget of {BUDGET} MiB");
    drop(crowd);
    assert_settles_within(host.pid(), &before, BUDGET * 1024 / 4);
}

#[test]
fn bodies_at_a_kilobyte_a_second_are_cut() {
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
    // 1 KiB a second for each, until the last of them is told.
    let mut told = 0;
    while told < ALL {
        assert!(begun.elapsed() < CEILING, "{told} of {ALL} were cut");
        let next = Instant::now() + Duration::from_millis(100);
        for peer in &mut crowd {
            let _ = peer.try_send([b' '; 102]);
        }
        wait_until("others are served meanwhile", || {
            told = host.count("connections_cut");
            Instant::now() >= next
        });
    }
    for peer in &mut crowd {
        let came = peer.receive_until_close();
        assert_eq!((came.len(), came[0].kind), (1, ERROR), "{came:?}");
        came[0].error(DEADLINE_EXCEEDED);
    }
    drop(crowd);
    assert_settles_within(host.pid(), &before, 1024);
    assert_neighbour_unaffected(&host, "three hundred bodies that trickle", gather);
}

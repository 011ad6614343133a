//! Each kind of misbehaviour next to a neighbour under constant load: each request of the neighbour
//! has exactly one result, and the host holds no more resources afterwards than before.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::background::SetOnDrop;
use crate::support::footprint::{assert_released_within, idle_footprint};
use crate::support::peer::{DEADLINE_EXCEEDED, INTERNAL_ERROR, PLUGIN_PANICKED};
use crate::support::{HostProcess, wait_until};

/// Memory that an allocator keeps for the next burst, in KiB.
const KEPT_KIB: usize = 4096;
const METHODS: [&str; 3] = ["fixture.echo", "fixture.echo_blocking", "fixture.echo_async"];

/// Runs `misbehave` twice: first alone, so that everything that is created on first use exists,
/// then next to a neighbour.
fn assert_neighbour_is_served(host: &HostProcess, misbehave: impl Fn(&mut ReplyAccounting)) {
    misbehave(&mut ReplyAccounting::default());
    load(host, &AtomicBool::new(true));

    let before = idle_footprint(host.pid());
    let is_over = AtomicBool::new(false);

    thread::scope(|scope| {
        let neighbour = scope.spawn(|| load(host, &is_over));
        let end = SetOnDrop(&is_over);
        let mut accounting = ReplyAccounting::default();
        misbehave(&mut accounting);
        assert_eq!(accounting.check(), Ok(()));
        drop(end);

        neighbour.join().expect("the neighbour was served");
    });

    wait_until("nothing is in flight", || host.count("in_flight") == 0);
    assert_released_within(host.pid(), &before, KEPT_KIB);
}

/// Sends requests of each execution mode until `is_over` is set, and asserts that each has its
/// result.
fn load(host: &HostProcess, is_over: &AtomicBool) {
    let (mut accounting, mut peer, mut number) = (ReplyAccounting::default(), host.peer(), 0);

    while !is_over.load(Ordering::Relaxed) || number < 50 {
        let ids = METHODS.map(|method| format!("{method}{number}"));
        for (method, id) in METHODS.iter().zip(&ids) {
            accounting.record_request(id);
            peer.send_async(id, method, &json!(id));
        }
        for reply in peer.receive_all(METHODS.len()) {
            accounting.record_reply(&reply);
            assert_eq!(reply.result(), json!(reply.id()));
        }
        number += 1;
    }
    assert_eq!((accounting.check(), accounting.count(None)), (Ok(()), number * METHODS.len()));
}

/// Sends one request, accounts for it, and returns its error code.
fn send_one(
    host: &HostProcess,
    accounting: &mut ReplyAccounting,
    id: &str,
    method: &str,
    params: &Value,
) -> Option<i64> {
    let mut peer = host.peer();
    accounting.record_request(id);
    peer.send_async(id, method, params);
    let reply = peer.receive();
    accounting.record_reply(&reply);
    reply.code()
}

#[test]
fn serves_neighbours_during_panics() {
    let config = "[plugin.panics.breaker]\nfailures = 0";
    let host = HostProcess::builder().plugin("panics").plugin("echoes").config(config).start();

    assert_neighbour_is_served(&host, |accounting| {
        for way in ["panic", "panic_inline", "panic_async", "panic_payload", "panic_long", "panic_drop"] {
            let code = send_one(&host, accounting, way, &format!("panics.{way}"), &Value::Null);
            assert_eq!(code, Some(PLUGIN_PANICKED), "{way}");
        }
    });
}

#[test]
fn serves_neighbours_during_an_endless_loop() {
    const TIMEOUT: Duration = Duration::from_millis(200);
    let config = "[plugin.greedy]\nthreads = 1\nspare_threads = 1\nbreaker = { failures = 0 }\n\
        [[route]]\nmethod = \"greedy.spin\"\nplugin = \"greedy\"\ntimeout = \"200ms\"";
    let host = HostProcess::builder().plugin("greedy").plugin("echoes").config(config).start();

    // Only one round: the fixture does not loop again once it was released.
    let is_over = AtomicBool::new(false);

    load(&host, &AtomicBool::new(true));
    assert_eq!(host.peer().result("greedy.threads", &json!(1)), 1);
    let before = idle_footprint(host.pid());

    thread::scope(|scope| {
        let neighbour = scope.spawn(|| load(&host, &is_over));
        let end = SetOnDrop(&is_over);
        let mut accounting = ReplyAccounting::default();

        let began = Instant::now();

        let code = send_one(&host, &mut accounting, "spins", "greedy.spin", &Value::Null);
        let took = began.elapsed();
        assert_eq!((code, accounting.check()), (Some(DEADLINE_EXCEEDED), Ok(())));
        assert!(took >= TIMEOUT, "answered early, after {took:?}");
        eprintln!("answered {:?} after the deadline", took - TIMEOUT);

        // Its thread is lost, and another one has taken over.
        assert_eq!(send_one(&host, &mut accounting, "next", "greedy.threads", &json!(1)), None);
        assert_eq!(send_one(&host, &mut accounting, "release", "greedy.release", &Value::Null), None);

        drop(end);
        neighbour.join().expect("the neighbour was served");
    });

    host.wait_for_log("plugin greedy: a stuck thread has returned, 0 still stuck");
    wait_until("the late result is counted", || host.count("late_results") == 1);
    assert_released_within(host.pid(), &before, KEPT_KIB);
}

#[test]
fn serves_neighbours_of_a_plugin_with_many_threads_and_much_memory() {
    let host = HostProcess::builder().plugin("greedy").plugin("echoes").start();
    assert_neighbour_is_served(&host, |accounting| {
        assert_eq!(send_one(&host, accounting, "threads", "greedy.threads", &json!(1000)), None);
        assert_eq!(send_one(&host, accounting, "memory", "greedy.memory", &json!(256)), None);
    });
}

/// Returns the number of requests that were abandoned or are in flight.
fn abandoned_and_waiting(host: &HostProcess) -> u64 {
    host.count("abandoned") + host.count("in_flight")
}

#[test]
fn serves_neighbours_of_clients_that_disconnect() {
    let host = HostProcess::builder().plugin("sleeps").plugin("echoes").start();
    let rounds = std::cell::Cell::new(0);
    assert_neighbour_is_served(&host, |_| {
        let mut peers: Vec<_> = (0..20).map(|_| host.peer()).collect();
        let (mut other, round) = (host.peer(), rounds.get() + 1);
        let latch = host.latch(&round.to_string());

        for peer in &mut peers {
            // Two of the calls run and the others wait for a thread. The future never completes.
            peer.send_async("blocking", "sleep.blocking_until", &latch.params());
            peer.send_async("endless", "sleep.forever", &Value::Null);
        }

        wait_until("the calls are accepted", || abandoned_and_waiting(&host) >= round * 40);
        drop(peers);
        rounds.set(round);
        wait_until("each is given up", || host.count("abandoned") == round * 40);
        latch.open();

        wait_until("none runs", || other.result("sleep.running", &Value::Null) == 0);
    });
}

#[test]
fn starts_no_call_after_its_deadline() {
    const CALLS: usize = 2000;
    let config = "[plugin.counts]\nthreads = 1\nqueue = 10000\nspare_threads = 0\nbreaker = { failures = 0 }\n\
        [[route]]\nmethod = \"counts.blocking\"\nplugin = \"counts\"\ntimeout = \"250ms\"";
    let host = HostProcess::builder().plugin("counts").plugin("echoes").config(config);
    let host = host.config("[limits]\nin_flight_per_connection = 4096").start();

    let begun = || host.peer().result("counts.begun", &Value::Null).as_u64().unwrap();

    assert_neighbour_is_served(&host, |accounting| {
        let (before, late_before) = (begun(), host.count("late_results"));
        let mut peer = host.peer();

        for number in 0..CALLS {
            let id = format!("{number}");
            accounting.record_request(&id);
            peer.send_async(&id, "counts.blocking", &json!({ "ms": 5 }));
        }

        peer.receive_all(CALLS).iter().for_each(|reply| accounting.record_reply(reply));
        let results = accounting.count(None) as u64;
        let late = accounting.count(Some(DEADLINE_EXCEEDED)) as u64;
        assert_eq!(results + late, CALLS as u64);

        assert!(late > 0, "a queue of {CALLS} is longer than its time");

        // Each call that had started before its deadline is counted, and no other call has started.
        wait_until("every call that ran is accounted for", || {
            begun() - before == results + host.count("late_results") - late_before
        });

        let ran = begun() - before;
        assert!(ran < CALLS as u64, "most calls never started");
    });
}

#[test]
fn serves_neighbours_during_panics_in_nested_calls() {
    let config = "[plugin.panics.breaker]\nfailures = 0";
    let host =
        HostProcess::builder().plugin("panics").plugin("calls").plugin("echoes").config(config).start();
    assert_neighbour_is_served(&host, |accounting| {
        for (caller, called) in [
            ("calls.chain", "panics.panic_async"),
            ("calls.chain", "panics.panic_inline"),
            ("calls.wait", "panics.panic"),
            ("calls.inline", "panics.panic_inline"),
        ] {
            let id = format!("{caller}-{called}");
            // The caller receives the error and forwards it as its own: a plugin must not return
            // codes of the protocol.
            let code = send_one(&host, accounting, &id, caller, &json!({ "method": called }));
            assert_eq!(code, Some(INTERNAL_ERROR), "{id}");
        }
    });
}

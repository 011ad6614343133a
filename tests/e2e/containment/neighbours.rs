//! Each vice beside somebody who is under load all the while: every one of its requests has its one
//! result, and the host holds as much afterwards as before.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::footprint::{assert_settles_within, idle_footprint};
use crate::support::peer::{DEADLINE_EXCEEDED, INTERNAL_ERROR, PLUGIN_PANICKED};
use crate::support::{HostProcess, wait_until};

/// What an allocator keeps of a burst for next time, in KiB.
const KEPT: usize = 4096;
const WAYS: [&str; 3] = ["fixture.echo", "fixture.echo_blocking", "fixture.echo_async"];

/// Says that it is over when dropped: also by a panic, so that nobody goes on for ever.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `vice` twice, the first time for what is made at first use, and the second one under
/// everybody's eyes.
fn beside(host: &HostProcess, vice: impl Fn(&mut ReplyAccounting)) {
    vice(&mut ReplyAccounting::default());
    load(host, &AtomicBool::new(true));
    let before = idle_footprint(host.pid());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let bystander = scope.spawn(|| load(host, &over));
        let end = Ends(&over);
        let mut accounting = ReplyAccounting::default();
        vice(&mut accounting);
        assert_eq!(accounting.check(), Ok(()));
        drop(end);
        bystander.join().expect("the bystander was served");
    });
    wait_until("nothing is in flight", || host.count("in_flight") == 0);
    assert_settles_within(host.pid(), &before, KEPT);
}

/// Asks in each way to run, again and again until it is over; each has its result.
fn load(host: &HostProcess, over: &AtomicBool) {
    let (mut accounting, mut peer, mut number) = (ReplyAccounting::default(), host.peer(), 0);
    while !over.load(Ordering::Relaxed) || number < 50 {
        let ids = WAYS.map(|method| format!("{method}{number}"));
        for (method, id) in WAYS.iter().zip(&ids) {
            accounting.record_request(id);
            peer.send_async(id, method, &json!(id));
        }
        for reply in peer.receive_all(WAYS.len()) {
            accounting.record_reply(&reply);
            assert_eq!(reply.result(), json!(reply.id()));
        }
        number += 1;
    }
    assert_eq!((accounting.check(), accounting.count(None)), (Ok(()), number * WAYS.len()));
}

/// Asks once, and keeps the book.
fn ask(
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
fn panics_of_every_kind() {
    let config = "[plugin.panics.breaker]\nfailures = 0";
    let host = HostProcess::builder().plugin("panics").plugin("echoes").config(config).start();
    beside(&host, |accounting| {
        for way in ["panic", "panic_inline", "panic_async", "panic_payload", "panic_long", "panic_drop"] {
            let code = ask(&host, accounting, way, &format!("vice.{way}"), &Value::Null);
            assert_eq!(code, Some(PLUGIN_PANICKED), "{way}");
        }
    });
}

#[test]
fn loops_without_end() {
    const TIMEOUT: Duration = Duration::from_millis(200);
    let config = "[plugin.greedy]\nthreads = 1\nspare_threads = 1\nbreaker = { failures = 0 }\n\
        [[route]]\nmethod = \"greedy.spin\"\nplugin = \"greedy\"\ntimeout = \"200ms\"";
    let host = HostProcess::builder().plugin("greedy").plugin("echoes").config(config).start();
    // Once: a loop that has ended ends at once from then on.
    let over = AtomicBool::new(false);
    load(&host, &AtomicBool::new(true));
    assert_eq!(host.peer().result("greedy.threads", &json!(1)), 1);
    let before = idle_footprint(host.pid());
    thread::scope(|scope| {
        let bystander = scope.spawn(|| load(&host, &over));
        let end = Ends(&over);
        let mut accounting = ReplyAccounting::default();
        let began = Instant::now();
        let code = ask(&host, &mut accounting, "spins", "greedy.spin", &Value::Null);
        let took = began.elapsed();
        assert_eq!((code, accounting.check()), (Some(DEADLINE_EXCEEDED), Ok(())));
        assert!(took >= TIMEOUT, "told early, after {took:?}");
        eprintln!("told {:?} after the deadline", took - TIMEOUT);
        // Its thread is lost, and another has its place.
        assert_eq!(ask(&host, &mut accounting, "next", "greedy.threads", &json!(1)), None);
        assert_eq!(ask(&host, &mut accounting, "release", "greedy.release", &Value::Null), None);
        drop(end);
        bystander.join().expect("the bystander was served");
    });
    host.wait_for_log("a thread that was lost has come back");
    wait_until("the late result is counted", || host.count("late_results") == 1);
    assert_settles_within(host.pid(), &before, KEPT);
}

#[test]
fn a_thousand_threads_and_a_heap_of_memory() {
    let host = HostProcess::builder().plugin("greedy").plugin("echoes").start();
    beside(&host, |accounting| {
        assert_eq!(ask(&host, accounting, "threads", "greedy.threads", &json!(1000)), None);
        assert_eq!(ask(&host, accounting, "memory", "greedy.memory", &json!(256)), None);
    });
}

/// Requests that were given up, and those that may be soon.
fn abandoned_and_waiting(host: &HostProcess) -> u64 {
    host.count("abandoned") + host.count("in_flight")
}

#[test]
fn clients_that_hang_up_while_their_calls_run() {
    let host = HostProcess::builder().plugin("sleeps").plugin("echoes").start();
    let rounds = std::cell::Cell::new(0);
    beside(&host, |_| {
        let mut peers: Vec<_> = (0..20).map(|_| host.peer()).collect();
        let (mut other, round) = (host.peer(), rounds.get() + 1);
        let latch = host.latch(&round.to_string());
        for peer in &mut peers {
            // Two run, and the others wait for a thread; a future waits for ever.
            peer.send_async("blocking", "sleep.blocking_until", &latch.params());
            peer.send_async("deaf", "sleep.deaf", &Value::Null);
        }
        wait_until("they are accepted", || abandoned_and_waiting(&host) >= round * 40);
        drop(peers);
        rounds.set(round);
        wait_until("each is given up", || host.count("abandoned") == round * 40);
        latch.open();
        wait_until("none runs", || other.result("sleep.running", &Value::Null) == 0);
    });
}

#[test]
fn what_is_left_of_a_calls_time_goes_with_it_and_what_is_late_never_begins() {
    const CALLS: usize = 2000;
    let config = "[plugin.counts]\nthreads = 1\nqueue = 10000\nspare_threads = 0\nbreaker = { failures = 0 }\n\
        [[route]]\nmethod = \"counts.blocking\"\nplugin = \"counts\"\ntimeout = \"250ms\"";
    let host = HostProcess::builder().plugin("counts").plugin("echoes").config(config);
    let host = host.config("[limits]\nin_flight_per_connection = 4096").start();
    let begun = || host.peer().result("counts.begun", &Value::Null).as_u64().unwrap();
    beside(&host, |accounting| {
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
        // Those that had begun when their time was over are counted, each of them; no other one
        // began.
        wait_until("what ran is accounted for", || {
            begun() - before == results + host.count("late_results") - late_before
        });
        let ran = begun() - before;
        assert!(ran < CALLS as u64, "most of them never began");
    });
}

#[test]
fn panics_in_methods_that_other_methods_call() {
    let config = "[plugin.panics.breaker]\nfailures = 0";
    let host =
        HostProcess::builder().plugin("panics").plugin("calls").plugin("echoes").config(config).start();
    beside(&host, |accounting| {
        for (caller, called) in [
            ("calls.chain", "vice.panic_async"),
            ("calls.chain", "vice.panic_inline"),
            ("calls.wait", "vice.panic"),
            ("calls.inline", "vice.panic_inline"),
        ] {
            let id = format!("{caller}-{called}");
            // The caller is told, and passes it on; no plugin speaks in the protocol's own codes.
            let code = ask(&host, accounting, &id, caller, &json!({ "method": called }));
            assert_eq!(code, Some(INTERNAL_ERROR), "{id}");
        }
    });
}

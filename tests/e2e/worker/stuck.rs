//! Calls that do not end: their worker is replaced, unless it can still run others.

use std::time::Duration;

use serde_json::{Value, json};

use super::in_worker;
use super::ledger::{COPY, builder};
use super::{Answering, wait_for_other};
use crate::reload::NAME;
use crate::support::admin::plugin_row;
use crate::support::peer::{DEADLINE_EXCEEDED, PLUGIN_CRASHED};
use crate::support::{HostProcess, wait_until};

/// A time-out that the calls exceed, for these methods alone.
const ROUTES: &str = "[[route]]\nmethod = \"fault_00.block_until\"\nplugin = \"subject\"\ntimeout = \"300ms\"\n\
    [[route]]\nmethod = \"fault_00.run.*\"\nplugin = \"subject\"\ntimeout = \"300ms\"\n";

fn start(worker: &str) -> HostProcess {
    builder(&format!("{ROUTES}{}", in_worker(NAME, "threads = 2", worker))).start()
}

#[test]
fn replaces_a_worker_without_a_free_thread() {
    let host = start("grace = \"200ms\"");
    let mut peer = host.peer();
    let never = host.latch("never").params();
    let mut process = Answering::of(&mut peer, COPY);

    for round in 0..3 {
        peer.send_async("held", &format!("{COPY}.hold"), &Value::Null);
        for number in 0..2 {
            peer.send_async(&format!("stuck-{number}"), &format!("{COPY}.block_until"), &never);
        }
        // It waits for a thread, longer than the other calls may take.
        peer.send_async("waits", &format!("{COPY}.count"), &json!(round));

        for _ in 0..4 {
            let reply = peer.receive();
            match reply.id().as_deref() {
                Some("waits") => assert_eq!(reply.result(), round),
                Some("held") => {
                    assert_eq!(reply.error(PLUGIN_CRASHED)["data"]["signal_name"], "SIGKILL");
                }
                _ => drop(reply.error(DEADLINE_EXCEEDED)),
            }
        }
        let next = Answering::of(&mut peer, COPY);
        assert_ne!(next.pid, process.pid);
        process = next;
    }
    assert_eq!(plugin_row(&host, NAME)["lost_threads"], 0);
}

#[test]
fn keeps_a_worker_that_has_a_free_thread() {
    let host = start("grace = \"0s\"");
    let latch = host.latch("stuck");
    let mut peer = host.peer();
    let before = Answering::of(&mut peer, COPY);

    peer.call(&format!("{COPY}.block_until"), &latch.params()).error(DEADLINE_EXCEEDED);
    for number in 0..50 {
        assert_eq!(peer.result(&format!("{COPY}.count_blocking"), &json!(number)), number);
    }
    assert_eq!(Answering::of(&mut peer, COPY), before);

    latch.open();
    wait_until("the late result is dropped", || host.count("late_results") == 1);
    assert_eq!(Answering::of(&mut peer, COPY), before);
}

#[test]
fn keeps_a_worker_whose_calls_end_within_the_grace_period() {
    let host = start("grace = \"20s\"");
    let latch = host.latch("stuck");
    let mut peer = host.peer();
    let before = Answering::of(&mut peer, COPY);

    for number in 0..2 {
        peer.send_async(&number.to_string(), &format!("{COPY}.block_until"), &latch.params());
    }
    peer.receive_all(2).iter().for_each(|reply| drop(reply.error(DEADLINE_EXCEEDED)));
    latch.open();

    assert_eq!(Answering::of(&mut peer, COPY), before);
    assert_eq!(host.count("late_results"), 2);
}

#[test]
fn replaces_a_worker_whose_async_thread_is_stuck() {
    let host = start("grace = \"200ms\"");
    let mut peer = host.peer();
    let before = Answering::of(&mut peer, COPY);

    peer.call(&format!("{COPY}.run.async"), &json!({ "fault": "loop" })).error(DEADLINE_EXCEEDED);

    wait_for_other(&host, COPY, before.pid);
    assert_eq!(peer.result(&format!("{COPY}.count_async"), &json!(1)), 1);
}

#[test]
fn answers_at_the_deadline_although_the_worker_is_stopped() {
    let host = start("grace = \"200ms\"\ncount = 2");
    let mut peer = host.peer();
    let stop = json!({ "fault": "stop" });

    for _ in 0..2 {
        peer.call(&format!("{COPY}.run.blocking"), &stop).error(DEADLINE_EXCEEDED);
    }

    // Both processes are replaced, or one of them still answers.
    let began = std::time::Instant::now();
    assert_eq!(peer.result(&format!("{COPY}.count"), &json!(1)), 1);
    println!("served again after {:?}", began.elapsed().max(Duration::from_micros(1)));
}

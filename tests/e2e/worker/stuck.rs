//! Calls that do not end: their worker is replaced, unless it can still run others.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::ledger::{COPY, builder};
use super::{Answering, in_worker, signal, wait_for_other};
use crate::reload::NAME;
use crate::support::admin::plugin_row;
use crate::support::peer::{DEADLINE_EXCEEDED, OVERLOADED, PLUGIN_CRASHED};
use crate::support::processes::children;
use crate::support::{HostProcess, IO_THREADS, wait_until};

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
        // It waits for a thread, in the host or in the worker, longer than the other calls may
        // take.
        peer.send_async("waits", &format!("{COPY}.count"), &json!(round));

        for _ in 0..4 {
            let reply = peer.receive();
            match reply.id().as_deref() {
                Some("waits") if reply.code().is_none() => assert_eq!(reply.result(), round),
                Some("held" | "waits") => {
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
fn replaces_a_worker_with_a_free_thread_without_another_failure() {
    let host = start("grace = \"200ms\"");
    let mut peer = host.peer();
    let before = Answering::of(&mut peer, COPY);

    peer.call(&format!("{COPY}.block_until"), &host.latch("never").params()).error(DEADLINE_EXCEEDED);
    wait_until("another process answers, and each call until then is answered", || {
        assert_eq!(peer.result(&format!("{COPY}.count_blocking"), &json!(1)), 1);
        assert_eq!(peer.result(&format!("{COPY}.count_async"), &json!(2)), 2);
        Answering::of(&mut peer, COPY).pid != before.pid
    });

    wait_until("the previous process is killed", || children(host.pid()).len() == 1);
    wait_until("no thread is stuck", || plugin_row(&host, NAME)["lost_threads"] == 0);
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

    wait_until("the late results are dropped", || host.count("late_results") == 2);
    assert_eq!(Answering::of(&mut peer, COPY), before);
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
    assert_eq!(peer.result(&format!("{COPY}.count"), &json!(1)), 1);
}

#[test]
fn a_stopped_worker_blocks_no_io_thread() {
    let route = "[[route]]\nmethod = \"fault_00.count_async\"\nplugin = \"subject\"\ntimeout = \"2s\"\n";
    let host = builder(&format!("{route}{}", in_worker(NAME, "", "grace = \"10s\""))).start();
    let mut peer = host.peer();
    let pid = Answering::of(&mut peer, COPY).pid;
    let params = json!("x".repeat(60_000));

    // More than the channel holds. Each of the I/O threads has one of the connections.
    signal(pid, Signal::STOP);
    let mut peers: Vec<_> = (0..2 * IO_THREADS).map(|_| host.peer()).collect();
    for peer in &mut peers {
        for number in 0..40 {
            peer.send_async(&number.to_string(), &format!("{COPY}.count_async"), &params);
        }
    }

    for _ in &peers {
        host.peer().assert_usable();
    }
    for peer in &mut peers {
        peer.receive_all(40).iter().for_each(|reply| drop(reply.error(DEADLINE_EXCEEDED)));
    }

    // The calls that it has received are over when it continues.
    signal(pid, Signal::CONT);
    assert_eq!(peer.result(&format!("{COPY}.count_async"), &json!(1)), 1);
    assert_eq!(Answering::of(&mut peer, COPY).pid, pid);
}

#[test]
fn a_call_keeps_its_permit_until_it_has_ended_or_its_worker_has() {
    let route = "[[route]]\nmethod = \"fault_00.block_until\"\nplugin = \"subject\"\ntimeout = \"200ms\"\n\
        max_in_flight = 1";
    let host = builder(&format!("{route}\n{}", in_worker(NAME, "threads = 1", "grace = \"500ms\""))).start();
    let mut peer = host.peer();
    let before = Answering::of(&mut peer, COPY);
    let (never, block) = (host.latch("never").params(), format!("{COPY}.block_until"));

    peer.call(&block, &never).error(DEADLINE_EXCEEDED);
    peer.call(&block, &never).error(OVERLOADED);

    wait_for_other(&host, COPY, before.pid);
    let latch = host.latch("open");
    latch.open();
    wait_until("the permit is free", || peer.call(&block, &latch.params()).code().is_none());
}

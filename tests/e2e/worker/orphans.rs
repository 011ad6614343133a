//! Workers end when their host dies, in whatever state they are.

use rustix::process::Signal;
use serde_json::json;

use super::ledger::COPY;
use super::{faults_copy, in_worker, signal};
use crate::reload::{FILE, NAME, put};
use crate::support::processes::{children, is_alive};
use crate::support::{HostProcess, wait_until};

fn start(count: usize) -> HostProcess {
    let builder = HostProcess::builder().config(&in_worker(NAME, "", &format!("count = {count}")));
    put(&builder.directory().join("plugins"), &faults_copy(0).0, FILE);
    let host = builder.start();
    wait_until("all workers run", || children(host.pid()).len() == count);
    host
}

/// Kills the host, and waits until its workers have ended, too.
#[track_caller]
fn kill(mut host: HostProcess) {
    let workers = children(host.pid());

    host.signal(Signal::KILL);
    host.wait();

    wait_until("the workers have ended", || workers.iter().all(|worker| !is_alive(worker.pid)));
}

#[test]
fn end_with_a_host_that_is_killed() {
    kill(start(3));
}

#[test]
fn end_while_they_are_stopped() {
    let host = start(3);
    for worker in children(host.pid()) {
        signal(worker.pid, Signal::STOP);
    }
    kill(host);
}

#[test]
fn end_while_a_method_loops_and_ignores_signals() {
    let host = start(3);
    let mut peer = host.peer();
    // One for each worker, or more than one for some.
    for number in 0..3 {
        let fault = json!({ "fault": "ignore-signals" });
        peer.send_async(&number.to_string(), &format!("{COPY}.run.blocking"), &fault);
    }
    wait_until("the calls are in flight", || host.count("in_flight") == 3);
    kill(host);
}

#[test]
fn end_without_the_signal_at_the_death_of_their_parent() {
    let host = start(1);
    host.peer().result(&format!("{COPY}.run.blocking"), &json!({ "fault": "forget-parent" }));
    kill(host);
}

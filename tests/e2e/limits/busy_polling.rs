//! A thread that looks for the next request before it sleeps: never while idle, seldom in vain.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::footprint::cpu_time;
use crate::support::threads::threads;
use crate::support::{HostProcess, wait_until};

/// A thousand times what it costs to answer a request: who looks for so long in vain is seen.
const LONG: &str = "[io]\nspin = \"10ms\"\n";

/// Whether every thread of a process sleeps, at each of several looks.
fn sleeps(pid: u32) -> bool {
    (0..20).all(|_| {
        thread::sleep(Duration::from_millis(1));
        threads(pid).iter().all(|thread| thread.state == 'S')
    })
}

#[test]
fn a_host_that_is_asked_nothing_sleeps() {
    let host = HostProcess::builder().config(LONG).start();
    let mut peer = host.peer();
    for number in 0..1000 {
        peer.result("system.echo", &json!(number));
    }
    wait_until("all of its threads sleep", || sleeps(host.pid()));
}

/// A client that thinks for longer than the thread looks: each look is in vain, and soon there are
/// few.
#[test]
fn a_client_that_thinks_between_requests_costs_few_looks() {
    const REQUESTS: u32 = 60;
    let host = HostProcess::builder().config(LONG).start();
    let mut peer = host.peer();
    let before = cpu_time(host.pid());
    for number in 0..REQUESTS {
        peer.result("system.echo", &json!(number));
        // The client's thinking, not a wait for anything.
        thread::sleep(Duration::from_millis(15));
    }
    let used = cpu_time(host.pid()) - before;
    let at_every_request = Duration::from_millis(10) * REQUESTS;
    assert!(
        used < at_every_request / 2,
        "{used:?} of the {at_every_request:?} that looking each time would take"
    );
}

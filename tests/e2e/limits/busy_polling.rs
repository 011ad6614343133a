//! Busy polling of I/O threads (`io.spin`): never while the host is idle, and rarely in vain.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::footprint::cpu_time;
use crate::support::threads::threads;
use crate::support::{HostProcess, wait_until};

/// A thousand times the cost of a request, so that polling in vain shows in the processor time.
const LONG_POLLING: &str = "[io]\nspin = \"10ms\"\n";

/// Returns whether every thread of a process sleeps at 20 consecutive checks.
fn is_asleep(pid: u32) -> bool {
    (0..20).all(|_| {
        thread::sleep(Duration::from_millis(1));
        threads(pid).iter().all(|thread| thread.state == 'S')
    })
}

#[test]
fn sleeps_while_idle() {
    let host = HostProcess::builder().config(LONG_POLLING).start();
    let mut peer = host.peer();

    for number in 0..1000 {
        peer.result("system.echo", &json!(number));
    }

    wait_until("all of its threads sleep", || is_asleep(host.pid()));
}

/// The client pauses for longer than a thread polls. Each poll is in vain, so the host soon polls
/// rarely.
#[test]
fn polls_rarely_for_a_client_that_pauses() {
    const REQUESTS: u32 = 60;
    let host = HostProcess::builder().config(LONG_POLLING).start();

    let mut peer = host.peer();
    let before = cpu_time(host.pid());

    for number in 0..REQUESTS {
        peer.result("system.echo", &json!(number));
        // This is the pause of the client, it does not wait for a condition.
        thread::sleep(Duration::from_millis(15));
    }

    let used = cpu_time(host.pid()) - before;
    let at_every_request = Duration::from_millis(10) * REQUESTS;
    assert!(
        used < at_every_request / 2,
        "{used:?} of the {at_every_request:?} that polling after each request would take"
    );
}

//! Restarts of workers: how fast they follow on each other, and what the circuit breaker does.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ledger::{COPY, builder};
use super::{Answering, in_worker};
use crate::reload::NAME;
use crate::support::admin::plugin_row;
use crate::support::peer::{PLUGIN_CRASHED, PLUGIN_UNAVAILABLE};
use crate::support::{Peer, is_soak, wait_until};

/// The first pause before a restart; each following one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Processor time of restarts in relation to the time that passes.
const MAX_LOAD: f64 = 0.05;

fn crash(peer: &mut Peer) {
    let reply = peer.call(&format!("{COPY}.run.blocking"), &json!({ "fault": "abort" }));
    assert_eq!(reply.error(PLUGIN_CRASHED)["data"]["plugin"], NAME);
}

/// Returns the processor time of a process and of all its children that have ended.
fn cpu_time_with_children(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    // utime, stime, cutime and cstime are fields 12 to 15 behind the name.
    let ticks = fields.split_whitespace().skip(11).take(4).map(|field| field.parse::<u64>().expect("ticks"));
    Duration::from_millis(10 * ticks.sum::<u64>())
}

#[test]
fn pauses_before_it_restarts_a_worker_that_has_answered_nothing() {
    let crashes = if is_soak() { 9 } else { 5 };
    let host = builder(&format!("[timeouts]\nrequest = \"60s\"\n{}", in_worker(NAME, "", ""))).start();
    let mut peer = host.peer();

    crash(&mut peer);
    let (began, used) = (Instant::now(), cpu_time_with_children(host.pid()));
    let mut least = Duration::ZERO;
    for number in 1..crashes {
        least += FIRST_PAUSE * 2_u32.pow(number - 1);
        crash(&mut peer);
        assert!(began.elapsed() >= least, "crash {number} after {:?}, {}", began.elapsed(), host.log());
    }

    let load = (cpu_time_with_children(host.pid()) - used).as_secs_f64() / began.elapsed().as_secs_f64();
    println!("{crashes} crashes within {:?}, at {:.1} % of a core", began.elapsed(), 100.0 * load);
    // The first pauses are short, so that the short run has a higher load.
    assert!(!is_soak() || load < MAX_LOAD, "{load}");

    let before = Answering::of(&mut peer, COPY);
    crash(&mut peer);
    assert_ne!(Answering::of(&mut peer, COPY).pid, before.pid);
}

#[test]
fn opens_the_circuit_breaker_after_crashes() {
    let breaker = "breaker = { failures = 3, open = \"1s\" }";
    let config = format!("[plugin.{NAME}]\nisolation = \"worker\"\n{breaker}\n");
    let host = builder(&config).plugin("device").start();
    let mut peer = host.peer();

    for _ in 0..3 {
        crash(&mut peer);
    }

    let refused = peer.call(&format!("{COPY}.count"), &json!(1)).error(PLUGIN_UNAVAILABLE);
    assert!(refused["data"]["retry_after_ms"].as_u64().is_some_and(|ms| ms <= 1000), "{refused}");
    assert_eq!(plugin_row(&host, NAME)["state"], "unhealthy");
    assert_eq!(peer.result("device.list", &json!({}))["total"], 0, "other plugins are not affected");

    wait_until("a trial call is admitted", || {
        peer.call(&format!("{COPY}.count"), &json!(2)).json()["result"] == json!(2)
    });
    host.wait_for_log("circuit breaker closed: the trial call succeeded");
    assert_eq!(peer.result(&format!("{COPY}.count"), &Value::Null), Value::Null);
}

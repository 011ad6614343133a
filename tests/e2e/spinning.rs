//! A thread that looks for the next request before it sleeps: never while idle, never at the cost of who needs its core.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::build::artifacts;
use crate::support::footprint::cpu_time;
use crate::support::program::finish;
use crate::support::{HostProcess, until};

/// A thousand times what it costs to answer a request: who looks for so long in vain is seen.
const LONG: &str = "[io]\nspin = \"10ms\"\n";

/// Whether every thread of a process sleeps, at each of several looks.
fn sleeps(pid: u32) -> bool {
    (0..20).all(|_| {
        thread::sleep(Duration::from_millis(1));
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        threads
            .filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok())
            .all(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')))
    })
}

#[test]
fn a_host_that_is_asked_nothing_sleeps() {
    let host = HostProcess::builder().config(LONG).start();
    let mut peer = host.peer();
    for number in 0..1000 {
        peer.result("system.echo", &json!(number));
    }
    until("all of its threads sleep", || sleeps(host.pid()));
}

/// On one core with its only client, every look is the client's loss.
#[test]
fn the_core_that_the_client_needs_is_left_to_it() {
    const REQUESTS: u32 = 3000;
    let host = HostProcess::builder().config(LONG).start();
    let core = first_core();
    let pinned = finish(Command::new("taskset").args(["-a", "-c", "-p", &core, &host.pid().to_string()]));
    assert_eq!(pinned.code, 0, "{pinned:?}");
    let before = cpu_time(host.pid());
    let program = artifacts().program.to_str().unwrap();
    let load = ["-c", &core, program, "bench", "--count", &REQUESTS.to_string()];
    let finished = finish(Command::new("taskset").args(load).current_dir(host.directory()));
    assert_eq!(finished.code, 0, "{finished:?}");
    let used = cpu_time(host.pid()) - before;
    let at_every_request = Duration::from_millis(10) * REQUESTS;
    assert!(
        used < at_every_request / 10,
        "{used:?} of the {at_every_request:?} that looking each time would take"
    );
}

/// A core that this process may use.
fn first_core() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    allowed.trim().split([',', '-']).next().unwrap().to_owned()
}

//! Crowds of clients that mean no good: each costs a bounded piece of memory, which comes back, and
//! others little of their time. What a crowd cost is printed, with `--nocapture`.

mod floods;
mod large_bodies;
mod passed_descriptors;
mod saturated_plugin;
mod unresponsive_clients;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::support::footprint::{Footprint, resident_kib};
use crate::support::{HostProcess, wait_until};

/// Lets this process, and the hosts that it starts from now on, have as many descriptors as they
/// may: the crowds are larger than what a shell often allows.
fn allow_descriptors(wanted: u64) {
    let mut limit = getrlimit(Resource::Nofile);
    assert!(
        limit.maximum.is_none_or(|most| most >= wanted),
        "this takes {wanted} descriptors: raise `ulimit -Hn`"
    );
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).expect("the limit is set");
    }
}

/// The host serves so many connections.
#[track_caller]
fn wait_until_open(host: &HostProcess, count: usize) {
    wait_until(format!("{count} are served"), || host.count("connections_open") == count as u64 + 1);
}

/// Prints what a crowd of so many costs the host in memory, and gives it back in KiB.
fn cost(host: &HostProcess, what: &str, before: &Footprint, count: usize) -> usize {
    let grown = resident_kib(host.pid()).saturating_sub(before.resident);
    println!("{what}: {grown} KiB, {:.1} KiB for each of {count}", grown as f64 / count as f64);
    grown
}

//! Many clients that misbehave: each costs a bounded amount of memory, which is released, and slows
//! others only a little. With `--nocapture` the costs are printed.

mod floods;
mod large_payloads;
mod passed_descriptors;
mod saturated_plugin;
mod unresponsive_clients;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::support::footprint::{Footprint, resident_kib};
use crate::support::{HostProcess, wait_until};

/// Raises the descriptor limit of this process, and of the hosts that it starts, to the hard limit.
/// The tests open more connections than the default limit of a shell permits.
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

/// Waits until the host serves this many connections.
#[track_caller]
fn wait_until_open(host: &HostProcess, count: usize) {
    wait_until(format!("{count} are served"), || host.count("connections_open") == count as u64 + 1);
}

/// Prints and returns the memory that `count` clients cost the host, in KiB.
fn cost(host: &HostProcess, what: &str, before: &Footprint, count: usize) -> usize {
    let grown = resident_kib(host.pid()).saturating_sub(before.resident);
    println!("{what}: {grown} KiB, {:.1} KiB for each of {count}", grown as f64 / count as f64);
    grown
}

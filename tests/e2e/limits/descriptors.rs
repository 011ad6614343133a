//! A host without free descriptors: it serves its connections without a busy loop, and accepts new
//! ones again as soon as descriptors are free.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::footprint::{connections, cpu_time, idle_footprint};
use crate::support::{HostProcess, Peer, wait_until};

/// Sets the descriptor limit of the host to `free` above its current use.
fn limit_descriptors(host: &HostProcess, free: usize) {
    let pid = i32::try_from(host.pid()).ok().and_then(Pid::from_raw).expect("a process id");
    let current = (idle_footprint(host.pid()).descriptors + free) as u64;
    let limit = Rlimit { current: Some(current), maximum: Some(20_000) };
    prlimit(Some(pid), Resource::Nofile, limit).expect("the limit is set");
}

#[test]
fn serves_and_recovers_without_free_descriptors() {
    const FREE: usize = 8;
    const WAITING: usize = 20;
    /// Permitted processor time in one second. A busy loop would use all of it.
    const MAX_CPU_TIME: Duration = Duration::from_millis(300);

    let host = HostProcess::with(&[]);
    host.peer().assert_usable();
    limit_descriptors(&host, FREE);

    let mut peers: Vec<UnixStream> = (0..FREE + WAITING)
        .map(|_| UnixStream::connect(host.socket()).expect("the accept queue has room"))
        .collect();

    host.wait_for_log("raise LimitNOFILE= or lower limits.connections");
    let served = connections(host.pid());
    assert!((1..FREE + WAITING).contains(&served), "{served} are served");

    // The accepted connections are served meanwhile, and the host is not in a busy loop.
    let mut first = Peer::from_stream(peers.remove(0));

    let before = cpu_time(host.pid());
    let end = Instant::now() + Duration::from_secs(1);
    let mut pings = 0;

    wait_until("a second has passed", || {
        first.assert_usable();
        pings += 1;
        Instant::now() >= end
    });

    let took = cpu_time(host.pid()) - before;
    assert!(took < MAX_CPU_TIME, "{took:?} of processor time in a second, for {pings} pings");

    let warnings = host.log_lines().iter().filter(|line| line.contains("cannot accept connections")).count();
    assert_eq!(warnings, 1, "one line, not one per attempt");

    // Each connection that is closed makes room for a waiting one: in the end all of them are
    // served.
    for stream in peers {
        Peer::from_stream(stream).assert_usable();
    }
    first.assert_usable();

    drop(first);
    limit_descriptors(&host, 1000);

    let mut more: Vec<Peer> = (0..50).map(|_| host.peer()).collect();
    more.iter_mut().for_each(Peer::assert_usable);
}

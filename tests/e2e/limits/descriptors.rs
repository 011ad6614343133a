//! A host without free descriptors: it serves its connections, neither spins nor stops accepting
//! for good, and recovers.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::footprint::{connections, cpu_time, idle_footprint};
use crate::support::{HostProcess, Peer, wait_until};

/// Sets the descriptor limit of the host to `more` above its current use.
fn limit_descriptors(host: &HostProcess, more: usize) {
    let pid = i32::try_from(host.pid()).ok().and_then(Pid::from_raw).expect("a process id");
    let most = (idle_footprint(host.pid()).descriptors + more) as u64;
    let limit = Rlimit { current: Some(most), maximum: Some(20_000) };
    prlimit(Some(pid), Resource::Nofile, limit).expect("the limit is set");
}

#[test]
fn serves_and_recovers_without_free_descriptors() {
    const MORE: usize = 8;
    const WAITING: usize = 20;
    /// Permitted processor time in one second. A loop that spins would use all of it.
    const MOST: Duration = Duration::from_millis(300);

    let host = HostProcess::with(&[]);
    host.peer().assert_usable();
    limit_descriptors(&host, MORE);

    let mut peers: Vec<UnixStream> = (0..MORE + WAITING)
        .map(|_| UnixStream::connect(host.socket()).expect("the accept queue has room"))
        .collect();

    host.wait_for_log("raise LimitNOFILE= or lower limits.connections");
    let served = connections(host.pid());
    assert!((1..MORE + WAITING).contains(&served), "{served} are served");

    // The accepted connections are served meanwhile, and the host does not spin.
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
    assert!(took < MOST, "{took:?} of processor in a second, for {pings} pings");

    let complaints =
        host.log_lines().iter().filter(|line| line.contains("cannot accept connections")).count();
    assert_eq!(complaints, 1, "one line, not one per attempt");
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

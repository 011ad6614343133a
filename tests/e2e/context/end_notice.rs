//! The notice that the host shuts down.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::hello::{ALL, GOING_AWAY_NOTICE, V1_2, agree};
use crate::support::peer::{GOING_AWAY, SYNC, V1_1, envelope};
use crate::support::{HostProcess, wait_until};

#[test]
fn reaches_each_client_that_wished_for_it_once() {
    let mut host = HostProcess::builder().plugin("sleeps").config("timeouts.drain = \"20s\"\n").start();
    let latch = host.latch("end");
    let (mut busy, mut idle, mut old) = (host.peer(), host.peer(), host.peer());
    agree(&mut busy, ALL);
    agree(&mut idle, ALL);
    for peer in [&mut busy, &mut old] {
        peer.send_async("1", "sleep.async_until", &latch.params());
    }
    wait_until("both calls wait", || host.count("in_flight") == 2);
    host.signal(Signal::TERM);

    for peer in [&mut busy, &mut idle] {
        let notice = peer.receive();
        assert_eq!((notice.version, notice.kind), (V1_2, GOING_AWAY_NOTICE));
        assert_eq!(notice.json(), json!({ "reason": "shutdown", "grace_ms": 20_000 }));
    }
    idle.expect_close();

    // A request that crossed with the notice was never begun. What is in flight is answered.
    for peer in [&mut busy, &mut old] {
        peer.send_frame(V1_1, SYNC, envelope("system.ping", &Value::Null));
        peer.receive().error(GOING_AWAY);
    }
    latch.open();
    for peer in [&mut busy, &mut old] {
        let rest = peer.receive_until_close();
        assert_eq!(rest.iter().map(|reply| reply.result()).collect::<Vec<_>>(), [json!(true)]);
    }
    assert!(host.wait().success());
}

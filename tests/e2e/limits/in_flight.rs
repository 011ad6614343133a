//! Limits of requests in flight: beyond the global limit requests are rejected, beyond the one of a
//! connection it is not read.

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::footprint::{assert_released, idle_footprint};
use crate::support::peer::{
    ASYNC_REQUEST, HEARTBEAT, OVERLOADED, SYNC, V1_0, V1_1, envelope, envelope_with, frame,
};
use crate::support::{HostProcess, Peer, wait_until};

fn host(limits: &str) -> HostProcess {
    let config = format!("[limits]\n{limits}");
    HostProcess::builder().plugin("sleeps").plugin("echoes").config(&config).start()
}

/// Opens a connection whose call, `running`, occupies the only thread of `counts`.
fn occupy_the_thread(host: &HostProcess) -> Peer {
    let mut peer = host.peer();
    peer.send_async("running", "counts.held", &Value::Null);
    wait_until("the call runs", || host.peer().result("counts.begun", &Value::Null) == 1);
    peer
}

#[test]
fn rejects_requests_beyond_the_global_limit() {
    let host = host("in_flight = 10");

    let mut holders = [host.peer(), host.peer()];
    for (number, peer) in holders.iter_mut().enumerate() {
        for id in 0..5 {
            peer.send_async(&format!("{number}.{id}"), "sleep.held", &json!(1));
        }
    }
    wait_until("the calls are in flight", || host.count("in_flight") == 10);

    let mut peer = host.peer();

    for method in ["sleep.async", "fixture.echo_blocking", "fixture.echo_async"] {
        peer.send_async("x", method, &json!({ "ms": 0 }));
        let error = peer.receive().error(OVERLOADED);
        assert!(error["data"]["retry_after_ms"].as_u64().unwrap() > 0, "{error}");
        peer.call(method, &json!({ "ms": 0 })).error(OVERLOADED);
    }

    // A method that completes inline is never in flight.
    peer.assert_usable();
    assert_eq!(host.count("overloaded"), 6);

    peer.result("sleep.release", &json!(1));
    for peer in &mut holders {
        assert!(peer.receive_all(5).iter().all(|reply| reply.result() == 1));
    }
    assert_eq!(peer.result("fixture.echo_blocking", &json!(1)), 1);
    assert_eq!(host.count("in_flight"), 0);
}

#[test]
fn stops_reading_a_connection_at_its_limit_without_losing_requests() {
    const REQUESTS: usize = 200;
    let host = host("in_flight_per_connection = 4");

    let mut peer = host.peer();
    let mut accounting = ReplyAccounting::default();

    for number in 0..REQUESTS {
        let id = number.to_string();
        accounting.record_request(&id);
        let method = if number % 2 == 0 { "sleep.async" } else { "sleep.blocking" };
        peer.send_async(&id, method, &json!({ "ms": 5 }));
    }
    let mut most = 0;

    let mut observer = host.peer();
    for _ in 0..REQUESTS {
        accounting.record_reply(&peer.receive());
        let counts = observer.result("system.info", &Value::Null);
        most = most.max(counts["counts"]["in_flight"].as_u64().unwrap());
    }

    assert_eq!((accounting.check(), accounting.count(None)), (Ok(()), REQUESTS));
    assert!((1..=4).contains(&most), "{most} were in flight at once");
    peer.assert_usable();
}

#[test]
fn delays_everything_behind_a_connection_at_its_limit() {
    let host = host("in_flight_per_connection = 2");

    let mut peer = host.peer();
    peer.send_async("1", "sleep.async", &json!({ "ms": 400 }));
    peer.send_async("2", "sleep.async", &json!({ "ms": 400 }));
    peer.send_sync("system.ping", &Value::Null);
    peer.heartbeat();
    let kinds: Vec<u8> = peer.receive_all(4).iter().map(|frame| frame.kind).collect();

    assert_eq!(kinds[0], 5, "nothing overtakes while nothing is read: {kinds:?}");
    assert!(kinds.contains(&SYNC) && kinds.contains(&HEARTBEAT), "{kinds:?}");

    // A rejection that waits for its turn in the sync queue keeps its position, too.
    peer.send_sync("sleep.blocking", &json!({ "ms": 100 }));
    for _ in 0..50 {
        peer.send_frame(V1_0, SYNC, "{");
        peer.send_frame(V1_0, SYNC, envelope("fixture.echo", &json!(7)));
    }

    assert_eq!(peer.receive().result(), 100);
    for pair in peer.receive_all(100).chunks(2) {
        assert_eq!((pair[0].code(), pair[1].result()), (Some(-32700), json!(7)));
    }
}

#[test]
fn notices_a_disconnection_while_a_connection_is_not_read() {
    let host = host("in_flight_per_connection = 3");
    let mut observer = host.peer();
    let round = |observer: &mut Peer, wanted: u64| {
        let mut peer = host.peer();
        for number in 0..10 {
            peer.send_async(&number.to_string(), "sleep.forever", &Value::Null);
        }
        wait_until("the connection is at its limit", || host.count("in_flight") == 3);
        drop(peer);
        wait_until("its futures are dropped", || host.count("in_flight") == 0);
        assert_eq!(host.count("abandoned"), wanted);
        observer.assert_usable();
    };
    round(&mut observer, 3);
    drop(observer);

    let before = idle_footprint(host.pid());
    let mut observer = host.peer();

    round(&mut observer, 6);
    round(&mut observer, 9);
    drop(observer);
    assert_released(host.pid(), &before);
}

#[test]
fn rejects_calls_of_a_plugin_with_a_full_queue() {
    let config = "[plugin.counts]\nthreads = 1\nqueue = 2";
    let host = HostProcess::builder().plugin("counts").plugin("echoes").config(config).start();
    let mut peer = occupy_the_thread(&host);

    for id in ["first", "second"] {
        peer.send_async(id, "counts.blocking", &json!({ "ms": 0 }));
    }

    for number in 0..100 {
        let id = number.to_string();
        peer.send_async(&id, "counts.blocking", &json!({ "ms": 0 }));
        let refused = peer.receive();
        assert_eq!(refused.id(), Some(id));
        refused.error(OVERLOADED);
    }

    assert_eq!(peer.result("fixture.echo_blocking", &json!(1)), 1);
    assert_eq!(peer.result("counts.async", &json!({ "ms": 0 })), 2);
    assert_eq!(peer.result("counts.release", &Value::Null), Value::Null);

    let ids: Vec<_> = peer.receive_all(3).iter().map(|reply| reply.id().unwrap()).collect();
    assert_eq!(ids, ["running", "first", "second"]);
}

/// Requests that arrive in one read with others, and find room only after those are rejected.
#[test]
fn processes_requests_behind_rejected_ones() {
    const REQUESTS: usize = 7;
    let config = "[limits]\nin_flight_per_connection = 2\n[plugin.counts]\nthreads = 1\nqueue = 1";
    let host = HostProcess::builder().plugin("counts").config(config).start();
    let mut holder = occupy_the_thread(&host);
    holder.send_async("queued", "counts.blocking", &json!({ "ms": 0 }));
    wait_until("the queue is full", || host.count("in_flight") == 2);

    let mut peer = host.peer();
    let request = |id: usize| envelope_with(&id.to_string(), "counts.blocking", &json!({ "ms": 0 }));

    let together: Vec<u8> = (0..REQUESTS).flat_map(|id| frame(V1_1, ASYNC_REQUEST, request(id))).collect();
    peer.send(&together);

    for reply in peer.receive_all(REQUESTS) {
        reply.error(OVERLOADED);
    }

    assert_eq!(peer.result("counts.release", &Value::Null), Value::Null);
    holder.receive_all(2);
}

#[test]
fn makes_room_in_a_queue_when_calls_expire() {
    let plugin = "[plugin.counts]\nthreads = 1\nspare_threads = 0\nqueue = 2\nbreaker = { failures = 0 }";
    let config = format!("{plugin}\n[timeouts]\nrequest = \"200ms\"");
    let host = HostProcess::builder().plugin("counts").config(&config).start();
    let mut peer = occupy_the_thread(&host);

    peer.send_async("first", "counts.blocking", &json!({ "ms": 0 }));
    peer.send_async("second", "counts.blocking", &json!({ "ms": 0 }));
    peer.receive_all(3);

    // All three calls were answered with DEADLINE_EXCEEDED. The thread still runs the first of
    // them.
    wait_until("there is room in the queue", || {
        let reply = host.peer().call("counts.blocking", &json!({ "ms": 0 }));
        reply.code() != Some(OVERLOADED)
    });

    assert_eq!(peer.result("counts.begun", &Value::Null), 1, "the first call still occupies the thread");
    assert_eq!(peer.result("counts.release", &Value::Null), Value::Null);
}

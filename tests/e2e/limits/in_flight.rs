//! Requests in flight: in all, beyond which they are refused, and per connection, beyond which it
//! is not read.

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::footprint::{assert_settles, idle_footprint};
use crate::support::peer::{
    ASYNC_REQUEST, HEARTBEAT, OVERLOADED, SYNC, V1_0, V1_1, envelope, envelope_with, frame,
};
use crate::support::{HostProcess, Peer, wait_until};

fn host(limits: &str) -> HostProcess {
    let config = format!("[limits]\n{limits}");
    HostProcess::builder().plugin("sleeps").plugin("echoes").config(&config).start()
}

/// A connection whose call, `running`, has the one thread of `counts`.
fn with_the_thread(host: &HostProcess) -> Peer {
    let mut peer = host.peer();
    peer.send_async("running", "counts.held", &Value::Null);
    wait_until("it runs", || host.peer().result("counts.begun", &Value::Null) == 1);
    peer
}

#[test]
fn beyond_the_limit_of_all_requests_are_refused_at_once() {
    let host = host("in_flight = 10");
    let mut holders = [host.peer(), host.peer()];
    for (number, peer) in holders.iter_mut().enumerate() {
        for id in 0..5 {
            peer.send_async(&format!("{number}.{id}"), "sleep.held", &json!(1));
        }
    }
    wait_until("they are in flight", || host.count("in_flight") == 10);
    let mut peer = host.peer();
    for method in ["sleep.async", "fixture.echo_blocking", "fixture.echo_async"] {
        peer.send_async("x", method, &json!({ "ms": 0 }));
        let error = peer.receive().error(OVERLOADED);
        assert!(error["data"]["retry_after_ms"].as_u64().unwrap() > 0, "{error}");
        peer.call(method, &json!({ "ms": 0 })).error(OVERLOADED);
    }
    // What is over as soon as it is begun is never in flight.
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
fn a_connection_at_its_limit_is_not_read_and_nothing_is_lost() {
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
fn what_comes_behind_a_full_connection_waits() {
    let host = host("in_flight_per_connection = 2");
    let mut peer = host.peer();
    peer.send_async("1", "sleep.async", &json!({ "ms": 400 }));
    peer.send_async("2", "sleep.async", &json!({ "ms": 400 }));
    peer.send_sync("system.ping", &Value::Null);
    peer.heartbeat();
    let kinds: Vec<u8> = peer.receive_all(4).iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds[0], 5, "nothing overtakes when nothing is read: {kinds:?}");
    assert!(kinds.contains(&SYNC) && kinds.contains(&HEARTBEAT), "{kinds:?}");
    // In the lane, too: a refusal that waits for its turn has its place among them.
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
fn a_client_that_goes_while_it_is_not_read_is_noticed() {
    let host = host("in_flight_per_connection = 3");
    let mut observer = host.peer();
    let round = |observer: &mut Peer, wanted: u64| {
        let mut peer = host.peer();
        for number in 0..10 {
            peer.send_async(&number.to_string(), "sleep.deaf", &Value::Null);
        }
        wait_until("it is full", || host.count("in_flight") == 3);
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
    assert_settles(host.pid(), &before);
}

#[test]
fn a_plugin_whose_queue_is_full_refuses_and_others_do_not() {
    let config = "[plugin.counts]\nthreads = 1\nqueue = 2";
    let host = HostProcess::builder().plugin("counts").plugin("echoes").config(config).start();
    let mut peer = with_the_thread(&host);
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

/// Requests that came in one read with others, and for which there was no room until those were
/// refused.
#[test]
fn what_waits_behind_refused_requests_is_not_forgotten() {
    const REQUESTS: usize = 7;
    let config = "[limits]\nin_flight_per_connection = 2\n[plugin.counts]\nthreads = 1\nqueue = 1";
    let host = HostProcess::builder().plugin("counts").config(config).start();
    let mut holder = with_the_thread(&host);
    holder.send_async("queued", "counts.blocking", &json!({ "ms": 0 }));
    wait_until("the queue is full", || host.count("in_flight") == 2);
    let mut peer = host.peer();
    let ask = |id: usize| envelope_with(&id.to_string(), "counts.blocking", &json!({ "ms": 0 }));
    let together: Vec<u8> = (0..REQUESTS).flat_map(|id| frame(V1_1, ASYNC_REQUEST, ask(id))).collect();
    peer.send(&together);
    for reply in peer.receive_all(REQUESTS) {
        reply.error(OVERLOADED);
    }
    assert_eq!(peer.result("counts.release", &Value::Null), Value::Null);
    holder.receive_all(2);
}

#[test]
fn what_was_given_up_in_a_full_queue_makes_room() {
    let plugin = "[plugin.counts]\nthreads = 1\nspare_threads = 0\nqueue = 2\nbreaker = { failures = 0 }";
    let config = format!("{plugin}\n[timeouts]\nrequest = \"200ms\"");
    let host = HostProcess::builder().plugin("counts").config(&config).start();
    let mut peer = with_the_thread(&host);
    peer.send_async("first", "counts.blocking", &json!({ "ms": 0 }));
    peer.send_async("second", "counts.blocking", &json!({ "ms": 0 }));
    peer.receive_all(3);
    // All three were told that they are late; the thread still runs the first of them.
    wait_until("there is room in the queue", || {
        let reply = host.peer().call("counts.blocking", &json!({ "ms": 0 }));
        reply.code() != Some(OVERLOADED)
    });
    assert_eq!(peer.result("counts.begun", &Value::Null), 1, "the first of them still has the thread");
    assert_eq!(peer.result("counts.release", &Value::Null), Value::Null);
}

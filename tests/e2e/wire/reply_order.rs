//! The order of replies: sync replies follow the order of the requests, async ones may overtake
//! them.

use serde_json::{Value, json};

use crate::support::peer::{
    ASYNC_RESPONSE, HEARTBEAT, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, SYNC, V1_0, envelope,
    envelope_with, frame,
};
use crate::support::{HostProcess, wait_until};

#[test]
fn keeps_sync_replies_in_order_and_lets_async_ones_overtake() {
    let host = HostProcess::with(&["sleeps", "echoes"]);
    let mut peer = host.peer();

    let send = |peer: &mut crate::support::Peer, id: &str, method: &str, params: Value| {
        peer.send_frame(V1_0, SYNC, envelope_with(id, method, &params));
    };

    let latch = host.latch("first");

    send(&mut peer, "1", "sleep.blocking_until", latch.params());
    send(&mut peer, "2", "system.ping", Value::Null);
    send(&mut peer, "3", "sleep.async", json!({ "ms": 50 }));
    send(&mut peer, "4", "no.such", Value::Null);
    send(&mut peer, "5", "fixture.echo_blocking", json!(5));
    send(&mut peer, "6", "system.ping", Value::Null);
    for (id, method) in [("a", "system.ping"), ("b", "fixture.echo_async"), ("c", "fixture.echo_blocking")] {
        peer.send_async(id, method, &json!(0));
    }

    let early = peer.receive_all(3);
    let mut early: Vec<_> = early.iter().map(|reply| (reply.kind, reply.id().unwrap())).collect();
    early.sort();
    let wanted = ["a", "b", "c"].map(|id| (ASYNC_RESPONSE, id.to_owned()));
    assert_eq!(early, wanted);

    latch.open();

    let replies = peer.receive_all(6);
    let order: Vec<_> = replies.iter().map(|reply| (reply.kind, reply.id().unwrap())).collect();
    assert_eq!(order, ["1", "2", "3", "4", "5", "6"].map(|id| (SYNC, id.to_owned())));

    replies[3].error(METHOD_NOT_FOUND);
}

#[test]
fn starts_a_sync_request_after_the_previous_one() {
    let host = HostProcess::with(&["sleeps"]);
    let mut peer = host.peer();
    for _ in 0..5 {
        peer.send_sync("sleep.blocking", &json!({ "ms": 50 }));
        // An inline method waits for its turn, too. If it ran at once, it would see the previous
        // call running.
        peer.send_sync("sleep.running", &Value::Null);
        peer.send_sync("sleep.blocking", &json!({ "ms": 1 }));

        let results: Vec<_> = peer.receive_all(3).iter().map(|reply| reply.result()).collect();
        assert_eq!(results, [50, 0, 1]);
    }

    // An async request sees the running call.
    let latch = host.latch("runs");
    peer.send_sync("sleep.blocking_until", &latch.params());
    let mut other = host.peer();
    wait_until("the call runs", || other.result("sleep.running", &Value::Null) == 1);

    peer.send_async("a", "sleep.running", &Value::Null);
    assert_eq!(peer.receive().result(), 1);
    latch.open();

    assert_eq!(peer.receive().result(), true);
}

#[test]
fn answers_invalid_requests_in_order() {
    let host = HostProcess::with(&["sleeps"]);
    let mut peer = host.peer();
    let latch = host.latch("first");

    peer.send_sync("sleep.blocking_until", &latch.params());
    peer.send_frame(V1_0, SYNC, "{");
    peer.send_frame(V1_0, SYNC, r#"{"id":1}"#);
    peer.send_sync("sleep.blocking", &json!({ "ms": 1 }));
    peer.send_frame(V1_0, SYNC, r#"{"id":"x","method":"no.such"}"#);
    peer.heartbeat();

    assert_eq!(peer.receive().kind, HEARTBEAT, "a heartbeat does not wait");
    latch.open();

    let replies = peer.receive_all(5);
    assert_eq!(replies[0].result(), true);

    replies[1].error(PARSE_ERROR);
    replies[2].error(INVALID_REQUEST);
    assert_eq!(replies[3].result(), 1);
    replies[4].error(METHOD_NOT_FOUND);
    assert!(replies.iter().all(|reply| reply.kind == SYNC), "{replies:?}");
}

#[test]
fn keeps_a_long_sync_queue_in_order() {
    const REQUESTS: usize = 900;
    let host = HostProcess::with(&["echoes", "sleeps"]);
    let mut peer = host.peer();

    // The first call delays the others until all are received.
    peer.send_sync("sleep.blocking", &json!({ "ms": 100 }));
    for number in 0..REQUESTS {
        let id = number.to_string();
        let method = match number % 5 {
            0 => "fixture.echo_blocking",
            1 => "fixture.echo_async",
            2 => "no.such",
            _ => "fixture.echo",
        };
        peer.send_frame(V1_0, SYNC, envelope_with(&id, method, &json!(number)));
    }

    assert_eq!(peer.receive().result(), 100);

    for (number, reply) in peer.receive_all(REQUESTS).into_iter().enumerate() {
        assert_eq!(reply.id(), Some(number.to_string()));
        match number % 5 {
            2 => drop(reply.error(METHOD_NOT_FOUND)),
            _ => assert_eq!(reply.result(), number),
        }
    }

    peer.assert_usable();
}

#[test]
fn serves_neighbours_while_blocking_methods_run() {
    let host = HostProcess::with(&["counts"]);

    // More calls than there are threads, on every I/O thread. None of them ends before it is
    // released.
    let mut busy: Vec<_> = (0..6).map(|_| host.peer()).collect();
    for peer in &mut busy {
        peer.send_sync("counts.held", &Value::Null);
    }
    let mut others: Vec<_> = (0..6).map(|_| host.peer()).collect();
    wait_until("the handlers run", || others[0].result("counts.begun", &Value::Null) == 2);

    for _ in 0..20 {
        others.iter_mut().for_each(crate::support::Peer::assert_usable);
    }

    assert_eq!(
        others[1].result("counts.begun", &Value::Null),
        2,
        "all requests were answered while the calls ran"
    );
    others[2].result("counts.release", &Value::Null);

    for peer in &mut busy {
        peer.receive().result();
    }
}

#[test]
fn limits_the_turn_of_a_connection_with_many_requests() {
    const REQUESTS: usize = 300;
    let config = "[timeouts]\ninline = \"10m\"";
    let host = HostProcess::builder().plugin("counts").config(config).start();
    let mut greedy = host.peer();
    // Enough connections that each I/O thread has one.
    let mut others: Vec<_> = (0..8).map(|_| host.peer()).collect();
    others.iter_mut().for_each(crate::support::Peer::assert_usable);

    let one = frame(V1_0, SYNC, envelope("counts.inline", &json!({ "ms": 3 })));
    // The requests are processed as they arrive, and then from the sync queue, where the first one
    // delays the others.
    let mut begun = 0;
    for first in [Value::Null, json!({ "ms": 100 })] {
        let mut sent = one.repeat(REQUESTS);
        if !first.is_null() {
            sent.splice(..0, frame(V1_0, SYNC, envelope("counts.blocking", &first)));
        }
        let all = begun + REQUESTS + usize::from(!first.is_null());
        greedy.send(sent);

        let at_least = begun as u64 + 2;
        let count = |peer: &mut crate::support::Peer| {
            peer.result("counts.begun", &Value::Null).as_u64().expect("a number")
        };
        wait_until("the calls run", || count(&mut others[0]) >= at_least);

        // All connections ask at the same time, so that delays of the test do not matter.
        others.iter_mut().for_each(|other| other.send_sync("counts.begun", &Value::Null));
        for other in &mut others {
            let seen = other.receive().result().as_u64().expect("a number");
            assert!(seen < all as u64, "answered only after all {seen} calls");
        }

        assert_eq!(greedy.receive_all(all - begun).len(), all - begun);
        begun = all;
    }
}

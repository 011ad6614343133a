//! Sync replies come in the order of the requests, whatever each of them waits for; async ones
//! overtake.

use serde_json::{Value, json};

use crate::support::peer::{
    ASYNC_RESPONSE, HEARTBEAT, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, SYNC, V1_0, envelope,
    envelope_with, frame,
};
use crate::support::{HostProcess, wait_until};

#[test]
fn sync_replies_are_in_order_and_async_ones_overtake() {
    let host = HostProcess::with(&["sleeps", "echoes"]);
    let mut peer = host.peer();
    let ask = |peer: &mut crate::support::Peer, id: &str, method: &str, params: Value| {
        peer.send_frame(V1_0, SYNC, envelope_with(id, method, &params));
    };
    let latch = host.latch("first");
    ask(&mut peer, "1", "sleep.blocking_until", latch.params());
    ask(&mut peer, "2", "system.ping", Value::Null);
    ask(&mut peer, "3", "sleep.async", json!({ "ms": 50 }));
    ask(&mut peer, "4", "no.such", Value::Null);
    ask(&mut peer, "5", "fixture.echo_blocking", json!(5));
    ask(&mut peer, "6", "system.ping", Value::Null);
    for (id, method) in [("a", "system.ping"), ("b", "fixture.echo_async"), ("c", "fixture.echo_blocking")] {
        peer.send_async(id, method, &json!(0));
    }
    let early = peer.receive_all(3);
    let mut early: Vec<_> = early.iter().map(|reply| (reply.kind, reply.id().unwrap())).collect();
    early.sort();
    let wanted = ["a", "b", "c"].map(|id| (ASYNC_RESPONSE, id.to_owned()));
    assert_eq!(early, wanted);
    latch.open();
    let came = peer.receive_all(6);
    let order: Vec<_> = came.iter().map(|reply| (reply.kind, reply.id().unwrap())).collect();
    assert_eq!(order, ["1", "2", "3", "4", "5", "6"].map(|id| (SYNC, id.to_owned())));
    came[3].error(METHOD_NOT_FOUND);
}

#[test]
fn a_sync_request_sees_what_the_one_before_it_did() {
    let host = HostProcess::with(&["sleeps"]);
    let mut peer = host.peer();
    for _ in 0..5 {
        peer.send_sync("sleep.blocking", &json!({ "ms": 50 }));
        // Inline, and yet it waits for its turn: begun at once it would see the other one run.
        peer.send_sync("sleep.running", &Value::Null);
        peer.send_sync("sleep.blocking", &json!({ "ms": 1 }));
        let results: Vec<_> = peer.receive_all(3).iter().map(|reply| reply.result()).collect();
        assert_eq!(results, [50, 0, 1]);
    }
    // An async one does see it.
    let latch = host.latch("runs");
    peer.send_sync("sleep.blocking_until", &latch.params());
    let mut other = host.peer();
    wait_until("it runs", || other.result("sleep.running", &Value::Null) == 1);
    peer.send_async("a", "sleep.running", &Value::Null);
    assert_eq!(peer.receive().result(), 1);
    latch.open();
    assert_eq!(peer.receive().result(), true);
}

#[test]
fn what_cannot_be_read_is_answered_in_its_turn() {
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
    let came = peer.receive_all(5);
    assert_eq!(came[0].result(), true);
    came[1].error(PARSE_ERROR);
    came[2].error(INVALID_REQUEST);
    assert_eq!(came[3].result(), 1);
    came[4].error(METHOD_NOT_FOUND);
    assert!(came.iter().all(|reply| reply.kind == SYNC), "{came:?}");
}

#[test]
fn a_long_lane_of_mixed_requests_stays_in_order() {
    const REQUESTS: usize = 900;
    let host = HostProcess::with(&["echoes", "sleeps"]);
    let mut peer = host.peer();
    // The first one holds the others up until all are there.
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
fn a_blocking_handler_delays_nobody_else() {
    let host = HostProcess::with(&["counts"]);
    // More than there are threads for, on every I/O thread, and none of them ends before it is let
    // go.
    let mut busy: Vec<_> = (0..6).map(|_| host.peer()).collect();
    for peer in &mut busy {
        peer.send_sync("counts.held", &Value::Null);
    }
    let mut others: Vec<_> = (0..6).map(|_| host.peer()).collect();
    wait_until("the handlers run", || others[0].result("counts.begun", &Value::Null) == 2);
    for _ in 0..20 {
        others.iter_mut().for_each(crate::support::Peer::assert_usable);
    }
    assert_eq!(others[1].result("counts.begun", &Value::Null), 2, "all that was served while they ran");
    others[2].result("counts.release", &Value::Null);
    for peer in &mut busy {
        peer.receive().result();
    }
}

#[test]
fn whoever_asks_much_at_once_has_its_thread_for_a_turn_and_not_for_all_of_it() {
    const REQUESTS: usize = 300;
    let config = "[timeouts]\ninline = \"10m\"";
    let host = HostProcess::builder().plugin("counts").config(config).start();
    let mut greedy = host.peer();
    // Enough of them for each I/O thread to have one.
    let mut others: Vec<_> = (0..8).map(|_| host.peer()).collect();
    others.iter_mut().for_each(crate::support::Peer::assert_usable);
    let one = frame(V1_0, SYNC, envelope("counts.inline", &json!({ "ms": 3 })));
    // As they come, and from the lane that the first one holds up.
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
        wait_until("they run", || count(&mut others[0]) >= at_least);
        // Asked by all of them at once: that the test itself is late in between is not the host's
        // affair.
        others.iter_mut().for_each(|other| other.send_sync("counts.begun", &Value::Null));
        for other in &mut others {
            let seen = other.receive().result().as_u64().expect("a number");
            assert!(seen < all as u64, "answered when all {seen} were");
        }
        assert_eq!(greedy.receive_all(all - begun).len(), all - begun);
        begun = all;
    }
}

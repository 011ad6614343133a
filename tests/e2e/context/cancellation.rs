//! Cancellations by clients: one reply to each request, and what does not run any more.

use serde_json::{Value, json};

use crate::support::hello::{ALL, CANCEL, V1_2, agree};
use crate::support::peer::{
    ASYNC_REQUEST, ASYNC_RESPONSE, CANCELLED, ERROR, INVALID_REQUEST, PARSE_ERROR, SYNC, V1_1, envelope_with,
};
use crate::support::{HostProcess, Peer, wait_until};

fn connect(host: &HostProcess) -> Peer {
    let mut peer = host.peer();
    agree(&mut peer, ALL);
    peer
}

fn cancel(peer: &mut Peer, id: &str) {
    peer.send_frame(V1_1, CANCEL, format!("{{\"id\":{id}}}"));
}

#[test]
fn drops_an_async_method() {
    let host = HostProcess::with(&["sleeps"]);
    let mut peer = connect(&host);
    peer.send_async("a", "sleep.forever", &Value::Null);
    wait_until("the method runs", || host.peer().result("sleep.begun", &Value::Null) == json!(1));

    cancel(&mut peer, "\"a\"");
    let reply = peer.receive();
    reply.error(CANCELLED);
    assert_eq!((reply.kind, reply.id().as_deref()), (ASYNC_RESPONSE, Some("a")));
    wait_until("the future is dropped", || host.peer().result("sleep.dropped", &Value::Null) == json!(1));
    assert_eq!((host.count("cancels"), host.count("unknown_cancels")), (1, 0));
}

#[test]
fn never_starts_a_queued_call() {
    let host = HostProcess::builder().plugin("counts").config("[plugin.counts]\nthreads = 1\n").start();
    let mut peer = connect(&host);
    for id in ["a", "b", "c"] {
        peer.send_async(id, "counts.held", &Value::Null);
    }
    wait_until("one runs", || host.peer().result("counts.begun", &Value::Null) == json!(1));

    cancel(&mut peer, "\"b\"");
    let reply = peer.receive();
    reply.error(CANCELLED);
    assert_eq!(reply.id().as_deref(), Some("b"));
    host.peer().result("counts.release", &Value::Null);
    assert_eq!(peer.receive_all(2).iter().map(|reply| reply.result()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(host.peer().result("counts.begun", &Value::Null), json!(2));
}

#[test]
fn answers_a_sync_request_that_waits_in_its_turn() {
    let host = HostProcess::with(&["counts"]);
    let mut peer = connect(&host);
    for id in ["1", "2", "3"] {
        peer.send_frame(V1_2, SYNC, envelope_with(id, "counts.held", &Value::Null));
    }
    cancel(&mut peer, "\"2\"");
    wait_until("one runs", || host.peer().result("counts.begun", &Value::Null) == json!(1));
    wait_until("it is cancelled", || host.count("cancels") == 1);
    host.peer().result("counts.release", &Value::Null);

    let replies = peer.receive_all(3);
    assert_eq!(
        replies.iter().map(|reply| reply.payload[16..].to_vec()).collect::<Vec<_>>(),
        [
            br#"{"id":"1","result":1}"#.to_vec(),
            br#"{"id":"2","error":{"code":-32800,"message":"the client cancelled the request"}}"#.to_vec(),
            br#"{"id":"3","result":2}"#.to_vec(),
        ]
    );
}

#[test]
fn ignores_ids_that_are_not_in_flight() {
    let host = HostProcess::with(&["sleeps"]);
    let (mut peer, mut other) = (connect(&host), connect(&host));
    other.send_async("foreign", "sleep.held", &json!(1));
    wait_until("the call waits", || host.count("in_flight") == 1);

    // Nobody cancels the request of another connection, or twice, or one that is answered.
    cancel(&mut peer, "\"foreign\"");
    cancel(&mut peer, "7");
    peer.send_frame(V1_1, ASYNC_REQUEST, envelope_with("7", "system.ping", &Value::Null));
    assert_eq!(peer.receive().result(), json!("pong"));
    cancel(&mut peer, "7");
    for (payload, code) in [("", PARSE_ERROR), ("{}", INVALID_REQUEST), (r#"{"id":null}"#, INVALID_REQUEST)] {
        peer.send_frame(V1_1, CANCEL, payload);
        let reply = peer.receive();
        reply.error(code);
        assert_eq!(reply.kind, ERROR);
    }
    peer.assert_usable();
    assert_eq!((host.count("cancels"), host.count("unknown_cancels")), (0, 3));

    host.peer().result("sleep.release", &json!(1));
    assert_eq!(other.receive().result(), json!(1));
}

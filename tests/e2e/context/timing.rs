//! The timing in replies: how long a request waited and ran, and what answered it.

use serde_json::{Value, json};

use crate::support::hello::{ALL, BLOCK, CAN_EXTEND, V1_2, agree};
use crate::support::peer::{ASYNC_REQUEST, METHOD_NOT_FOUND, SYNC, V1_1, envelope, envelope_with};
use crate::support::{Frame, HostProcess, wait_until};

/// Splits a reply into its timing (queued, run, generation) and the reply without the block.
fn split(reply: Frame) -> ([u32; 3], Frame) {
    let Frame { version, kind, payload } = reply;
    assert_eq!((version, kind & BLOCK), (V1_2, BLOCK));
    assert_eq!(payload[..4], [0, 14, 0x0E, 12]);
    let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
    let frame = Frame { version, kind: kind & !BLOCK, payload: payload[16..].to_vec() };
    ([number(4), number(8), number(12)], frame)
}

#[test]
fn says_how_long_a_request_waited_and_ran() {
    let host = HostProcess::builder().plugin("sleeps").config("[plugin.sleeps]\nthreads = 1\n").start();
    let mut peer = host.peer();
    agree(&mut peer, ALL);
    // The second call waits for the only thread until the first has ended.
    for id in ["1", "2"] {
        peer.send_frame(V1_2, ASYNC_REQUEST, envelope_with(id, "sleep.blocking", &json!({ "ms": 30 })));
    }
    let mut replies = [split(peer.receive()), split(peer.receive())];
    replies.sort_by_key(|(timing, _)| timing[0]);
    for ([queued, run, generation], reply) in &replies {
        assert_eq!(reply.result(), json!(30));
        assert!(*run >= 30_000 && *generation > 0, "queued {queued} us, ran {run} us");
    }
    assert!(replies[1].0[0] >= 25_000, "{replies:?}");

    // Requests that run at once have a timing, too, and so have errors. No plugin answers the last.
    for (method, generation) in [("system.ping", true), ("sleep.running", true), ("no.such", false)] {
        peer.send_frame(V1_2, SYNC, envelope(method, &Value::Null));
        let ([queued, run, number], reply) = split(peer.receive());
        assert_eq!((queued, number > 0), (0, generation), "{method}: ran {run} us, {reply:?}");
        assert_eq!(reply.code(), (!generation).then_some(METHOD_NOT_FOUND));
    }
}

#[test]
fn is_only_in_replies_to_version_1_2_on_a_connection_that_wished_for_it() {
    let host = HostProcess::with(&["sleeps"]);
    let mut peer = host.peer();
    agree(&mut peer, ALL);
    peer.send_frame(V1_1, SYNC, envelope("system.ping", &Value::Null));
    assert_eq!((peer.receive().kind, host.count("hellos")), (SYNC, 1));

    agree(&mut peer, CAN_EXTEND);
    peer.send_frame(V1_2, SYNC, envelope("system.ping", &Value::Null));
    assert_eq!(peer.receive().kind, SYNC);

    // A request keeps the form that was agreed on when it was read.
    agree(&mut peer, ALL);
    peer.send_frame(V1_2, ASYNC_REQUEST, envelope_with("1", "sleep.held", &json!(1)));
    wait_until("the call waits", || host.count("in_flight") == 1);
    agree(&mut peer, 0);
    host.peer().result("sleep.release", &json!(1));
    assert_eq!(split(peer.receive()).1.result(), json!(1));
}

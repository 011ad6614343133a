//! The end of connections: half-closed with pending replies, closed after one reply, and closed by
//! the client with requests in flight.

use serde_json::{Value, json};

use crate::support::footprint::{assert_released, idle_footprint};
use crate::support::peer::{
    ASYNC_REQUEST, ASYNC_RESPONSE, ERROR, HEARTBEAT, SYNC, V1_0, V1_1, envelope, envelope_with, frame, header,
};
use crate::support::{HostProcess, Peer, wait_until};

#[test]
fn sends_every_reply_to_a_half_closed_client() {
    let host = HostProcess::with(&["sleeps", "echoes"]);
    let mut peer = host.peer();
    peer.send_sync("sleep.blocking", &json!({ "ms": 200 }));
    peer.send_async("a", "sleep.async", &json!({ "ms": 300 }));
    peer.send_sync("system.ping", &Value::Null);
    peer.send_async("b", "fixture.large", &json!({ "bytes": 2_000_000 }));
    peer.heartbeat();
    peer.half_close();

    let replies = peer.receive_until_close();

    let count_of = |kind: u8| replies.iter().filter(|frame| frame.kind == kind).count();
    assert_eq!(
        (count_of(SYNC), count_of(ASYNC_RESPONSE), count_of(HEARTBEAT), replies.len()),
        (2, 2, 1, 5),
        "{replies:?}"
    );
    assert!(replies.iter().filter(|frame| frame.kind != HEARTBEAT).all(|frame| frame.code().is_none()));

    // A half-closed connection without requests, and one whose requests are answered.
    let mut idle = host.peer();
    idle.half_close();
    idle.expect_close();

    let mut served = host.peer();
    served.assert_usable();
    served.half_close();
    served.expect_close();
}

#[test]
fn never_runs_a_frame_cut_by_a_half_close() {
    let host = HostProcess::with(&["counts"]);
    let whole = frame(V1_0, SYNC, envelope("counts.inline", &json!({ "ms": 0 })));
    for cut in [1, 6, 7, 8, whole.len() - 1] {
        let mut peer = host.peer();
        peer.send_sync("system.ping", &Value::Null);
        peer.send(&whole[..cut]);
        peer.half_close();
        let replies = peer.receive_until_close();
        assert_eq!(replies.len(), 1, "{replies:?}");
    }

    assert_eq!(host.peer().result("counts.begun", &Value::Null), 0);
}

#[test]
fn closes_after_one_reply_if_configured() {
    let config = "[[listener]]\nsocket = \"run/jackfield.sock\"\nclose_after_reply = true";
    let host = HostProcess::builder().plugin("counts").plugin("sleeps").config(config).start();
    let request = |id: &str, method: &str| envelope_with(id, method, &json!({ "ms": 20 }));

    for (kind, reply) in [(SYNC, SYNC), (ASYNC_REQUEST, ASYNC_RESPONSE)] {
        for method in ["counts.inline", "counts.blocking", "counts.async", "no.such"] {
            let begun = host.peer().result("counts.begun", &Value::Null).as_u64().unwrap();
            let mut peer = host.peer();

            // Only the first of three requests is run and answered.
            let requests = ["1", "2", "3"].map(|id| frame(V1_1, kind, request(id, method)));
            peer.send(requests.concat());

            let replies = peer.receive_until_close();
            assert_eq!(replies.len(), 1, "{replies:?}");
            assert_eq!((replies[0].kind, replies[0].id().as_deref()), (reply, Some("1")));
            let runs = u64::from(method != "no.such");

            assert_eq!(host.peer().result("counts.begun", &Value::Null), begun + runs, "{method}");
        }
    }

    // The answer to a heartbeat is not a reply, but the answer to an invalid request is.
    let mut peer = host.peer();
    peer.heartbeat();
    assert_eq!(peer.receive().kind, HEARTBEAT);
    peer.send_frame(V1_0, SYNC, "{");
    assert_eq!(peer.receive_until_close().len(), 1);

    let mut peer = host.peer();
    peer.send_frame(V1_1, ASYNC_REQUEST, r#"{"method":"system.ping"}"#);

    let replies = peer.receive_until_close();
    assert_eq!((replies.len(), replies[0].kind), (1, ERROR));
}

/// Opens a connection with this many futures that never complete, each of which has started.
fn with_endless_futures(host: &HostProcess, count: usize) -> Peer {
    let mut peer = host.peer();
    for number in 0..count {
        peer.send_async(&number.to_string(), "sleep.forever", &Value::Null);
    }

    // The async thread polls the futures in turn: this one is the last.
    peer.send_async("last", "sleep.async", &json!({ "ms": 0 }));
    assert_eq!(peer.receive().id().as_deref(), Some("last"));
    peer
}

#[test]
fn drops_the_futures_of_a_disconnected_client() {
    const EACH: usize = 100;
    let host = HostProcess::with(&["sleeps"]);
    let mut observer = host.peer();
    let mut wait_for_drops = |wanted: usize| {
        wait_until("the futures are dropped", || observer.result("sleep.dropped", &Value::Null) == wanted);
    };

    drop(with_endless_futures(&host, EACH));
    wait_for_drops(EACH);

    // In the middle of a frame, and half-closed before.
    let mut peer = with_endless_futures(&host, EACH);
    peer.send(&header(V1_0, SYNC, 100)[..5]);
    drop(peer);
    wait_for_drops(2 * EACH);

    let mut peer = with_endless_futures(&host, EACH);
    peer.half_close();
    drop(peer);
    wait_for_drops(3 * EACH);

    wait_until("each is counted", || host.count("abandoned") == 3 * EACH as u64);
    wait_until("nothing is in flight", || host.count("in_flight") == 0);
    assert_eq!(host.count("late_results"), 0);
}

#[test]
fn releases_all_resources_of_disconnected_clients() {
    let host = HostProcess::with(&["sleeps", "echoes"]);

    let round = |count: usize| {
        for number in 0..count {
            let mut peer = host.peer();
            peer.send_async("1", "sleep.forever", &Value::Null);
            peer.send_sync("fixture.echo_blocking", &json!(number));
            peer.send_async("2", "fixture.large", &json!({ "bytes": 100_000 }));
            if number % 3 > 0 {
                peer.receive();
            }
            if number % 3 > 1 {
                peer.receive();
            }
        }
        wait_until("nothing is in flight", || host.count("in_flight") == 0);
    };

    round(300);

    let before = idle_footprint(host.pid());
    round(300);

    assert_released(host.pid(), &before);
}

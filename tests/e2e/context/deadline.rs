//! The deadline of a client: nothing starts after it, and no plugin is blamed for it.

use serde_json::{Value, json};

use crate::support::hello::{V1_2, agree};
use crate::support::peer::{ASYNC_REQUEST, DEADLINE_EXCEEDED, INVALID_REQUEST, SYNC, V1_1};
use crate::support::{HostProcess, is_soak, wait_until};

/// An envelope with a deadline.
fn envelope(id: usize, method: &str, params: &Value, deadline_ms: u64) -> String {
    json!({ "id": id, "method": method, "params": params, "deadline_ms": deadline_ms }).to_string()
}

#[test]
fn answers_at_the_earlier_of_both_deadlines() {
    let host = HostProcess::builder().plugin("sleeps").config("timeouts.request = \"200ms\"\n").start();
    let mut peer = host.peer();
    for (deadline, timeout) in [(20, 20), (u64::from(u32::MAX), 200)] {
        peer.send_frame(V1_1, SYNC, envelope(1, "sleep.forever", &Value::Null, deadline));
        let error = peer.receive().error(DEADLINE_EXCEEDED);
        assert_eq!(error["data"], json!({ "timeout_ms": timeout }));
    }
    for invalid in ["0", "-1", "1.5", "4294967296", "null", "\"5\""] {
        let request = format!(r#"{{"id":7,"method":"system.ping","deadline_ms":{invalid}}}"#);
        peer.send_frame(V1_1, SYNC, request);
        let reply = peer.receive();
        reply.error(INVALID_REQUEST);
        assert_eq!(reply.json()["id"], json!(7), "{invalid}");
    }
}

#[test]
fn starts_nothing_after_the_deadline() {
    let host = HostProcess::builder()
        .plugin("counts")
        .config("[limits]\nin_flight_per_connection = 200000\nin_flight = 200000\n[plugin.counts]\nthreads = 1\nqueue = 200000\n")
        .start();
    let mut peer = host.peer();
    agree(&mut peer, u64::MAX);
    peer.send_frame(V1_2, ASYNC_REQUEST, envelope(0, "counts.held", &Value::Null, 1_000_000));
    wait_until("the only thread is busy", || host.peer().result("counts.begun", &Value::Null) == json!(1));

    let count = if is_soak() { 100_000 } else { 2_000 };
    let mut requests = Vec::new();
    for id in 1..=count {
        let request = envelope(id, "counts.blocking", &json!({ "ms": 0 }), 50);
        requests.extend(crate::support::peer::frame(V1_1, ASYNC_REQUEST, request));
    }
    std::thread::scope(|scope| {
        let mut writer = crate::support::Peer::from_stream(peer.stream().try_clone().unwrap());
        scope.spawn(move || writer.send(requests));
        for reply in peer.receive_all(count) {
            assert_eq!(reply.code(), Some(DEADLINE_EXCEEDED), "{reply:?}");
        }
    });
    host.peer().result("counts.release", &Value::Null);
    assert_eq!(host.peer().result("counts.begun", &Value::Null), json!(1));
}

//! Calls from plugin to plugin inherit the cancellation and the deadline of their client, in the
//! host and across the processes of workers.

use serde_json::{Value, json};

use crate::support::hello::{ALL, CANCEL, agree};
use crate::support::peer::{ASYNC_REQUEST, CANCELLED, DEADLINE_EXCEEDED, PLUGIN_UNAVAILABLE, V1_1, frame};
use crate::support::{HostProcess, Peer, is_soak, wait_until};

/// The plugins that run in workers.
const PLACES: [&[&str]; 4] = [&[], &["calls"], &["subject"], &["calls", "subject"]];

/// Starts a host with the fixture `calls` and another one, `subject`. They have one thread each,
/// and a second one where a method reports on the first.
fn start(subject: &str, workers: &[&str]) -> HostProcess {
    let mut config = String::new();
    for (plugin, name) in [("calls", "calls"), (subject, "subject")] {
        let isolation = if workers.contains(&name) { "worker" } else { "in-process" };
        let threads = if plugin == "reports_context" || subject == "counts" { 2 } else { 1 };
        config += &format!("[plugin.{plugin}]\nthreads = {threads}\nisolation = \"{isolation}\"\n");
    }
    HostProcess::builder().plugin("calls").plugin(subject).config(&config).start()
}

fn connect(host: &HostProcess) -> Peer {
    let mut peer = host.peer();
    agree(&mut peer, ALL);
    peer
}

fn call_of(method: &str, params: Value) -> Value {
    json!({ "method": method, "params": params })
}

/// Cancels the request `a`, and expects its one reply.
#[track_caller]
fn cancel(peer: &mut Peer) {
    peer.send_frame(V1_1, CANCEL, r#"{"id":"a"}"#);
    let reply = peer.receive();
    reply.error(CANCELLED);
    assert_eq!(reply.id().as_deref(), Some("a"));
}

#[test]
fn cancels_what_a_waiting_method_has_called() {
    for workers in PLACES {
        let host = start("sleeps", workers);
        let mut peer = connect(&host);
        // The only thread of the calling plugin waits for a future, which another future has begun.
        let inner = call_of("sleep.forever", Value::Null);
        peer.send_async("a", "calls.wait", &call_of("calls.chain", inner));
        let mut other = host.peer();
        wait_until("the last one runs", || other.result("sleep.begun", &Value::Null) == 1);

        cancel(&mut peer);
        wait_until("its future is dropped", || other.result("sleep.dropped", &Value::Null) == 1);
        let free = call_of("system.echo", json!(workers));
        assert_eq!(other.result("calls.wait", &free), json!(workers), "the thread is free");
    }
}

#[test]
fn never_starts_a_queued_call_of_a_cancelled_method() {
    for workers in PLACES {
        let host = start("sleeps", workers);
        let (mut peer, mut other) = (connect(&host), host.peer());
        let (busy, never) = (host.latch("busy"), host.latch("never"));
        other.send_async("first", "sleep.blocking_until", &busy.params());
        wait_until("it has the only thread", || host.count("in_flight") == 1);
        peer.send_async("a", "calls.wait", &call_of("sleep.blocking_until", never.params()));
        wait_until("both run", || host.count("in_flight") == 2);

        cancel(&mut peer);
        let free = call_of("system.echo", json!(1));
        assert_eq!(host.peer().result("calls.wait", &free), 1, "the thread is free");
        busy.open();
        assert_eq!(other.receive().result(), json!(true));
        // If the other call had started, it would have the only thread for ever.
        assert_eq!(other.result("sleep.blocking", &json!({ "ms": 1 })), 1);
    }
}

#[test]
fn shows_a_running_call_that_its_caller_is_cancelled() {
    for workers in PLACES {
        let host = start("reports_context", workers);
        let (mut peer, mut other) = (connect(&host), host.peer());
        peer.send_async("a", "calls.wait", &call_of("cancel.wait", Value::Null));
        wait_until("it runs", || other.result("cancel.begun", &Value::Null) == 1);
        cancel(&mut peer);
        wait_until("it sees that", || other.result("cancel.seen", &Value::Null) == 1);
    }
}

#[test]
fn lets_a_method_complete_its_work_after_its_client_has_gone() {
    for workers in PLACES {
        let host = start("counts", workers);
        let latch = host.latch("gone");
        let mut peer = host.peer();
        let params = json!({ "method": "counts.blocking", "params": { "ms": 0 }, "after": latch.params() });
        peer.send_async("a", "calls.wait", &params);
        let mut other = host.peer();
        wait_until("it runs", || other.result("calls.waiting", &Value::Null) == 1);

        drop(peer);
        wait_until("its client has gone", || host.count("abandoned") == 1);
        latch.open();
        wait_until("it calls the other method", || other.result("counts.begun", &Value::Null) == 1);
    }
}

#[test]
fn blames_no_plugin_for_the_deadlines_of_clients() {
    let count = if is_soak() { 10_000 } else { 200 };
    for workers in PLACES {
        let host = start("sleeps", workers);
        let mut peer = host.peer();
        let nested = call_of("sleep.blocking", json!({ "ms": 20 }));
        for (method, params) in [
            ("sleep.blocking", json!({ "ms": 20 })),
            ("sleep.async", json!({ "ms": 20 })),
            ("calls.wait", nested),
        ] {
            // In parts, so that calls also start and are late while they run.
            for first in (0..count).step_by(20) {
                let request = |id| {
                    let envelope = json!({ "id": id, "method": method, "params": params, "deadline_ms": 1 });
                    frame(V1_1, ASYNC_REQUEST, envelope.to_string())
                };
                peer.send((first..first + 20).flat_map(request).collect::<Vec<_>>());
                for reply in peer.receive_all(20) {
                    assert_eq!(reply.code(), Some(DEADLINE_EXCEEDED), "{reply:?}");
                }
            }
        }

        let reply = peer.call("sleep.blocking", &json!({ "ms": 1 }));
        assert_ne!(reply.code(), Some(PLUGIN_UNAVAILABLE));
        assert_eq!(reply.result(), 1);
        for text in ["circuit breaker", "past its deadline", "rolled back", "worker process"] {
            let lines = host.log_lines();
            let blaming: Vec<_> =
                lines.iter().filter(|line| line.contains(text) && !line.contains("INFO")).collect();
            assert!(blaming.is_empty(), "{workers:?}: {blaming:?}");
        }
    }
}

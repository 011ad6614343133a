//! Deadlines: an expired request is answered at once, its handler is cancelled or its late result
//! dropped, and it is never started afterwards.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::peer::{ASYNC_RESPONSE, DEADLINE_EXCEEDED, SYNC, V1_0, envelope_with};
use crate::support::{CEILING, Frame, HostProcess, Peer, wait_until};

/// Starts a host with this time-out. Its circuit breakers are off and late threads are not
/// replaced, so that only the time-out takes effect.
fn host(timeout: &str, more: &str) -> HostProcess {
    let lenient = ["sleeps", "counts", "services"].map(|plugin| {
        format!(
            "[plugin.{plugin}]\nthreads = {}\nspare_threads = 0\nbreaker = {{ failures = 0 }}\n",
            threads(plugin)
        )
    });

    let config = format!("[timeouts]\nrequest = \"{timeout}\"\n{}{more}", lenient.concat());
    HostProcess::builder().plugin("sleeps").plugin("counts").plugin("services").config(&config).start()
}

/// Returns one thread for `counts`, so that the tests know what waits for it.
fn threads(plugin: &str) -> usize {
    if plugin == "counts" { 1 } else { 2 }
}

#[track_caller]
fn expect_deadline(reply: &Frame, kind: u8, id: &str, timeout_ms: u64) {
    assert_eq!((reply.kind, reply.id().as_deref()), (kind, Some(id)), "{reply:?}");
    assert_eq!(reply.error(DEADLINE_EXCEEDED)["data"], json!({ "timeout_ms": timeout_ms }));
}

#[test]
fn answers_at_once_after_the_deadline() {
    let host = host("200ms", "");
    for method in ["sleep.blocking_until", "sleep.async_until", "sleep.forever"] {
        let (mut peer, latch) = (host.peer(), host.latch(method));

        let begun = Instant::now();
        peer.send_frame(V1_0, SYNC, envelope_with("s", method, &latch.params()));
        peer.send_async("a", method, &latch.params());

        let mut replies = peer.receive_all(2);
        let took = begun.elapsed();
        replies.sort_by_key(|reply| reply.kind);

        expect_deadline(&replies[0], SYNC, "s", 200);
        expect_deadline(&replies[1], ASYNC_RESPONSE, "a", 200);
        assert!(took >= Duration::from_millis(200), "{method} was answered early, after {took:?}");

        // The calls run until now: the replies were not caused by their end.
        latch.open();
        peer.assert_usable();
    }
    assert_eq!(host.count("deadlines_exceeded"), 6);
}

#[test]
fn drops_and_counts_late_results() {
    // Long enough for both calls to start on a busy machine: a call that never starts is never
    // late.
    let config = "[[route]]\nmethod = \"sleep.blocking_until\"\nplugin = \"sleeps\"\ntimeout = \"2s\"";

    let host = host("100ms", config);
    let (mut peer, latch) = (host.peer(), host.latch("late"));

    for id in ["1", "2"] {
        peer.send_async(id, "sleep.blocking_until", &latch.params());
    }
    for reply in peer.receive_all(2) {
        reply.error(DEADLINE_EXCEEDED);
    }

    // The ids are free again. A late result of an old request is not taken for that of a new one.
    peer.send_async("1", "sleep.forever", &Value::Null);
    let reply = peer.receive();
    expect_deadline(&reply, ASYNC_RESPONSE, "1", 100);

    latch.open();
    wait_until("both late results are counted", || host.count("late_results") == 2);

    peer.assert_usable();
    wait_until("nothing is in flight", || host.count("in_flight") == 0);
}

#[test]
fn rejects_the_result_of_a_late_inline_method() {
    let config = "[[route]]\nmethod = \"counts.inline\"\nplugin = \"counts\"\ntimeout = \"50ms\"";
    let host = host("20s", config);
    let mut peer = host.peer();

    peer.call("counts.inline", &json!({ "ms": 120 })).error(DEADLINE_EXCEEDED);
    assert_eq!(peer.result("counts.async", &json!({ "ms": 0 })), 2);
    assert_eq!(host.count("late_results"), 1);
}

#[test]
fn cancels_async_methods_at_the_deadline() {
    const REQUESTS: usize = 200;
    let host = host("300ms", "");
    let mut peer = host.peer();
    let mut accounting = ReplyAccounting::default();

    for number in 0..REQUESTS {
        let id = number.to_string();
        accounting.record_request(&id);
        peer.send_async(&id, "sleep.forever", &Value::Null);
    }

    peer.receive_all(REQUESTS).iter().for_each(|reply| accounting.record_reply(reply));
    assert_eq!((accounting.check(), accounting.count(Some(DEADLINE_EXCEEDED))), (Ok(()), REQUESTS));

    // This call runs after all others. On a busy machine, some of them may be too late to start at
    // all.
    wait_until("the last call was considered", || {
        peer.call("sleep.async", &json!({ "ms": 0 })).code().is_none()
    });
    let begun = peer.result("sleep.begun", &Value::Null);
    assert!(begun.as_u64() > Some(0), "no call was started");
    wait_until("their futures are dropped", || peer.result("sleep.dropped", &Value::Null) == begun);

    assert_eq!(host.count("late_results"), 0);
}

#[test]
fn signals_cancellation_to_a_blocking_method() {
    let host = host("150ms", "");
    let mut peer = host.peer();
    peer.send_async("cancelled", "services.until_cancelled", &Value::Null);

    expect_deadline(&peer.receive(), ASYNC_RESPONSE, "cancelled", 150);
    host.wait_for_log("the call cancelled was cancelled");
}

#[test]
fn never_starts_a_queued_call_after_its_deadline() {
    const QUEUED_CALLS: usize = 500;
    let config = "[[route]]\nmethod = \"counts.held\"\nplugin = \"counts\"\ntimeout = \"2m\"";
    let host = host("300ms", config);
    let (mut peer, mut first) = (host.peer(), host.peer());
    let mut accounting = ReplyAccounting::default();

    // The first call occupies the only thread until all others are answered with DEADLINE_EXCEEDED.
    first.send_async("first", "counts.held", &Value::Null);
    wait_until("the first call runs", || peer.result("counts.begun", &Value::Null) == 1);

    for number in 0..QUEUED_CALLS {
        let id = number.to_string();
        accounting.record_request(&id);
        peer.send_async(&id, "counts.blocking", &json!({ "ms": 0 }));
    }

    peer.receive_all(QUEUED_CALLS).iter().for_each(|reply| accounting.record_reply(reply));
    assert_eq!((accounting.check(), accounting.count(Some(DEADLINE_EXCEEDED))), (Ok(()), QUEUED_CALLS));

    assert_eq!(peer.result("counts.release", &Value::Null), Value::Null);
    assert_eq!(first.receive().result(), 1);
    // The thread has skipped all of them when it answers this one.
    assert_eq!(first.result("counts.held", &Value::Null), 2);
}

#[test]
fn answers_expired_sync_requests_in_order_without_starting_them() {
    let config = r#"
        [[route]]
        method = "counts.*"
        plugin = "counts"
        timeout = "100ms"
    "#;
    let host = host("20s", config);
    let mut peer = host.peer();

    peer.send_frame(V1_0, SYNC, envelope_with("1", "sleep.blocking", &json!({ "ms": 400 })));
    for (id, method) in [("2", "counts.blocking"), ("3", "counts.inline"), ("4", "counts.async")] {
        peer.send_frame(V1_0, SYNC, envelope_with(id, method, &json!({ "ms": 0 })));
    }
    peer.send_frame(V1_0, SYNC, envelope_with("5", "sleep.running", &Value::Null));

    let replies = peer.receive_all(5);
    assert_eq!(replies[0].result(), 400);

    for (reply, id) in replies[1..4].iter().zip(["2", "3", "4"]) {
        expect_deadline(reply, SYNC, id, 100);
    }
    assert_eq!((replies[4].id().as_deref(), replies[4].result()), (Some("5"), json!(0)));

    assert_eq!(peer.result("counts.begun", &Value::Null), 0);
}

#[test]
fn answers_every_request_of_an_expired_sync_queue() {
    const WAITING: usize = 1000;
    let host = host("200ms", "");
    let mut peer = host.peer();

    for number in 0..WAITING {
        let id = number.to_string();
        peer.send_frame(V1_0, SYNC, envelope_with(&id, "sleep.forever", &Value::Null));
    }

    for (number, reply) in peer.receive_all(WAITING).iter().enumerate() {
        expect_deadline(reply, SYNC, &number.to_string(), 200);
    }
    peer.assert_usable();
}

#[test]
fn tells_a_method_its_remaining_time() {
    let config = "[[route]]\nmethod = \"services.*\"\nplugin = \"services\"\ntimeout = \"5s\"";
    let host = host("20s", config);
    let mut peer = host.peer();
    for method in ["services.call", "services.call_blocking"] {
        let call = peer.result(method, &Value::Null);
        let left = call["remainingMs"].as_u64().unwrap();
        assert!((1..=5000).contains(&left), "{call}");
        assert_eq!(call["cancelled"], false);
    }
}

/// Returns the next reply. It may take longer than tests usually wait.
fn wait_long(peer: &mut Peer) -> Frame {
    match peer.receive_within(2 * CEILING) {
        Ok(Some(reply)) => reply,
        other => panic!("no reply: {other:?}"),
    }
}

#[test]
fn applies_the_default_timeout_of_30_seconds() {
    let host = HostProcess::with(&["sleeps"]);
    let (mut sync, mut asynchronous, mut cancelled) = (host.peer(), host.peer(), host.peer());

    let begun = Instant::now();
    sync.send_frame(V1_0, SYNC, envelope_with("s", "sleep.blocking", &json!({ "ms": 35_000 })));
    asynchronous.send_async("a", "sleep.blocking", &json!({ "ms": 35_000 }));
    cancelled.send_async("c", "sleep.forever", &Value::Null);

    let peers = [
        (&mut sync, SYNC, "s"),
        (&mut asynchronous, ASYNC_RESPONSE, "a"),
        (&mut cancelled, ASYNC_RESPONSE, "c"),
    ];

    for (peer, kind, id) in peers {
        let reply = wait_long(peer);
        let took = begun.elapsed();
        expect_deadline(&reply, kind, id, 30_000);
        assert!(took >= Duration::from_secs(30), "answered early, after {took:?}");
        assert!(took < Duration::from_secs(34), "answered late, after {took:?}");
    }

    assert_eq!((host.count("deadlines_exceeded"), host.count("late_results")), (3, 0));
    wait_until("the future is dropped", || cancelled.result("sleep.dropped", &Value::Null) == 1);
    wait_until("both late results are counted", || host.count("late_results") == 2);

    sync.assert_usable();
    asynchronous.assert_usable();
}

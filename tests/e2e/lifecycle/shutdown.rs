//! The shutdown: requests in flight are answered, later ones are rejected, and a second signal ends
//! the host at once.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::peer::{ASYNC_RESPONSE, DEADLINE_EXCEEDED, GOING_AWAY, SYNC};
use crate::support::{HostProcess, Latch, Peer, wait_until};

/// Number of connections in the accept queue of the host when it receives SIGTERM.
const QUEUED_CONNECTIONS: usize = 400;

fn refuses_connections(host: &HostProcess) -> bool {
    UnixStream::connect(host.socket()).is_err()
}

/// Opens a connection with two calls in flight, one sync and one async, until the latch is opened.
fn with_calls_in_flight(host: &HostProcess, latch: &Latch) -> Peer {
    let mut peer = host.peer();
    peer.send_sync("sleep.blocking_until", &latch.params());
    peer.send_async("slow", "sleep.async_until", &latch.params());
    wait_until("both requests are in flight", || host.count("in_flight") == 2);
    peer
}

#[test]
fn answers_requests_in_flight_after_sigterm_and_sigint() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut host = HostProcess::with(&["sleeps", "device"]);
        let mut idle = host.peer();
        idle.assert_usable();

        let latch = host.latch("slow");
        let mut peer = with_calls_in_flight(&host, &latch);

        host.signal(signal);
        host.wait_for_log("stopping on SIG");
        wait_until("no further client can connect", || refuses_connections(&host));
        // A connection without requests in flight is closed at once.
        idle.expect_close();

        // A connection with requests in flight can send more, but these are rejected.
        let mut accounting = ReplyAccounting::default();
        let mut number = 0;
        let mut rejected = 0;
        let mut results = Vec::new();

        while rejected == 0 {
            let id = format!("more{number}");
            accounting.record_request(&id);
            peer.send_async(&id, "system.ping", &Value::Null);
            number += 1;

            let frame = peer.receive();
            match frame.id() {
                Some(id) if id.starts_with("more") => {
                    rejected += usize::from(frame.code() == Some(GOING_AWAY));
                    assert!(
                        frame.code().is_none() || frame.error(GOING_AWAY)["data"]["retry_after_ms"].is_u64()
                    );
                    accounting.record_reply(&frame);
                }
                _ => results.push(frame),
            }
        }

        latch.open();
        for frame in peer.receive_until_close() {
            if frame.id().is_some_and(|id| id.starts_with("more")) {
                accounting.record_reply(&frame)
            } else {
                results.push(frame)
            }
        }

        accounting.check().expect("each late request was answered");
        let kinds: Vec<_> = results.iter().map(|frame| (frame.kind, frame.result())).collect();

        assert_eq!(kinds.len(), 2, "{results:?}");
        assert!(
            kinds.contains(&(SYNC, json!(true))) && kinds.contains(&(ASYNC_RESPONSE, json!(true))),
            "{kinds:?}"
        );

        let ended = host.wait();
        assert_eq!(ended.code(), Some(0), "{signal:?}");
        assert!(host.log_contains("all requests answered"), "{}", host.log());
    }
}

/// Configuration with more I/O threads than these tests have connections in flight.
const FOUR_IO_THREADS: &str = "[io]\nthreads = 4";

#[test]
fn runs_nested_inline_calls_of_requests_in_flight_after_sigterm() {
    let plugins = HostProcess::builder().plugin("calls").plugin("sleeps");
    let mut host = plugins.config(FOUR_IO_THREADS).start();
    let latch = host.latch("nested");
    let nested = json!({ "method": "sleep.running", "after": latch.params() });

    let mut peer = host.peer();
    peer.send_sync("calls.wait", &nested);
    peer.send_async("chain", "calls.chain", &nested);
    wait_until("both requests are in flight", || host.count("in_flight") == 2);

    host.signal(Signal::TERM);
    host.wait_for_log("stopping on SIG");
    wait_until("no further client can connect", || refuses_connections(&host));
    latch.open();

    let replies = peer.receive_until_close();
    let results: Vec<_> = replies.iter().map(|reply| (reply.code(), reply.text())).collect();
    assert!(replies.len() == 2 && replies.iter().all(|reply| reply.code().is_none()), "{results:?}");
    assert_eq!(host.wait().code(), Some(0));
}

#[test]
fn runs_nested_inline_calls_of_abandoned_requests_after_sigterm() {
    let plugins = HostProcess::builder().plugin("calls").plugin("services");
    let mut host = plugins.config(FOUR_IO_THREADS).start();
    let latch = host.latch("nested");
    let line = json!({ "level": "info", "line": "the nested call ran" });

    let mut peer = host.peer();
    peer.send_sync(
        "calls.wait",
        &json!({ "method": "services.log", "params": line, "after": latch.params() }),
    );
    wait_until("the method runs", || host.peer().result("calls.waiting", &Value::Null) == 1);
    drop(peer);
    wait_until("the request is abandoned", || host.count("abandoned") == 1);

    host.signal(Signal::TERM);
    host.wait_for_log("stopping on SIG");
    wait_until("no further client can connect", || refuses_connections(&host));
    latch.open();

    assert_eq!(host.wait().code(), Some(0));
    assert!(host.log_contains("the nested call ran"), "{}", host.log());
}

#[test]
fn answers_or_rejects_clients_in_the_accept_queue() {
    let mut host = HostProcess::with(&["device"]);
    host.peer().assert_usable();

    // A stopped host cannot accept. So these connections are in its queue when it receives the
    // signal to end.
    host.signal(Signal::STOP);
    let mut peers: Vec<_> = (0..QUEUED_CONNECTIONS).map(|_| host.peer()).collect();
    peers.iter_mut().for_each(|peer| peer.send_sync("system.ping", &Value::Null));

    host.signal(Signal::TERM);
    host.signal(Signal::CONT);

    for peer in &mut peers {
        let frames = peer.receive_until_close();
        let [reply] = &frames[..] else { panic!("one reply each, not {frames:?}") };
        assert_eq!(reply.kind, SYNC);
        assert!(matches!(reply.code(), None | Some(GOING_AWAY)), "{reply:?}");
    }
    assert_eq!(host.wait().code(), Some(0));
}

#[test]
fn ends_at_once_after_a_second_signal() {
    for signals in [[Signal::TERM, Signal::TERM], [Signal::INT, Signal::INT], [Signal::TERM, Signal::INT]] {
        let mut host = HostProcess::builder()
            .plugin("sleeps")
            .config("[timeouts]\nrequest = \"10m\"\ndrain = \"10m\"")
            .start();

        let mut peer = host.peer();
        peer.send_async("endless", "sleep.forever", &Value::Null);
        wait_until("the request is in flight", || host.count("in_flight") == 1);

        host.signal(signals[0]);
        host.wait_for_log("stopping on SIG");
        assert!(host.is_running());

        host.signal(signals[1]);
        let began = Instant::now();
        assert_eq!(host.wait().code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(10), "the shutdown took {:?}", began.elapsed());

        assert!(host.log_contains("cut short (second signal)"), "{}", host.log());
        assert_answered(&mut peer);
    }
}

#[test]
fn ends_after_the_drain_timeout() {
    let config = "[timeouts]\nrequest = \"10m\"\ndrain = \"200ms\"";
    let mut host = HostProcess::builder().plugin("sleeps").config(config).start();

    let mut peer = host.peer();
    peer.send_async("endless", "sleep.forever", &Value::Null);
    peer.send_sync("sleep.blocking", &json!({ "ms": 600_000 }));
    wait_until("both requests are in flight", || host.count("in_flight") == 2);

    host.signal(Signal::TERM);
    // The blocking thread cannot be ended, but it does not keep the process running.
    assert_eq!(host.wait().code(), Some(0));
    assert!(host.log_contains("2 requests and 0 connections cut short (drain time-out)"), "{}", host.log());

    let frames = peer.receive_until_close();
    let mut kinds: Vec<_> = frames.iter().map(|frame| (frame.kind, frame.code())).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [(SYNC, Some(DEADLINE_EXCEEDED)), (ASYNC_RESPONSE, Some(DEADLINE_EXCEEDED))]);
}

/// Asserts that a host that ends at once still answers its accepted request.
#[track_caller]
fn assert_answered(peer: &mut Peer) {
    let frames = peer.receive_until_close();
    let [reply] = &frames[..] else { panic!("one reply, not {frames:?}") };
    assert_eq!((reply.id().as_deref(), reply.kind), (Some("endless"), ASYNC_RESPONSE));
    reply.error(DEADLINE_EXCEEDED);
}

#[test]
fn ends_successfully_after_many_signals() {
    let mut host = HostProcess::with(&["sleeps"]);
    host.peer().assert_usable();

    for signal in [Signal::PIPE, Signal::PIPE, Signal::TERM, Signal::TERM, Signal::INT, Signal::TERM] {
        host.signal(signal);
    }

    assert_eq!(host.wait().code(), Some(0));
}

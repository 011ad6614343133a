//! Ends: what is in flight is answered, what comes too late is told so, and a second signal does
//! not wait.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::peer::{ASYNC_RESPONSE, DEADLINE_EXCEEDED, GOING_AWAY, SYNC};
use crate::support::{HostProcess, Latch, Peer, wait_until};

/// How many connections wait in the queue of a host that is told to end.
const QUEUED: usize = 400;

fn is_refused(host: &HostProcess) -> bool {
    UnixStream::connect(host.socket()).is_err()
}

/// A peer whose calls are in flight, one sync, one async, until the latch is opened.
fn with_calls_in_flight(host: &HostProcess, latch: &Latch) -> Peer {
    let mut peer = host.peer();
    peer.send_sync("sleep.blocking_until", &latch.params());
    peer.send_async("slow", "sleep.async_until", &latch.params());
    wait_until("both are in flight", || host.count("in_flight") == 2);
    peer
}

#[test]
fn either_signal_answers_what_is_in_flight_and_ends_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut host = HostProcess::with(&["sleeps", "device"]);
        let mut idle = host.peer();
        idle.assert_usable();
        let latch = host.latch("slow");
        let mut peer = with_calls_in_flight(&host, &latch);
        host.signal(signal);
        host.wait_for_log("draining");
        wait_until("no further client can connect", || is_refused(&host));
        // Who has nothing in flight sees the end at once, not after the others.
        idle.expect_close();
        // Who has can still ask, and is told to ask elsewhere.
        let mut accounting = ReplyAccounting::default();
        let mut number = 0;
        let mut turned_away = 0;
        let mut results = Vec::new();
        while turned_away == 0 {
            let id = format!("more{number}");
            accounting.record_request(&id);
            peer.send_async(&id, "system.ping", &Value::Null);
            number += 1;
            let frame = peer.receive();
            match frame.id() {
                Some(id) if id.starts_with("more") => {
                    turned_away += usize::from(frame.code() == Some(GOING_AWAY));
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
        assert!(host.log_contains("drained"), "{}", host.log());
    }
}

#[test]
fn clients_in_the_queue_are_answered_or_told_to_go_elsewhere() {
    let mut host = HostProcess::with(&["device"]);
    host.peer().assert_usable();
    // A host that does not run cannot accept: what connects now is in the queue when it is told to
    // end.
    host.signal(Signal::STOP);
    let mut peers: Vec<_> = (0..QUEUED).map(|_| host.peer()).collect();
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
fn a_second_signal_ends_at_once() {
    for signals in [[Signal::TERM, Signal::TERM], [Signal::INT, Signal::INT], [Signal::TERM, Signal::INT]] {
        let mut host = HostProcess::builder()
            .plugin("sleeps")
            .config("[timeouts]\nrequest = \"10m\"\ndrain = \"10m\"")
            .start();
        let mut peer = host.peer();
        peer.send_async("endless", "sleep.deaf", &Value::Null);
        wait_until("it is in flight", || host.count("in_flight") == 1);
        host.signal(signals[0]);
        host.wait_for_log("draining");
        assert!(host.is_running());
        host.signal(signals[1]);
        let began = Instant::now();
        assert_eq!(host.wait().code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
        assert!(host.log_contains("told to end at once"), "{}", host.log());
        assert_answered_or_cut(&mut peer);
    }
}

#[test]
fn a_drain_has_an_end() {
    let config = "[timeouts]\nrequest = \"10m\"\ndrain = \"200ms\"";
    let mut host = HostProcess::builder().plugin("sleeps").config(config).start();
    let mut peer = host.peer();
    peer.send_async("endless", "sleep.deaf", &Value::Null);
    peer.send_sync("sleep.blocking", &json!({ "ms": 600_000 }));
    wait_until("both are in flight", || host.count("in_flight") == 2);
    host.signal(Signal::TERM);
    // The blocking thread cannot be ended, and does not keep the process.
    assert_eq!(host.wait().code(), Some(0));
    assert!(host.log_contains("the drain time-out has passed"), "{}", host.log());
    let frames = peer.receive_until_close();
    let mut kinds: Vec<_> = frames.iter().map(|frame| (frame.kind, frame.code())).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [(SYNC, Some(DEADLINE_EXCEEDED)), (ASYNC_RESPONSE, Some(DEADLINE_EXCEEDED))]);
}

/// A host that is told to hurry still says what became of what it had accepted.
#[track_caller]
fn assert_answered_or_cut(peer: &mut Peer) {
    let frames = peer.receive_until_close();
    let [reply] = &frames[..] else { panic!("one reply, not {frames:?}") };
    assert_eq!((reply.id().as_deref(), reply.kind), (Some("endless"), ASYNC_RESPONSE));
    reply.error(DEADLINE_EXCEEDED);
}

#[test]
fn a_second_signal_and_many_more_do_no_harm() {
    let mut host = HostProcess::with(&["sleeps"]);
    host.peer().assert_usable();
    for signal in [Signal::PIPE, Signal::PIPE, Signal::TERM, Signal::TERM, Signal::INT, Signal::TERM] {
        host.signal(signal);
    }
    assert_eq!(host.wait().code(), Some(0));
}

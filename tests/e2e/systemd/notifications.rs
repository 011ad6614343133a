//! What a supervisor is told, and when: ready, reloading, stopping, alive, and how it is.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::supervisor::{Place, Supervised};
use crate::support::peer::{SYNC, V1_0, envelope, frame};
use crate::support::{CEILING, Peer, wait_until};

/// How often a start is tried: ready must mean ready each time.
const STARTS: usize = 50;
/// How long a watchdog in a test waits, in microseconds.
const WATCHDOG: &str = "400000";

#[test]
fn ready_is_said_when_a_request_is_answered_each_time() {
    let place = Place::new("[[listener]]\n[[listener]]\nsocket = \"run/l.sock\"\nframing = \"line\"", &[]);
    for _ in 0..STARTS {
        let host = place.start();
        let (_, before) = place.hear("READY=1");
        assert!(before.is_empty(), "{before:?}");
        place.peer().assert_usable();
        host.terminate();
        place.hear("STOPPING=1");
    }
    // With plugins: their methods, too.
    let place = Place::new("", &["device"]);
    let host = place.start();
    let (said, _) = place.hear("READY=1");
    assert!(said.lines().any(|line| line == "STATUS=0 connections, 0 in flight, 2 plugins"), "{said}");
    place.peer().result("device.status.update", &json!({ "deviceId": "d", "status": "online" }));
    host.terminate();
}

#[test]
fn the_end_is_told_and_how_long_it_may_take() {
    let place = Place::new("[timeouts]\ndrain = \"7m\"", &["sleeps"]);
    let mut host = place.start();
    place.hear("READY=1");
    let mut peer = place.peer();
    peer.send_sync("sleep.blocking", &json!({ "ms": 300 }));
    wait_until("it runs", || place.peer().result("sleep.running", &Value::Null) == 1);
    host.signal(Signal::TERM);
    let (said, _) = place.hear("STOPPING=1");
    assert!(said.lines().any(|line| line == "EXTEND_TIMEOUT_USEC=430000000"), "{said}");
    assert_eq!(peer.receive().result(), 300);
    assert_eq!(host.wait(), 0);
    assert_eq!(place.hear_within(Duration::from_millis(1)), None, "and nothing after it");
}

#[test]
fn the_watchdog_is_fed_while_the_host_answers_and_only_then() {
    let place = Place::new("", &["crashes"]);
    let mut command = place.command(&[]);
    command.env("WATCHDOG_USEC", WATCHDOG);
    let host = Supervised::of(command);
    place.hear("READY=1");
    for _ in 0..3 {
        let (said, _) = place.hear("WATCHDOG=1");
        assert!(said.contains("STATUS="), "{said}");
    }
    // One of the threads that serve is held up. Others answer, but not everybody is answered.
    let mut held = place.peer();
    held.send_sync("crash.hold", &Value::Null);
    host.log.wait_for("the complaint", |line| line.contains("the watchdog is not fed"));
    while place.hear_within(Duration::from_millis(1)).is_some() {}
    assert_eq!(place.hear_within(Duration::from_secs(2)), None, "five times the limit");
    drop(host);
    held.expect_close();
    // A killed host cannot remove its sockets; the next one, not watched, is not fed for.
    let mut command = place.command(&[]);
    command.env("WATCHDOG_USEC", WATCHDOG).env("WATCHDOG_PID", "1");
    let host = Supervised::of(command);
    place.hear("READY=1");
    assert_eq!(place.hear_within(Duration::from_secs(1)), None, "it is another process that is watched");
    host.terminate();
}

#[test]
fn a_host_that_is_full_is_alive() {
    let place = Place::new("[limits]\nconnections = 2", &[]);
    let mut command = place.command(&[]);
    command.env("WATCHDOG_USEC", WATCHDOG);
    let host = Supervised::of(command);
    place.hear("READY=1");
    let mut full = Vec::new();
    // The host's own connections, by which it became ready, may be there for a moment yet.
    wait_until("two clients have all there is", || {
        let mut peer = place.peer();
        let sent = peer.try_send(frame(V1_0, SYNC, envelope("system.ping", &Value::Null)));
        if sent.is_ok() && matches!(peer.receive_within(CEILING), Ok(Some(reply)) if reply.code().is_none()) {
            full.push(peer);
        }
        full.len() == 2
    });
    for _ in 0..4 {
        place.hear("WATCHDOG=1");
    }
    full.iter_mut().for_each(Peer::assert_usable);
    host.terminate();
}

//! Notifications to the supervisor: ready, reloading, stopping, watchdog and status.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::supervisor::{SupervisedHost, Supervisor};
use crate::support::peer::{SYNC, V1_0, envelope, frame};
use crate::support::{CEILING, Peer, wait_until};

/// Number of starts. Requests must succeed after each READY=1.
const STARTS: usize = 50;
/// The watchdog time-out of the tests, in microseconds.
const WATCHDOG: &str = "400000";

#[test]
fn notifies_readiness_when_requests_succeed() {
    let supervisor =
        Supervisor::new("[[listener]]\n[[listener]]\nsocket = \"run/l.sock\"\nframing = \"line\"", &[]);
    for _ in 0..STARTS {
        let host = supervisor.start();

        let (_, before) = supervisor.wait_for_notification("READY=1");
        assert!(before.is_empty(), "{before:?}");
        supervisor.peer().assert_usable();
        host.terminate();
        supervisor.wait_for_notification("STOPPING=1");
    }

    // With plugins, their methods are ready, too.
    let supervisor = Supervisor::new("", &["device"]);
    let host = supervisor.start();
    let (notification, _) = supervisor.wait_for_notification("READY=1");
    assert!(
        notification.lines().any(|line| line == "STATUS=0 connections, 0 in flight, 2 plugins"),
        "{notification}"
    );

    supervisor.peer().result("device.status.update", &json!({ "deviceId": "d", "status": "online" }));
    host.terminate();
}

#[test]
fn notifies_the_shutdown_and_extends_its_timeout() {
    let supervisor = Supervisor::new("[timeouts]\ndrain = \"7m\"", &["sleeps"]);
    let mut host = supervisor.start();
    supervisor.wait_for_notification("READY=1");

    let mut peer = supervisor.peer();
    peer.send_sync("sleep.blocking", &json!({ "ms": 300 }));
    wait_until("the call runs", || supervisor.peer().result("sleep.running", &Value::Null) == 1);

    host.signal(Signal::TERM);
    let (notification, _) = supervisor.wait_for_notification("STOPPING=1");
    assert!(notification.lines().any(|line| line == "EXTEND_TIMEOUT_USEC=430000000"), "{notification}");

    assert_eq!(peer.receive().result(), 300);
    assert_eq!(host.wait(), 0);
    assert_eq!(
        supervisor.next_notification(Duration::from_millis(1)),
        None,
        "STOPPING=1 is the last notification"
    );
}

#[test]
fn notifies_the_watchdog_only_while_requests_succeed() {
    let supervisor = Supervisor::new("", &["crashes"]);
    let mut command = supervisor.command(&[]);
    command.env("WATCHDOG_USEC", WATCHDOG);
    let host = SupervisedHost::spawn(command);
    supervisor.wait_for_notification("READY=1");

    for _ in 0..3 {
        let (notification, _) = supervisor.wait_for_notification("WATCHDOG=1");
        assert!(notification.contains("STATUS="), "{notification}");
    }

    // One I/O thread is stalled. Others respond, but requests on this thread do not succeed.
    let mut held = supervisor.peer();
    held.send_sync("crash.hold", &Value::Null);

    host.log.wait_for("the failed health check", |line| line.contains("watchdog reports stop"));
    while supervisor.next_notification(Duration::from_millis(1)).is_some() {}
    assert_eq!(supervisor.next_notification(Duration::from_secs(2)), None, "five times the limit");
    drop(host);
    held.expect_close();

    // A killed host cannot remove its sockets. The next host is not the watched process, so it
    // sends nothing.
    let mut command = supervisor.command(&[]);
    command.env("WATCHDOG_USEC", WATCHDOG).env("WATCHDOG_PID", "1");
    let host = SupervisedHost::spawn(command);
    supervisor.wait_for_notification("READY=1");

    assert_eq!(supervisor.next_notification(Duration::from_secs(1)), None, "another process is watched");
    host.terminate();
}

#[test]
fn notifies_the_watchdog_while_all_connections_are_used() {
    let supervisor = Supervisor::new("[limits]\nconnections = 2", &[]);
    let mut command = supervisor.command(&[]);
    command.env("WATCHDOG_USEC", WATCHDOG);
    let host = SupervisedHost::spawn(command);
    supervisor.wait_for_notification("READY=1");

    let mut full = Vec::new();
    // The connections that the host used to check its readiness may still be open.
    wait_until("two clients use all permitted connections", || {
        let mut peer = supervisor.peer();
        let sent = peer.try_send(frame(V1_0, SYNC, envelope("system.ping", &Value::Null)));
        if sent.is_ok() && matches!(peer.receive_within(CEILING), Ok(Some(reply)) if reply.code().is_none()) {
            full.push(peer);
        }
        full.len() == 2
    });

    for _ in 0..4 {
        supervisor.wait_for_notification("WATCHDOG=1");
    }

    full.iter_mut().for_each(Peer::assert_usable);
    host.terminate();
}

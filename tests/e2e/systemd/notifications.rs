//! Notifications to the supervisor: ready, reloading, stopping, watchdog and status.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::supervisor::{SupervisedHost, Supervisor};
use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::peer::{SYNC, V1_0, envelope, frame};
use crate::support::slow_start::Marks;
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
        notification.lines().any(|line| line == "STATUS=0 connections, 0 in flight, 1 plugin"),
        "{notification}"
    );

    supervisor.peer().result("device.status.update", &json!({ "deviceId": "d", "status": "online" }));
    host.terminate();
}

#[test]
fn notifies_readiness_without_running_the_method_of_a_listener() {
    let config =
        "[[listener]]\n[[listener]]\nsocket = \"run/t.sock\"\nframing = \"line\"\nmethod = \"counts.inline\"";
    let supervisor = Supervisor::new(config, &["counts"]);
    let host = supervisor.start();

    supervisor.wait_for_notification("READY=1");

    assert_eq!(supervisor.peer().result("counts.begun", &Value::Null), 0);
    let counts = &supervisor.peer().result("system.info", &Value::Null)["counts"];
    assert_eq!(counts["errors"], 0, "no check was answered with an error: {counts}");
    host.terminate();
}

#[test]
fn extends_the_timeout_of_the_start_while_plugins_start() {
    let supervisor = Supervisor::new("", &[]);
    let marks = Marks::below(supervisor.scratch.path());
    let plugin = |name: &str| supervisor.path(&format!("plugins/{name}.so"));
    install(artifacts().library("starts_slowly"), &plugin("slow"));
    install(artifacts().library("device"), &plugin("device"));
    let config = format!("[plugins]\nprobe = \"1m\"\n{}", marks.settings("slow", &["go"]));
    supervisor.scratch.write("config.toml", config);
    let is_extended = |notification: &String| {
        // The probe and 10 s.
        notification.lines().any(|line| line == "EXTEND_TIMEOUT_USEC=70000000")
    };

    let host = supervisor.start();

    // The beginning, and the probe of the other plugin. Without progress there are no more.
    for _ in 0..2 {
        let notification = supervisor.next_notification(CEILING).expect("a notification");
        assert!(is_extended(&notification), "{notification}");
        assert!(notification.contains("STATUS=starting: 0 of 2 plugins"), "{notification}");
    }
    marks.wait_for("slow.probe");
    assert_eq!(supervisor.next_notification(Duration::from_millis(500)), None);

    marks.set("go.probe");
    marks.set("go.host");
    let (_, before) = supervisor.wait_for_notification("READY=1");
    assert_eq!(before.len(), 3, "the probe of the slow plugin, and both starts: {before:?}");
    assert!(before.iter().all(is_extended), "{before:?}");
    host.terminate();
}

#[test]
fn notifies_a_signal_during_the_start() {
    let supervisor = Supervisor::new("", &[]);
    let marks = Marks::below(supervisor.scratch.path());
    install(artifacts().library("starts_slowly"), &supervisor.path("plugins/slow.so"));
    let config = format!("[plugins]\nprobe = \"10m\"\n{}", marks.settings("slow", &["go"]));
    supervisor.scratch.write("config.toml", config);
    let mut host = supervisor.start();
    marks.wait_for("slow.probe");

    host.signal(Signal::TERM);

    supervisor.wait_for_notification("STOPPING=1");
    assert_eq!(host.wait(), 0, "{}", host.log.text());
    assert_eq!(supervisor.next_notification(Duration::from_millis(1)), None, "STOPPING=1 is the last one");
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

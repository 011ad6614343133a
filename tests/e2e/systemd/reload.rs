//! Reloads by signal and by command: they return when everything is applied, and fail with the
//! reasons.

use rustix::process::Signal;
use serde_json::Value;

use super::supervisor::Supervisor;
use crate::support::peer::METHOD_NOT_FOUND;
use crate::support::program::jackfield;

/// Number of reloads. The change must be in effect after each of them.
const RELOADS: usize = 20;

fn config(enabled: bool) -> String {
    format!("[[route]]\nmethod = \"device.list\"\nplugin = \"device\"\nenabled = {enabled}\n")
}

/// Returns whether the route is enabled. An unrouted method has its own error code.
fn is_routed(supervisor: &Supervisor) -> bool {
    supervisor.peer().call("device.list", &Value::Null).code() != Some(METHOD_NOT_FOUND)
}

#[test]
fn notifies_readiness_after_sighup_when_everything_is_applied() {
    // The file watcher is not used: a change is applied by the signal.
    let supervisor = Supervisor::new(&config(true), &["device"]);
    let host = supervisor.start();
    supervisor.wait_for_notification("READY=1");

    for reload in 0..RELOADS {
        let enabled = reload % 2 == 1;
        supervisor.scratch.write("config.toml", config(enabled));
        host.signal(Signal::HUP);

        let (notification, _) = supervisor.wait_for_notification("RELOADING=1");
        let since = notification.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(
            since.is_some_and(|since| since.parse::<u64>().is_ok_and(|since| since > 0)),
            "{notification}"
        );

        let (notification, between) = supervisor.wait_for_notification("READY=1");
        assert!(
            between.iter().all(|notification| notification.starts_with("STATUS=")),
            "{between:?} before {notification}"
        );

        assert_eq!(is_routed(&supervisor), enabled, "reload {reload}");
    }
    host.terminate();
}

#[test]
fn returns_when_everything_is_applied_or_fails() {
    let supervisor = Supervisor::new(&config(true), &["device"]);
    let host = supervisor.start();
    supervisor.wait_for_notification("READY=1");

    let reload = || jackfield(supervisor.scratch.path(), &["reload", "--socket", "run/jackfield-admin.sock"]);

    for enabled in [false, true] {
        supervisor.scratch.write("config.toml", config(enabled));
        let finished = reload();
        assert_eq!((finished.code, finished.stderr.as_str()), (0, ""));
        assert_eq!(is_routed(&supervisor), enabled);
        supervisor.wait_for_notification("RELOADING=1");
        supervisor.wait_for_notification("READY=1");
    }

    supervisor.scratch.write("config.toml", "[limits]\nframe = 1\n[speed]\n");
    let finished = reload();

    assert_eq!(finished.code, 1, "{finished:?}");
    for fault in ["config.toml:2:", "config.toml:3:"] {
        assert!(finished.stderr.contains(fault), "every fault is reported: {finished:?}");
    }
    let first = "the configuration was not applied, and the previous one stays in effect:";
    assert_eq!(finished.stderr.lines().next(), Some(first), "{finished:?}");
    assert_eq!(finished.stderr.lines().count(), 3, "one line for each fault: {finished:?}");
    let admin = ["--socket", "run/jackfield-admin.sock", "--json"];
    let as_json = jackfield(supervisor.scratch.path(), &[&["reload"][..], &admin].concat());
    let reply: Value = serde_json::from_str(&as_json.stderr).expect("the error of the reply");
    assert_eq!((as_json.code, &reply["code"]), (1, &Value::from(78)));
    assert!(is_routed(&supervisor), "the host continues with the previous configuration");

    // Without `--socket` the command reads the path from the configuration, so an invalid file is
    // an error.
    assert_eq!(jackfield(supervisor.scratch.path(), &["reload"]).code, 78);
    supervisor.scratch.write("config.toml", config(true));
    assert_eq!(jackfield(supervisor.scratch.path(), &["reload"]).code, 0);

    host.terminate();
    let finished = jackfield(supervisor.scratch.path(), &["reload"]);
    assert_eq!(finished.code, 69, "{finished:?}");
    assert!(finished.stderr.contains("no host at"), "{finished:?}");
}

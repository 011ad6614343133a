//! Crashes while several plugins run: none is quarantined for crashes that another one causes.

use serde_json::json;

use super::crash_in;
use crate::support::admin::plugin_row;
use crate::support::{HostProcess, wait_until};

/// Crashes the host in `crashes_host` while this method runs, too.
fn crash_beside(host: &mut HostProcess, method: &str) {
    let mut peer = host.peer();
    peer.send_async("beside", method, &json!({ "ms": 60_000 }));
    wait_until("the other method runs", || host.peer().result("sleep.running", &json!(null)) == 1);

    crash_in(host, "crashes_host.blocking", "culprit", "abort");

    peer.expect_close();
    host.restart_ready();
}

#[test]
fn does_not_quarantine_a_plugin_that_runs_in_each_crash_of_another() {
    let mut host = HostProcess::with(&["crashes_host", "sleeps", "echoes"]);

    for _ in 0..4 {
        crash_beside(&mut host, "sleep.blocking");
        assert_eq!(plugin_row(&host, "sleeps")["state"], "serving");
        assert_eq!(plugin_row(&host, "crashes_host")["state"], "serving", "the cause is not known yet");
    }

    let line = host.wait_for_log("cannot determine which of the plugins crashes_host, sleeps causes crashes");
    assert!(line.contains("plugins=\"crashes_host, sleeps\""), "{line}");

    // A crash in which it runs alone identifies the cause.
    crash_in(&host, "crashes_host.blocking", "culprit", "abort");
    host.restart_ready();

    assert_eq!(plugin_row(&host, "crashes_host")["refused"]["reason"], "too-many-deaths");
    assert_eq!(plugin_row(&host, "sleeps")["state"], "serving");

    // The plugin that ran beside it is not blamed for its crashes.
    assert!(!host.log_contains("cannot determine which of the plugins"), "{}", host.log());
}

#[test]
fn quarantines_only_the_plugin_that_runs_in_every_crash() {
    let mut host = HostProcess::with(&["crashes_host", "sleeps"]);

    crash_beside(&mut host, "sleep.blocking");
    crash_beside(&mut host, "sleep.blocking");
    crash_in(&host, "crashes_host.async", "culprit", "wild");
    host.restart_ready();

    assert_eq!(plugin_row(&host, "crashes_host")["refused"]["reason"], "too-many-deaths");
    assert_eq!(plugin_row(&host, "sleeps")["state"], "serving");
}

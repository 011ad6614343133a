//! Several plugins run when the host dies: nobody is left out for what another one does every time.

use serde_json::json;

use super::kill_by;
use crate::support::admin::plugin_row;
use crate::support::{HostProcess, wait_until};

/// Dies while this plugin's method runs, too.
fn die_beside(host: &mut HostProcess, method: &str) {
    let mut peer = host.peer();
    peer.send_async("beside", method, &json!({ "ms": 60_000 }));
    wait_until("it runs", || host.peer().result("sleep.running", &json!(null)) == 1);
    kill_by(host, "dies.blocking", "culprit", "abort");
    peer.expect_close();
    host.restart_ready();
}

#[test]
fn an_innocent_that_always_runs_is_never_left_out() {
    let mut host = HostProcess::with(&["dies", "sleeps", "echoes"]);
    for _ in 0..4 {
        die_beside(&mut host, "sleep.blocking");
        assert_eq!(plugin_row(&host, "sleeps")["state"], "serving");
        assert_eq!(plugin_row(&host, "dies")["state"], "serving", "it cannot be told from the other");
    }
    let line = host.wait_for_log("which of them is at fault cannot be told");
    assert!(line.contains("plugins=\"dies, sleeps\""), "{line}");
    // Once it dies alone, it is known.
    kill_by(&host, "dies.blocking", "culprit", "abort");
    host.restart_ready();
    assert_eq!(plugin_row(&host, "dies")["refused"]["reason"], "too-many-deaths");
    assert_eq!(plugin_row(&host, "sleeps")["state"], "serving");
    // And what it did is not held against who ran beside it.
    assert!(!host.log_contains("cannot be told"), "{}", host.log());
}

#[test]
fn one_that_ran_beside_some_of_them_is_not_left_out() {
    let mut host = HostProcess::with(&["dies", "sleeps"]);
    die_beside(&mut host, "sleep.blocking");
    die_beside(&mut host, "sleep.blocking");
    kill_by(&host, "dies.async", "culprit", "wild");
    host.restart_ready();
    assert_eq!(plugin_row(&host, "dies")["refused"]["reason"], "too-many-deaths");
    assert_eq!(plugin_row(&host, "sleeps")["state"], "serving");
}

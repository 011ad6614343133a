//! The quarantine of plugins after too many crashes: by content, until the file changes or an
//! operator clears it.

use serde_json::{Value, json};

use super::{assert_attributed, crash_in};
use crate::support::admin::{self, plugin_row};
use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::peer::PLUGIN_UNAVAILABLE;
use crate::support::program::jackfield;
use crate::support::{HostProcess, wait_until};

/// Crashes the host as often as the default limit, and asserts that the plugin is quarantined.
fn quarantine(host: &mut HostProcess) {
    for number in 1..=3 {
        assert_eq!(plugin_row(host, "crashes_host")["state"], "serving", "before crash {number}");
        crash_in(host, "crashes_host.inline", "x", "null");
        host.restart_ready();
    }

    let refused = plugin_row(host, "crashes_host");
    assert_eq!(
        (&refused["state"], &refused["refused"]["reason"]),
        (&json!("refused"), &json!("too-many-deaths"))
    );

    assert_eq!(refused["deaths"].as_array().map(Vec::len), Some(3));
    let message = "libcrashes_host.so refused (too-many-deaths): the plugin was running in 3 crashes of the host within \
                   10 min, last in crashes_host.inline";
    assert!(host.log_contains(message), "{}", host.log());
    assert_eq!(host.count("plugins_left_out"), 1);

    let stats = admin::connect(host).result("admin.stats", &Value::Null);
    let rows = stats["plugins"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == "crashes_host").expect("a row of the plugin");
    assert_eq!((&row["state"], &row["quarantined"]), (&json!("gone"), &json!(true)), "as `top` shows it");
}

#[test]
fn quarantines_a_plugin_until_its_file_changes() {
    let route = "[[route]]\nmethod = \"crashes_host.inline\"\nplugin = \"crashes_host\"";
    let mut host = HostProcess::builder().plugin("crashes_host").plugin("echoes").config(route).start();
    quarantine(&mut host);

    let mut peer = host.peer();

    assert_eq!(peer.result("fixture.echo", &json!(1)), 1);
    // With and without a route.
    for method in ["crashes_host.inline", "crashes_host.blocking"] {
        let error = peer.call(method, &json!({ "how": "not" })).error(PLUGIN_UNAVAILABLE);
        assert_eq!(error["data"]["reason"], "too-many-deaths", "{error}");
    }
    drop(peer);

    // Neither a shutdown nor a directory scan ends the quarantine.
    host.terminate();
    host.restart_ready();

    assert_eq!(plugin_row(&host, "crashes_host")["refused"]["reason"], "too-many-deaths");
    let reloaded = jackfield(host.directory(), &["reload"]);
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    assert_eq!(plugin_row(&host, "crashes_host")["refused"]["reason"], "too-many-deaths");
    assert_eq!(host.log().matches("refused (too-many-deaths)").count(), 1, "reported once: {}", host.log());

    // Other content under the same name serves. The quarantined content is refused again.
    install(artifacts().library("sleeps"), &host.path("plugins/libcrashes_host.so"));
    wait_until("the new content serves", || plugin_row(&host, "crashes_host")["state"] == "serving");
    assert_eq!(host.peer().result("sleep.running", &json!(null)), 0);

    install(artifacts().library("crashes_host"), &host.path("plugins/libcrashes_host.so"));
    wait_until("the quarantined content is refused", || {
        plugin_row(&host, "crashes_host")["refused"]["reason"] == "too-many-deaths"
    });
    assert_eq!(
        host.peer().result("sleep.running", &json!(null)),
        0,
        "the current generation continues to serve"
    );
}

#[test]
fn clears_the_quarantine_by_a_reload_of_the_plugin() {
    let mut host = HostProcess::with(&["crashes_host"]);
    quarantine(&mut host);

    let listed = jackfield(host.directory(), &["plugin", "list"]);
    assert!(listed.stdout.contains("when the host crashed, request "), "{listed:?}");
    assert!(listed.stdout.contains("too-many-deaths"), "{listed:?}");

    let checked = jackfield(host.directory(), &["check"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.stderr.contains("note: plugin \"crashes_host\" is quarantined"), "{checked:?}");

    let reloaded = jackfield(host.directory(), &["plugin", "reload", "crashes_host"]);
    assert_eq!(reloaded.code, 0, "{reloaded:?}");

    assert_eq!(host.peer().result("crashes_host.inline", &json!({ "how": "not" })), json!(null));
    assert_eq!((host.count("deaths"), host.count("plugins_left_out")), (0, 0));

    // The count starts again: two crashes are below the limit.
    for _ in 0..2 {
        crash_in(&host, "crashes_host.inline", "x", "abort");
        host.restart_ready();
    }
    assert_eq!(plugin_row(&host, "crashes_host")["state"], "serving");
}

#[test]
fn quarantines_a_plugin_that_crashes_the_host_in_start() {
    let fault = "[plugin.start_faults.settings]\nfault = \"abort-in-host\"";
    let mut host = HostProcess::builder().plugin("start_faults").plugin("echoes").config(fault).spawn();

    for _ in 0..3 {
        host.restart();
        assert_attributed(&host, &["plugin=\"start_faults\"", "method=\"(start)\"", "id=\"\""]);
    }

    host.wait_for_log("ready on");

    assert_eq!(plugin_row(&host, "start_faults")["refused"]["reason"], "too-many-deaths");
    assert_eq!(host.peer().result("fixture.echo", &json!(1)), 1);
}

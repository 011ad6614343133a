//! A plugin that crashed the host comes back in a worker, with `plugins.crash.action = "worker"`.

use std::fs;

use serde_json::{Value, json};

use crate::crash::crash_in;
use crate::support::admin::plugin_row;
use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::http::address;
use crate::support::peer::PLUGIN_CRASHED;
use crate::support::program::jackfield;
use crate::support::scrape::Scrape;
use crate::support::wait::wait_for;
use crate::support::{HostProcess, wait_until};

const PLUGIN: &str = "crashes_host";
const CONFIG: &str = "[plugins.crash]\naction = \"worker\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n\
    [plugin.crashes_host.breaker]\nfailures = 0\n";

/// Returns a host that the fixture `crashes_host` has crashed as often as it may.
fn after_crashes() -> HostProcess {
    let mut host = HostProcess::builder().plugin(PLUGIN).plugin("echoes").config(CONFIG).start();
    for number in 1..=3 {
        assert_eq!(isolated(&host), Value::Null, "before crash {number}");
        crash_in(&host, "crashes_host.inline", "x", "null");
        host.restart_ready();
    }
    host
}

/// Returns the decision by which the plugin runs in a worker, or null.
#[track_caller]
fn isolated(host: &HostProcess) -> Value {
    let row = plugin_row(host, PLUGIN);
    assert!(row["generation"].is_u64(), "{row}");
    row["isolated"].clone()
}

/// Ends the host and starts the next one.
#[track_caller]
fn restart(host: &mut HostProcess) {
    host.terminate();
    host.restart_ready();
}

#[test]
fn decides_that_content_which_crashed_the_host_runs_in_a_worker() {
    let mut host = after_crashes();

    let found = "plugin crashes_host causes crashes: it was running in 3 crashes within 10 min, and no other plugin in \
                 all of them; the host loads it into a worker";
    host.wait_for_log(found);
    host.wait_for_log(" runs in a worker from now on: it was running in 3 crashes of the host within 10 min");
    host.wait_for_log(") now serves in a worker (isolated by the host ");
    let decision = isolated(&host);
    assert_eq!((&decision["by"], &decision["reason"]), (&json!("host"), &json!("isolated")), "{decision}");
    assert_eq!(host.count("plugins_left_out"), 0, "it is not quarantined");
    let labels = [("plugin", PLUGIN), ("by", "host")];
    assert_eq!(Scrape::of(&address(&host)).value("ipc_plugin_isolated", &labels), 1);
    let listed = jackfield(host.directory(), &["plugin", "list"]);
    assert!(listed.stdout.contains("crashes_host: isolated by host "), "{listed:?}");
    let checked = jackfield(host.directory(), &["check"]);
    assert!(checked.code == 0 && checked.stderr.contains("runs in a worker, because"), "{checked:?}");

    // Neither a restart ends the decision nor the loss of the crash record with the machine.
    restart(&mut host);
    assert_eq!(isolated(&host), decision);
    host.terminate();
    fs::remove_dir_all(host.path("run/recorder")).expect("the crash record is removed");
    host.restart_ready();
    assert_eq!(isolated(&host), decision);

    // Other content ends it, and this one begins it again.
    install(artifacts().library("sleeps"), &host.path("plugins/libcrashes_host.so"));
    wait_until("the new content serves", || host.peer().call("sleep.running", &Value::Null).code().is_none());
    assert_eq!(isolated(&host), Value::Null);
    install(artifacts().library(PLUGIN), &host.path("plugins/libcrashes_host.so"));
    wait_until("the content is isolated again", || isolated(&host) == decision);
}

#[test]
fn contains_the_crashes_of_a_plugin_that_came_back() {
    let mut host = after_crashes();
    let row = plugin_row(&host, PLUGIN);
    assert_eq!(row["isolation"], "worker", "{row}");
    let (mut peer, mut neighbour) = (host.peer(), host.peer());

    for (number, how) in ["null", "abort", "exit-1", "overflow", "kill"].into_iter().enumerate() {
        let error = peer.call("crashes_host.blocking", &json!({ "how": how })).error(PLUGIN_CRASHED);
        assert_eq!(error["data"]["plugin"], PLUGIN, "{error}");
        assert_eq!(neighbour.result("fixture.echo", &json!(number)), json!(number));
    }

    assert_eq!(peer.result("crashes_host.inline", &json!({ "how": "not" })), Value::Null);
    wait_for("each crash is counted", || {
        let row = plugin_row(&host, PLUGIN);
        (row["worker"]["restarts"] == json!({ "crash": 5 })).then_some(())
    });
    drop((peer, neighbour));
    restart(&mut host);
    assert_eq!(host.count("deaths"), 3, "only the host itself was counted");
    let listed = jackfield(host.directory(), &["plugin", "list"]);
    assert!(listed.stdout.contains("worker (automatic)"), "{listed:?}");
}

#[test]
fn returns_a_plugin_to_the_host_by_command() {
    let mut host = after_crashes();

    let ended = jackfield(host.directory(), &["plugin", "isolate", PLUGIN, "--off"]);

    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.starts_with("crashes_host: published: generation "), "{ended:?}");
    assert_eq!((isolated(&host), host.count("deaths")), (Value::Null, 0), "its crashes are cleared");
    restart(&mut host);
    assert_eq!(isolated(&host), Value::Null);
    crash_in(&host, "crashes_host.inline", "x", "abort");
    host.restart_ready();
    assert_eq!((isolated(&host), host.count("deaths")), (Value::Null, 1), "it is in the host");
}

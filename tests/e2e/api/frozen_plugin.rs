//! Compatibility of the plugin API: a plugin file that was built with the first API of series 0.1
//! still works.
//!
//! `tests/frozen/README.md` describes how the file was built. On x86_64 each test runs with that
//! file; on every machine it also runs with the same source, built with the current API.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::HostProcess;
use crate::support::admin;
use crate::support::build::{artifacts, root};
use crate::support::host::install;
use crate::support::peer::{DEADLINE_EXCEEDED, PLUGIN_PANICKED};

const CONFIG: &str = "[plugins]\nwatch = false\n[plugin.frozen.settings]\ngreeting = \"hello\"";

/// Returns the file that was built with the first API, on machines that can load it.
fn file_of_the_first_api() -> Option<PathBuf> {
    if cfg!(target_arch = "x86_64") {
        Some(root().join("tests/frozen/libfrozen-api-0.1.so"))
    } else {
        eprintln!("skipped: the frozen plugin is for x86_64, and this machine is {}", std::env::consts::ARCH);
        None
    }
}

/// Returns the same source, built with the current API.
fn file_of_the_current_api() -> PathBuf {
    artifacts().library("frozen").to_owned()
}

fn host_with(file: &Path) -> HostProcess {
    let builder = HostProcess::builder().plugin("echoes").config(CONFIG);
    install(file, &builder.directory().join("plugins/libfrozen.so"));
    builder.start()
}

fn assert_every_call_works(file: &Path) {
    let mut host = host_with(file);
    let mut peer = host.peer();

    assert_eq!(peer.result("frozen.add", &json!(2)), 2);
    assert_eq!(peer.result("frozen.add", &json!(40)), 42);
    assert_eq!(peer.result("frozen.greet", &json!("Ada")), "hello, Ada");

    let error = peer.call("frozen.greet", &json!("")).error(1001);
    assert_eq!((&error["message"], &error["data"]), (&json!("an empty name"), &json!({ "name": "" })));

    peer.send_async("id-7", "frozen.describe", &Value::Null);
    let described = peer.receive().result();
    assert_eq!((&described["id"], &described["cancelled"]), (&json!("id-7"), &json!(false)));
    assert!(described["remainingMs"].as_u64().is_some_and(|ms| ms > 0), "{described}");
    let line = host.wait_for_log("the frozen plugin was called");
    assert!(line.contains("WARN") && line.contains("plugin=\"frozen\""), "{line}");

    for forward in ["frozen.forward", "frozen.forward_async"] {
        let wanted = json!({ "method": "fixture.echo", "params": { "from": forward } });
        assert_eq!(peer.result(forward, &wanted), json!({ "from": forward }));
    }

    peer.call("frozen.panic", &json!("on purpose")).error(PLUGIN_PANICKED);
    assert_eq!(peer.result("frozen.add", &json!(0)), 42, "a panic keeps the instance");
    let line = host.wait_for_log("frozen: frozen.panic panicked at ");
    assert!(line.contains(": on purpose (request "), "{line}");
    drop(peer);

    host.terminate();
    assert!(host.log_contains("the frozen plugin starts") && host.log_contains("the frozen plugin stops"));
}

fn assert_cancelled_at_its_deadline(file: &Path) {
    let config = format!(
        "{CONFIG}\n[[route]]\nmethod = \"frozen.forward_async\"\nplugin = \"frozen\"\ntimeout = \"50ms\""
    );
    let builder = HostProcess::builder().plugin("sleeps").config(&config);
    install(file, &builder.directory().join("plugins/libfrozen.so"));
    let host = builder.start();
    let mut peer = host.peer();

    let wanted = json!({ "method": "sleep.async", "params": { "ms": 60_000 } });
    peer.send_async("late", "frozen.forward_async", &wanted);
    peer.receive().error(DEADLINE_EXCEEDED);
    peer.assert_usable();
}

#[test]
fn serves_every_kind_of_call_with_a_file_of_the_first_api() {
    if let Some(file) = file_of_the_first_api() {
        assert_every_call_works(&file);
    }
}

#[test]
fn cancels_a_method_of_a_file_of_the_first_api() {
    if let Some(file) = file_of_the_first_api() {
        assert_cancelled_at_its_deadline(&file);
    }
}

#[test]
fn serves_every_kind_of_call_with_source_for_the_first_api() {
    assert_every_call_works(&file_of_the_current_api());
}

#[test]
fn transfers_state_between_the_first_api_and_the_current_one() {
    let Some(frozen) = file_of_the_first_api() else { return };
    let host = host_with(&frozen);
    let mut peer = host.peer();
    let mut operator = admin::connect(&host);
    let mut expected = 0;

    for (file, api) in [(file_of_the_current_api(), "the current"), (frozen.clone(), "the first")] {
        peer.result("frozen.add", &json!(21));
        expected += 21;
        let staged = host.path("plugins/.next");
        install(&file, &staged);
        std::fs::rename(&staged, host.path("plugins/libfrozen.so")).expect("the file is replaced");

        operator.result("admin.plugin.reload", &json!({ "name": "frozen" }));

        assert_eq!(peer.result("frozen.add", &json!(0)), expected, "after the reload to {api} API");
    }
}

//! Methods of refused content: PLUGIN_UNAVAILABLE with the reason, so that clients try again.

use std::fs;

use serde_json::{Value, json};

use super::file_content::set_mode;
use crate::support::HostProcess;
use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::peer::{METHOD_NOT_FOUND, PLUGIN_UNAVAILABLE};
use crate::support::program::jackfield;

const METHOD: &str = "start_faults.get";

/// Returns the reason that the method is answered with.
#[track_caller]
fn reason_of(host: &HostProcess, method: &str) -> Value {
    let error = host.peer().call(method, &Value::Null).error(PLUGIN_UNAVAILABLE);
    assert!(error["data"]["retry_after_ms"].is_u64(), "{error}");
    error["data"]["reason"].clone()
}

#[test]
fn answers_for_a_plugin_that_does_not_start_until_its_file_is_removed() {
    let fault = "[plugins]\nwatch = false\n[plugin.start_faults.settings]\nfault = \"abort\"";
    let host = HostProcess::builder().plugin("start_faults").plugin("panic_abort").config(fault).start();

    assert_eq!(reason_of(&host, METHOD), "probe-crashed");
    assert_eq!(reason_of(&host, "panic.abort"), "panic-abort");
    host.peer().call("start_faults.other", &Value::Null).error(METHOD_NOT_FOUND);
    let methods = host.peer().result("system.methods", &Value::Null);
    assert!(!methods.as_array().unwrap().contains(&json!(METHOD)), "{methods}");

    fs::remove_file(host.path("plugins/libstart_faults.so")).expect("the file is removed");
    assert_eq!(jackfield(host.directory(), &["reload"]).code, 0);

    host.peer().call(METHOD, &Value::Null).error(METHOD_NOT_FOUND);
    assert_eq!(reason_of(&host, "panic.abort"), "panic-abort");
}

#[test]
fn knows_no_method_of_a_file_that_others_can_change() {
    let builder = HostProcess::builder().config("[plugins]\nwatch = false");
    let file = builder.directory().join("plugins/libstart_faults.so");
    install(artifacts().library("start_faults"), &file);
    set_mode(&file, 0o666);
    let host = builder.start();

    host.peer().call(METHOD, &Value::Null).error(METHOD_NOT_FOUND);

    set_mode(&file, 0o644);
    let reloaded = jackfield(host.directory(), &["plugin", "reload", "start_faults"]);
    assert_eq!(reloaded.code, 1, "{reloaded:?}");
    assert_eq!(reason_of(&host, METHOD), "start-failed");
}

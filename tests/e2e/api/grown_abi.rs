//! Growth of the plugin API: hosts and plugins whose tables have different numbers of fields work
//! together.
//!
//! The feature `__grown_abi` of the plugin API adds one field to each table and raises the version.
//! A plugin and a small host are built with it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::support::HostProcess;
use crate::support::build::{artifacts, fixtures_with_feature, root};
use crate::support::host::install;
use crate::support::program::command;

/// Returns a plugin or program that was built with the later API.
fn of_the_later_api(name: &'static str) -> PathBuf {
    static BUILT: OnceLock<[PathBuf; 2]> = OnceLock::new();
    let built = BUILT.get_or_init(|| fixtures_with_feature("grown_abi", ["later_api", "later_host"]));
    built[usize::from(name == "later_host")].clone()
}

/// Runs calls of `file` on the host of the later API and returns what it prints.
fn run_on_later_host(file: &Path, calls: &[[&str; 3]]) -> String {
    let output = command(of_the_later_api("later_host")).arg(file).args(calls.as_flattened()).output();
    let output = output.expect("the later host runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

const FROZEN_CALLS: [[&str; 3]; 4] = [
    ["0", "now", "41"],
    ["2", "now", "\"Ada\""],
    ["4", "now", r#"{"method":"m","params":[1]}"#],
    ["1", "now", "\"on purpose\""],
];

fn assert_frozen_works_on_later_host(file: &Path, later_entry: &str) {
    let printed = run_on_later_host(file, &FROZEN_CALLS);
    let lines: Vec<_> = printed.lines().filter(|line| !line.starts_with("log: panicked at ")).collect();
    let expected = [
        later_entry,
        "log: the frozen plugin starts",
        "Done 41",
        "Done \", Ada\"",
        "Done [1]",
        "Panicked(\"on purpose\") ",
        "log: the frozen plugin stops",
    ];
    assert_eq!(lines, expected, "{printed}");
}

#[test]
fn loads_a_plugin_of_the_first_api_on_a_host_of_a_later_one() {
    if cfg!(target_arch = "x86_64") {
        let frozen = root().join("tests/frozen/libfrozen-api-0.1.so");
        assert_frozen_works_on_later_host(&frozen, "later entry: None");
    }
    assert_frozen_works_on_later_host(artifacts().library("frozen"), "later entry: None");
}

#[test]
fn uses_the_later_fields_if_host_and_plugin_have_them() {
    let calls = [["0", "now", "null"], ["1", "later", "[1]"]];
    let printed = run_on_later_host(&of_the_later_api("later_api"), &calls);
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(
        lines,
        ["later entry: Some(7)", "log: built with a later API", "Done true", "Done [1]"],
        "{printed}"
    );
}

#[test]
fn loads_a_plugin_of_a_later_api_on_the_current_host() {
    let builder = HostProcess::builder().plugin("echoes").config("[plugins]\nwatch = false");
    install(&of_the_later_api("later_api"), &builder.directory().join("plugins/liblater_api.so"));
    let host = builder.start();
    let mut peer = host.peer();

    assert_eq!(peer.result("later.has_service", &Value::Null), false);
    assert_eq!(peer.result("later.forward", &json!([1, 2])), json!([1, 2]));
    host.wait_for_log("built with a later API");
}

//! Files that look sound and are not once they are opened: a probe opens them first, and what they
//! do stays there.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{assert_only_bystander, assert_refused, methods, plugins, with_bystander};
use crate::support::HostBuilder;
use crate::support::program::jackfield;
use crate::support::{CEILING, HostProcess, wait_until};

/// With what their refusals say beside the reason.
const VICES: [(&str, &str, &str); 9] = [
    ("wrong_abi", "abi-mismatch", ""),
    ("lying_manifest", "manifest-mismatch", "another manifest"),
    ("constructor_crashes", "probe-crashed", "signal 11 (SIGSEGV) in dlopen"),
    ("start_fails", "start-failed", "the fixture does not start"),
    ("start_panics", "start-panicked", "the fixture panics in start"),
    ("start_aborts", "probe-crashed", "signal 6 (SIGABRT) in start"),
    // With success: still it was not asked to go.
    ("start_exits", "probe-crashed", "exit code 0 in start"),
    ("start_spawns", "start-failed", "left process "),
    ("claims_device", "method-taken", "device.status.get"),
];

fn with_all(builder: HostBuilder) -> HostBuilder {
    VICES.iter().fold(builder, |builder, (name, ..)| builder.plugin(name))
}

#[test]
fn what_goes_wrong_in_the_probe_stays_there() {
    let host = with_all(with_bystander()).start();
    for (name, reason, words) in VICES {
        // "claims_device" comes before "device" in the order of file names, and so has the method.
        if name == "claims_device" {
            continue;
        }
        assert_refused(&host, name, reason);
        let line = host.log_lines().into_iter().find(|line| line.contains(&format!("plugin=\"{name}\"")));
        assert!(line.as_ref().is_some_and(|line| line.contains(words)), "{words:?} in {line:?}");
    }
    let left = host.wait_for_log("left process ");
    let pid = left.split("left process ").nth(1).and_then(|rest| rest.split(' ').next());
    let process = format!("/proc/{}", pid.expect("the process's number"));
    wait_until("what the probe started goes with it", || !Path::new(&process).exists());
}

#[test]
fn of_two_plugins_with_one_method_the_first_by_name_has_it() {
    // Twice, and with the names the other way round: the order of file names decides, not that of
    // the directory.
    for _ in 0..2 {
        let host = HostProcess::builder().plugin("claims_device").plugin("device").start();
        assert_refused(&host, "device", "method-taken");
        assert_eq!(methods(&host), ["device.status.get"]);
        assert_eq!(host.peer().result("device.status.get", &Value::Null), 0);

        let builder = HostProcess::builder().plugin_as("claims_device", "libz.so").plugin("device");
        let check = {
            std::fs::write(builder.directory().join("config.toml"), "").expect("a configuration");
            jackfield(builder.directory(), &["check"])
        };
        assert_eq!(check.code, 78, "{check:?}");
        assert_eq!(check.stderr.lines().count(), 1, "{check:?}");
        assert!(check.stderr.starts_with("./plugins/libz.so: method-taken: "), "{check:?}");
        let host = builder.start();
        assert_refused(&host, "z", "method-taken");
        assert_only_bystander(&host);
    }
}

#[test]
fn two_files_of_one_name_and_a_file_with_the_hosts_own() {
    let builder = with_bystander().plugin_as("good_v1", "libtwin.so").plugin_as("good_v2", "twin.so");
    let builder = builder.plugin_as("hello", "libsystem.so");
    let host = builder.start();
    assert_refused(&host, "system", "name-taken");
    let line = host.wait_for_log("file=twin.so");
    assert!(line.contains("plugin=\"twin\"") && line.contains("reason=\"name-taken\""), "{line}");
    assert_eq!(host.peer().result("version.get", &Value::Null), 1);
    let check = jackfield(host.directory(), &["check"]);
    assert_eq!(check.code, 78);
    assert!(check.stderr.contains("./plugins/twin.so: name-taken: "), "{check:?}");
    assert!(check.stderr.contains("./plugins/libsystem.so: name-taken: "), "{check:?}");
    assert_eq!(check.stderr.lines().count(), 2, "{check:?}");
}

#[test]
fn one_that_hangs_is_cut_and_the_others_serve() {
    let began = Instant::now();
    let host = with_bystander().plugin("start_hangs").start();
    assert_refused(&host, "start_hangs", "probe-timed-out");
    // Twice the ceiling of what else a start takes, and the 10 s it was given.
    assert!(began.elapsed() < CEILING + Duration::from_secs(10), "{:?}", began.elapsed());
    assert_only_bystander(&host);
}

#[test]
fn one_that_prints_is_heard_and_spoils_no_reply() {
    let mut host = with_bystander().plugin("prints").start();
    let mut peer = host.peer();
    assert_eq!(peer.result("prints.get", &Value::Null), 1);
    peer.assert_usable();
    // On its way into the log it goes through a thread of its own, which no reply waits for.
    host.wait_for_log("the fixture prints.");
    host.terminate();
}

#[test]
fn one_that_leaves_a_thread_behind_serves_and_is_said_to_stay() {
    let mut host = with_bystander().plugin("keeps_thread").start();
    assert!(host.wait_for_log("its code will never be unloaded").contains("plugin=\"keeps_thread\""));
    assert_eq!(host.peer().result("thread.get", &Value::Null), json!(true));
    host.terminate();
    assert!(host.log_contains("retained: "), "{}", host.log());
}

#[test]
fn settings_that_a_plugin_does_not_take_are_its_refusal_to_start() {
    let config = "[plugin.device.settings]\nhistory = 0\n[plugin.journal.settings]\nfolder = \"x\"";
    let host =
        HostProcess::builder().plugin("device").plugin("journal").plugin("hello").config(config).start();
    assert_refused(&host, "device", "start-failed");
    assert_refused(&host, "journal", "start-failed");
    assert!(host.wait_for_log("plugin=\"device\"").contains("history"), "the key is named");
    assert!(host.wait_for_log("plugin=\"journal\"").contains("folder"), "the key is named");
    assert_eq!(plugins(&host), ["hello", "system"]);
}

#[test]
fn what_belongs_to_the_whole_process_is_left_as_it_is() {
    let started = |what: &str| {
        let settings = format!("[plugin.changes_process.settings]\nwhat = \"{what}\"");
        with_bystander().plugin("changes_process").config(&settings).start()
    };
    for (what, words) in [
        ("directory", "the working directory"),
        ("environment", "the environment (LEFT_BEHIND)"),
        ("locale", "the locale (C.UTF-8)"),
        ("limit", "a resource limit (Max open files)"),
        ("umask", "the umask"),
        ("descriptors", "descriptor 0"),
        ("signals", "ignored signals"),
    ] {
        let host = started(what);
        assert_refused(&host, "changes_process", "process-state-changed");
        assert!(host.log_contains(words), "{words:?} in {}", host.log());
        assert_only_bystander(&host);
    }
    assert_eq!(started("nothing").peer().result("changes.kept", &Value::Null), 1);
}

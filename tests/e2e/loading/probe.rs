//! Files whose fault shows only when they are loaded: a separate process, the probe, loads them
//! first and contains it.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::{Value, json};

use super::{assert_only_neighbour, assert_refused, methods, plugins, with_neighbour};
use crate::support::HostBuilder;
use crate::support::build::{artifacts, root};
use crate::support::host::install;
use crate::support::log::Log;
use crate::support::program::{command, jackfield};
use crate::support::scratch::Scratch;
use crate::support::user::OTHER_USER;
use crate::support::{CEILING, HostProcess, wait_until};

/// Fixtures with the reason of their refusal and a part of its explanation.
const FIXTURES: [(&str, &str, &str); 3] = [
    ("wrong_abi", "abi-mismatch", ""),
    ("lying_manifest", "manifest-mismatch", "another manifest"),
    ("constructor_crashes", "probe-crashed", "signal 11 (SIGSEGV) in dlopen"),
];

/// Faults of the fixture `start_faults`, likewise.
const START_FAULTS: [(&str, &str, &str); 5] = [
    ("error", "start-failed", "the fixture does not start"),
    ("panic", "start-panicked", "the fixture panics in start"),
    ("abort", "probe-crashed", "signal 6 (SIGABRT) in start"),
    // Exit code 0 is a fault as well, because the plugin must not end the process.
    ("exit", "probe-crashed", "exit code 0 in start"),
    ("spawn", "start-failed", "left process "),
];

/// Adds `start_faults` with this fault, as the plugin `start_FAULT`.
fn with_start_fault(builder: HostBuilder, fault: &str) -> HostBuilder {
    let settings = format!("[plugin.start_{fault}.settings]\nfault = \"{fault}\"");
    builder.plugin_as("start_faults", &format!("libstart_{fault}.so")).config(&settings)
}

#[test]
fn contains_faults_in_the_probe() {
    let builder = FIXTURES.iter().fold(with_neighbour(), |builder, (name, ..)| builder.plugin(name));
    let builder = START_FAULTS.iter().fold(builder, |builder, (fault, ..)| with_start_fault(builder, fault));

    let host = builder.start();

    let start_faults =
        START_FAULTS.map(|(fault, reason, explanation)| (format!("start_{fault}"), reason, explanation));
    let fixtures = FIXTURES.map(|(name, reason, explanation)| (name.to_owned(), reason, explanation));
    for (name, reason, explanation) in fixtures.into_iter().chain(start_faults) {
        assert_refused(&host, &name, reason);
        let line = host.log_lines().into_iter().find(|line| line.contains(&format!("plugin=\"{name}\"")));
        assert!(line.as_ref().is_some_and(|line| line.contains(explanation)), "{explanation:?} in {line:?}");
    }
    assert_only_neighbour(&host);

    let line = host.wait_for_log("left process ");
    let pid = line.split("left process ").nth(1).and_then(|rest| rest.split(' ').next());
    let process = format!("/proc/{}", pid.expect("a process id"));
    wait_until("the process that the probe started ends with it", || !Path::new(&process).exists());
}

#[test]
fn gives_the_probe_the_working_directory_and_the_environment_of_the_host() {
    let builder = with_start_fault(with_neighbour(), "surroundings");
    let input = builder.directory().join("relative");
    std::fs::create_dir(&input).expect("a directory");
    std::fs::write(input.join("input.txt"), "").expect("a file");
    // A journal that the probe would create below `/`, if it ran there.
    let journal = format!("jackfield-journal-{}", std::process::id());
    let config = format!("[plugin.journal.settings]\ndirectory = \"{journal}\"");

    let host = builder
        .plugin("journal")
        .config(&config)
        .variable("DATABASE_URL", "postgres://localhost")
        .variable("LD_LIBRARY_PATH", "/nowhere")
        .variable("GLIBC_TUNABLES", "glibc.rtld.optional_static_tls=512")
        .variable("LISTEN_FDNAMES", "none")
        .variable("WATCHDOG_USEC", "600000000")
        .start();

    assert_eq!(plugins(&host), ["device", "journal", "start_surroundings", "system"]);
    assert!(host.path(&journal).is_dir(), "the journal is in the host's directory");
    assert!(!Path::new("/").join(&journal).exists(), "the probe left a directory below /");
}

#[test]
fn loads_the_shipped_configuration_for_an_ordinary_user() {
    let scratch = Scratch::new();
    let directory = scratch.path();
    let config = std::fs::read_to_string(root().join("config.toml")).expect("the shipped configuration");
    // A name that nothing else has created below `/`.
    let journal = format!("run/journal-{}", std::process::id());
    let config = config.replace("\"run/journal\"", &format!("{journal:?}"));
    // The program and the plugins are copied, because the other user may not reach the target
    // directory.
    scratch.write("config.toml", config);
    scratch.directory("plugins");
    for plugin in ["device", "journal", "hello"] {
        install(artifacts().library(plugin), &directory.join(format!("plugins/lib{plugin}.so")));
    }
    let program = directory.join("jackfield");
    std::fs::copy(&artifacts().program, &program).expect("the program is copied");

    let mut command = command(&program);
    command.arg("serve").current_dir(directory);
    if geteuid().is_root() {
        chown(directory, Some(OTHER_USER), Some(OTHER_USER)).expect("another owner");
        command.uid(OTHER_USER).gid(OTHER_USER);
    }
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut host = command.spawn().expect("the host starts");
    let mut log = Log::follow(host.stderr.take().expect("a pipe"));
    log.wait_for("\"ready on\"", |line| line.contains("ready on "));

    let pid = Pid::from_child(&host);
    kill_process(pid, Signal::TERM).expect("the signal is sent");
    let ended = host.wait().expect("our child");
    log.wait_for_end();
    assert!(ended.success(), "{ended}: {}", log.text());
    assert!(!log.text().contains("refused"), "{}", log.text());
    assert!(directory.join(&journal).is_dir(), "{}", log.text());
}

#[test]
fn gives_a_method_to_the_first_plugin_by_file_name() {
    // Twice, and with both orders of names: the order of file names decides, not that of the
    // directory.
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
        assert_only_neighbour(&host);
    }
}

#[test]
fn refuses_a_second_file_with_the_same_name_and_names_of_the_host() {
    let builder = with_neighbour().plugin_as("good_v1", "libtwin.so").plugin_as("good_v2", "twin.so");
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
fn ends_the_probe_of_a_plugin_that_hangs() {
    let began = Instant::now();

    let host = with_start_fault(with_neighbour(), "hang").start();

    assert_refused(&host, "start_hang", "probe-timed-out");
    // The probe has 10 s. The rest of the start takes far less than the ceiling.
    assert!(began.elapsed() < CEILING + Duration::from_secs(10), "{:?}", began.elapsed());
    assert_only_neighbour(&host);
}

#[test]
fn logs_the_output_of_a_plugin_and_keeps_replies_intact() {
    let mut host = with_neighbour().plugin("prints").start();
    let mut peer = host.peer();
    assert_eq!(peer.result("prints.get", &Value::Null), 1);
    peer.assert_usable();
    // A separate thread moves the output into the log, and replies do not wait for it.
    host.wait_for_log("the fixture prints.");
    host.terminate();
}

#[test]
fn serves_a_plugin_that_leaves_a_thread_and_reports_it_as_retained() {
    let mut host = with_neighbour().plugin("keeps_thread").start();
    assert!(host.wait_for_log("leaves 1 thread running after stop").contains("plugin=\"keeps_thread\""));
    assert_eq!(host.peer().result("thread.get", &Value::Null), json!(true));
    host.terminate();
    assert!(host.log_contains("was still in memory when the host ended"), "{}", host.log());
}

#[test]
fn refuses_a_plugin_that_rejects_its_settings() {
    let config = "[plugin.device.settings]\nhistory = 0\n[plugin.journal.settings]\nfolder = \"x\"";
    let host =
        HostProcess::builder().plugin("device").plugin("journal").plugin("hello").config(config).start();

    assert_refused(&host, "device", "start-failed");
    assert_refused(&host, "journal", "start-failed");
    assert!(host.wait_for_log("plugin=\"device\"").contains("history"), "the log names the key");
    assert!(host.wait_for_log("plugin=\"journal\"").contains("folder"), "the log names the key");
    assert_eq!(plugins(&host), ["hello", "system"]);
}

#[test]
fn refuses_a_plugin_that_changes_the_state_of_the_process() {
    let start = |change: &str| {
        let settings = format!("[plugin.changes_process.settings]\nwhat = \"{change}\"");
        with_neighbour().plugin("changes_process").config(&settings).start()
    };
    for (change, description) in [
        ("directory", "the working directory"),
        ("environment", "the environment (LEFT_BEHIND)"),
        ("locale", "the locale (C.UTF-8)"),
        ("limit", "a resource limit (Max open files)"),
        ("umask", "the umask"),
        ("descriptors", "descriptor 0"),
        ("signals", "ignored signals"),
    ] {
        let host = start(change);
        assert_refused(&host, "changes_process", "process-state-changed");
        assert!(host.log_contains(description), "{description:?} in {}", host.log());
        assert_only_neighbour(&host);
    }
    assert_eq!(start("nothing").peer().result("changes.kept", &Value::Null), 1);
}

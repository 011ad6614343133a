//! Plugins whose methods change state of the whole process: the host restores it or reports it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::json;

use crate::support::{HostProcess, wait_until};

/// Starts a host with the plugin that changes state, and a neighbour that does not.
fn start() -> HostProcess {
    let settings = "[plugin.changes_process.settings]\nwhat = \"nothing\"";
    HostProcess::builder().plugin("changes_process").plugin("device").config(settings).start()
}

/// Lets the plugin change the state, and returns the line of the log about it.
#[track_caller]
fn change(host: &HostProcess, what: &str, logged: &str) -> String {
    host.peer().result("changes.make", &json!(what));
    let line = host.wait_for_log(logged);
    assert!(line.contains("WARN") && line.contains("changes_process"), "{line}");
    line
}

/// Returns the value of a line in `/proc/PID/status`, or of a thread.
fn status(host: &HostProcess, of: &str, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/{of}status", host.pid())).expect("the status");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the line");
    line.trim().to_owned()
}

#[test]
fn ends_on_sigterm_although_a_method_ignored_it() {
    let mut host = start();

    let line = change(&host, "sigterm", "the handler of signal 15 (SIGTERM)");

    assert!(line.contains("is restored"), "{line}");
    host.terminate();
}

#[test]
fn restores_working_directory_and_umask() {
    let host = start();
    let directory = || fs::metadata(format!("/proc/{}/cwd", host.pid())).expect("the directory").ino();
    let (before, umask) = (directory(), status(&host, "", "Umask:"));

    change(&host, "directory", "is restored: the working directory");
    change(&host, "umask", "is restored: the umask");

    assert_eq!((directory(), status(&host, "", "Umask:")), (before, umask));
    assert!(host.count("process_state_changes") == 2, "{}", host.log());
}

#[test]
fn restores_the_signal_masks_of_io_threads() {
    let host = start();
    let tasks = || fs::read_dir(format!("/proc/{}/task", host.pid())).expect("the threads").flatten();
    let thread_of = |task: fs::DirEntry| format!("task/{}/", task.file_name().to_string_lossy());
    let masks = || {
        let masks = tasks().map(|task| status(&host, &thread_of(task), "SigBlk:"));
        masks.collect::<Vec<_>>()
    };
    let blocks_sigterm = || masks().iter().any(|mask| mask.ends_with("4000"));
    assert!(!blocks_sigterm(), "{:?}", masks());

    change(&host, "mask", "is restored: the signal mask of I/O thread ");

    wait_until("no thread blocks SIGTERM", || !blocks_sigterm());
}

#[test]
fn reports_state_that_cannot_be_restored_once() {
    let host = start();

    let line = change(&host, "environment", "the environment (LEFT_BEHIND)");
    assert!(line.contains("cannot be restored"), "{line}");
    change(&host, "stdin", "cannot be restored: descriptor 0");

    // The next check follows after the one that reports this change.
    change(&host, "directory", "is restored: the working directory");
    let reports = host.log_lines().into_iter().filter(|line| line.contains("cannot be restored"));
    assert_eq!(reports.count(), 2, "{}", host.log());
}

#[test]
fn reports_no_change_by_the_host_itself() {
    let host = start();
    host.peer().result("device.list", &json!({}));
    let mut operator = crate::support::admin::connect(&host);
    operator.result("admin.plugin.reload", &json!({ "name": "device" }));

    change(&host, "umask", "is restored: the umask");

    assert_eq!(host.count("process_state_changes"), 1, "{}", host.log());
}

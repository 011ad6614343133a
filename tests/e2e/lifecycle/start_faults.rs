//! Faults of the system or of directories that keep a host from a complete start: each message
//! names the key or setting concerned, and the remedy.

use std::fs;
use std::os::unix::fs::chown;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::{EX_OSERR, refused_start};
use crate::support::admin::plugin_row;
use crate::support::http::address;
use crate::support::program::command;
use crate::support::start_script::StartScript;
use crate::support::user::{OTHER_USER, acting_as, is_root};
use crate::support::{HostBuilder, HostProcess, wait_until};

/// Descriptor limits: with the lowest one, no host starts, and with the highest one, its plugins
/// do.
const DESCRIPTOR_LIMITS: std::ops::Range<u64> = 12..120;

fn limited(descriptors: u64) -> HostBuilder {
    HostProcess::builder().script(StartScript::in_process(&format!("ulimit -S -n {descriptors}")))
}

/// Waits until the host serves, and returns `true`, or until it has failed to start.
#[track_caller]
fn serves(host: &mut HostProcess) -> bool {
    wait_until("it serves or ends", || !host.is_running() || host.log_contains("ready on "));
    if !host.is_running() {
        assert_eq!(host.wait().code(), Some(EX_OSERR), "{}", host.log());
        return false;
    }
    true
}

#[track_caller]
fn assert_contains(log: &str, parts: &[&str]) {
    for part in parts {
        assert!(log.contains(part), "{part:?} is not in {log}");
    }
}

#[test]
fn reports_sockets_that_were_passed_to_another_process() {
    let builder = HostProcess::builder().variable("LISTEN_FDS", "1").variable("LISTEN_PID", "1");

    let host = builder.start();

    let line = host.wait_for_log("these sockets are for another process");
    assert_contains(&line, &["WARN", "LISTEN_FDS=\"1\"", "LISTEN_PID is \"1\"", "unset LISTEN_FDS"]);
    host.peer().assert_usable();
}

#[test]
fn names_the_owner_of_a_lock_file_of_another_user() {
    if !is_root("a lock file of another user") {
        return;
    }
    let builder = HostProcess::builder();
    let run = builder.directory().join("run");
    fs::create_dir(&run).expect("a directory");
    let lock = run.join("jackfield.sock.lock");
    fs::write(&lock, "").expect("the file");
    fs::set_permissions(&lock, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("its mode");
    for path in [builder.directory(), &run] {
        chown(path, Some(OTHER_USER), None).expect("its owner");
    }

    let mut host = acting_as(OTHER_USER, OTHER_USER, || builder.spawn());

    let (code, log) = (host.wait().code(), host.log());
    assert_eq!(code, Some(EX_OSERR), "{log}");
    fs::remove_file(&lock).expect("the lock file of the other user still exists");
    let user = format!("the lock file belongs to user 0, and the host runs as user {OTHER_USER}; remove it");
    assert_contains(&log, &[&user, "jackfield.sock.lock", "(see listener.socket)"]);
}

#[test]
fn names_the_limit_of_inotify_instances_and_captures_output_without_one() {
    let script = "exec unshare -U -r sh -c 'echo 0 > /proc/sys/user/max_inotify_instances; \
                  exec \"$0\" \"$@\"' \"$0\" \"$@\"";
    let probed = command("unshare").args(["-U", "-r", "true"]).status();
    if !probed.is_ok_and(|status| status.success()) {
        eprintln!("skipped, because there are no user namespaces here");
        return;
    }

    let host = HostProcess::builder().plugin("prints").script(StartScript::in_process(script)).start();

    for beginning in ["config.toml cannot be watched", "plugins cannot be watched"] {
        let line = host.wait_for_log(beginning);
        assert_contains(&line, &["WARN", "no inotify instance is left", "fs.inotify.max_user_instances"]);
    }
    assert!(!host.log_contains("cannot capture the output"), "{}", host.log());
    assert!(!host.log_contains("refused"), "{}", host.log());
}

#[test]
fn names_files_that_are_in_the_way_of_directories() {
    let builder = HostProcess::builder();
    let run = builder.directory().join("run");
    fs::create_dir(&run).expect("a directory");
    for file in ["recorder", "state"] {
        fs::write(run.join(file), "").expect("a file");
    }
    let host = builder.start();
    for (file, key) in [("run/recorder", "plugins.crash.record"), ("run/state", "plugins.state")] {
        let in_the_way = format!("{file} is in the way; remove it");
        let line = host.wait_for_log(&in_the_way);
        assert_contains(&line, &["ERROR", &format!("(see {key})")]);
    }

    let builder = HostProcess::builder();
    fs::write(builder.directory().join("run"), "").expect("a file");
    let (code, log) = refused_start(builder);
    assert_eq!(code, EX_OSERR, "{log}");
    assert_contains(&log, &["run is in the way; remove it", "(see listener.socket)"]);
}

#[test]
fn names_the_key_of_an_address_in_use() {
    let first = HostProcess::builder().config("[metrics]\nlisten = \"127.0.0.1:0\"").start();
    let taken = address(&first);

    let (code, log) =
        refused_start(HostProcess::builder().config(&format!("[metrics]\nlisten = \"{taken}\"")));

    assert_eq!(code, EX_OSERR, "{log}");
    assert_contains(&log, &[&taken, "stop the process that uses it", "(see metrics.listen)"]);
}

#[test]
fn names_the_descriptor_limit_whichever_step_exceeds_it() {
    let mut is_started = false;
    for limit in DESCRIPTOR_LIMITS.step_by(6) {
        let mut host = limited(limit).plugin("good_v1").spawn();
        is_started = serves(&mut host);
        if !is_started {
            let log = host.log();
            let last = log.lines().last().unwrap_or_default();
            assert_contains(last, &["cannot ", "raise LimitNOFILE="]);
        }
        for line in host.log_lines() {
            let is_named = !line.contains("Too many open files") || line.contains("raise LimitNOFILE=");
            assert!(is_named && !line.contains("Invalid argument"), "{limit}: {line}");
        }
    }
    assert!(is_started, "the highest limit suffices");
}

#[test]
fn loads_a_plugin_that_a_shortage_kept_from_loading_at_start() {
    let unwatched = "[plugins]\nwatch = false";
    let host = DESCRIPTOR_LIMITS.step_by(2).find_map(|limit| {
        let mut host = limited(limit).plugin("good_v1").config(unwatched).spawn();
        let is_started = serves(&mut host);
        is_started.then_some(host)
    });
    let host = host.expect("a host starts");
    let line = host.wait_for_log("refused (no-resources)");
    assert_contains(&line, &["raise LimitNOFILE=", "the plugin is unavailable, and the host tries again"]);

    let pid = i32::try_from(host.pid()).ok().and_then(Pid::from_raw).expect("a process id");
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: maximum.map(|maximum| maximum.min(4096)), maximum };
    prlimit(Some(pid), Resource::Nofile, limit).expect("the limit is raised");

    wait_until("the plugin serves", || plugin_row(&host, "good_v1")["generation"].is_u64());
}

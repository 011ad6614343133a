//! Plugins whose code holds the lock of the dynamic loader: a constructor that takes long, a
//! handler that hangs when the code is closed. Nobody else waits for them.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::admin::plugin_row;
use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::http::{address, get};
use crate::support::peer::PLUGIN_PANICKED;
use crate::support::{HostProcess, IO_THREADS, wait_until};

const CONFIG: &str = "[metrics]\nlisten = \"127.0.0.1:0\"\n[timeouts]\ndrain = \"1s\"";

/// Puts the fixture into the plugin directory whose constructor waits, and returns once it runs in
/// the host.
fn hold_loader_lock(host: &HostProcess) {
    let library = artifacts().library("waits_in_constructor");
    install(library, &host.path("plugins/libwaits_in_constructor.so"));
    wait_until("the constructor runs in the host", || host.path("constructor-runs").exists());
}

/// Asserts that each I/O thread answers calls that write a log line.
#[track_caller]
fn assert_logging_calls_are_answered(host: &HostProcess, line: &str) {
    let mut peers: Vec<_> = (0..2 * IO_THREADS).map(|_| host.peer()).collect();
    for peer in &mut peers {
        peer.result("services.log", &json!({ "level": "info", "line": line }));
    }
    wait_until("the lines are written", || host.log().matches(line).count() == peers.len());
}

#[test]
fn answers_calls_that_log_while_a_constructor_runs() {
    for isolation in ["in-process", "worker"] {
        assert_answers_calls_that_log(isolation);
    }
}

#[track_caller]
fn assert_answers_calls_that_log(isolation: &str) {
    let mut host = HostProcess::builder().config(CONFIG);
    for name in ["services", "panics", "echoes"] {
        host = host.plugin(name).config(&format!("[plugin.{name}]\nisolation = {isolation:?}"));
    }
    let host = host.start();
    let metrics = address(&host);
    let mut before = host.peer();
    before.assert_usable();
    hold_loader_lock(&host);

    // The first lines of the I/O threads: nothing has logged on them so far.
    assert_logging_calls_are_answered(&host, "first");
    before.result("services.sleep", &json!({ "ms": 1 }));
    before.call("panics.panic_inline", &Value::Null).error(PLUGIN_PANICKED);
    assert_eq!(get(&metrics, "/healthz").status, 200);
    assert_eq!(get(&metrics, "/metrics").status, 200);

    host.latch("constructor").open();
    host.wait_for_log("plugin waits_in_constructor: generation");
    assert_eq!(host.peer().result("constructor.get", &Value::Null), true);
}

#[test]
fn routes_no_connection_to_an_io_thread_that_cannot_start_yet() {
    // The call blocks its I/O thread, which is replaced while the constructor runs.
    let config = format!("{CONFIG}\ninline = \"20ms\"\n[io]\nthreads = 1");
    let host = HostProcess::builder().plugin("sleeps").plugin("counts").config(&config).start();
    hold_loader_lock(&host);

    let mut held = host.peer();
    held.send_async("held", "counts.inline", &json!({ "ms": 1000 }));
    host.wait_for_log("replaced=true");

    // Only the old thread can serve: the new one waits for the constructor.
    assert_eq!(held.receive().id().as_deref(), Some("held"));
    let mut peer = host.peer();
    peer.assert_usable();

    host.latch("constructor").open();
    host.wait_for_log("plugin waits_in_constructor: generation");
    peer.assert_usable();
    held.assert_usable();
}

#[test]
fn ends_while_a_constructor_hangs() {
    let mut host = HostProcess::builder().plugin("services").config(CONFIG).start();
    hold_loader_lock(&host);

    // The main thread reads the changed file on another thread, which cannot start.
    fs::write(host.path("config.toml"), format!("{CONFIG}\n[io]\nthreads = 3")).expect("the configuration");
    host.signal(Signal::TERM);

    assert_eq!(host.wait().code(), Some(0));
    assert!(host.log_contains("all requests answered"), "{}", host.log());
}

#[test]
fn ends_although_an_exit_handler_of_a_plugin_hangs() {
    let start = || HostProcess::builder().plugin("blocks_at_end").plugin("services").config(CONFIG).start();
    let (mut closes, mut keeps) = (start(), start());
    for host in [&closes, &keeps] {
        assert_eq!(host.peer().result("end.exit", &Value::Null), true);
    }

    // One host hangs in `dlclose` before it receives the signal, the other one at its end.
    fs::remove_file(closes.path("plugins/libblocks_at_end.so")).expect("the plugin is there");
    wait_until("the plugin is removed", || plugin_row(&closes, "blocks_at_end")["state"] == "removed");
    wait_until("its code is being closed", || is_closing(&closes));
    assert_logging_calls_are_answered(&closes, "while closing");

    for host in [&mut closes, &mut keeps] {
        host.signal(Signal::TERM);
    }
    for host in [&mut closes, &mut keeps] {
        assert_eq!(host.wait().code(), Some(0), "{}", host.log());
        assert!(host.log_contains("all requests answered"), "{}", host.log());
        let line = "exit handlers of plugins did not return within 1 s; the process ends without them";
        assert!(host.log_contains(line), "{}", host.log());
    }
}

/// Returns whether a thread that retires a generation sleeps, as the exit handler does.
fn is_closing(host: &HostProcess) -> bool {
    let is_sleeping = |task: &fs::DirEntry| {
        let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        read("comm").trim() == "retire" && read("wchan").contains("nanosleep")
    };
    // Twice, because a retirement also sleeps for moments while it waits.
    let closes = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", host.pid())).expect("a living process");
        tasks.flatten().any(|task| is_sleeping(&task))
    };
    closes() && {
        std::thread::sleep(Duration::from_millis(50));
        closes()
    }
}

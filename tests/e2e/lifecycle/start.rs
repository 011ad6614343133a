//! The start: plugins start at the same time, a signal ends a host that still starts, and a failed
//! start is no crash.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::support::admin::{self, plugin_rows};
use crate::support::slow_start::Marks;
use crate::support::{HostBuilder, HostProcess, wait_until};

/// No time-out helps a plugin that hangs: only a signal ends such a host.
const LONG_PROBE: &str = "[plugins]\nprobe = \"10m\"\n";

/// Returns a builder for a host that hangs in the start of the plugin `slow` until the mark `go` is
/// set for that process.
fn hanging() -> (HostBuilder, Marks) {
    let builder = HostProcess::builder().config(LONG_PROBE);
    let marks = Marks::below(builder.directory());
    (marks.add(builder, "slow", &["go"]), marks)
}

#[test]
fn starts_plugins_at_the_same_time() {
    let builder = HostProcess::builder();
    let marks = Marks::below(builder.directory());
    // Each returns from `start` only after the others have begun theirs, in the probe and in the
    // host.
    let plugins = ["a", "b", "c"];
    let builder = plugins.iter().fold(builder, |builder, plugin| marks.add(builder, plugin, &plugins));

    let host = builder.start();

    let rows = plugin_rows(&mut admin::connect(&host));
    for plugin in plugins {
        let serves = rows
            .iter()
            .any(|row| row["name"] == plugin && row["generation"].is_u64() && row["refused"].is_null());
        assert!(serves, "{plugin} in {rows:?}");
    }
    assert!(!host.log_contains("refused"), "{}", host.log());
}

#[test]
fn ends_at_the_first_signal_while_a_plugin_is_probed() {
    for signal in [Signal::TERM, Signal::INT] {
        let (builder, marks) = hanging();
        let mut host = builder.spawn();
        let probe = marks.wait_for("slow.probe");

        host.signal(signal);

        assert_eq!(host.wait().code(), Some(0), "{}", host.log());
        assert!(host.log_contains("stopping on SIG"), "{}", host.log());
        assert!(!host.log_contains("refused"), "no plugin is at fault: {}", host.log());
        wait_until("the probe process has ended", || !probe.exists());
    }
}

#[test]
fn ends_at_the_first_signal_while_a_plugin_starts_in_the_host() {
    let (builder, marks) = hanging();
    let mut host = builder.plugin("services").spawn();
    marks.set("go.probe");
    marks.wait_for("slow.host");

    host.signal(Signal::TERM);

    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    assert!(!host.log_contains("refused"), "no plugin is at fault: {}", host.log());
    assert!(host.log_contains("the fixture stops"), "a plugin that has started is stopped: {}", host.log());
    assert!(!host.log_contains("now serves"), "{}", host.log());
}

#[test]
fn ends_at_once_at_the_second_signal_while_a_plugin_starts_in_the_host() {
    let (builder, marks) = hanging();
    let mut host = builder.spawn();
    marks.set("go.probe");
    marks.wait_for("slow.host");

    host.signal(Signal::TERM);
    host.wait_for_log("stopping on SIGTERM");
    host.signal(Signal::INT);

    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    assert!(host.log_contains("stopping now on SIGINT"), "{}", host.log());
}

#[test]
fn does_not_report_a_failed_start_as_a_crash() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut host = HostProcess::builder().config(&format!("[metrics]\nlisten = \"{address}\"\n")).spawn();
    assert_eq!(host.wait().code(), Some(super::EX_OSERR), "{}", host.log());
    let record = host.path("run/recorder/running");
    assert!(!record.exists(), "the record is closed");

    drop(taken);
    host.restart_ready();

    assert!(!host.log_contains("previous host"), "{}", host.log());
    assert_eq!(host.count("deaths"), 0);
}

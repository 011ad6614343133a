//! Attribution of crashes: for each cause and each execution mode, the next host reports once what
//! ran, and serves again.

use serde_json::json;

use super::{ATTRIBUTED, NO_QUARANTINE, assert_attributed, crash_in};
use crate::support::accounting::ReplyAccounting;
use crate::support::admin::plugin_row;
use crate::support::footprint::{assert_settles_within, idle_footprint};
use crate::support::http::address;
use crate::support::scrape::Scrape;
use crate::support::threads::threads;
use crate::support::{HostProcess, wait_until};

/// Permitted difference in memory between hosts with the same plugins, in KiB. It depends on which
/// code has run.
const TOLERANCE_KIB: usize = 2048;

/// The crashes of the fixture, each with the signal that ends the process, or the negated exit
/// code.
const CRASHES: [(&str, i32); 14] = [
    ("abort", 6),
    ("exit-0", 0),
    ("exit-1", -1),
    ("_exit", -1),
    ("pthread-exit", 6),
    ("null", 11),
    ("wild", 11),
    ("overflow", 6),
    ("small-overflow", 11),
    ("illegal", 4),
    ("bus", 7),
    ("divide", 8),
    ("kill", 9),
    ("panics", 6),
];

fn assert_each_crash_is_attributed(method: &str) {
    use std::os::unix::process::ExitStatusExt as _;

    let mut host = HostProcess::builder().plugin("dies").plugin("echoes").config(NO_QUARANTINE).start();

    // This host runs the same calls as each of its successors will.
    let mut peer = host.peer();
    for method in [method, "fixture.echo_blocking", "fixture.echo"] {
        peer.result(method, &json!({ "how": "not" }));
    }
    drop(peer);
    plugin_row(&host, "dies");

    let before = idle_footprint(host.pid());

    for (cause, end) in CRASHES {
        // A neighbour has requests before and after the crash, each answered once.
        let (mut accounting, mut neighbour) = (ReplyAccounting::default(), host.peer());
        accounting.record_request("before");
        neighbour.send_async("before", "fixture.echo_blocking", &json!(cause));
        accounting.record_reply(&neighbour.receive());

        crash_in(&host, method, &format!("{cause}-7"), cause);
        neighbour.expect_close();

        let ended = host.restart_ready();
        let as_expected = match end {
            1.. => ended.signal() == Some(end),
            _ => ended.code() == Some(-end),
        };
        assert!(as_expected, "{cause} in {method} ended with {ended}");

        let hash = plugin_row(&host, "dies")["hash"].as_str().unwrap().to_owned();
        let fields = [
            "plugin=\"dies\"".to_owned(),
            "generation=".to_owned(),
            format!("method=\"{method}\""),
            format!("id=\"{cause}-7\""),
            format!("hash=\"{hash}\""),
            "beside=0".to_owned(),
        ];

        assert_attributed(&host, &fields.each_ref().map(String::as_str));
        assert_eq!(host.log().matches(ATTRIBUTED).count(), 1, "{}", host.log());

        let deaths = plugin_row(&host, "dies")["deaths"].as_array().unwrap().clone();
        let last = deaths.last().unwrap();
        assert_eq!((&last["method"], &last["id"]), (&json!(method), &json!(format!("{cause}-7"))));
        assert_eq!(host.count("deaths"), deaths.len() as u64);

        let mut neighbour = host.peer();
        accounting.record_request("after");
        neighbour.send_async("after", "fixture.echo", &json!(cause));
        accounting.record_reply(&neighbour.receive());
        assert_eq!((accounting.check(), accounting.count(None)), (Ok(()), 2));
        assert!(host.peer().call(method, &json!({ "how": "not" })).code().is_none(), "the new host serves");
        drop(neighbour);
        assert_settles_within(host.pid(), &before, TOLERANCE_KIB);
    }
}

#[test]
fn reports_the_plugin_of_a_crash_in_metrics() {
    let config = format!("{NO_QUARANTINE}[metrics]\nlisten = \"127.0.0.1:0\"\n");
    let mut host = HostProcess::builder().plugin("dies").config(&config).start();

    assert_eq!(Scrape::of(&address(&host)).sum("ipc_plugin_deaths"), 0);

    crash_in(&host, "dies.blocking", "in\"the metrics", "abort");
    host.restart_ready();

    let (row, scrape) = (plugin_row(&host, "dies"), Scrape::of(&address(&host)));
    assert_eq!(scrape.value("ipc_plugin_deaths", &[("plugin", "dies")]), 1);
    let last = &row["deaths"][0];
    let labels = [
        ("plugin", "dies"),
        ("generation", &last["generation"].to_string()),
        ("method", "dies.blocking"),
        ("id", "in\"the metrics"),
    ];
    assert_eq!(json!(scrape.value("ipc_last_death_timestamp_seconds", &labels)), last["at"]);
}

#[test]
fn attributes_crashes_in_an_inline_method() {
    assert_each_crash_is_attributed("dies.inline");
}

#[test]
fn attributes_crashes_in_a_blocking_method() {
    assert_each_crash_is_attributed("dies.blocking");
}

#[test]
fn attributes_crashes_in_an_async_method() {
    assert_each_crash_is_attributed("dies.async");
}

#[test]
fn attributes_a_crash_to_running_methods_only() {
    let config = format!("{NO_QUARANTINE}[plugin.dies]\nthreads = 1\n");
    let mut host = HostProcess::builder().plugin("dies").plugin("sleeps").config(&config).start();

    let mut peer = host.peer();
    peer.send_async("ended", "dies.blocking", &json!({ "how": "not" }));
    peer.receive();

    // A future that waits is not polled, so it does not run.
    peer.send_async("waits", "sleep.async", &json!({ "ms": 60_000 }));
    peer.send_async("behind", "sleep.async", &json!({ "ms": 0 }));
    assert_eq!(peer.receive().id().as_deref(), Some("behind"));
    wait_until("its thread has nothing to do", || {
        threads(host.pid()).iter().any(|thread| thread.name == "sleeps:async" && thread.state == 'S')
    });

    peer.send_async("beside", "sleep.blocking", &json!({ "ms": 60_000 }));
    wait_until("the call runs", || host.peer().result("sleep.running", &json!(null)) == 1);

    let long = "x".repeat(100);
    crash_in(&host, "dies.blocking", &long, "abort");
    peer.expect_close();

    host.restart_ready();
    host.wait_for_log("ready on");

    let attributed: Vec<_> = host.log_lines().into_iter().filter(|line| line.contains(ATTRIBUTED)).collect();
    assert_eq!(attributed.len(), 2, "{attributed:?}");

    let of =
        |plugin: &str| attributed.iter().find(|line| line.contains(&format!("plugin=\"{plugin}\""))).unwrap();
    assert!(of("sleeps").contains("method=\"sleep.blocking\"") && of("sleeps").contains("id=\"beside\""));
    assert!(of("dies").contains("beside=1"), "{attributed:?}");
    assert!(of("dies").contains("; 1 other call ran at the same time"), "{attributed:?}");
    assert!(
        of("dies").contains(&format!("id=\"{}\"", &long[..64])),
        "an id is cut at 64 bytes: {attributed:?}"
    );
}

#[test]
fn attributes_a_crash_to_the_innermost_nested_call() {
    let mut host = HostProcess::builder().plugin("dies").plugin("calls").config(NO_QUARANTINE).start();
    for (caller, called) in
        [("calls.inline", "dies.inline"), ("calls.wait", "dies.blocking"), ("calls.chain", "dies.async")]
    {
        let mut peer = host.peer();
        let params = json!({ "method": called, "params": { "how": "abort" } });
        peer.send_async(caller, caller, &params);
        peer.expect_close();

        host.restart_ready();

        let is_named = |plugin: &str, method: &str| {
            let fields =
                [format!("plugin=\"{plugin}\""), format!("method=\"{method}\""), format!("id=\"{caller}\"")];
            let mut attributed = host.log_lines().into_iter().filter(|line| line.contains(ATTRIBUTED));
            attributed.any(|line| fields.iter().all(|field| line.contains(field)))
        };
        assert!(is_named("dies", called), "{}", host.log());
        // A method that waits for another one does not run, except that an async caller may not
        // wait yet.
        assert!(!is_named("calls", caller) || caller == "calls.chain", "{}", host.log());
    }
}

#[test]
fn attributes_no_plugin_if_none_ran() {
    let mut host = HostProcess::with(&["dies"]);
    host.peer().assert_usable();

    host.signal(rustix::process::Signal::KILL);
    host.restart_ready();

    let message = "the previous host ended without shutdown (crash or kill -9); no plugin code was running";
    assert!(host.log_contains(message), "{}", host.log());
    assert!(!host.log_contains(ATTRIBUTED));
    assert_eq!(host.count("deaths"), 0);
}

//! Each way to die, in each way to run: what ran is named, once, and everybody is served again.

use serde_json::json;

use super::{NEVER, assert_named, kill_by};
use crate::support::accounting::ReplyAccounting;
use crate::support::admin::plugin_row;
use crate::support::footprint::{assert_settles_within, idle_footprint};
use crate::support::http::address;
use crate::support::scrape::Scrape;
use crate::support::threads::threads;
use crate::support::{HostProcess, wait_until};

/// What a host with the same plugins may hold more or less than the one before, in KiB: code that
/// ran or did not.
const ABOUT: usize = 2048;

/// The ways of the fixture, and what the process ends with: a signal, or an exit code below 0.
const WAYS: [(&str, i32); 14] = [
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

fn each_way(method: &str) {
    use std::os::unix::process::ExitStatusExt as _;
    let mut host = HostProcess::builder().plugin("dies").plugin("echoes").config(NEVER).start();
    // As much as each of its successors will have done.
    let mut peer = host.peer();
    for method in [method, "fixture.echo_blocking", "fixture.echo"] {
        peer.result(method, &json!({ "how": "not" }));
    }
    drop(peer);
    plugin_row(&host, "dies");
    let before = idle_footprint(host.pid());
    for (how, end) in WAYS {
        // Somebody else, with requests before and after, none of them answered twice.
        let (mut accounting, mut bystander) = (ReplyAccounting::default(), host.peer());
        accounting.record_request("before");
        bystander.send_async("before", "fixture.echo_blocking", &json!(how));
        accounting.record_reply(&bystander.receive());
        kill_by(&host, method, &format!("{how}-7"), how);
        bystander.expect_close();

        let ended = host.restart_ready();
        let as_expected = match end {
            1.. => ended.signal() == Some(end),
            _ => ended.code() == Some(-end),
        };
        assert!(as_expected, "{how} in {method} ended with {ended}");
        let hash = plugin_row(&host, "dies")["hash"].as_str().unwrap().to_owned();
        let fields = [
            "plugin=\"dies\"".to_owned(),
            "generation=".to_owned(),
            format!("method=\"{method}\""),
            format!("id=\"{how}-7\""),
            format!("hash=\"{hash}\""),
            "beside=0".to_owned(),
        ];
        assert_named(&host, &fields.each_ref().map(String::as_str));
        assert_eq!(host.log().matches("died while this ran").count(), 1, "{}", host.log());
        let deaths = plugin_row(&host, "dies")["deaths"].as_array().unwrap().clone();
        let last = deaths.last().unwrap();
        assert_eq!((&last["method"], &last["id"]), (&json!(method), &json!(format!("{how}-7"))));
        assert_eq!(host.count("deaths"), deaths.len() as u64);

        let mut bystander = host.peer();
        accounting.record_request("after");
        bystander.send_async("after", "fixture.echo", &json!(how));
        accounting.record_reply(&bystander.receive());
        assert_eq!((accounting.check(), accounting.count(None)), (Ok(()), 2));
        assert!(host.peer().call(method, &json!({ "how": "not" })).code().is_none(), "it serves again");
        drop(bystander);
        assert_settles_within(host.pid(), &before, ABOUT);
    }
}

#[test]
fn the_metrics_name_it_too() {
    let config = format!("{NEVER}[metrics]\nlisten = \"127.0.0.1:0\"\n");
    let mut host = HostProcess::builder().plugin("dies").config(&config).start();
    assert_eq!(Scrape::of(&address(&host)).sum("ipc_plugin_deaths"), 0);
    kill_by(&host, "dies.blocking", "in\"the metrics", "abort");
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
fn in_an_inline_method() {
    each_way("dies.inline");
}

#[test]
fn in_a_blocking_method() {
    each_way("dies.blocking");
}

#[test]
fn in_an_async_method() {
    each_way("dies.async");
}

#[test]
fn what_waited_or_had_ended_is_not_named_and_what_ran_beside_is() {
    let config = format!("{NEVER}[plugin.dies]\nthreads = 1\n");
    let mut host = HostProcess::builder().plugin("dies").plugin("sleeps").config(&config).start();
    let mut peer = host.peer();
    peer.send_async("ended", "dies.blocking", &json!({ "how": "not" }));
    peer.receive();
    // A future that waits is polled by nobody.
    peer.send_async("waits", "sleep.async", &json!({ "ms": 60_000 }));
    peer.send_async("behind", "sleep.async", &json!({ "ms": 0 }));
    assert_eq!(peer.receive().id().as_deref(), Some("behind"));
    wait_until("its thread has nothing to do", || {
        threads(host.pid()).iter().any(|thread| thread.name == "sleeps:async" && thread.state == 'S')
    });
    peer.send_async("beside", "sleep.blocking", &json!({ "ms": 60_000 }));
    wait_until("it runs", || host.peer().result("sleep.running", &json!(null)) == 1);
    let long = "x".repeat(100);
    kill_by(&host, "dies.blocking", &long, "abort");
    peer.expect_close();
    host.restart_ready();
    host.wait_for_log("ready on");
    let told: Vec<_> =
        host.log_lines().into_iter().filter(|line| line.contains("died while this ran")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    let of = |plugin: &str| told.iter().find(|line| line.contains(&format!("plugin=\"{plugin}\""))).unwrap();
    assert!(of("sleeps").contains("method=\"sleep.blocking\"") && of("sleeps").contains("id=\"beside\""));
    assert!(of("dies").contains("beside=1"), "{told:?}");
    assert!(of("dies").contains(&format!("id=\"{}\"", &long[..64])), "an id is cut at 64 bytes: {told:?}");
}

#[test]
fn of_methods_that_call_one_another_the_one_that_ran_is_named() {
    let mut host = HostProcess::builder().plugin("dies").plugin("calls").config(NEVER).start();
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
            let mut told = host.log_lines().into_iter().filter(|line| line.contains("died while this ran"));
            told.any(|line| fields.iter().all(|field| line.contains(field)))
        };
        assert!(is_named("dies", called), "{}", host.log());
        // Who waits for another runs nothing; a future may still be about to wait.
        assert!(!is_named("calls", caller) || caller == "calls.chain", "{}", host.log());
    }
}

#[test]
fn a_host_that_is_killed_while_no_plugin_runs_names_nobody() {
    let mut host = HostProcess::with(&["dies"]);
    host.peer().assert_usable();
    host.signal(rustix::process::Signal::KILL);
    host.restart_ready();
    assert!(host.log_contains("the host before died; no thread of it ran a plugin's code"), "{}", host.log());
    assert!(!host.log_contains("died while this ran"));
    assert_eq!(host.count("deaths"), 0);
}

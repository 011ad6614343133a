//! Calls that nobody waits for any more: the host supervises them until their deadline.

use serde_json::{Value, json};

use crate::support::admin::plugin_row;
use crate::support::http::address;
use crate::support::peer::{DEADLINE_EXCEEDED, PLUGIN_UNAVAILABLE};
use crate::support::scrape::Scrape;
use crate::support::{HostProcess, Latch, Peer, wait_until};

/// Starts a host with the fixture `sleeps`, and a route for `method` whose time-out is long enough
/// for a client to hang up before.
fn host(method: &str, sleeps: &str) -> HostProcess {
    let config = format!(
        "[metrics]\nlisten = \"127.0.0.1:0\"\n[plugin.sleeps]\nbreaker = {{ failures = 0 }}\n{sleeps}\n\
         [[route]]\nmethod = \"{method}\"\nplugin = \"sleeps\"\ntimeout = \"2s\""
    );
    HostProcess::builder().plugin("sleeps").plugin("calls").config(&config).start()
}

/// Calls `method` `count` times, and hangs up when the first call runs.
fn call_and_hang_up(host: &HostProcess, method: &str, count: u32, latch: &Latch) {
    let mut client = host.peer();
    for number in 1..=count {
        client.send_async(&format!("left-{number}"), method, &latch.params());
    }
    let mut peer = host.peer();
    wait_until("a call runs", || peer.result("sleep.running", &Value::Null) == 1);
    drop(client);
}

fn lost_threads(host: &HostProcess) -> Value {
    plugin_row(host, "sleeps")["lost_threads"].clone()
}

/// Asserts that the log names the call, its client, and the fate of its thread.
fn assert_reported(host: &HostProcess, call: &str, outcome: &str) {
    let line = host.wait_for_log(outcome);
    let uid = rustix::process::getuid().as_raw();
    let pid = std::process::id();
    assert!(line.contains(&format!("plugin sleeps: {call}, connection ")), "{line}");
    assert!(line.contains(&format!(" uid {uid}, pid {pid}, client gone) runs past")), "{line}");
}

#[test]
fn reports_and_replaces_the_thread_of_a_call_whose_client_has_gone() {
    let host = host("sleep.blocking_until", "threads = 1\nspare_threads = 1");
    let latch = host.latch("blocking");
    call_and_hang_up(&host, "sleep.blocking_until", 1, &latch);

    let outcome = "runs past its deadline; thread replaced, 1 stuck";
    assert_reported(&host, "sleep.blocking_until (request left-1", outcome);
    assert_eq!(lost_threads(&host), 1);
    let metrics = Scrape::of(&address(&host));
    assert_eq!(metrics.value("ipc_plugin_lost_threads", &[("plugin", "sleeps")]), 1);
    assert_eq!(host.peer().result("sleep.blocking", &json!({ "ms": 1 })), 1);

    latch.open();
    host.wait_for_log("plugin sleeps: a stuck thread has returned, 0 still stuck");
    assert_eq!(lost_threads(&host), 0);
}

#[test]
fn keeps_spare_threads_when_a_client_hangs_up_on_many_calls() {
    let host = host("sleep.blocking_until", "threads = 1\nspare_threads = 2");
    let latch = host.latch("blocking");
    call_and_hang_up(&host, "sleep.blocking_until", 1000, &latch);

    host.wait_for_log("runs past its deadline; thread replaced, 1 stuck");

    // The other calls were cancelled before they ran.
    assert_eq!(host.peer().result("sleep.blocking", &json!({ "ms": 1 })), 1);
    assert_eq!(host.peer().result("sleep.running", &Value::Null), 1);
    assert_eq!(lost_threads(&host), 1);
    latch.open();
}

#[test]
fn continues_with_other_async_calls_when_a_poll_does_not_return() {
    let host = host("sleep.poll_until", "spare_threads = 1");
    let (latch, others) = (host.latch("poll"), host.latch("others"));
    let mut waiting = host.peer();
    waiting.send_async("suspended", "sleep.async_until", &others.params());
    call_and_hang_up(&host, "sleep.poll_until", 1, &latch);
    waiting.send_async("queued", "sleep.async", &json!({ "ms": 1 }));

    let outcome = "runs past its deadline; thread replaced, 1 stuck";
    assert_reported(&host, "sleep.poll_until (request left-1", outcome);
    assert_eq!(waiting.receive().id(), Some("queued".to_owned()));
    others.open();
    assert_eq!(waiting.receive().id(), Some("suspended".to_owned()));
    assert_eq!(lost_threads(&host), 1);

    latch.open();
    host.wait_for_log("plugin sleeps: a stuck thread has returned, 0 still stuck");
    assert_eq!(lost_threads(&host), 0);
    assert_eq!(host.peer().result("sleep.async", &json!({ "ms": 1 })), 1);
}

#[test]
fn rejects_async_calls_while_a_poll_does_not_return_and_no_spare_thread_is_left() {
    let host = host("sleep.poll_until", "spare_threads = 0");
    let latch = host.latch("poll");
    let mut client = host.peer();
    client.send_async("stuck", "sleep.poll_until", &latch.params());
    client.receive().error(DEADLINE_EXCEEDED);

    host.wait_for_log("thread not replaced (all plugin.sleeps.spare_threads are in use), 1 stuck");
    client.call("sleep.async", &json!({ "ms": 1 })).error(PLUGIN_UNAVAILABLE);
    assert_eq!(plugin_row(&host, "sleeps")["state"], "unhealthy");

    latch.open();
    wait_until("the thread is no longer lost", || lost_threads(&host) == 0);
    assert_eq!(client.result("sleep.async", &json!({ "ms": 1 })), 1);
}

#[test]
fn reports_a_nested_call_whose_caller_was_answered() {
    let config = "[[route]]\nmethod = \"calls.wait\"\nplugin = \"calls\"\ntimeout = \"1s\"";
    let host = HostProcess::builder().plugin("sleeps").plugin("calls").config(config).start();
    let latch = host.latch("blocking");
    let mut client: Peer = host.peer();
    let params = json!({ "method": "sleep.blocking_until", "params": latch.params() });
    client.send_async("outer", "calls.wait", &params);
    client.receive().error(DEADLINE_EXCEEDED);

    // The caller has the same deadline, so it may be reported, too, until it returns.
    host.wait_for_log("plugin sleeps: sleep.blocking_until (request outer, called by plugin calls");
    wait_until("only the nested call is stuck", || lost_threads(&host) == 1);
    assert!(host.log().contains("which no longer waits) runs past its deadline; thread replaced, 1 stuck"));
    latch.open();
    wait_until("the thread has returned", || lost_threads(&host) == 0);
}

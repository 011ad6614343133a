//! Plugins that do not return, that fail again and again, that hold up a connection's thread: what they cost others.

mod error_details;
mod neighbours;
mod panics;
mod stalled_threads;

use serde_json::{Value, json};

use crate::support::peer::Peer;
use crate::support::threads::threads;
use crate::support::{HostProcess, until};

const DEADLINE_EXCEEDED: i64 = -32001;
const PLUGIN_PANICKED: i64 = -32003;
const PLUGIN_UNAVAILABLE: i64 = -32005;

/// The plugin as operators see it.
pub(crate) fn row(host: &HostProcess, name: &str) -> Value {
    let rows =
        Peer::connect(&host.path("run/jackfield-admin.sock")).result("admin.plugin.list", &Value::Null);
    let row = rows.as_array().unwrap().iter().find(|row| row["name"] == name);
    row.unwrap_or_else(|| panic!("no {name} in {rows}")).clone()
}

#[test]
fn threads_that_do_not_come_back_are_replaced_and_past_the_bound_the_plugin_is_unavailable() {
    let config = "[plugin.counts]\nthreads = 1\nspare_threads = 1\nbreaker = { failures = 0 }\n\
        [[route]]\nmethod = \"counts.held\"\nplugin = \"counts\"\ntimeout = \"100ms\"";
    let host = HostProcess::builder().plugin("counts").plugin("device").config(config).start();
    let mut peer = host.peer();
    let blocking = |peer: &mut Peer| peer.call("counts.blocking", &json!({ "ms": 0 }));

    peer.call("counts.held", &Value::Null).error(DEADLINE_EXCEEDED);
    assert!(blocking(&mut peer).code().is_none(), "another thread has taken the place");
    let first = row(&host, "counts");
    assert_eq!((&first["lost_threads"], &first["healthy"]), (&json!(1), &json!(true)));

    peer.call("counts.held", &Value::Null).error(DEADLINE_EXCEEDED);
    let refused = blocking(&mut peer).error(PLUGIN_UNAVAILABLE);
    assert!(refused["data"]["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{refused}");
    let second = row(&host, "counts");
    assert_eq!((&second["state"], &second["lost_threads"]), (&json!("unhealthy"), &json!(2)));
    // What needs no thread of it, and everybody else, is served.
    assert_eq!(peer.result("counts.begun", &Value::Null), 3);
    assert_eq!(peer.result("device.list", &json!({}))["total"], 0);

    // They come back, and there are as many threads as before, not more.
    peer.result("counts.release", &Value::Null);
    until("the plugin is well again", || row(&host, "counts")["state"] == "serving");
    until("no thread is lost", || row(&host, "counts")["lost_threads"] == 0);
    assert!(blocking(&mut peer).code().is_none());
    let of_the_plugin =
        || threads(host.pid()).iter().filter(|thread| thread.name.starts_with("counts:")).count();
    until("the spare thread has gone", || of_the_plugin() == 1);
}

#[test]
fn a_reload_brings_fresh_threads_and_what_is_lost_stays_and_is_said() {
    let config = "[plugin.counts]\nthreads = 1\nspare_threads = 0\nbreaker = { failures = 0 }\n\
        [[route]]\nmethod = \"counts.held\"\nplugin = \"counts\"\ntimeout = \"100ms\"";
    let host = HostProcess::builder().plugin("counts").config(config).start();
    let mut peer = host.peer();
    peer.call("counts.held", &Value::Null).error(DEADLINE_EXCEEDED);
    peer.call("counts.blocking", &json!({ "ms": 0 })).error(PLUGIN_UNAVAILABLE);
    let mut operator = Peer::connect(&host.path("run/jackfield-admin.sock"));
    let verdicts = operator.result("admin.plugin.reload", &json!({ "name": "counts" }));
    assert_eq!(verdicts[0]["outcome"], "published");
    assert!(peer.call("counts.blocking", &json!({ "ms": 0 })).code().is_none());
    let row = row(&host, "counts");
    assert_eq!((row["healthy"].as_bool(), row["draining"].as_array().map(Vec::len)), (Some(true), Some(1)));
}

#[test]
fn a_plugin_that_fails_again_and_again_is_refused_for_a_while_and_then_asked_again() {
    let config = "[plugin.panics.breaker]\nfailures = 5\nwindow = \"1m\"\nopen = \"3s\"";
    let host = HostProcess::builder().plugin("panics").plugin("device").config(config).start();
    let mut peer = host.peer();
    for _ in 0..5 {
        peer.call("vice.panic", &Value::Null).error(PLUGIN_PANICKED);
    }
    // At once, and without the plugin being asked.
    let panics = host.count("panics");
    let refused = peer.call("vice.panic_inline", &Value::Null).error(PLUGIN_UNAVAILABLE);
    assert!(
        refused["data"]["retry_after_ms"].as_u64().is_some_and(|ms| (1..=3000).contains(&ms)),
        "{refused}"
    );
    assert_eq!(host.count("panics"), panics);
    assert_eq!(row(&host, "panics")["state"], "unhealthy");
    assert_eq!(peer.result("device.list", &json!({}))["total"], 0, "nobody else is refused");

    // One is let through when its time is over; it fails, and the time doubles.
    until("one is let through", || peer.call("vice.panic", &Value::Null).code() == Some(PLUGIN_PANICKED));
    let refused = peer.call("vice.panic", &Value::Null).error(PLUGIN_UNAVAILABLE);
    assert!(refused["data"]["retry_after_ms"].as_u64().is_some_and(|ms| ms > 3000), "{refused}");
    host.wait_for_log("it fails too often: refused for 6s");
}

#[test]
fn an_inline_method_that_holds_up_its_thread_is_moved_and_the_operator_sees_it() {
    let config = "[timeouts]\ninline = \"5ms\"";
    let host = HostProcess::builder().plugin("counts").config(config).start();
    let mut peer = host.peer();
    for number in 1..=3 {
        assert_eq!(peer.result("counts.inline", &json!({ "ms": 20 })), number);
    }
    host.wait_for_log("it is blocking from now on");
    assert!(row(&host, "counts")["moved"].as_array().unwrap().contains(&json!("counts.inline")));
    // On a thread of its own, so that another request of the same connection passes it by.
    peer.ask_async("slow", "counts.inline", &json!({ "ms": 300 }));
    peer.ask_async("quick", "system.ping", &Value::Null);
    assert_eq!(peer.receive().id().as_deref(), Some("quick"));
    assert_eq!(peer.receive().id().as_deref(), Some("slow"));
}

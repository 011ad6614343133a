//! Blocking calls that do not return: their threads are replaced up to a limit.

use serde_json::{Value, json};

use crate::support::admin::{self, plugin_row};
use crate::support::peer::{DEADLINE_EXCEEDED, PLUGIN_UNAVAILABLE, Peer};
use crate::support::threads::threads;
use crate::support::{HostProcess, wait_until};

#[test]
fn replaces_lost_threads_up_to_the_limit() {
    let config = "[plugin.counts]\nthreads = 1\nspare_threads = 1\nbreaker = { failures = 0 }\n\
        [[route]]\nmethod = \"counts.held\"\nplugin = \"counts\"\ntimeout = \"100ms\"";
    let host = HostProcess::builder().plugin("counts").plugin("device").config(config).start();
    let mut peer = host.peer();
    let blocking = |peer: &mut Peer| peer.call("counts.blocking", &json!({ "ms": 0 }));

    peer.call("counts.held", &Value::Null).error(DEADLINE_EXCEEDED);
    assert!(blocking(&mut peer).code().is_none(), "another thread takes over");
    let first = plugin_row(&host, "counts");
    assert_eq!((&first["lost_threads"], &first["healthy"]), (&json!(1), &json!(true)));

    peer.call("counts.held", &Value::Null).error(DEADLINE_EXCEEDED);
    let rejected = blocking(&mut peer).error(PLUGIN_UNAVAILABLE);
    assert!(rejected["data"]["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{rejected}");
    let second = plugin_row(&host, "counts");
    let replaced = host.wait_for_log("runs past its deadline; thread replaced, 1 stuck");
    assert!(replaced.contains("plugin counts: counts.held (connection "), "{replaced}");
    host.wait_for_log("runs past its deadline; thread not replaced");
    assert_eq!((&second["state"], &second["lost_threads"]), (&json!("unhealthy"), &json!(2)));

    // A method that needs no thread and the other plugins are served.
    assert_eq!(peer.result("counts.begun", &Value::Null), 3);
    assert_eq!(peer.result("device.list", &json!({}))["total"], 0);

    // The threads return, and the plugin has as many as before, not more.
    peer.result("counts.release", &Value::Null);
    host.wait_for_log("plugin counts: a stuck thread has returned, 0 still stuck");
    wait_until("the plugin is healthy again", || plugin_row(&host, "counts")["state"] == "serving");
    wait_until("no thread is lost", || plugin_row(&host, "counts")["lost_threads"] == 0);
    assert!(blocking(&mut peer).code().is_none());

    let is_blocking = |name: &str| name.starts_with("counts:") && name != "counts:async";
    let plugin_threads = || threads(host.pid()).iter().filter(|thread| is_blocking(&thread.name)).count();
    wait_until("the spare thread has ended", || plugin_threads() == 1);
}

#[test]
fn starts_new_threads_on_reload_and_lists_the_draining_generation() {
    let config = "[plugin.counts]\nthreads = 1\nspare_threads = 0\nbreaker = { failures = 0 }\n\
        [[route]]\nmethod = \"counts.held\"\nplugin = \"counts\"\ntimeout = \"100ms\"";
    let host = HostProcess::builder().plugin("counts").config(config).start();
    let mut peer = host.peer();

    peer.call("counts.held", &Value::Null).error(DEADLINE_EXCEEDED);
    peer.call("counts.blocking", &json!({ "ms": 0 })).error(PLUGIN_UNAVAILABLE);

    let mut operator = admin::connect(&host);
    let verdicts = operator.result("admin.plugin.reload", &json!({ "name": "counts" }));
    assert_eq!(verdicts[0]["outcome"], "published");
    assert!(peer.call("counts.blocking", &json!({ "ms": 0 })).code().is_none());

    let row = plugin_row(&host, "counts");
    assert_eq!((row["healthy"].as_bool(), row["draining"].as_array().map(Vec::len)), (Some(true), Some(1)));
}

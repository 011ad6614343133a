//! The circuit breaker: it opens after too many failures and admits a trial call later.

use serde_json::{Value, json};

use crate::support::admin::plugin_row;
use crate::support::peer::{PLUGIN_PANICKED, PLUGIN_UNAVAILABLE};
use crate::support::{HostProcess, wait_until};

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
    assert_eq!(plugin_row(&host, "panics")["state"], "unhealthy");
    assert_eq!(peer.result("device.list", &json!({}))["total"], 0, "nobody else is refused");

    // One is let through when its time is over; it fails, and the time doubles.
    wait_until("one is let through", || {
        peer.call("vice.panic", &Value::Null).code() == Some(PLUGIN_PANICKED)
    });
    let refused = peer.call("vice.panic", &Value::Null).error(PLUGIN_UNAVAILABLE);
    assert!(refused["data"]["retry_after_ms"].as_u64().is_some_and(|ms| ms > 3000), "{refused}");
    host.wait_for_log("it fails too often: refused for 6s");
}

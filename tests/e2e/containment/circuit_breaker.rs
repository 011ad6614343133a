//! The circuit breaker: it opens after too many failures and admits a trial call later.

use serde_json::{Value, json};

use crate::support::admin::plugin_row;
use crate::support::peer::{PLUGIN_PANICKED, PLUGIN_UNAVAILABLE};
use crate::support::{HostProcess, wait_until};

#[test]
fn opens_after_too_many_failures_and_doubles_its_open_time() {
    let config = "[plugin.panics.breaker]\nfailures = 5\nwindow = \"1m\"\nopen = \"3s\"";
    let host = HostProcess::builder().plugin("panics").plugin("device").config(config).start();
    let mut peer = host.peer();

    for _ in 0..5 {
        peer.call("panics.panic", &Value::Null).error(PLUGIN_PANICKED);
    }

    // The breaker rejects the call at once and without calling the plugin.
    let panics = host.count("panics");

    let refused = peer.call("panics.panic_inline", &Value::Null).error(PLUGIN_UNAVAILABLE);
    assert!(
        refused["data"]["retry_after_ms"].as_u64().is_some_and(|ms| (1..=3000).contains(&ms)),
        "{refused}"
    );
    assert_eq!(host.count("panics"), panics);
    assert_eq!(plugin_row(&host, "panics")["state"], "unhealthy");
    assert_eq!(peer.result("device.list", &json!({}))["total"], 0, "other plugins are not affected");

    // After the open time one trial call is admitted. It fails, and the open time doubles.
    wait_until("a trial call is admitted", || {
        peer.call("panics.panic", &Value::Null).code() == Some(PLUGIN_PANICKED)
    });
    let refused = peer.call("panics.panic", &Value::Null).error(PLUGIN_UNAVAILABLE);
    assert!(refused["data"]["retry_after_ms"].as_u64().is_some_and(|ms| ms > 3000), "{refused}");
    host.wait_for_log("plugin panics: circuit breaker opened for 3 s: 5 failures in 60 s");
    host.wait_for_log("plugin panics: circuit breaker opened again for 6 s: the trial call failed");
}

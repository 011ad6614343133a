//! The circuit breaker: it opens after too many failures and admits a trial call later.

use serde_json::{Value, json};

use crate::support::admin::plugin_row;
use crate::support::peer::{DEADLINE_EXCEEDED, OVERLOADED, PLUGIN_PANICKED, PLUGIN_UNAVAILABLE};
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

#[test]
fn admits_another_trial_call_if_the_first_is_refused() {
    let config = "[plugin.counts]\nbreaker = { failures = 1, open = \"100ms\" }\n\
        [[route]]\nmethod = \"counts.held\"\nplugin = \"counts\"\ntimeout = \"100ms\"\nmax_in_flight = 1";
    let host = HostProcess::builder().plugin("counts").config(config).start();
    let mut peer = host.peer();
    // The breaker opens. The call continues, so its route has no room.
    peer.call("counts.held", &Value::Null).error(DEADLINE_EXCEEDED);

    wait_until("the breaker admits a trial call, which the route refuses", || {
        peer.call("counts.held", &Value::Null).code() == Some(OVERLOADED)
    });

    assert_eq!(peer.result("counts.begun", &Value::Null), 1);
    host.wait_for_log("plugin counts: circuit breaker closed: the trial call succeeded");
    peer.result("counts.release", &Value::Null);
}

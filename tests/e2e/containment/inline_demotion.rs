//! The demotion of `inline` methods that are too slow for I/O threads.

use serde_json::{Value, json};

use crate::support::HostProcess;
use crate::support::admin::plugin_row;

#[test]
fn demotes_a_slow_inline_method_and_lists_it() {
    let config = "[timeouts]\ninline = \"5ms\"";
    let host = HostProcess::builder().plugin("counts").config(config).start();
    let mut peer = host.peer();

    for number in 1..=3 {
        assert_eq!(peer.result("counts.inline", &json!({ "ms": 20 })), number);
    }

    host.wait_for_log("plugin counts: counts.inline is inline but ran ");
    host.wait_for_log("plugin counts: counts.inline now runs on the plugin's own threads");
    assert!(plugin_row(&host, "counts")["moved"].as_array().unwrap().contains(&json!("counts.inline")));

    // The method runs on a thread of its plugin now, so another request of the connection overtakes
    // it.
    peer.send_async("slow", "counts.inline", &json!({ "ms": 300 }));
    peer.send_async("quick", "system.ping", &Value::Null);

    assert_eq!(peer.receive().id().as_deref(), Some("quick"));
    assert_eq!(peer.receive().id().as_deref(), Some("slow"));
}

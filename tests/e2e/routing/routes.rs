//! Routes: the longest match, disabled routes, missing plugins, and limits of requests in flight.

use serde_json::{Value, json};

use crate::support::peer::{DEADLINE_EXCEEDED, METHOD_NOT_FOUND, OVERLOADED, PLUGIN_UNAVAILABLE};
use crate::support::{HostProcess, wait_until};

#[test]
fn applies_the_longest_match() {
    let config = r#"
        [[route]]
        method = "device.*"
        plugin = "device"
        enabled = false
        [[route]]
        method = "device.status.*"
        plugin = "device"
        [[route]]
        method = "device.status.get"
        plugin = "device"
        enabled = false
        [[route]]
        method = "sleep.*"
        plugin = "sleeps"
        timeout = "50ms"
        [[route]]
        method = "sleep.async"
        plugin = "sleeps"
        timeout = "20s"
    "#;
    let host = HostProcess::builder().plugin("device").plugin("sleeps").config(config).start();
    let mut peer = host.peer();

    peer.result("device.status.update", &json!({ "deviceId": "d", "status": "online" }));

    for disabled in ["device.list", "device.report", "device.status.get"] {
        peer.call(disabled, &json!({ "deviceId": "d" })).error(METHOD_NOT_FOUND);
    }

    let error = peer.call("sleep.forever", &Value::Null).error(DEADLINE_EXCEEDED);
    assert_eq!(error["data"], json!({ "timeout_ms": 50 }));
    assert_eq!(peer.result("sleep.async", &json!({ "ms": 200 })), 200);

    let methods = peer.result("system.methods", &Value::Null);
    let methods: Vec<&str> = methods.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(methods.contains(&"device.status.update") && methods.contains(&"sleep.async"), "{methods:?}");
    assert!(!methods.contains(&"device.list") && !methods.contains(&"device.status.get"), "{methods:?}");
}

#[test]
fn serves_only_routed_methods_without_auto_route() {
    let config = r#"
        [plugins]
        auto_route = false
        [[route]]
        method = "fixture.echo"
        plugin = "echoes"
    "#;
    let host = HostProcess::builder().plugin("echoes").plugin("sleeps").config(config).start();
    let mut peer = host.peer();

    assert_eq!(peer.result("fixture.echo", &json!(1)), 1);
    for unrouted in ["fixture.echo_blocking", "fixture.echo_async", "sleep.dropped"] {
        peer.call(unrouted, &json!(1)).error(METHOD_NOT_FOUND);
    }

    // The methods of the host are always available.
    for method in ["system.ping", "system.info", "system.methods"] {
        peer.result(method, &Value::Null);
    }
    assert_eq!(peer.result("system.echo", &json!([])), json!([]));
}

#[test]
fn rejects_calls_of_a_missing_plugin() {
    let config = r#"
        [[route]]
        method = "absent.*"
        plugin = "absent"
        [[route]]
        method = "gone.one"
        plugin = "gone"
        [[route]]
        method = "off.*"
        plugin = "off"
        enabled = false
    "#;
    let host = HostProcess::builder().config(config).start();
    let mut peer = host.peer();

    for (method, plugin) in [("absent.a", "absent"), ("absent.a.b", "absent"), ("gone.one", "gone")] {
        let error = peer.call(method, &Value::Null).error(PLUGIN_UNAVAILABLE);
        assert_eq!(error["data"]["plugin"], plugin);
        assert!(error["data"]["retry_after_ms"].is_u64(), "{error}");
    }

    for method in ["gone.two", "off.a", "absent"] {
        peer.call(method, &Value::Null).error(METHOD_NOT_FOUND);
    }
}

#[test]
fn rejects_calls_beyond_the_limit_of_a_route() {
    let config = r#"
        [[route]]
        method = "sleep.*"
        plugin = "sleeps"
        max_in_flight = 2
        [[route]]
        method = "sleep.dropped"
        plugin = "sleeps"
    "#;
    let host = HostProcess::builder().plugin("sleeps").config(config).start();
    let mut peer = host.peer();
    let latch = host.latch("both");

    // Two methods of one route share its limit.
    peer.send_async("1", "sleep.async_until", &latch.params());
    peer.send_async("2", "sleep.blocking_until", &latch.params());

    for (id, method) in [("3", "sleep.async"), ("4", "sleep.blocking"), ("5", "sleep.running")] {
        peer.send_async(id, method, &json!({ "ms": 0 }));
        let reply = peer.receive();
        assert_eq!(reply.id().as_deref(), Some(id));
        let error = reply.error(OVERLOADED);
        assert!(error["data"]["retry_after_ms"].as_u64().unwrap() > 0, "{error}");
    }

    // Other connections are rejected as well, other routes are not.
    host.peer().call("sleep.async", &json!({ "ms": 0 })).error(OVERLOADED);
    assert_eq!(host.peer().result("sleep.dropped", &Value::Null), 0);

    latch.open();

    let mut answered: Vec<_> = peer.receive_all(2).iter().map(|reply| reply.id().unwrap()).collect();
    answered.sort();
    assert_eq!(answered, ["1", "2"]);

    assert_eq!(peer.result("sleep.async", &json!({ "ms": 0 })), 0);
    wait_until("each rejection is counted", || host.count("overloaded") == 4);
}

#[test]
fn counts_a_late_call_against_the_limit_until_it_ends() {
    let config = r#"
        [[route]]
        method = "sleep.blocking_until"
        plugin = "sleeps"
        max_in_flight = 1
        timeout = "300ms"
    "#;
    let host = HostProcess::builder().plugin("sleeps").config(config).start();
    let mut peer = host.peer();
    let (latch, opened) = (host.latch("runs"), host.latch("open"));
    opened.open();

    peer.call("sleep.blocking_until", &latch.params()).error(DEADLINE_EXCEEDED);

    // The request was answered, but the call still runs: another call would run at the same time.
    assert_eq!(peer.result("sleep.running", &Value::Null), 1);
    peer.call("sleep.blocking_until", &opened.params()).error(OVERLOADED);

    latch.open();

    wait_until("the call has ended", || host.count("late_results") == 1);
    // The permit is released shortly after the late result was dropped.
    wait_until("the permit is released", || {
        peer.call("sleep.blocking_until", &opened.params()).code().is_none()
    });
}

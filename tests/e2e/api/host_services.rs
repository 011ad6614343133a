//! The services that the host offers to plugins: settings, log, clock, and methods of other
//! plugins.

use serde_json::{Value, json};

use crate::support::peer::{
    DEADLINE_EXCEEDED, INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, PLUGIN_PANICKED,
};
use crate::support::{HostProcess, wait_until};

/// Maximum depth of nested calls. The protocol does not limit it, the host does.
const MAX_DEPTH: u64 = 16;

fn call_of(method: &str, params: Value) -> Value {
    json!({ "method": method, "params": params })
}

/// Asserts that a plugin's error contains the code of the failed nested call.
#[track_caller]
fn assert_reports_code(error: &Value, code: i64) {
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains(&format!("({code})")), "{code} in {error}");
}

#[test]
fn passes_settings_unchanged() {
    let config = r#"
        [plugin.services.settings]
        text = "a \" b"
        number = -7
        large = 9007199254740993
        float = 0.5
        flag = true
        list = [1, "two", [3]]
        when = 2024-02-29T12:00:00Z
        [plugin.services.settings.table]
        inner = {}
    "#;
    let host = HostProcess::builder().plugin("services").config(config).start();

    let settings = host.peer().result("services.settings", &Value::Null);

    let expected = json!({
        "text": "a \" b", "number": -7, "large": 9_007_199_254_740_993_u64, "float": 0.5, "flag": true,
        "list": [1, "two", [3]], "when": "2024-02-29T12:00:00Z", "table": { "inner": {} },
    });
    assert_eq!(settings, expected);

    let host = HostProcess::with(&["services"]);
    assert_eq!(
        host.peer().result("services.settings", &Value::Null),
        json!({}),
        "the default is an empty table"
    );
}

#[test]
fn logs_lines_of_plugins_with_their_origin_and_sanitized() {
    let config = "[log]\nlevel = \"debug\"";
    let mut host = HostProcess::builder().plugin("services").config(config).start();
    let mut peer = host.peer();

    let generation = host.info()["plugins"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|plugin| plugin["name"] == "services")
        .and_then(|plugin| plugin["generation"].as_u64());
    let generation = format!("generation={}", generation.expect("the generation has a number"));

    for level in ["error", "warn", "info", "debug", "trace"] {
        let line = format!("a line at {level}");
        peer.result("services.log", &json!({ "level": level, "line": line }));
    }

    for level in ["error", "warn", "info", "debug"] {
        let line = host.wait_for_log(&format!("a line at {level}"));
        let message = format!("services: a line at {level}");
        for part in [&level.to_uppercase(), "jackfield::plugin", &message, "plugin=\"services\"", &generation]
        {
            assert!(line.contains(part), "{part:?} in {line}");
        }
    }

    peer.result("services.log", &json!({ "level": "info", "line": "first\nERROR forged \u{1b}[31m\u{7}" }));
    let line = host.wait_for_log("forged");
    assert!(line.contains("first\\nERROR forged \\u{1b}[31m"), "{line:?}");

    peer.result(
        "services.log",
        &json!({ "level": "info", "line": format!("very {}", "long ".repeat(10_000)) }),
    );
    assert!(host.wait_for_log("very long").len() < 10_000, "a line is cut");

    peer.call("services.log", &json!({ "level": "loud", "line": "" })).error(INVALID_PARAMS);

    drop(peer);
    host.terminate();

    assert!(!host.log_contains("a line at trace"), "the level is the operator's");
    assert!(host.wait_for_log("the fixture starts").contains("plugin=\"services\""));
    assert!(host.wait_for_log("the fixture stops").contains("plugin=\"services\""));
}

#[test]
fn logs_lines_of_plugins_as_json() {
    let config = "[log]\nformat = \"json\"";
    let host = HostProcess::builder().plugin("services").config(config).start();

    host.peer().result("services.log", &json!({ "level": "warn", "line": "say \"it\"\n" }));
    let line = host.wait_for_log("say ");

    let line: Value = serde_json::from_str(&line).expect("a line is a document");
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["message"], "services: say \"it\"\\n");
    assert_eq!(line["plugin"], "services");
    assert!(line["generation"].is_u64(), "{line}");
}

#[test]
fn provides_sleep_and_the_context_of_the_call() {
    let config = "[[route]]\nmethod = \"services.call\"\nplugin = \"services\"\ntimeout = \"7s\"";
    let host = HostProcess::builder().plugin("services").config(config).start();
    let mut peer = host.peer();

    for ms in [0, 1, 20] {
        let slept = peer.result("services.sleep", &json!({ "ms": ms })).as_u64().expect("microseconds");
        assert!(slept >= ms * 1000, "{slept} us instead of {ms} ms");
    }

    peer.send_async("id-1", "services.call", &Value::Null);
    let call = peer.receive().result();
    assert_eq!((&call["id"], &call["cancelled"]), (&json!("id-1"), &json!(false)));
    let left = call["remainingMs"].as_u64().expect("milliseconds");
    assert!((1..=7000).contains(&left), "{left} ms of the route's 7 s");

    // If the request has no id, the host assigns one: a UUID of version 4.
    let id = peer.result("services.call_blocking", &Value::Null)["id"].clone();
    let id = id.as_str().expect("text").as_bytes();
    assert_eq!((id.len(), id[14], id[8], id[23]), (36, b'4', b'-', b'-'), "{id:?}");
    assert!(b"89ab".contains(&id[19]));
}

#[test]
fn reports_cancellation_to_a_blocking_method() {
    let config =
        "[[route]]\nmethod = \"services.until_cancelled\"\nplugin = \"services\"\ntimeout = \"50ms\"";
    let host = HostProcess::builder().plugin("services").config(config).start();
    let mut peer = host.peer();

    peer.send_async("late", "services.until_cancelled", &Value::Null);
    peer.receive().error(DEADLINE_EXCEEDED);
    host.wait_for_log("the call late was cancelled");
    peer.assert_usable();
}

#[test]
fn lets_methods_call_methods_of_any_kind() {
    let host = HostProcess::with(&["calls", "echoes", "device", "errors", "panics"]);
    let mut peer = host.peer();
    let echoes = ["fixture.echo", "fixture.echo_blocking", "fixture.echo_async", "system.echo"];
    for caller in ["calls.chain", "calls.wait"] {
        for echo in echoes {
            let params = json!({ "from": caller, "number": 18_446_744_073_709_551_615_u64 });
            assert_eq!(peer.result(caller, &call_of(echo, params.clone())), params, "{caller} -> {echo}");
        }

        // A nested call that makes another nested call.
        let twice = call_of("calls.chain", call_of("fixture.echo_blocking", json!([1])));
        assert_eq!(peer.result(caller, &twice), json!([1]));

        // A plugin's own error is forwarded unchanged. The codes of the protocol are forwarded as
        // text, because a plugin must not return them.
        let own = call_of("errors.fail", json!({ "code": 7, "message": "seven", "data": { "a": 1 } }));
        let error = peer.call(caller, &own).error(7);
        assert_eq!((&error["message"], &error["data"]), (&json!("seven"), &json!({ "a": 1 })));

        let missing = peer.call(caller, &call_of("no.such", Value::Null)).error(INTERNAL_ERROR);
        assert_reports_code(&missing, METHOD_NOT_FOUND);
        let panicked = peer.call(caller, &call_of("panics.panic", json!({}))).error(INTERNAL_ERROR);
        assert_reports_code(&panicked, PLUGIN_PANICKED);
        let invalid = peer.call(caller, &call_of("device.status.get", json!({}))).error(INVALID_PARAMS);
        assert_eq!(invalid["data"]["field"], "deviceId");
    }

    wait_until("every call of a call has ended", || host.count("in_flight") == 0);
}

#[test]
fn wakes_a_plugin_on_its_own_async_thread_alone() {
    let host = HostProcess::with(&["calls", "counts"]);
    let mut peer = host.peer();

    for called in ["counts.inline", "counts.blocking", "counts.async"] {
        let params = call_of(called, json!({ "ms": 50 }));
        let threads = peer.result("calls.waker_threads", &params);
        let threads = threads.as_array().unwrap();
        assert!(threads.len() > 1, "no waker was kept: {threads:?}");
        assert!(threads.iter().all(|thread| thread == "calls:async"), "{called}: {threads:?}");
    }
}

#[test]
fn rejects_waiting_in_an_inline_method() {
    let host = HostProcess::with(&["calls", "echoes"]);
    let mut peer = host.peer();

    assert_eq!(peer.result("calls.inline", &call_of("fixture.echo", json!(1))), 1);
    for waited in ["fixture.echo_blocking", "fixture.echo_async"] {
        let error = peer.call("calls.inline", &call_of(waited, json!(1))).error(INTERNAL_ERROR);
        assert!(error["message"].as_str().is_some_and(|text| text.contains("may not wait")), "{error}");
    }

    // The same holds through a nested call on the same thread.
    let through = call_of("calls.inline", call_of("fixture.echo_blocking", json!(1)));
    peer.call("calls.inline", &through).error(INTERNAL_ERROR);
    peer.assert_usable();
}

#[test]
fn limits_the_depth_of_recursive_calls() {
    let host = HostProcess::with(&["calls"]);
    let mut peer = host.peer();

    let error = peer.call("calls.loop", &json!({})).error(INTERNAL_ERROR);
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains(&format!("more than {MAX_DEPTH} deep")), "{message}");
    assert!(message.len() < 2048, "each step added {} bytes", message.len());

    // Blocking methods that wait for one another occupy one thread each. There are two threads, so
    // the call ends at its deadline.
    let config = "[timeouts]\nrequest = \"300ms\"";
    let host = HostProcess::builder().plugin("calls").config(config).start();
    let mut peer = host.peer();
    let nested = (0..4).fold(call_of("system.ping", Value::Null), |inner, _| call_of("calls.wait", inner));
    peer.call("calls.wait", &nested).error(DEADLINE_EXCEEDED);

    // The threads become available again.
    wait_until("a thread has come back", || {
        peer.call("calls.wait", &call_of("system.ping", Value::Null)).json()["result"] == "pong"
    });
}

#[test]
fn applies_the_earlier_deadline_to_a_nested_call() {
    let config = r#"
        [[route]]
        method = "sleep.*"
        plugin = "sleeps"
        timeout = "100ms"
        [[route]]
        method = "calls.*"
        plugin = "calls"
        timeout = "20s"
    "#;
    let host = HostProcess::builder().plugin("calls").plugin("sleeps").config(config).start();
    let mut peer = host.peer();

    for (caller, slow) in [("calls.chain", "sleep.async"), ("calls.wait", "sleep.blocking")] {
        // The inner time-out expires while the outer call has time left to report it.
        let error = peer.call(caller, &call_of(slow, json!({ "ms": 700 }))).error(INTERNAL_ERROR);
        assert_reports_code(&error, DEADLINE_EXCEEDED);
    }

    // The inner call is dropped at its own deadline, and also when that of its caller passes.
    let error = peer.call("calls.chain", &call_of("sleep.forever", Value::Null)).error(INTERNAL_ERROR);
    assert_reports_code(&error, DEADLINE_EXCEEDED);
    wait_until("the inner call is dropped", || peer.result("sleep.dropped", &Value::Null) == 1);

    let outer = "[[route]]\nmethod = \"calls.*\"\nplugin = \"calls\"\ntimeout = \"100ms\"";
    let host = HostProcess::builder().plugin("calls").plugin("sleeps").config(outer).start();
    let mut peer = host.peer();
    wait_until("the inner call is dropped", || {
        // Repeated, because on a busy machine the deadline may pass before the inner call starts.
        peer.call("calls.chain", &call_of("sleep.forever", Value::Null)).error(DEADLINE_EXCEEDED);
        peer.result("sleep.dropped", &Value::Null).as_u64() >= Some(1)
    });
}

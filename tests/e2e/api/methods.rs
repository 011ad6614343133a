//! Params and results of methods: no params, results over the limit, reserved error codes.

use serde_json::{Value, json};

use crate::support::HostProcess;
use crate::support::peer::{ASYNC_REQUEST, INTERNAL_ERROR, INVALID_PARAMS, Peer, V1_1};

/// Sends a request with the members `params`, which may be empty, and returns the reply.
fn call_with(peer: &mut Peer, method: &str, params: &str) -> Value {
    peer.send_frame(V1_1, ASYNC_REQUEST, format!(r#"{{"id":"1","method":"{method}"{params}}}"#));
    peer.receive().json()
}

#[test]
fn calls_a_method_without_params_for_every_way_to_send_none() {
    let host = HostProcess::with(&["no_params"]);
    let mut peer = host.peer();

    let methods =
        ["inline", "blocking", "async"].map(|run| (run, if run == "async" { "future" } else { "direct" }));
    for (run, name) in methods {
        for (suffix, expected) in [("", name.to_owned()), ("_with_context", format!("{name} with context"))] {
            let method = format!("no_params.{run}{suffix}");
            for params in
                ["", r#","params":null"#, r#","params":[]"#, r#","params":{}"#, r#","params": [ ] "#]
            {
                let reply = call_with(&mut peer, &method, params);
                assert_eq!(reply["result"], json!(expected), "{method} {params}: {reply}");
            }

            let reply = call_with(&mut peer, &method, r#","params":{"extra":1}"#);
            assert_eq!(reply["error"]["code"], INVALID_PARAMS, "{method}: {reply}");
            assert_eq!(reply["error"]["data"]["field"], "extra", "{method}: {reply}");
            let reply = call_with(&mut peer, &method, r#","params":[1]"#);
            assert_eq!(reply["error"]["code"], INVALID_PARAMS, "{method}: {reply}");
        }
    }
}

#[test]
fn reports_the_limit_of_a_result_that_is_too_large() {
    const LIMIT: usize = 4096;
    let host = HostProcess::builder().plugin("errors").config("[limits]\nframe = \"4KiB\"").start();
    let mut peer = host.peer();

    for method in ["errors.large", "errors.large_blocking", "errors.large_async"] {
        // The first result is larger than a frame, the second one only with its envelope.
        for length in [LIMIT + 1, LIMIT - 2] {
            peer.send_async(&format!("{length}-of-{method}"), method, &json!(length));
            let error = peer.receive().error(INTERNAL_ERROR);

            assert_eq!(error["data"], json!({ "limit": LIMIT }), "{method}: {error}");
            let line = host.wait_for_log(&format!("(request {length}-of-{method})"));
            assert!(line.contains(&format!("errors: {method} failed: ")), "{line}");
            assert!(line.contains("4096 bytes (limits.frame)"), "{line}");
        }
    }
    peer.result("errors.large", &json!(1000));
}

#[test]
fn logs_a_reserved_error_code_that_it_replaces() {
    let host = HostProcess::with(&["calls", "errors"]);
    let mut peer = host.peer();

    let own = json!({ "code": -32002, "message": "my own" });
    for method in ["errors.fail", "errors.fail_blocking", "errors.fail_async"] {
        peer.send_async(&format!("of-{method}"), method, &own);
        let error = peer.receive().error(INTERNAL_ERROR);
        assert_eq!(error["message"], "my own");

        let line = host.wait_for_log(&format!("(request of-{method})"));
        assert!(line.contains(&format!("errors: {method} failed: my own")), "{line}");
        assert!(line.contains("-32002"), "{line}");
    }

    let passed_on = json!({ "method": "no.such.method", "params": null });
    peer.send_async("passed-on", "calls.wait", &passed_on);
    peer.receive().error(INTERNAL_ERROR);
    let line = host.wait_for_log("(request passed-on)");
    assert!(line.contains("calls: calls.wait failed: ") && line.contains("-32601"), "{line}");
}

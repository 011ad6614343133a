//! The context of calls: caller, metadata, trace, remaining time.
//!
//! Methods of every kind see the same, in the host and in a worker, and so do nested calls.

use serde_json::{Value, json};

use crate::support::peer::{INVALID_REQUEST, SYNC, V1_1};
use crate::support::{HostProcess, Peer};

const LISTENERS: &str = "[[listener]]\nsocket = \"run/jackfield.sock\"\n\
    [[listener]]\nsocket = \"run/proxy.sock\"\nremote = true\n";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Starts a host with the fixtures `reports_context` and `calls`, both in the host or in workers.
fn start(isolation: &str) -> HostProcess {
    let plugins = ["reports_context", "calls"];
    let mut builder = HostProcess::builder().config(LISTENERS);
    for plugin in plugins {
        builder = builder.plugin(plugin).config(&format!("[plugin.{plugin}]\nisolation = \"{isolation}\"\n"));
    }
    builder.start()
}

/// Returns a result of `method`, called with these additional members of the envelope.
fn ask(peer: &mut Peer, method: &str, params: &Value, members: &Value) -> Value {
    let mut envelope = json!({ "id": 1, "method": method, "params": params });
    for (name, value) in members.as_object().unwrap() {
        envelope[name] = value.clone();
    }
    peer.send_frame(V1_1, SYNC, envelope.to_string());
    peer.receive().result()
}

/// Returns what each kind of `method` reports, called by the client and by methods of each kind.
fn reports(peer: &mut Peer, method: &str, members: &Value) -> Vec<(String, Value)> {
    let mut reports = Vec::new();
    for kind in ["", "_blocking", "_async"] {
        let called = format!("{method}{kind}");
        reports.push((called.clone(), ask(peer, &called, &Value::Null, members)));
        for caller in ["calls.chain", "calls.wait"] {
            let twice = json!({ "method": called });
            let report = ask(peer, caller, &twice, members);
            reports.push((format!("{caller} -> {called}"), report));
            let thrice = json!({ "method": "calls.chain", "params": twice });
            let report = ask(peer, caller, &thrice, members);
            reports.push((format!("{caller} -> calls.chain -> {called}"), report));
        }
    }
    reports
}

#[track_caller]
fn assert_reported(reports: Vec<(String, Value)>, expected: &Value) {
    for (way, report) in reports {
        assert_eq!(report, *expected, "{way}");
    }
}

fn check_caller(isolation: &str) {
    let host = start(isolation);
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let local = json!({
        "local": { "listener": host.socket(), "uid": uid, "gid": gid, "pid": std::process::id() }
    });
    assert_reported(reports(&mut host.peer(), "ctx.caller", &json!({})), &local);
    let claims = json!({ "meta": { "caller": "somebody else" } });
    assert_reported(reports(&mut host.peer(), "ctx.caller", &claims), &local);

    let mut remote = Peer::connect(&host.path("run/proxy.sock"));
    let claimed =
        |claim: Value| json!({ "remote": { "listener": host.path("run/proxy.sock"), "claim": claim } });
    let claims = json!({ "meta": { "tenant": "acme", "caller": "billing@10.0.0.7" } });
    assert_reported(reports(&mut remote, "ctx.caller", &claims), &claimed(json!("billing@10.0.0.7")));
    assert_reported(reports(&mut remote, "ctx.caller", &json!({})), &claimed(Value::Null));
}

fn check_metadata_and_trace(isolation: &str) {
    let host = start(isolation);
    let mut peer = host.peer();

    let largest: serde_json::Map<_, _> =
        (0..16).map(|number| (format!("name-{number:03}"), "x".repeat(120).into())).collect();
    for meta in [json!({}), json!({ "z": "1", "a": "\"é\\\u{1}", "empty": "" }), largest.into()] {
        assert_reported(reports(&mut peer, "ctx.meta", &json!({ "meta": meta })), &meta);
    }
    assert_reported(reports(&mut peer, "ctx.meta", &json!({})), &json!({}));

    for (members, trace) in [
        (json!({}), json!([null, null])),
        (json!({ "traceparent": TRACEPARENT }), json!([TRACEPARENT, null])),
        (json!({ "traceparent": TRACEPARENT, "tracestate": "a=b,\"c\"" }), json!([TRACEPARENT, "a=b,\"c\""])),
        (json!({ "traceparent": "00-xyz", "tracestate": "a=b" }), json!([null, null])),
    ] {
        let expected = json!({ "traceparent": trace[0], "tracestate": trace[1] });
        assert_reported(reports(&mut peer, "ctx.trace", &members), &expected);
    }
}

fn check_remaining_time(isolation: &str) {
    let host = start(isolation);
    let mut peer = host.peer();
    for (members, limit) in [(json!({}), 30_000), (json!({ "deadline_ms": 20_000 }), 20_000)] {
        for (way, report) in reports(&mut peer, "ctx.remaining", &members) {
            let left = report.as_u64().unwrap();
            assert!(0 < left && left <= limit, "{way}: {left} ms of {limit} ms");
        }
    }
}

#[test]
fn shows_the_original_caller_in_the_host() {
    check_caller("in-process");
}

#[test]
fn shows_the_original_caller_in_a_worker() {
    check_caller("worker");
}

#[test]
fn passes_metadata_and_trace_on_in_the_host() {
    check_metadata_and_trace("in-process");
}

#[test]
fn passes_metadata_and_trace_on_in_a_worker() {
    check_metadata_and_trace("worker");
}

#[test]
fn counts_the_deadline_of_the_client_in_the_host() {
    check_remaining_time("in-process");
}

#[test]
fn counts_the_deadline_of_the_client_in_a_worker() {
    check_remaining_time("worker");
}

#[test]
fn rejects_metadata_over_the_limits() {
    let host = start("in-process");
    let mut peer = host.peer();
    let pairs =
        |count: usize| (0..count).map(|n| (n.to_string(), json!(""))).collect::<serde_json::Map<_, _>>();
    for meta in [
        json!(pairs(17)),
        json!({ "a": "x".repeat(2048) }),
        json!({ "a": 1 }),
        json!({ "": "a" }),
        json!([]),
        Value::Null,
    ] {
        let request = json!({ "id": 1, "method": "ctx.meta", "meta": meta }).to_string();
        peer.send_frame(V1_1, SYNC, request);
        peer.receive().error(INVALID_REQUEST);
    }
    peer.assert_usable();
}

//! Plugins that panic: each call has one error reply, and nobody else is affected.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::background::SetOnDrop;
use crate::support::peer::{ASYNC_RESPONSE, DEADLINE_EXCEEDED, INTERNAL_ERROR, PLUGIN_PANICKED, SYNC, V1_1};
use crate::support::{Frame, HostProcess, wait_until};

/// The methods that panic in their body, with the text of the panic.
const PANICS: [(&str, &str); 6] = [
    ("panics.panic", "the fixture panics"),
    ("panics.panic_inline", "the fixture panics inline"),
    ("panics.panic_async", "the fixture panics in a future"),
    ("panics.panic_payload", "not text"),
    ("panics.panic_long", "long long long"),
    ("panics.panic_drop", "not text"),
];

/// The methods that panic before or after their body.
const PANICS_AROUND: [(&str, &str); 5] = [
    ("around.read", "while its params are read"),
    ("around.read_blocking", "while its params are read"),
    ("around.written", "while its result is written"),
    ("around.written_blocking", "while its result is written"),
    ("around.written_async", "while its result is written"),
];

/// Disables the circuit breakers, so that each call reaches its plugin.
const NO_BREAKER: &str =
    "[plugin.panics.breaker]\nfailures = 0\n[plugin.panics_around.breaker]\nfailures = 0";

/// Upper bound for the log line of a panic, in bytes.
const MAX_LINE: usize = 16 * 1024;

/// Asserts that a client learns no internals: no source location, path, address or text of a panic.
#[track_caller]
fn assert_reveals_nothing(text: &str) {
    for inside in
        ["/", "\\", "0x", ".rs", ".so", "backtrace", "the fixture", "long long", "thread '", "stack"]
    {
        assert!(!text.contains(inside), "{inside:?} in {text:?}");
    }
}

#[track_caller]
fn assert_panicked(reply: &Frame, plugin: &str) {
    let error = reply.error(PLUGIN_PANICKED);
    assert_eq!(error["data"], json!({ "plugin": plugin }));
    assert!(reply.payload.len() < 512, "{} bytes", reply.payload.len());
    assert_reveals_nothing(reply.text());
}

#[test]
fn answers_logs_and_counts_each_panic_once() {
    let host = HostProcess::builder().plugin("panics").plugin("panics_around").config(NO_BREAKER).start();
    let mut peer = host.peer();
    let mut expected = 0;

    for (methods, plugin) in [(&PANICS[..], "panics"), (&PANICS_AROUND[..], "panics_around")] {
        for (method, text) in methods {
            assert_panicked(&peer.call(method, &json!({})), plugin);
            peer.send_async(method, method, &json!({}));
            let reply = peer.receive();

            assert_eq!(
                (reply.version, reply.kind, reply.id().as_deref()),
                (V1_1, ASYNC_RESPONSE, Some(*method))
            );
            assert_panicked(&reply, plugin);

            peer.assert_usable();
            expected += 2;

            // With its place in the source, which the plugin knows, and the request, which the host
            // knows.
            let message = format!("{plugin}: {method} panicked at ");
            let is_logged = |line: &&String| line.contains(&message) && line.contains(text);

            wait_until("each panic is logged", || host.log_lines().iter().filter(is_logged).count() == 2);
            let line = host.log_lines().iter().find(|line| is_logged(line)).cloned().unwrap_or_default();

            let method = format!("method=\"{method}\"");
            let plugin = format!("plugin=\"{plugin}\"");
            for part in [".rs:", " (request ", &method, &plugin, "generation=", "id="] {
                assert!(line.contains(part), "{part} in {line}");
            }
        }
    }

    assert!(!host.log_contains(" panicked: "), "a panic is logged twice: {}", host.log());
    assert_eq!(host.count("panics"), expected);
    let longest = host.log_lines().iter().map(String::len).max();

    assert!(longest < Some(MAX_LINE), "a line of {longest:?} bytes");
}

#[test]
fn answers_once_if_a_future_panics_when_dropped() {
    let config = "[[route]]\nmethod = \"around.cancelled\"\nplugin = \"panics_around\"\ntimeout = \"100ms\"";
    let host = HostProcess::builder().plugin("panics_around").config(config).start();
    let mut peer = host.peer();

    // A future that is dropped at its deadline: the client receives DEADLINE_EXCEEDED.
    peer.call("around.cancelled", &json!({})).error(DEADLINE_EXCEEDED);
    let line = host.wait_for_log("the fixture panics when its future is dropped");
    assert!(line.contains("panics_around: around.cancelled panicked at "), "{line}");

    // A future that is ready, and whose result panics when it is dropped inside the call.
    let reply = peer.call("around.ended", &json!({}));
    assert!(matches!(reply.code(), None | Some(PLUGIN_PANICKED)), "{reply:?}");

    // A future that is abandoned by its client.
    let mut leaving = host.peer();
    leaving.send_async("leaving", "around.cancelled", &json!({}));
    wait_until("the request is accepted", || host.count("in_flight") == 1);
    drop(leaving);

    let drops = || host.log().matches("the fixture panics when its future is dropped").count();
    wait_until("the abandoned future is dropped, too", || drops() >= 2);

    // A panic on a thread that the plugin created does not concern the host.
    assert_eq!(peer.result("around.thread", &json!({})), true);
    peer.assert_usable();
    let line = host.wait_for_log("a thread of the fixture panics");
    assert!(line.contains("panics_around: panicked at "), "{line}");
}

#[test]
fn serves_neighbours_during_panics_of_all_kinds() {
    const ROUNDS: usize = 40;
    let host = HostProcess::builder().plugin("panics").plugin("panics_around").plugin("echoes");
    let host = host.config(NO_BREAKER).start();
    let is_over = AtomicBool::new(false);

    let served = thread::scope(|scope| {
        let neighbour = scope.spawn(|| {
            let (mut accounting, mut peer, mut number) = (ReplyAccounting::default(), host.peer(), 0);

            while !is_over.load(Ordering::Relaxed) || number < 100 {
                let methods = ["fixture.echo", "fixture.echo_blocking", "fixture.echo_async"];
                let ids: Vec<_> = methods.iter().map(|method| format!("{method}{number}")).collect();

                for (method, id) in methods.iter().zip(&ids) {
                    accounting.record_request(id);
                    peer.send_async(id, method, &json!(id));
                }

                for frame in peer.receive_all(methods.len()) {
                    accounting.record_reply(&frame);
                    assert_eq!(frame.result(), json!(frame.id()));
                }
                number += 1;
            }

            accounting.check().expect("each request of the neighbour has one reply");
            (accounting.count(None), number * 3)
        });

        let end = SetOnDrop(&is_over);
        let mut peer = host.peer();
        let mut accounting = ReplyAccounting::default();
        for round in 0..ROUNDS {
            for (method, _) in PANICS.iter().chain(&PANICS_AROUND) {
                let id = format!("{method}{round}");
                accounting.record_request(&id);
                peer.send_async(&id, method, &json!({}));
            }
            (0..PANICS.len() + PANICS_AROUND.len()).for_each(|_| accounting.record_reply(&peer.receive()));
        }

        accounting.check().expect("each panic has one answer");
        assert_eq!(accounting.count(Some(PLUGIN_PANICKED)), ROUNDS * (PANICS.len() + PANICS_AROUND.len()));

        drop(end);
        neighbour.join().expect("the neighbour was served")
    });

    assert_eq!(served.0, served.1, "every call of the neighbour had a result");
}

#[test]
fn shuts_down_successfully_if_stop_or_drop_panics() {
    let mut host = HostProcess::with(&["drop_panics", "stop_panics", "device"]);
    let mut peer = host.peer();

    for method in ["drop.panics", "stop.panics"] {
        assert_eq!(peer.result(method, &Value::Null), 1);
    }
    drop(peer);

    host.terminate();

    for (plugin, text) in
        [("drop_panics", "the fixture panics in drop"), ("stop_panics", "the fixture panics in stop")]
    {
        let is_logged = |line: &String| {
            line.contains(" panicked in stop at ")
                && line.contains(&format!("plugin=\"{plugin}\""))
                && line.contains(text)
        };
        assert!(host.log_lines().iter().any(is_logged), "{plugin}: {}", host.log());
    }
}

#[test]
fn reveals_no_internals_in_other_errors() {
    let host = HostProcess::with(&["errors", "panics", "device"]);
    let mut peer = host.peer();

    // The message of the system contains the path. It is logged, but not sent to the client.
    let error = peer.call("errors.read", &json!({ "path": "/nowhere/secret" })).error(INTERNAL_ERROR);
    assert_eq!(error["message"], "internal error");
    let line = host.wait_for_log("/nowhere/secret");
    assert!(line.contains("errors: errors.read failed: ") && line.contains("plugin=\"errors\""), "{line}");

    let replies = [
        peer.call("errors.read", &json!({ "path": 1 })),
        peer.call("device.status.update", &json!({ "deviceId": 7 })),
        peer.call("device.status.update", &json!([])),
        peer.call("no.such.method", &Value::Null),
        peer.call("panics.panic", &Value::Null),
    ];

    let mut codes = BTreeSet::new();
    for reply in replies {
        assert_eq!(reply.kind, SYNC);
        assert_reveals_nothing(reply.text());
        codes.insert(reply.code());
    }

    assert_eq!(codes.len(), 3, "invalid params, method not found, panicked: {codes:?}");
}

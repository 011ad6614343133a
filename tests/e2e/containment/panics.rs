//! Plugins that panic: one answer each, and nobody else notices.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::peer::{ASYNC_RESPONSE, DEADLINE_EXCEEDED, INTERNAL_ERROR, PLUGIN_PANICKED, SYNC, V1_1};
use crate::support::{Frame, HostProcess, wait_until};

/// Every method that panics when it is called, with what its panic says.
const PANICS: [(&str, &str); 6] = [
    ("vice.panic", "the fixture panics"),
    ("vice.panic_inline", "the fixture panics inline"),
    ("vice.panic_async", "the fixture panics in a future"),
    ("vice.panic_payload", "not text"),
    ("vice.panic_long", "long long long"),
    ("vice.panic_drop", "not text"),
];

/// Those that panic before and after the method's own body.
const AROUND: [(&str, &str); 5] = [
    ("around.read", "while its params are read"),
    ("around.read_blocking", "while its params are read"),
    ("around.written", "while its result is written"),
    ("around.written_blocking", "while its result is written"),
    ("around.written_async", "while its result is written"),
];

/// A plugin that fails too often is refused for a while; here every call of it is to panic.
const NEVER_REFUSED: &str =
    "[plugin.panics.breaker]\nfailures = 0\n[plugin.panics_around.breaker]\nfailures = 0";

/// The longest line that a panic may make in the log, in bytes, whatever its text.
const LONGEST_LINE: usize = 16 * 1024;

/// Nothing of the inside is in what a client reads: no place in a source, no path, no address, no
/// text of the panic.
#[track_caller]
fn assert_tells_nothing(text: &str) {
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
    assert_tells_nothing(reply.text());
}

#[test]
fn each_is_one_answer_and_a_line_in_the_log_and_is_counted() {
    let host = HostProcess::builder().plugin("panics").plugin("panics_around").config(NEVER_REFUSED).start();
    let mut peer = host.peer();
    let mut expected = 0;
    for (methods, plugin) in [(&PANICS[..], "panics"), (&AROUND[..], "panics_around")] {
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
            let told = |line: &&String| {
                line.contains("a method panicked")
                    && line.contains(&format!("method=\"{method}\""))
                    && line.contains(text)
            };
            wait_until("each has its line", || host.log_lines().iter().filter(told).count() == 2);
            let line = host.log_lines().iter().find(|line| told(line)).cloned().unwrap_or_default();
            for field in [&format!("plugin=\"{plugin}\""), "generation=", "id="] {
                assert!(line.contains(field), "{field} in {line}");
            }
        }
    }
    assert_eq!(host.count("panics"), expected);
    let longest = host.log_lines().iter().map(String::len).max();
    assert!(longest < Some(LONGEST_LINE), "a line of {longest:?} bytes");
}

#[test]
fn a_future_that_panics_when_dropped_was_answered_before_or_is_answered_now() {
    let config = "[[route]]\nmethod = \"around.cancelled\"\nplugin = \"panics_around\"\ntimeout = \"100ms\"";
    let host = HostProcess::builder().plugin("panics_around").config(config).start();
    let mut peer = host.peer();
    // Dropped at its deadline: the deadline is the answer.
    peer.call("around.cancelled", &json!({})).error(DEADLINE_EXCEEDED);
    host.wait_for_log("the fixture panics when its future is dropped");
    // Ready, and its result panics when dropped, inside the call.
    let reply = peer.call("around.ended", &json!({}));
    assert!(matches!(reply.code(), None | Some(PLUGIN_PANICKED)), "{reply:?}");
    // Abandoned by a client that goes.
    let mut gone = host.peer();
    gone.send_async("gone", "around.cancelled", &json!({}));
    wait_until("it is accepted", || host.count("in_flight") == 1);
    drop(gone);
    let drops = || host.log().matches("the fixture panics when its future is dropped").count();
    wait_until("the abandoned future is dropped, too", || drops() >= 2);
    // A thread of the plugin's own that panics is the plugin's own business.
    assert_eq!(peer.result("around.thread", &json!({})), true);
    peer.assert_usable();
}

#[test]
fn a_bystander_under_load_does_not_notice() {
    const ROUNDS: usize = 40;
    let host = HostProcess::builder().plugin("panics").plugin("panics_around").plugin("echoes");
    let host = host.config(NEVER_REFUSED).start();
    let over = AtomicBool::new(false);
    let served = thread::scope(|scope| {
        let bystander = scope.spawn(|| {
            let (mut accounting, mut peer, mut number) = (ReplyAccounting::default(), host.peer(), 0);
            while !over.load(Ordering::Relaxed) || number < 100 {
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
            accounting.check().expect("the bystander's books are in order");
            (accounting.count(None), number * 3)
        });
        let end = EndsWith(&over);
        let mut peer = host.peer();
        let mut accounting = ReplyAccounting::default();
        for round in 0..ROUNDS {
            for (method, _) in PANICS.iter().chain(&AROUND) {
                let id = format!("{method}{round}");
                accounting.record_request(&id);
                peer.send_async(&id, method, &json!({}));
            }
            (0..PANICS.len() + AROUND.len()).for_each(|_| accounting.record_reply(&peer.receive()));
        }
        accounting.check().expect("each panic has one answer");
        assert_eq!(accounting.count(Some(PLUGIN_PANICKED)), ROUNDS * (PANICS.len() + AROUND.len()));
        drop(end);
        bystander.join().expect("the bystander was served")
    });
    assert_eq!(served.0, served.1, "all of the bystander's calls had results");
}

/// Says that it is over when dropped: also by a panic, so that nobody goes on for ever.
struct EndsWith<'a>(&'a AtomicBool);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn in_stop_and_in_drop_the_host_ends_well_all_the_same() {
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
        let told = |line: &String| {
            line.contains("stop panicked")
                && line.contains(&format!("plugin=\"{plugin}\""))
                && line.contains(text)
        };
        assert!(host.log_lines().iter().any(told), "{plugin}: {}", host.log());
    }
}

#[test]
fn other_failures_tell_clients_nothing_of_the_inside_either() {
    let host = HostProcess::with(&["errors", "panics", "device"]);
    let mut peer = host.peer();
    // The system's words name the path; the log has them, the client does not.
    let error = peer.call("errors.read", &json!({ "path": "/nowhere/secret" })).error(INTERNAL_ERROR);
    assert_eq!(error["message"], "internal error");
    assert!(host.wait_for_log("/nowhere/secret").contains("plugin=\"errors\""));
    let replies = [
        peer.call("errors.read", &json!({ "path": 1 })),
        peer.call("device.status.update", &json!({ "deviceId": 7 })),
        peer.call("device.status.update", &json!([])),
        peer.call("no.such.method", &Value::Null),
        peer.call("vice.panic", &Value::Null),
    ];
    let mut codes = BTreeSet::new();
    for reply in replies {
        assert_eq!(reply.kind, SYNC);
        assert_tells_nothing(reply.text());
        codes.insert(reply.code());
    }
    assert_eq!(codes.len(), 3, "invalid params, method not found, panicked: {codes:?}");
}

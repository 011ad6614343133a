//! Plugins that lock a file and bind a port, so that the next generation can only start after the
//! previous one was stopped.

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, with_image};
use crate::support::peer::PLUGIN_UNAVAILABLE;
use crate::support::{HostProcess, Peer, wait_until};

/// Replacements under traffic.
const RELOADS: u64 = 20;

/// Clients that call meanwhile.
const CLIENTS: usize = 6;

/// A limit that replacements of a busy machine do not exceed.
const GENEROUS: &str = "[plugins]\nwatch = false\nstate_transfer = \"20s\"\n";

fn image(version: u64) -> Image {
    Image::of("exclusive").with("VERSION-", &version.to_string())
}

/// Returns the options of the plugin, with a port that no one uses.
fn exclusive(replace: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    format!("[plugin.subject]\nreplace = {replace:?}\nsettings = {{ lock = \"run/lock\", port = {port} }}\n")
}

/// Starts a host that serves version 1 with a count of 1.
fn with_version_1(config: &str) -> (HostProcess, Operator, Peer) {
    let host = with_image(&image(1), config);
    let (operator, mut peer) = (Operator::connect(&host), host.peer());
    assert_eq!(peer.result("exclusive.add", &Value::Null), 1);
    (host, operator, peer)
}

/// Asserts that this version serves, and that the count continues.
#[track_caller]
fn assert_serves(peer: &mut Peer, version: u64, count: u64) {
    assert_eq!(peer.result("exclusive.version", &Value::Null), version);
    assert_eq!(peer.result("exclusive.add", &Value::Null), count);
}

/// Adds in all ways until `is_over` is set, and returns the counts that were returned.
fn add_continuously(mut peer: Peer, number: usize, is_over: &AtomicBool) -> Vec<u64> {
    let calls = [
        ("exclusive.add", Value::Null),
        ("exclusive.add_slowly", json!(2)),
        ("exclusive.add_later", json!(3)),
        ("calls.wait", json!({ "method": "exclusive.add" })),
    ];

    let mut counts = Vec::new();
    for (method, params) in calls.iter().cycle().skip(number) {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        counts.push(peer.result(method, params).as_u64().expect("a count"));
    }
    counts
}

#[test]
fn replaces_a_plugin_with_a_lock_and_a_port_without_losing_a_call_or_an_update() {
    let config = format!("{GENEROUS}{}[plugin.calls]\nthreads = 4\n", exclusive("stop-first"));
    let builder = HostProcess::builder().plugin("calls").config(&config);
    super::put(&builder.directory().join("plugins"), &image(1).0, FILE);
    let host = builder.start();
    let (mut operator, mut peer) = (Operator::connect(&host), host.peer());

    let is_over = Arc::new(AtomicBool::new(false));
    let client = |number| {
        let (peer, is_over) = (host.peer(), Arc::clone(&is_over));
        thread::spawn(move || add_continuously(peer, number, &is_over))
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();

    for reload in 0..RELOADS {
        let version = 2 + reload % 2;
        image(version).put(&host, FILE);
        operator.reload_published();
        assert_eq!(peer.result("exclusive.version", &Value::Null), version);
        assert!(clients.iter().all(|client| !client.is_finished()), "a client has failed");
    }

    is_over.store(true, Ordering::Relaxed);
    let counts = clients.into_iter().flat_map(|client| client.join().expect("no call has failed"));
    let mut counts: Vec<_> = counts.collect();
    counts.sort_unstable();
    let wanted: Vec<_> = (1..=counts.len() as u64).collect();
    assert_eq!(counts, wanted, "each count is returned once");

    let row = operator.wait_until_unloaded();
    assert_eq!(row["unloaded"], RELOADS, "{row}");
}

#[test]
fn names_the_policy_in_the_refusal_of_a_plugin_that_cannot_start_twice() {
    // The probe of the first generation starts it, which is possible because no other one runs.
    let (host, mut operator, mut peer) = with_version_1(&format!("{GENEROUS}{}", exclusive("start-first")));
    image(2).put(&host, FILE);

    let verdict = operator.reload_refused("start-failed");

    let detail = verdict["refused"]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("set plugin.subject.replace = \"stop-first\""), "{verdict}");
    assert_serves(&mut peer, 1, 2);
}

#[test]
fn starts_the_previous_content_with_its_state_when_the_new_one_does_not_start() {
    let (host, mut operator, mut peer) = with_version_1(&format!("{GENEROUS}{}", exclusive("stop-first")));
    let before = operator.generation();
    image(2).with("START-", "1").put(&host, FILE);

    let verdict = operator.reload_refused("start-failed");

    assert!(verdict["generation"].as_u64() > Some(before), "{verdict}");
    assert_serves(&mut peer, 1, 2);
    host.wait_for_log("now serves: the previous content, started again");
    assert!(host.log_contains("refused (start-failed): start returned an error: the fixture does not start"));

    // The self-test runs in the host, because the probe does not start the plugin.
    image(2).with("START-", "4").put(&host, FILE);
    operator.reload_refused("self-test-failed");
    assert_serves(&mut peer, 1, 3);
    operator.wait_until_unloaded();
}

#[test]
fn is_unavailable_while_no_content_starts_and_serves_once_the_resource_is_free() {
    let (host, mut operator, mut peer) = with_version_1(&format!("{GENEROUS}{}", exclusive("stop-first")));
    image(2).with("START-", "2").put(&host, FILE);

    operator.reload_refused("start-failed");

    let error = peer.call("exclusive.add", &Value::Null).error(PLUGIN_UNAVAILABLE);
    assert!(error["data"]["retry_after_ms"].is_u64(), "{error}");
    assert_eq!(error["data"]["reason"], "start-failed", "{error}");
    assert_eq!(operator.row(NAME)["state"], "unavailable");
    host.wait_for_log("plugin subject: unavailable, because its previous content does not start again");

    fs::remove_file(host.path("run/lock.taken")).expect("the lock is free");
    operator.wait_until("the previous content serves", |row| row["generation"].is_u64());
    assert_serves(&mut peer, 1, 2);
    assert_eq!(operator.row(NAME)["refused"]["reason"], "start-failed");
}

#[test]
fn answers_calls_unavailable_while_a_start_takes_longer_than_calls_are_held() {
    let config = format!("[plugins]\nwatch = false\nstate_transfer = \"200ms\"\n{}", exclusive("stop-first"));
    let (host, mut operator, mut peer) = with_version_1(&config);
    image(2).with("START-", "3").put(&host, FILE);
    operator.0.send_sync("admin.plugin.reload", &json!({ "name": NAME }));

    wait_until("a call is answered PLUGIN_UNAVAILABLE", || {
        let reply = peer.call("exclusive.version", &Value::Null);
        let is_unavailable = reply.code() == Some(PLUGIN_UNAVAILABLE);
        assert!(is_unavailable || reply.result() == 1, "{reply:?}");
        is_unavailable
    });

    assert_eq!(operator.0.receive().result()[0]["outcome"], "published");
    assert_serves(&mut peer, 2, 2);
    host.wait_for_log("its replacement takes longer than 200 ms; its calls are answered PLUGIN_UNAVAILABLE");
}

#[test]
fn rolls_back_and_applies_settings_in_the_same_order() {
    let policy = exclusive("stop-first");
    let (host, mut operator, mut peer) = with_version_1(&format!("{GENEROUS}{policy}"));
    image(2).put(&host, FILE);
    operator.reload_published();
    assert_serves(&mut peer, 2, 2);

    assert_eq!(operator.roll_back(NAME)["outcome"], "published");
    assert_serves(&mut peer, 1, 3);

    // The lock stays the same, so the new settings cannot be tried beside the old ones.
    let before = peer.result("exclusive.port", &Value::Null);
    host.scratch().write("config.toml", format!("{GENEROUS}{}", exclusive("stop-first")));
    wait_until("the new settings are applied", || peer.result("exclusive.port", &Value::Null) != before);
    assert_serves(&mut peer, 1, 4);

    // A port that someone else has: the old settings stay in effect.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("its address").port();
    let settings = format!("settings = {{ lock = \"run/lock\", port = {port} }}\n");
    let faulty = format!("{GENEROUS}[plugin.subject]\nreplace = \"stop-first\"\n{settings}");
    host.scratch().write("config.toml", &faulty);
    host.wait_for_log("plugin.subject: cannot run with its new settings (start-failed)");
    assert_ne!(peer.result("exclusive.port", &Value::Null), port);
    assert_serves(&mut peer, 1, 5);
}

#[test]
fn answers_an_unterminated_line_that_waits_for_the_replacement() {
    let listeners = "[[listener]]\nsocket = \"run/jackfield.sock\"\n[[listener]]\nsocket = \"run/lines.sock\"\n\
                     framing = \"line\"\nrun_unterminated = true\n";
    let config = format!("{listeners}{GENEROUS}{}", exclusive("stop-first"));
    let (host, mut operator, _peer) = with_version_1(&config);
    image(2).with("START-", "3").put(&host, FILE);
    operator.0.send_sync("admin.plugin.reload", &json!({ "name": NAME }));

    // One of the calls waits at the gate from the stop of the first version to the start of the
    // second one.
    wait_until("the second version answers", || {
        let mut peer = host.line_peer("run/lines.sock");
        peer.send("{\"method\":\"exclusive.version\"}");
        peer.half_close();

        let result = peer.json()["result"].take();
        assert_eq!(peer.line(), None);
        result == 2
    });
    assert_eq!(operator.0.receive().result()[0]["outcome"], "published");
}

#[test]
fn retains_code_whose_thread_outlives_the_stop_although_no_probe_has_seen_it() {
    let config = format!("{GENEROUS}{}", exclusive("stop-first"));
    let host = with_image(&image(1).with("START-", "5"), &config);
    let (mut operator, mut peer) = (Operator::connect(&host), host.peer());
    let first = operator.generation();
    image(2).put(&host, FILE);

    operator.reload_published();

    let row = operator.wait_until("nothing drains", |row| row["draining"] == json!([]));
    assert_eq!((&row["retained"][0]["generation"], &row["unloaded"]), (&json!(first), &json!(0)), "{row}");
    assert_serves(&mut peer, 2, 1);
}

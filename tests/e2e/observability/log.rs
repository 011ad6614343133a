//! The log: nothing about single requests at `info`, every step of a request at `debug`, rate
//! limits, and sanitized text.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::{Value, json};

use crate::support::background::{BackgroundThread, SetOnDrop};
use crate::support::http::address;
use crate::support::neighbour::assert_slowdown_at_most;
use crate::support::peer::{
    ASYNC_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, SYNC, V1_0, V1_1, envelope_with, frame,
};
use crate::support::scrape::Scrape;
use crate::support::{HostProcess, Peer, wait_until};

/// Starts a host whose log has this format and level.
#[track_caller]
fn host(plugins: &[&str], format: &str, level: &str, more: &str) -> HostProcess {
    let builder = plugins.iter().fold(HostProcess::builder(), |builder, plugin| builder.plugin(plugin));
    let log = format!("[log]\nformat = \"{format}\"\nlevel = \"{level}\"\n");
    builder.config(&log).config("[metrics]\nlisten = \"127.0.0.1:0\"").config(more).start()
}

/// Sends a request with an id.
fn send(peer: &mut Peer, kind: u8, id: &str, method: &str) {
    let version = if kind == SYNC { V1_0 } else { V1_1 };
    peer.send(frame(version, kind, envelope_with(id, method, &json!({ "ms": 3 }))));
}

#[test]
fn logs_nothing_about_requests_at_info() {
    let host = host(&["counts", "errors", "sleeps"], "text", "info", "");
    let before = host.log_lines().len();
    let mut peer = host.peer();

    for number in 0..50 {
        let id = number.to_string();
        for method in ["counts.inline", "counts.blocking", "errors.fail", "no.such.method"] {
            send(&mut peer, SYNC, &id, method);
            peer.receive();
        }
        send(&mut peer, ASYNC_REQUEST, &id, "counts.async");
        peer.receive();
        peer.send_frame(V1_0, SYNC, "no JSON");
        peer.receive().error(PARSE_ERROR);
    }

    // A client that disconnects with a request in flight is not logged, either.
    let mut leaving = host.peer();
    send(&mut leaving, ASYNC_REQUEST, "leaving", "sleep.forever");
    wait_until("the request is in flight", || host.count("in_flight") == 1);
    drop(leaving);
    wait_until("the request is abandoned", || host.count("abandoned") == 1);

    assert_eq!(host.log_lines().len(), before, "{}", host.log());
}

#[test]
fn logs_each_step_of_a_request_at_debug() {
    let host = host(&["counts"], "json", "debug", "");
    let mut peer = host.peer();

    let cases = [
        (SYNC, "counts.inline", vec!["answered"]),
        (SYNC, "counts.blocking", vec!["accepted", "answered"]),
        (ASYNC_REQUEST, "counts.async", vec!["accepted", "answered"]),
    ];
    let mut connections = BTreeSet::new();

    for (number, (kind, method, reported)) in cases.into_iter().enumerate() {
        let id = format!("follow-{number}");
        send(&mut peer, kind, &id, method);
        peer.receive().result();
        host.wait_for_log(&format!("\"id\":\"{id}\",\"method\":\"{method}\",\"plugin\":\"counts\""));

        let lines_of_id = || {
            let lines = host.log_lines();
            let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.filter(|line| line["id"] == json!(id)).collect::<Vec<_>>()
        };

        wait_until("each step is logged", || lines_of_id().len() == reported.len());

        for (line, reported) in lines_of_id().iter().zip(&reported) {
            let message = line["message"].as_str().unwrap();
            assert!(message.starts_with(&format!("request {id} {reported}: ")), "{line}");
            assert_eq!((&line["method"], &line["plugin"]), (&json!(method), &json!("counts")), "{line}");
            assert!(line["generation"].is_u64() && line["conn"].is_u64(), "{line}");
            connections.insert(line["conn"].as_u64());
        }

        let last = lines_of_id().pop().unwrap();
        assert_eq!(last["ended"], "Result");
        let is_length = |name: &str| last[name].as_str().is_some_and(|parse_ms| parse_ms.ends_with('s'));
        assert!(is_length("queue") && is_length("run"), "{last}");
    }

    assert_eq!(connections.len(), 1, "a connection has one number");

    send(&mut peer, SYNC, "refused-1", "no.such");
    peer.receive().error(METHOD_NOT_FOUND);
    let line = host.wait_for_log("refused-1");
    assert!(
        line.contains("request refused-1 rejected: method not found: no.such") && line.contains("-32601"),
        "{line}"
    );
}

#[test]
fn logs_queue_time_and_run_time_separately() {
    let host = host(&["counts"], "json", "debug", "[plugin.counts]\nthreads = 1");
    let mut peer = host.peer();

    send(&mut peer, ASYNC_REQUEST, "first", "counts.held");
    wait_until("the first call has started", || host.peer().result("counts.begun", &Value::Null) == 1);
    send(&mut peer, ASYNC_REQUEST, "second", "counts.blocking");
    host.wait_for_log("\"id\":\"second\"");

    // Long enough to differ from zero, whatever else the machine does.
    std::thread::sleep(std::time::Duration::from_millis(50));
    host.peer().result("counts.release", &Value::Null);
    peer.receive_all(2);

    let line = host.log_lines().into_iter().rev().find(|line| line.contains("\"id\":\"second\"")).unwrap();
    let line = wait_for_reply_line(&host, &line);
    let millis = |name: &str| parse_ms(line[name].as_str().unwrap());
    assert!(millis("queue") >= 45.0, "the second call waited for the first one: {line}");
    assert!(millis("run") >= 3.0, "{line}");
}

/// Waits for the line about the reply to the same request.
fn wait_for_reply_line(host: &HostProcess, line: &str) -> Value {
    let line: Value = serde_json::from_str(line).unwrap();
    let wanted = format!("\"message\":\"request second answered: result\",\"conn\":{}", line["conn"]);
    serde_json::from_str(&host.wait_for_log(&wanted)).unwrap()
}

/// Parses a duration from the log, in milliseconds.
fn parse_ms(text: &str) -> f64 {
    let at = text.find(|c: char| c.is_alphabetic() || c == 'µ').unwrap();
    let (number, unit) = text.split_at(at);
    number.parse::<f64>().unwrap()
        * match unit {
            "s" => 1e3,
            "ms" => 1.0,
            "µs" => 1e-3,
            "ns" => 1e-6,
            _ => panic!("{text}"),
        }
}

/// Text that affects a terminal or a reader of lines.
const HOSTILE: &str = "a\nERROR forged\r\u{1b}[31m\u{7}\u{9b}2J\u{202e}\u{2028}\u{0}z";

#[test]
fn sanitizes_and_truncates_text_of_clients_and_plugins() {
    for format in ["text", "json"] {
        let mut host = host(&["services", "panics"], format, "debug", "[plugins.probation]\ncalls = 0");
        let mut peer = host.peer();

        let long = "long ".repeat(100_000);

        send(&mut peer, ASYNC_REQUEST, &format!("id {HOSTILE}"), "services.settings");
        send(&mut peer, ASYNC_REQUEST, "unknown", &format!("no.such.{HOSTILE}"));
        send(&mut peer, ASYNC_REQUEST, &format!("panic {HOSTILE}"), "panics.panic_long");
        peer.receive_all(3);
        peer.result("services.log", &json!({ "level": "warn", "line": format!("plugin {HOSTILE}{long}") }));

        drop(peer);
        host.terminate();

        let log = host.log();

        for line in log.split('\n') {
            let is_unsafe = |c: char| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c);
            assert!(!line.chars().any(is_unsafe), "{format}: {line:?}");
            assert!(line.len() < 32 * 1024, "{format}: {} bytes", line.len());
            assert!(!line.trim_start().starts_with("ERROR forged"), "{format}: {line}");
            if format == "json" {
                let value: Value =
                    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                let text = value.to_string();
                assert!(!text.contains("\\r") || text.contains("\\\\r"), "{text}");
            }
        }
        // An id is one quoted value, whatever it contains.
        assert!(format == "json" || log.contains("id=\"id a"), "{log}");
        for what in ["id a", "no.such.a", "panic a", "plugin a"] {
            assert!(log.contains(&format!("{what}\\")), "{format}: {what} is escaped");
        }
    }
}

#[test]
fn limits_and_counts_a_flood_of_lines() {
    const LINES: u64 = 20_000;
    let host = host(&["services", "echoes"], "text", "info", "");
    let address = address(&host);
    let is_over = AtomicBool::new(false);

    std::thread::scope(|scope| {
        let end = SetOnDrop(&is_over);
        let neighbour = scope.spawn(|| {
            let mut peer = host.peer();
            let mut rounds = 0;
            while !is_over.load(SeqCst) {
                assert_eq!(peer.result("fixture.echo_blocking", &json!(rounds)), json!(rounds));
                rounds += 1;
            }
            rounds
        });
        let floods = (0..2).map(|_| scope.spawn(|| host.peer().result("services.flood", &json!(LINES))));
        floods.collect::<Vec<_>>().into_iter().for_each(|flood| drop(flood.join().unwrap()));
        drop(end);
        assert!(neighbour.join().unwrap() > 0);
    });

    let written = || host.log_lines().iter().filter(|line| line.contains("flood ")).count() as u64;
    let dropped = Scrape::of(&address).value("ipc_log_dropped_total", &[]);
    wait_until("every line is written or counted", || written() + dropped == 2 * LINES);
    assert!(dropped > LINES, "most lines exceed the limit: {dropped}");

    let reported = || {
        let lines = host.log_lines();
        // On a busy machine the pipe may be full, too.
        let reasons =
            ["log lines dropped: more than 500 in a second from ", "dropped: the log reader stalled"];
        let reported = lines.iter().filter(|line| reasons.iter().any(|reason| line.contains(reason)));
        let number = |line: &String| {
            let is_flood = line.contains(reasons[0]);
            assert!(line.contains("WARN") && (!is_flood || line.contains("plugin=\"services\"")), "{line}");
            line.split("dropped=").nth(1).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        reported.map(number).sum::<u64>()
    };
    wait_until("all dropped lines are reported", || reported() == dropped);

    // Lines of another kind are written nevertheless.
    host.peer().result("services.log", &json!({ "level": "error", "line": "of another kind" }));
    host.wait_for_log("of another kind");
}

/// Sends one request after another.
fn send_repeatedly(host: &HostProcess, method: &'static str, params: Value) -> BackgroundThread<()> {
    let mut peer = host.peer();
    BackgroundThread::start(move |stopped| {
        while !stopped.load(SeqCst) {
            peer.result(method, &params);
        }
    })
}

#[test]
fn keeps_neighbours_fast_during_a_flood_of_lines() {
    let host = HostProcess::with(&["services"]);
    assert_slowdown_at_most(
        &host,
        "a flood of lines",
        1.2,
        || send_repeatedly(&host, "services.burn", json!({ "ms": 10 })),
        || send_repeatedly(&host, "services.flood", json!(2000)),
    );
    host.wait_for_log("log lines dropped: more than 500 in a second from ");
}

/// The log contains far more lines than a pipe holds, and the reader has stalled. Requests are
/// answered nevertheless.
#[test]
fn serves_while_the_log_reader_is_stalled() {
    let host = host(&["counts"], "json", "debug", "");
    let address = address(&host);
    let paused = host.pause_log_reader();
    let mut peer = host.peer();

    for number in 0..2000 {
        assert_eq!(peer.result("system.echo", &json!(number)), number);
    }

    let dropped = || Scrape::of(&address).value("ipc_log_dropped_total", &[]);
    let first = dropped();
    assert!(first > 0, "the lines exceed the capacity of the pipe");

    // It tries to report the dropped lines one second later, without success.
    wait_until("the host has tried to report the dropped lines", || dropped() > first);
    let dropped = dropped();

    drop(paused);
    let reported = host.wait_for_log("dropped: the log reader stalled");
    let reported: Value = serde_json::from_str(&reported).unwrap();
    assert!(reported["dropped"].as_u64() >= Some(dropped), "{reported}");

    // Each line is complete, and later lines are written.
    for line in host.log_lines() {
        assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
    }

    send(&mut peer, SYNC, "after", "counts.blocking");
    peer.receive();
    host.wait_for_log("\"after\"");
}

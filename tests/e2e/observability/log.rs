//! The log: nothing of single requests at `info`, all of one at `debug`, an end to every flood, and
//! nothing in it that came from outside as it came.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::{Value, json};

use crate::support::background::BackgroundThread;
use crate::support::http::address;
use crate::support::neighbour::assert_slowdown_at_most;
use crate::support::peer::{
    ASYNC_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, SYNC, V1_0, V1_1, envelope_with, frame,
};
use crate::support::scrape::Scrape;
use crate::support::{HostProcess, Peer, wait_until};

/// A host whose log has this format and level.
#[track_caller]
fn host(plugins: &[&str], format: &str, level: &str, more: &str) -> HostProcess {
    let builder = plugins.iter().fold(HostProcess::builder(), |builder, plugin| builder.plugin(plugin));
    let log = format!("[log]\nformat = \"{format}\"\nlevel = \"{level}\"\n");
    builder.config(&log).config("[metrics]\nlisten = \"127.0.0.1:0\"").config(more).start()
}

/// One request with an id.
fn ask(peer: &mut Peer, kind: u8, id: &str, method: &str) {
    let version = if kind == SYNC { V1_0 } else { V1_1 };
    peer.send(frame(version, kind, envelope_with(id, method, &json!({ "ms": 3 }))));
}

#[test]
fn requests_leave_nothing_in_the_log_at_info() {
    let host = host(&["counts", "errors", "sleeps"], "text", "info", "");
    let before = host.log_lines().len();
    let mut peer = host.peer();
    for number in 0..50 {
        let id = number.to_string();
        for method in ["counts.inline", "counts.blocking", "errors.fail", "no.such.method"] {
            ask(&mut peer, SYNC, &id, method);
            peer.receive();
        }
        ask(&mut peer, ASYNC_REQUEST, &id, "counts.async");
        peer.receive();
        peer.send_frame(V1_0, SYNC, "no JSON");
        peer.receive().error(PARSE_ERROR);
    }
    // A client that goes with a request in flight is no event either.
    let mut goes = host.peer();
    ask(&mut goes, ASYNC_REQUEST, "goes", "sleep.deaf");
    wait_until("it is in flight", || host.count("in_flight") == 1);
    drop(goes);
    wait_until("it is given up", || host.count("abandoned") == 1);
    assert_eq!(host.log_lines().len(), before, "{}", host.log());
}

#[test]
fn one_id_is_followed_from_its_frame_to_its_reply() {
    let host = host(&["counts"], "json", "debug", "");
    let mut peer = host.peer();
    let cases = [
        (SYNC, "counts.inline", vec!["answered"]),
        (SYNC, "counts.blocking", vec!["accepted", "answered"]),
        (ASYNC_REQUEST, "counts.async", vec!["accepted", "answered"]),
    ];
    let mut connections = BTreeSet::new();
    for (number, (kind, method, told)) in cases.into_iter().enumerate() {
        let id = format!("follow-{number}");
        ask(&mut peer, kind, &id, method);
        peer.receive().result();
        host.wait_for_log(&format!("\"id\":\"{id}\",\"method\":\"{method}\",\"plugin\":\"counts\""));
        let of_it = || {
            let lines = host.log_lines();
            let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.filter(|line| line["id"] == json!(id)).collect::<Vec<_>>()
        };
        wait_until("all of it is told", || of_it().len() == told.len());
        for (line, told) in of_it().iter().zip(&told) {
            assert_eq!(line["message"], *told, "{line}");
            assert_eq!((&line["method"], &line["plugin"]), (&json!(method), &json!("counts")), "{line}");
            assert!(line["generation"].is_u64() && line["conn"].is_u64(), "{line}");
            connections.insert(line["conn"].as_u64());
        }
        let last = of_it().pop().unwrap();
        assert_eq!(last["ended"], "Result");
        let is_length = |name: &str| last[name].as_str().is_some_and(|length| length.ends_with('s'));
        assert!(is_length("queue") && is_length("run"), "{last}");
    }
    assert_eq!(connections.len(), 1, "one connection, one number");
    ask(&mut peer, SYNC, "refused-1", "no.such");
    peer.receive().error(METHOD_NOT_FOUND);
    let line = host.wait_for_log("refused-1");
    assert!(line.contains("refused: method not found: no.such") && line.contains("-32601"), "{line}");
}

#[test]
fn the_time_in_the_queue_is_told_from_that_of_the_run() {
    let host = host(&["counts"], "json", "debug", "[plugin.counts]\nthreads = 1");
    let mut peer = host.peer();
    ask(&mut peer, ASYNC_REQUEST, "first", "counts.held");
    wait_until("it has begun", || host.peer().result("counts.begun", &Value::Null) == 1);
    ask(&mut peer, ASYNC_REQUEST, "second", "counts.blocking");
    host.wait_for_log("\"id\":\"second\"");
    // Long enough to be told from nothing, whatever else the machine does.
    std::thread::sleep(std::time::Duration::from_millis(50));
    host.peer().result("counts.release", &Value::Null);
    peer.receive_all(2);
    let line = host.log_lines().into_iter().rev().find(|line| line.contains("\"id\":\"second\"")).unwrap();
    let line = wait_until_answered(&host, &line);
    let millis = |name: &str| length(line[name].as_str().unwrap());
    assert!(millis("queue") >= 45.0, "it waited for the first one: {line}");
    assert!(millis("run") >= 3.0, "{line}");
}

/// The line that says that the same request was answered.
fn wait_until_answered(host: &HostProcess, line: &str) -> Value {
    let line: Value = serde_json::from_str(line).unwrap();
    let wanted = format!("\"message\":\"answered\",\"conn\":{},\"id\":\"second\"", line["conn"]);
    serde_json::from_str(&host.wait_for_log(&wanted)).unwrap()
}

/// A length as the log writes it, in milliseconds.
fn length(text: &str) -> f64 {
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

/// What a client or a plugin can do to a terminal, or to who reads lines.
const NASTY: &str = "a\nERROR forged\r\u{1b}[31m\u{7}\u{9b}2J\u{202e}\u{2028}\u{0}z";

#[test]
fn nothing_from_outside_is_written_as_it_came_or_without_end() {
    for format in ["text", "json"] {
        let mut host = host(&["services", "panics"], format, "debug", "[plugins.probation]\ncalls = 0");
        let mut peer = host.peer();
        let long = "long ".repeat(100_000);
        ask(&mut peer, ASYNC_REQUEST, &format!("id {NASTY}"), "services.settings");
        ask(&mut peer, ASYNC_REQUEST, "unknown", &format!("no.such.{NASTY}"));
        ask(&mut peer, ASYNC_REQUEST, &format!("panic {NASTY}"), "vice.panic_long");
        peer.receive_all(3);
        peer.result("services.log", &json!({ "level": "warn", "line": format!("plugin {NASTY}{long}") }));
        drop(peer);
        host.terminate();
        let log = host.log();
        for line in log.split('\n') {
            let acts = |c: char| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c);
            assert!(!line.chars().any(acts), "{format}: {line:?}");
            assert!(line.len() < 32 * 1024, "{format}: {} bytes", line.len());
            assert!(!line.trim_start().starts_with("ERROR forged"), "{format}: {line}");
            if format == "json" {
                let value: Value =
                    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                let text = value.to_string();
                assert!(!text.contains("\\r") || text.contains("\\\\r"), "{text}");
            }
        }
        // An id is one value, whatever it looks like.
        assert!(format == "json" || log.contains("id=\"id a"), "{log}");
        for what in ["id a", "no.such.a", "panic a", "plugin a"] {
            assert!(log.contains(&format!("{what}\\")), "{format}: {what} is there, spelled out");
        }
    }
}

/// Says that it is over, also when the test fails.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn a_flood_has_an_end_is_counted_and_harms_nobody() {
    const LINES: u64 = 20_000;
    let host = host(&["services", "echoes"], "text", "info", "");
    let address = address(&host);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stops = Stops(&stop);
        let bystander = scope.spawn(|| {
            let mut peer = host.peer();
            let mut rounds = 0;
            while !stop.load(SeqCst) {
                assert_eq!(peer.result("fixture.echo_blocking", &json!(rounds)), json!(rounds));
                rounds += 1;
            }
            rounds
        });
        let floods = (0..2).map(|_| scope.spawn(|| host.peer().result("services.flood", &json!(LINES))));
        floods.collect::<Vec<_>>().into_iter().for_each(|flood| drop(flood.join().unwrap()));
        drop(stops);
        assert!(bystander.join().unwrap() > 0);
    });
    let written = || host.log_lines().iter().filter(|line| line.contains("flood ")).count() as u64;
    let dropped = Scrape::of(&address).value("ipc_log_dropped_total", &[]);
    wait_until("every line was written or counted", || written() + dropped == 2 * LINES);
    assert!(dropped > LINES, "most of them are too many: {dropped}");
    let told = || {
        let lines = host.log_lines();
        // On a busy machine some may also find the pipe full.
        let reasons =
            ["more than 500 lines of one kind in a second", "whoever reads the log had stopped reading"];
        let told = lines.iter().filter(|line| reasons.iter().any(|reason| line.contains(reason)));
        let number = |line: &String| {
            let is_flood = line.contains(reasons[0]);
            assert!(line.contains("WARN") && (!is_flood || line.contains("plugin=\"services\"")), "{line}");
            line.split("dropped=").nth(1).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        told.map(number).sum::<u64>()
    };
    wait_until("all that was dropped is told of", || told() == dropped);
    // What others have to say is written all the same.
    host.peer().result("services.log", &json!({ "level": "error", "line": "of another kind" }));
    host.wait_for_log("of another kind");
}

/// Asks for one thing again and again.
fn asking(host: &HostProcess, method: &'static str, params: Value) -> BackgroundThread<()> {
    let mut peer = host.peer();
    BackgroundThread::start(move |stopped| {
        while !stopped.load(SeqCst) {
            peer.result(method, &params);
        }
    })
}

#[test]
fn a_flood_costs_a_bystander_no_more_than_as_much_work_that_writes_nothing() {
    let host = HostProcess::with(&["services"]);
    assert_slowdown_at_most(
        &host,
        "a flood of lines",
        1.2,
        || asking(&host, "services.burn", json!({ "ms": 10 })),
        || asking(&host, "services.flood", json!(2000)),
    );
    host.wait_for_log("more than 500 lines of one kind in a second");
}

/// Far more lines than a pipe holds, and nobody reads them: requests are answered all the same.
#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    let host = host(&["counts"], "json", "debug", "");
    let address = address(&host);
    let unread = host.pause_log_reader();
    let mut peer = host.peer();
    for number in 0..2000 {
        assert_eq!(peer.result("system.echo", &json!(number)), number);
    }
    let dropped = || Scrape::of(&address).value("ipc_log_dropped_total", &[]);
    let first = dropped();
    assert!(first > 0, "they would fit into a pipe");
    // A second later it says so, in vain.
    wait_until("it has tried to tell", || dropped() > first);
    let dropped = dropped();
    drop(unread);
    let told = host.wait_for_log("whoever reads the log had stopped reading");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert!(told["dropped"].as_u64() >= Some(dropped), "{told}");
    // What was written is whole, line by line; and what comes now is written.
    for line in host.log_lines() {
        assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
    }
    ask(&mut peer, SYNC, "after", "counts.blocking");
    peer.receive();
    host.wait_for_log("\"after\"");
}

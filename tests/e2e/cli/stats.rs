//! `jackfield stats`, `slowlog` and `top` against a running host: what they show is what happened,
//! and whoever looks, slowly or not to the end, changes nothing.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::build::artifacts;
use crate::support::peer::{
    ASYNC_REQUEST, DEADLINE_EXCEEDED, METHOD_NOT_FOUND, PERMISSION_DENIED, PLUGIN_PANICKED, V1_1,
    envelope_with, frame,
};
use crate::support::program::{Finished, jackfield};
use crate::support::pseudo_terminal::PseudoTerminal;
use crate::support::scratch::Scratch;
use crate::support::user::OTHER_USER;
use crate::support::{HostProcess, Peer, wait_until};

fn ask(host: &HostProcess, words: &[&str]) -> Finished {
    let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    jackfield(host.directory(), &words)
}

#[track_caller]
fn json_of(host: &HostProcess, command: &str) -> Value {
    let finished = ask(host, &[command, "--json"]);
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{finished:?}");
    serde_json::from_str(&finished.stdout).expect("JSON")
}

/// The row of a list with this member.
#[track_caller]
fn row<'v>(list: &'v Value, key: &str, value: &str) -> &'v Value {
    let rows = list.as_array().expect("a list");
    rows.iter().find(|row| row[key] == value).unwrap_or_else(|| panic!("no {key} {value} in {list}"))
}

#[test]
fn stats_are_what_happened() {
    let config = format!(
        "[[route]]\nmethod = \"device.*\"\nplugin = \"device\"\nallow = {{ users = [{OTHER_USER}] }}"
    );
    let builder = HostProcess::builder().plugin("hello").plugin("panics").plugin("device").config(&config);
    let host = builder.start();
    let mut peer = host.peer();
    for _ in 0..5 {
        peer.result("hello.greet", &json!({ "name": "Ada" }));
    }
    peer.call("hello.greet", &json!({})).error(crate::support::peer::INVALID_PARAMS);
    peer.call("no.such.method", &Value::Null).error(METHOD_NOT_FOUND);
    peer.call("device.list", &json!({})).error(PERMISSION_DENIED);
    let stats = json_of(&host, "stats");
    let greet = row(&stats["methods"], "name", "hello.greet");
    let numbers = ["accepted", "ok", "failed", "in_flight"].map(|name| greet[name].as_u64());
    assert_eq!(numbers, [Some(6), Some(5), Some(1), Some(0)]);
    assert!(greet["p50_us"].as_u64() <= greet["p99_us"].as_u64() && greet["p99_us"].is_u64(), "{greet}");
    assert_eq!(row(&stats["methods"], "name", "(unknown)")["accepted"], 1);
    assert_eq!(stats["outcomes"]["invalid_params"], 1);
    assert_eq!(stats["rejected"], json!({ "method_not_found": 1, "permission_denied": 1 }));
    // Those of operators have places of their own, and are not among them.
    assert_eq!((&stats["pid"], &stats["connections"]), (&json!(host.pid()), &json!(1)));
    let (us, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let ours = stats["callers"].as_array().into_iter().flatten();
    let ours = ours.filter(|row| row["pid"] == std::process::id()).collect::<Vec<_>>();
    let expected =
        json!({ "uid": us, "gid": group, "pid": std::process::id(), "connections": 1, "in_flight": 0 });
    assert_eq!(ours, [&expected]);
    let plugin = row(&stats["plugins"], "name", "hello");
    assert_eq!((&plugin["state"], &plugin["loaded"]), (&json!("serving"), &json!(1)));

    let table = ask(&host, &["stats"]);
    assert_eq!((table.code, table.stderr.as_str()), (0, ""));
    let cells = |start: &str| {
        let line = table.stdout.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no {start} in {}", table.stdout))
            .split_whitespace()
            .take(5)
            .collect::<Vec<_>>()
    };
    assert_eq!(cells("hello.greet"), ["hello.greet", "6", "5", "1", "0"]);
    assert_eq!(cells("turned away"), ["turned", "away", "method_not_found", "1,", "permission_denied"]);
    assert_eq!(cells("hello  ")[..2], ["hello", "serving"]);
}

#[test]
fn the_slow_and_the_failed_are_kept_with_who_asked_and_where_the_time_went() {
    let config = "[plugin.sleeps]\nthreads = 1\n[[route]]\nmethod = \"sleep.async\"\nplugin = \"sleeps\"\ntimeout = \"50ms\"";
    let host =
        HostProcess::builder().plugin("sleeps").plugin("panics").plugin("hello").config(config).start();
    let mut peer = host.peer();
    // One thread: the second waits for the first, and was sent with it.
    let nap = |id: &str, ms: u64| {
        frame(V1_1, ASYNC_REQUEST, envelope_with(id, "sleep.blocking", &json!({ "ms": ms })))
    };
    peer.send([nap("first", 200), nap("second", 0)].concat());
    peer.receive_all(2);
    peer.call("sleep.async", &json!({ "ms": 5000 })).error(DEADLINE_EXCEEDED);
    peer.send_async("panicking", "vice.panic", &json!({}));
    peer.receive().error(PLUGIN_PANICKED);
    // Whatever a client calls itself and asks for, it moves no cursor.
    let strange = "\u{1b}[2J\nstrange";
    peer.send_async(strange, strange, &Value::Null);
    peer.receive().error(METHOD_NOT_FOUND);
    peer.result("hello.greet", &json!({ "name": "Ada" }));

    let log = json_of(&host, "slowlog");
    let (slow, failed) = (&log["slow"], &log["failed"]);
    let (first, second) = (row(slow, "id", "first"), row(slow, "id", "second"));
    let of = |entry: &Value, name: &str| entry[name].as_u64().unwrap_or_else(|| panic!("{name} of {entry}"));
    // Which of the two that is, is the machine's affair.
    let took = |entry: &Value| of(entry, "queued_us") + of(entry, "ran_us");
    let slow_rows = slow.as_array().expect("rows");
    assert!(slow_rows.is_sorted_by(|one, next| took(one) >= took(next)), "the slowest first: {slow}");
    assert!(slow_rows[..2].contains(first) && slow_rows[..2].contains(second), "{slow}");
    assert!(of(first, "ran_us") >= 200_000 && of(first, "ran_us") > of(first, "queued_us"), "{first}");
    assert!(of(second, "queued_us") > of(second, "ran_us"), "{second}");
    for entry in [first, second] {
        let who = (&entry["uid"], &entry["pid"]);
        assert_eq!(who, (&json!(rustix::process::geteuid().as_raw()), &json!(std::process::id())));
        assert_eq!((&entry["method"], &entry["plugin"]), (&json!("sleep.blocking"), &json!("sleeps")));
        assert!(
            entry["generation"].is_u64() && entry["outcome"] == "ok" && entry["conn"].is_u64(),
            "{entry}"
        );
    }
    row(slow, "method", "hello.greet");
    let outcomes: Vec<_> =
        failed.as_array().into_iter().flatten().map(|entry| entry["outcome"].clone()).collect();
    assert_eq!(outcomes, ["method_not_found", "plugin_panicked", "deadline_exceeded"], "the last one first");
    assert_eq!(row(failed, "outcome", "plugin_panicked")["plugin"], "panics");
    // Its time ran from its acceptance, and how long it waited to be begun is the machine's affair.
    let late = row(failed, "outcome", "deadline_exceeded");
    assert!(of(late, "queued_us") + of(late, "ran_us") >= 50_000, "{late}");
    let unknown = row(failed, "outcome", "method_not_found");
    assert_eq!((&unknown["plugin"], &unknown["generation"]), (&Value::Null, &Value::Null));
    let table = ask(&host, &["slowlog"]);
    assert_eq!(table.code, 0, "{table:?}");
    assert!(!table.stdout.contains('\u{1b}') && table.stdout.contains("strange"), "{}", table.stdout);
    assert!(table.stdout.lines().any(|line| line.contains("panicking") && line.contains("plugin_panicked")));

    // A flood of one failure leaves the others, and what operators ask is not among it.
    for _ in 0..200 {
        peer.call("no.such.method", &Value::Null).error(METHOD_NOT_FOUND);
    }
    let log = json_of(&host, "slowlog");
    row(&log["failed"], "outcome", "plugin_panicked");
    assert!(log["failed"].as_array().is_some_and(|failed| failed.len() < 30), "{log}");
    assert!(!log.to_string().contains("admin."), "{log}");
}

#[test]
fn without_a_host_each_says_so_at_once() {
    let scratch = Scratch::new();
    scratch.write("config.toml", "");
    for words in [&["stats"][..], &["slowlog"], &["top"], &["top", "--json"], &["stats", "--json"]] {
        let finished = jackfield(scratch.path(), words);
        assert_eq!((finished.code, finished.stdout.as_str()), (69, ""), "{words:?}: {finished:?}");
        assert!(finished.stderr.contains("no host at "), "{finished:?}");
    }
}

#[test]
fn top_is_a_line_of_json_for_each_interval_where_there_is_no_terminal() {
    let host = HostProcess::builder().plugin("hello").start();
    let finished = ask(&host, &["top", "--interval", "10ms", "--count", "3"]);
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{finished:?}");
    let lines: Vec<Value> =
        finished.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines.iter().all(|line| line["pid"] == host.pid() && line["seconds"].as_f64() > Some(0.0)),
        "{lines:?}"
    );

    // Without a count it goes on, shows what comes, and ends with its reader.
    let mut child = Command::new(&artifacts().program)
        .args(["top", "--json", "--interval", "20ms"])
        .current_dir(host.directory())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut reader = BufReader::new(child.stdout.take().expect("its output"));
    let mut peer = host.peer();
    let mut seen = Vec::new();
    wait_until("the load and the failures are seen", || {
        for _ in 0..20 {
            peer.result("hello.greet", &json!({ "name": "Ada" }));
        }
        peer.call("no.such.method", &Value::Null).error(METHOD_NOT_FOUND);
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        let greet = line["methods"].as_array().into_iter().flatten().find(|row| row["name"] == "hello.greet");
        let moves = greet
            .is_some_and(|row| row["requests_per_second"].as_f64() > Some(0.0) && row["p99_us"].is_u64());
        let fails = line["failed"]
            .as_array()
            .is_some_and(|failed| failed.iter().any(|e| e["method"] == "no.such.method"));
        seen.push((moves, fails));
        seen.iter().any(|(moves, _)| *moves) && seen.iter().any(|(_, fails)| *fails)
    });
    drop(reader);
    let ended = child.wait().expect("it ends");
    assert!(ended.success(), "{ended}");
}

#[test]
fn top_is_a_screen_that_obeys_its_keys_and_leaves_the_terminal_as_it_was() {
    let host = HostProcess::builder().plugin("hello").start();
    let start =
        || PseudoTerminal::start(&artifacts().program, &["top", "--interval", "50ms"], host.directory());
    let mut terminal = start();
    terminal.wait_for("jackfield");
    terminal.wait_for("system");
    host.peer().result("hello.greet", &json!({ "name": "Ada" }));
    terminal.wait_for("hello.greet");
    // Only what differs is written: these letters are in no title before.
    terminal.press("ss");
    terminal.wait_for("p99");
    terminal.press("p");
    terminal.wait_for("paused");
    terminal.press("q");
    assert!(terminal.wait().success());

    // Every other end leaves it as it was, too.
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut terminal = start();
        terminal.wait_for("hello.greet");
        terminal.signal(signal);
        assert!(terminal.wait().success(), "{signal:?}");
    }
    let mut terminal = start();
    terminal.wait_for("hello.greet");
    // Ctrl-C, which is a key there.
    terminal.press("\u{3}");
    assert!(terminal.wait().success());
}

#[test]
fn the_screen_outlives_its_host_and_says_so() {
    let mut host = HostProcess::builder().plugin("hello").start();
    let words = ["top", "--interval", "50ms"];
    let mut terminal = PseudoTerminal::start(&artifacts().program, &words, host.directory());
    terminal.wait_for("hello");
    host.terminate();
    terminal.wait_for("no host at");
    terminal.press("q");
    assert!(terminal.wait().success());
}

#[test]
fn operators_that_do_not_read_or_are_killed_change_nothing() {
    let host = HostProcess::builder().plugin("hello").start();
    let admin = host.path("run/jackfield-admin.sock");
    // Each asks for far more than its socket holds, and reads none of it.
    let mut silent: Vec<_> = (0..20).map(|_| Peer::connect(&admin)).collect();
    for peer in &mut silent {
        for number in 0..100 {
            peer.send_async(&number.to_string(), "admin.stats", &json!({ "lengths": true }));
            peer.send_async(&format!("s{number}"), "admin.slowlog", &Value::Null);
        }
    }
    let mut watching = Command::new(&artifacts().program)
        .args(["top", "--json", "--interval", "1ms"])
        .current_dir(host.directory())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut peer = host.peer();
    for _ in 0..500 {
        assert_eq!(peer.result("hello.greet", &json!({ "name": "Ada" })), "hello, Ada");
    }
    assert_eq!(ask(&host, &["stats"]).code, 0, "another operator is answered");
    watching.kill().expect("it is killed");
    watching.wait().expect("it is gone");
    drop(silent);
    wait_until("what they asked for is forgotten", || {
        let stats = json_of(&host, "stats");
        let ours = stats["callers"].as_array().into_iter().flatten();
        let ours = ours.filter(|row| row["pid"] == std::process::id()).collect::<Vec<_>>();
        ours.iter().all(|row| row["connections"] == 1) && stats["in_flight"] == 1
    });
    for _ in 0..100 {
        assert_eq!(peer.result("hello.greet", &json!({ "name": "Ada" })), "hello, Ada");
    }
}

//! `jackfield stats` and `jackfield slowlog` against a running host.

use std::ffi::OsStr;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::build::artifacts;
use crate::support::peer::{
    ASYNC_REQUEST, DEADLINE_EXCEEDED, METHOD_NOT_FOUND, PERMISSION_DENIED, PLUGIN_PANICKED, V1_1,
    envelope_with, frame,
};
use crate::support::program::{Finished, command, jackfield};
use crate::support::scratch::Scratch;
use crate::support::user::OTHER_USER;
use crate::support::{HostProcess, Peer, wait_until};

fn run(host: &HostProcess, args: &[&str]) -> Finished {
    let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
    jackfield(host.directory(), &args)
}

#[track_caller]
fn json_of(host: &HostProcess, command: &str) -> Value {
    let finished = run(host, &[command, "--json"]);
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{finished:?}");
    serde_json::from_str(&finished.stdout).expect("the output is JSON")
}

/// Returns the row with this member from a list.
#[track_caller]
fn row<'v>(list: &'v Value, key: &str, value: &str) -> &'v Value {
    let rows = list.as_array().expect("a list");
    rows.iter().find(|row| row[key] == value).unwrap_or_else(|| panic!("no {key} {value} in {list}"))
}

#[test]
fn shows_counts_of_methods_callers_and_plugins() {
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

    // The connections of operators are counted separately.
    assert_eq!((&stats["pid"], &stats["connections"]), (&json!(host.pid()), &json!(1)));
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());

    let own_rows = stats["callers"].as_array().into_iter().flatten();
    let own_rows = own_rows.filter(|row| row["pid"] == std::process::id()).collect::<Vec<_>>();
    let expected =
        json!({ "uid": user, "gid": group, "pid": std::process::id(), "connections": 1, "in_flight": 0 });
    assert_eq!(own_rows, [&expected]);

    assert_eq!(stats["plugins"].as_array().map(Vec::len), Some(3), "without the host's own: {stats}");
    let plugin = row(&stats["plugins"], "name", "hello");
    assert_eq!((&plugin["state"], &plugin["loaded"]), (&json!("serving"), &json!(1)));

    let table = run(&host, &["stats"]);
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
fn keeps_slow_and_failed_requests_with_caller_and_times() {
    let config = "[plugin.sleeps]\nthreads = 1\n[[route]]\nmethod = \"sleep.async\"\nplugin = \"sleeps\"\ntimeout = \"50ms\"";
    let host =
        HostProcess::builder().plugin("sleeps").plugin("panics").plugin("hello").config(config).start();
    let mut peer = host.peer();

    // There is one thread: the second call, sent together with the first, waits for it.
    let sleep_request = |id: &str, ms: u64| {
        frame(V1_1, ASYNC_REQUEST, envelope_with(id, "sleep.blocking", &json!({ "ms": ms })))
    };
    peer.send([sleep_request("first", 200), sleep_request("second", 0)].concat());
    peer.receive_all(2);

    peer.call("sleep.async", &json!({ "ms": 5000 })).error(DEADLINE_EXCEEDED);
    peer.send_async("panicking", "panics.panic", &json!({}));
    peer.receive().error(PLUGIN_PANICKED);

    // Escape sequences in an id or in a method name do not reach the terminal.
    let strange = "\u{1b}[2J\nstrange";
    peer.send_async(strange, strange, &Value::Null);
    peer.receive().error(METHOD_NOT_FOUND);

    peer.result("hello.greet", &json!({ "name": "Ada" }));

    let log = json_of(&host, "slowlog");
    let (slow, failed) = (&log["slow"], &log["failed"]);
    let (first, second) = (row(slow, "id", "first"), row(slow, "id", "second"));

    let microseconds =
        |entry: &Value, name: &str| entry[name].as_u64().unwrap_or_else(|| panic!("{name} of {entry}"));
    let took = |entry: &Value| microseconds(entry, "queued_us") + microseconds(entry, "ran_us");
    let slow_rows = slow.as_array().expect("rows");
    // The log is sorted by nanoseconds, and each of the two durations is rounded down to
    // microseconds.
    let in_order = |one: &Value, next: &Value| took(one) + 1 >= took(next);
    assert!(slow_rows.is_sorted_by(in_order), "the slowest one is first: {slow}");
    // Either of the two may be the slower one.
    assert!(slow_rows[..2].contains(first) && slow_rows[..2].contains(second), "{slow}");
    assert!(
        microseconds(first, "ran_us") >= 200_000
            && microseconds(first, "ran_us") > microseconds(first, "queued_us"),
        "{first}"
    );
    assert!(microseconds(second, "queued_us") > microseconds(second, "ran_us"), "{second}");

    for entry in [first, second] {
        let caller = (&entry["uid"], &entry["pid"]);
        assert_eq!(caller, (&json!(rustix::process::geteuid().as_raw()), &json!(std::process::id())));
        assert_eq!((&entry["method"], &entry["plugin"]), (&json!("sleep.blocking"), &json!("sleeps")));
        assert!(
            entry["generation"].is_u64() && entry["outcome"] == "ok" && entry["conn"].is_u64(),
            "{entry}"
        );
    }
    row(slow, "method", "hello.greet");
    let outcomes: Vec<_> =
        failed.as_array().into_iter().flatten().map(|entry| entry["outcome"].clone()).collect();
    assert_eq!(
        outcomes,
        ["method_not_found", "plugin_panicked", "deadline_exceeded"],
        "the newest one is first"
    );
    assert_eq!(row(failed, "outcome", "plugin_panicked")["plugin"], "panics");

    // The deadline counts from the acceptance, and the time in the queue depends on the machine.
    let late = row(failed, "outcome", "deadline_exceeded");
    assert!(microseconds(late, "queued_us") + microseconds(late, "ran_us") >= 50_000, "{late}");
    let unknown = row(failed, "outcome", "method_not_found");
    assert_eq!((&unknown["plugin"], &unknown["generation"]), (&Value::Null, &Value::Null));

    let table = run(&host, &["slowlog"]);
    assert_eq!(table.code, 0, "{table:?}");
    assert!(!table.stdout.contains('\u{1b}') && table.stdout.contains("strange"), "{}", table.stdout);
    assert!(table.stdout.lines().any(|line| line.contains("panicking") && line.contains("plugin_panicked")));

    // A flood of one failure does not displace the others. Requests of operators are not recorded.
    for _ in 0..200 {
        peer.call("no.such.method", &Value::Null).error(METHOD_NOT_FOUND);
    }

    let log = json_of(&host, "slowlog");
    row(&log["failed"], "outcome", "plugin_panicked");
    assert!(log["failed"].as_array().is_some_and(|failed| failed.len() < 30), "{log}");
    assert!(!log.to_string().contains("admin."), "{log}");
}

#[test]
fn fails_at_once_without_a_host() {
    let scratch = Scratch::new();
    scratch.write("config.toml", "");
    for args in [&["stats"][..], &["slowlog"], &["top"], &["top", "--json"], &["stats", "--json"]] {
        let finished = jackfield(scratch.path(), args);
        assert_eq!((finished.code, finished.stdout.as_str()), (69, ""), "{args:?}: {finished:?}");
        assert!(finished.stderr.contains("no host at "), "{finished:?}");
    }
}

#[test]
fn serves_clients_while_operators_do_not_read_or_are_killed() {
    let host = HostProcess::builder().plugin("hello").start();
    let admin = host.path("run/jackfield-admin.sock");

    // Each operator requests far more than its socket buffer holds and reads none of it.
    let mut not_reading: Vec<_> = (0..20).map(|_| Peer::connect(&admin)).collect();
    for peer in &mut not_reading {
        for number in 0..100 {
            peer.send_async(&number.to_string(), "admin.stats", &json!({ "lengths": true }));
            peer.send_async(&format!("s{number}"), "admin.slowlog", &Value::Null);
        }
    }

    let mut top = command(&artifacts().program)
        .args(["top", "--json", "--interval", "1ms"])
        .current_dir(host.directory())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command starts");

    let mut peer = host.peer();
    for _ in 0..500 {
        assert_eq!(peer.result("hello.greet", &json!({ "name": "Ada" })), "hello, Ada");
    }

    assert_eq!(run(&host, &["stats"]).code, 0, "another operator is answered");
    top.kill().expect("the command is killed");
    top.wait().expect("the command has ended");

    drop(not_reading);
    wait_until("the requests of the operators are abandoned", || {
        let stats = json_of(&host, "stats");
        let own_rows = stats["callers"].as_array().into_iter().flatten();
        let own_rows = own_rows.filter(|row| row["pid"] == std::process::id()).collect::<Vec<_>>();
        own_rows.iter().all(|row| row["connections"] == 1) && stats["in_flight"] == 1
    });

    for _ in 0..100 {
        assert_eq!(peer.result("hello.greet", &json!({ "name": "Ada" })), "hello, Ada");
    }
}

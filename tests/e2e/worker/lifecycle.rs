//! A plugin in a worker is started, tested, configured, observed and stopped as in the host.

use std::fs;

use serde_json::{Value, json};

use super::ledger::{COPY, builder, events, version};
use super::{Answering, add_in_worker, in_worker};
use crate::reload::image::Image;
use crate::reload::operator::Operator;
use crate::reload::{FILE, NAME, put, with_image};
use crate::support::peer::DEADLINE_EXCEEDED;
use crate::support::processes::children;
use crate::support::{HostProcess, wait_until};

#[test]
fn starts_the_plugin_once() {
    let host = builder(&in_worker(NAME, "", "count = 2")).start();

    Answering::of(&mut host.peer(), COPY);
    assert_eq!(events(&host.path("starts")), 2, "once in each worker, and in no probe");

    version(2).put(&host, FILE);
    Operator::connect(&host).reload_published();
    assert_eq!(events(&host.path("starts")), 4);
}

#[test]
fn refuses_a_plugin_that_fails_its_self_test() {
    let config = in_worker(NAME, "", "");
    let host = builder(&config).plugin("device").start();
    let (mut operator, mut peer) = (Operator::connect(&host), host.peer());
    let before = Answering::of(&mut peer, COPY);

    let settings = format!("[plugin.{NAME}.settings]\nfails_self_test = true\n");
    host.scratch().write("config.toml.new", format!("[plugins]\nwatch = false\n{config}{settings}"));
    fs::rename(host.path("config.toml.new"), host.path("config.toml")).expect("the file is renamed");
    operator.0.call("admin.reload", &Value::Null);

    host.wait_for_log("the settings request a failure of the self-test");
    assert_eq!(Answering::of(&mut peer, COPY), before, "the previous generation continues to serve");
    wait_until("no other process is left", || children(host.pid()).len() == 1);
}

#[test]
fn passes_settings_and_logs_lines() {
    let settings = "[plugin.services.settings]\ntext = \"a \\\" b\"\nlist = [1, \"two\", [3]]\n";
    let builder = add_in_worker(HostProcess::builder(), "services").config(settings);
    let mut host = builder.config("[log]\nlevel = \"debug\"").start();
    let mut peer = host.peer();

    let expected = json!({ "text": "a \" b", "list": [1, "two", [3]] });
    assert_eq!(peer.result("services.settings", &Value::Null), expected);

    for level in ["error", "warn", "info", "debug", "trace"] {
        let line = json!({ "level": level, "line": format!("a line at {level}\n2") });
        assert_eq!(peer.result("services.log", &line), Value::Null);
    }
    for level in ["error", "warn", "info", "debug"] {
        let line = host.wait_for_log(&format!("a line at {level}"));
        let is_complete = line.contains(&level.to_uppercase()) && line.contains("plugin=\"services\"");
        assert!(is_complete && line.contains("\\n2"), "{line}");
    }
    assert!(!host.log_contains("a line at trace"), "the level is the operator's");

    host.wait_for_log("the fixture starts");
    drop(peer);
    host.terminate();
    assert!(host.log_contains("services: the fixture stops"), "{}", host.log());
}

#[test]
fn transfers_state_between_workers_and_the_host() {
    let in_worker = in_worker(NAME, "", "");
    let config = |config: &str| format!("[plugins]\nwatch = false\n{config}\n[io]\nthreads = 2\n");
    let host = with_image(&Image::of("counter_v1"), &config(&in_worker));
    let (mut operator, mut peer) = (Operator::connect(&host), host.peer());
    let mut count = 0;

    for (fixture, layout) in [("counter_v2", 2), ("counter_v1", 1), ("counter_v1", 1)] {
        count += 1;
        assert_eq!(peer.result("counter.add", &Value::Null), count);
        put(&host.path("plugins"), &Image::of(fixture).0, FILE);
        operator.reload_published();
        assert_eq!(peer.result("counter.layout", &Value::Null), layout);
    }

    for isolation in ["", &in_worker, ""] {
        count += 1;
        assert_eq!(peer.result("counter.add", &Value::Null), count);
        let generation = operator.generation();
        host.scratch().write("config.toml.new", config(isolation));
        fs::rename(host.path("config.toml.new"), host.path("config.toml")).expect("the file is renamed");
        operator.0.result("admin.reload", &Value::Null);
        operator.wait_until("the next generation serves", |row| {
            row["generation"].as_u64().is_some_and(|now| now > generation)
        });
        // The worker of the previous generation may still be stopping.
        wait_until("workers run only where they are configured", || {
            children(host.pid()).is_empty() == isolation.is_empty()
        });
        assert_eq!(peer.result("counter.get", &Value::Null), count);
    }
    operator.wait_until_unloaded();
}

#[test]
fn carries_the_state_of_a_recycled_worker_to_the_next_one() {
    let host = with_image(&Image::of("counter_v1"), &in_worker(NAME, "", "recycle_calls = 20"));
    let mut peers: Vec<_> = (0..4).map(|_| host.peer()).collect();
    let mut counts = Vec::new();
    for _ in 0..50 {
        peers.iter_mut().for_each(|peer| peer.send_sync("counter.add", &Value::Null));
        counts.extend(peers.iter_mut().map(|peer| peer.receive().result().as_u64()));
    }

    counts.sort_unstable();
    let expected: Vec<_> = (1..=200).map(Some).collect();
    assert_eq!(counts, expected, "no count is lost or repeated");
    let recycled = host.log_lines().iter().filter(|line| line.contains("it has run 2")).count();
    assert!(recycled >= 5, "{recycled} workers were replaced");
}

#[test]
fn attributes_output_to_the_plugin_although_others_run() {
    let builder = add_in_worker(HostProcess::builder().plugin("sleeps"), "prints");
    let host = add_in_worker(builder, "echoes").start();
    let latch = host.latch("other");
    let mut other = host.peer();
    other.send_async("running", "sleep.blocking_until", &latch.params());
    wait_until("another plugin runs", || host.peer().result("sleep.running", &Value::Null) == 1);

    let line = host.wait_for_log("the fixture prints. ");
    assert!(line.contains("plugin=\"prints\""), "{line}");

    let mut peer = host.peer();
    for method in ["prints.line", "prints.line_blocking", "prints.line_async"] {
        let text = json!(format!("written by {method}\u{1b}[31m\n"));
        assert_eq!(peer.result(method, &text), Value::Null);
        let line = host.wait_for_log(&format!("written by {method}"));
        assert!(line.contains("\\u{1b}[31m") && line.contains("plugin=\"prints\""), "{line}");
    }

    let crashed = peer.call("prints.last", &Value::Null);
    assert_eq!(crashed.json()["error"]["data"]["signal_name"], "SIGABRT", "{crashed:?}");
    let line = host.wait_for_log("the last words of the fixture");
    assert!(line.contains("plugin=\"prints\""), "{line}");

    latch.open();
    other.receive().result();
    assert!(host.log_lines().iter().all(|line| line.contains(" jackfield::")), "{}", host.log());
}

#[test]
fn shows_plugin_and_generation_as_command_line() {
    let host = add_in_worker(HostProcess::builder(), "echoes").start();
    let mut operator = Operator::connect(&host);
    let command = |operator: &mut Operator| {
        format!("jackfield: echoes/{}", operator.row("echoes")["generation"].as_u64().expect("a number"))
    };

    let first = command(&mut operator);
    let commands = || children(host.pid()).into_iter().map(|child| child.command).collect::<Vec<_>>();
    assert_eq!(commands(), [first.as_str()]);

    assert_eq!(operator.reload("echoes")["outcome"], "published");
    let second = command(&mut operator);
    assert_ne!(second, first);
    wait_until("the next worker alone runs", || commands() == [second.as_str()]);
}

#[test]
fn provides_clock_and_context_of_the_call() {
    let routes = "[[route]]\nmethod = \"services.call\"\nplugin = \"services\"\ntimeout = \"7s\"\n\
        [[route]]\nmethod = \"services.until_cancelled\"\nplugin = \"services\"\ntimeout = \"50ms\"";
    let host = add_in_worker(HostProcess::builder(), "services").config(routes).start();
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

    peer.send_async("late", "services.until_cancelled", &Value::Null);
    peer.receive().error(DEADLINE_EXCEEDED);
    host.wait_for_log("the call late was cancelled");
}

#[test]
fn drops_the_future_of_a_client_that_disconnects() {
    let host = add_in_worker(HostProcess::builder(), "sleeps").start();
    let mut other = host.peer();

    let mut peer = host.peer();
    peer.send_async("forever", "sleep.forever", &Value::Null);
    wait_until("it has begun", || other.result("sleep.begun", &Value::Null) == 1);
    drop(peer);

    wait_until("it is dropped", || other.result("sleep.dropped", &Value::Null) == 1);
}

#[test]
fn never_moves_an_inline_method() {
    let config = "[timeouts]\ninline = \"10ms\"";
    let host = add_in_worker(HostProcess::builder(), "counts").config(config).start();
    let (mut operator, mut peer) = (Operator::connect(&host), host.peer());

    for number in 1..=5 {
        assert_eq!(peer.result("counts.inline", &json!({ "ms": 120 })), number);
    }

    assert_eq!(operator.row("counts")["moved"], json!([]), "{}", operator.row("counts"));
}

//! Operators move plugins into workers, and see their workers.

use std::fs;

use rustix::process::geteuid;
use serde_json::{Value, json};

use super::ledger::{COPY, Ledger, builder, events};
use super::{Answering, in_worker};
use crate::reload::NAME;
use crate::reload::operator::Operator;
use crate::support::http::address;
use crate::support::peer::PLUGIN_CRASHED;
use crate::support::program::{Finished, jackfield};
use crate::support::scrape::Scrape;
use crate::support::wait::wait_for;
use crate::support::{HostProcess, wait_until};

/// Moves under load, there and back.
const MOVES: usize = 10;

fn isolate(host: &HostProcess, args: &[&str]) -> Finished {
    jackfield(host.directory(), &[&["plugin", "isolate", NAME], args].concat())
}

#[test]
fn loses_no_request_when_a_plugin_is_isolated_by_command() {
    let host = builder("").start();
    let (mut operator, mut peer) = (Operator::connect(&host), host.peer());
    let ledger = Ledger::start(&host);

    for number in 0..2 * MOVES {
        let before = events(&host.path("executions"));
        wait_until("more requests are executed", || events(&host.path("executions")) > before + 50);
        let is_off = number % 2 == 1;
        let result = operator.0.result("admin.plugin.isolate", &json!({ "name": NAME, "off": is_off }));
        assert_eq!(result["outcome"], "published", "{result}");
        assert_eq!(Answering::of(&mut peer, COPY).pid == host.pid(), is_off);
    }
    operator.wait_until_unloaded();

    ledger.stop().assert_complete("moves by command");
}

#[test]
fn keeps_a_plugin_isolated_over_a_restart_until_an_operator_ends_it() {
    let mut host = builder("").start();
    let uid = geteuid().as_raw();

    let moved = isolate(&host, &[]);
    assert_eq!(moved.code, 0, "{moved:?}");
    assert!(moved.stdout.starts_with("subject: published: generation "), "{moved:?}");
    for _ in 0..2 {
        let decision = Operator::connect(&host).row(NAME)["isolated"].clone();
        let by = (&json!("operator"), &json!(uid), &json!("by command"));
        assert_eq!((&decision["by"], &decision["uid"], &decision["detail"]), by, "{decision}");
        let listed = jackfield(host.directory(), &["plugin", "list"]);
        let line = format!("subject: isolated by uid {uid} ");
        assert!(listed.stdout.contains(&line) && listed.stdout.contains("--off\" ends that"), "{listed:?}");
        host.terminate();
        host.restart_ready();
        host.wait_for_log(&format!(") now serves in a worker (isolated by uid {uid} "));
    }

    assert_eq!(isolate(&host, &["--off"]).code, 0);
    host.terminate();
    host.restart_ready();
    assert_eq!(Operator::connect(&host).row(NAME)["isolated"], Value::Null);
}

#[test]
fn reports_why_a_plugin_is_not_moved() {
    let host = builder("").start();
    let mut operator = Operator::connect(&host);
    let generation = operator.generation();

    let unknown = jackfield(host.directory(), &["plugin", "isolate", "nobody"]);
    assert!(unknown.code == 1 && unknown.stdout.contains("nobody: refused: no-such-plugin: "), "{unknown:?}");
    let ended = isolate(&host, &["--off"]);
    let expected = "subject: refused: not-isolated: no decision isolates the plugin \"subject\"; plugin.subject.isolation \
                    sets where it runs; generation ";
    assert!(ended.code == 1 && ended.stdout.starts_with(expected), "{ended:?}");

    fs::write(host.path("aborts"), "").expect("the file is written");
    let refused = isolate(&host, &["--json"]);
    let reply: Value = serde_json::from_str(&refused.stdout).expect("JSON");
    assert_eq!((refused.code, &reply["outcome"]), (1, &json!("refused")), "{reply}");
    host.wait_for_log("plugin subject: it cannot be moved into a worker by command (");
    let row = operator.row(NAME);
    assert_eq!((&row["generation"], &row["isolated"]), (&json!(generation), &Value::Null), "{row}");
    assert_eq!(Answering::of(&mut host.peer(), COPY).pid, host.pid());
}

#[test]
fn shows_workers_with_memory_calls_and_restarts() {
    let metrics = "[metrics]\nlisten = \"127.0.0.1:0\"\n";
    let host = builder(&format!("{metrics}{}", in_worker(NAME, "threads = 4", "count = 2"))).start();
    let mut peer = host.peer();
    let first = Answering::of(&mut peer, COPY);
    let latch = host.latch("blocked");
    peer.send_async("blocked", &format!("{COPY}.block_until"), &latch.params());

    let workers = wait_for("the call is in flight in a worker", || {
        let workers = Operator::connect(&host).row(NAME)["worker"].clone();
        let processes = workers["processes"].as_array()?;
        let calls: u64 = processes.iter().filter_map(|process| process["in_flight"].as_u64()).sum();
        let is_known = |process: &Value| process["resident_bytes"].as_u64() > Some(100_000);
        (calls == 1 && processes.iter().all(is_known)).then_some(workers)
    });
    let processes = workers["processes"].as_array().expect("a list");
    assert_eq!(processes.len(), 2, "{workers}");
    assert!(processes.iter().any(|process| process["pid"] == first.pid), "{first:?} in {workers}");
    assert_eq!((&workers["restarts"], &workers["last_cause"]), (&json!({}), &Value::Null));

    let scrape = Scrape::of(&address(&host));
    let value = |name: &str| scrape.value(&format!("ipc_plugin_worker_{name}"), &[("plugin", NAME)]);
    assert!(value("calls_in_flight") == 1 && value("resident_bytes") > 200_000, "{scrape:?}");
    let restarts = |scrape: &Scrape, cause| {
        scrape.value("ipc_plugin_worker_restarts_total", &[("plugin", NAME), ("cause", cause)])
    };
    assert_eq!(["crash", "recycled"].map(|cause| restarts(&scrape, cause)), [0, 0]);

    latch.open();
    assert!(peer.receive().code().is_none());
    let crashed = peer.call(&format!("{COPY}.run.blocking"), &json!({ "fault": "abort" }));
    assert_eq!(crashed.code(), Some(PLUGIN_CRASHED), "{crashed:?}");
    let row = Operator::connect(&host).wait_until("the worker was replaced", |row| {
        row["worker"]["restarts"] == json!({ "crash": 1 })
            && row["worker"]["processes"].as_array().map(Vec::len) == Some(2)
    });
    assert_eq!((&row["isolation"], row.get("isolated")), (&json!("worker"), None), "{row}");
    assert!(row["worker"]["last_cause"].to_string().contains("SIGABRT"), "{row}");
    assert_eq!(restarts(&Scrape::of(&address(&host)), "crash"), 1);
    for command in [&["plugin", "list"][..], &["stats"]] {
        let printed = jackfield(host.directory(), command);
        let line = printed.stdout.lines().skip_while(|line| !line.starts_with("WORKERS OF ")).nth(1);
        let line = line.unwrap_or_else(|| panic!("no workers in {printed:?}"));
        assert!(line.starts_with(NAME) && line.contains("1 crash") && line.contains("SIGABRT"), "{line}");
    }
    let top = jackfield(host.directory(), &["top", "--json", "--count", "1", "--interval", "10ms"]);
    assert!(top.stdout.contains("\"last_cause\":"), "{top:?}");
}

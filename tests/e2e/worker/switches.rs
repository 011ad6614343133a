//! Under load, workers are replaced in every way that a plugin is replaced in, and no request is
//! lost or executed twice.

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::ledger::{COPY, Counts, Ledger, builder, events, settings, version};
use super::{Answering, in_worker, wait_for_other};
use crate::reload::operator::Operator;
use crate::reload::{FILE, NAME};
use crate::support::peer::{PLUGIN_CRASHED, PLUGIN_UNAVAILABLE};
use crate::support::wait::wait_for;
use crate::support::{HostProcess, IO_THREADS, wait_until};

/// Replacements of each kind under load.
const REPLACEMENTS: u32 = 10;

/// Replaces the configuration file by renaming.
fn configure(host: &HostProcess, config: &str) {
    let settings = settings(host.directory());
    let config = format!("[plugins]\nwatch = false\n{config}\n{settings}\n[io]\nthreads = {IO_THREADS}\n");
    host.scratch().write("config.toml.new", config);
    fs::rename(host.path("config.toml.new"), host.path("config.toml")).expect("the file is renamed");
}

/// Waits until the clients have had some more requests executed.
#[track_caller]
fn wait_for_traffic(host: &HostProcess) {
    let executions = host.path("executions");
    let before = events(&executions);
    wait_until("more requests are executed", || events(&executions) > before + 50);
}

#[test]
fn loses_no_request_when_the_plugin_is_reloaded_or_rolled_back() {
    let host = builder(&in_worker(NAME, "", "")).start();
    let (mut operator, mut peer) = (Operator::connect(&host), host.peer());
    let ledger = Ledger::start(&host);

    for number in 2..2 + REPLACEMENTS {
        wait_for_traffic(&host);
        version(number).put(&host, FILE);
        operator.reload_published();
        assert_eq!(Answering::of(&mut peer, COPY).version, u64::from(number));
    }
    for wanted in [REPLACEMENTS, REPLACEMENTS + 1] {
        wait_for_traffic(&host);
        assert_eq!(operator.roll_back(NAME)["outcome"], "published");
        assert_eq!(Answering::of(&mut peer, COPY).version, u64::from(wanted));
    }
    operator.wait_until_unloaded();

    ledger.stop().assert_complete("reloads and rollbacks");
    // The worker that was tested serves, so that each generation has started once.
    assert_eq!(events(&host.path("starts")), u64::from(1 + REPLACEMENTS + 2));
}

#[test]
fn loses_no_request_when_isolation_or_worker_is_changed() {
    let with_count = |count| in_worker(NAME, "", &format!("count = {count}"));
    let with_memory = in_worker(NAME, "threads = 3", "count = 2\nmemory = \"300MiB\"");
    let host = builder("").start();
    let (mut operator, mut peer) = (Operator::connect(&host), host.peer());
    assert_eq!(Answering::of(&mut peer, COPY).pid, host.pid(), "it is in the host by default");
    let ledger = Ledger::start(&host);

    let configs = [with_count(1), with_count(3), with_memory, String::new(), with_count(2), String::new()];
    for config in &configs {
        wait_for_traffic(&host);
        let generation = operator.generation();
        configure(&host, config);
        operator.0.result("admin.reload", &Value::Null);
        operator.wait_until("the next generation serves", |row| {
            row["generation"].as_u64().is_some_and(|now| now > generation)
        });
        let is_in_host = Answering::of(&mut peer, COPY).pid == host.pid();
        assert_eq!(is_in_host, config.is_empty(), "{config}");
    }
    operator.wait_until_unloaded();

    ledger.stop().assert_complete("changes of isolation and worker");
}

/// Uses the plugin until several processes have answered.
#[track_caller]
fn wait_for_processes(host: &HostProcess, count: usize) {
    let (mut peer, mut seen) = (host.peer(), BTreeSet::new());
    wait_until(format!("{count} processes have answered"), || {
        seen.insert(Answering::of(&mut peer, COPY).pid);
        seen.len() >= count
    });
}

#[test]
fn loses_no_request_when_workers_are_recycled() {
    for limit in ["recycle_calls = 300", "recycle_age = \"300ms\"", "recycle_calls = 300\ncount = 3"] {
        let host = builder(&in_worker(NAME, "", limit)).start();
        let generation = Operator::connect(&host).generation();
        let ledger = Ledger::start(&host);

        wait_for_processes(&host, 8);

        ledger.stop().assert_complete(limit);
        assert_eq!(Operator::connect(&host).generation(), generation, "the generation stays");
    }
}

#[test]
fn recycles_a_worker_whose_memory_grows() {
    let host = builder(&in_worker(NAME, "", "recycle_memory = \"64MiB\"")).start();
    let mut peer = host.peer();
    let ledger = Ledger::start(&host);

    for _ in 0..3 {
        let before = Answering::of(&mut peer, COPY);
        peer.result(&format!("{COPY}.keep"), &json!(80));
        wait_for_other(&host, COPY, before.pid);
    }

    ledger.stop().assert_complete("recycled for its memory");
}

#[test]
fn recycles_a_worker_later_if_its_successor_does_not_start() {
    let host = builder(&in_worker(NAME, "", "recycle_calls = 20")).start();
    let mut peer = host.peer();
    let before = Answering::of(&mut peer, COPY);

    fs::write(host.path("aborts"), "").expect("the file is written");
    let starts = events(&host.path("starts"));
    wait_until("a successor has failed to start", || {
        assert_eq!(Answering::of(&mut peer, COPY).pid, before.pid, "the worker serves on");
        events(&host.path("starts")) > starts
    });
    host.wait_for_log("its worker process is not replaced, because the new one did not start");

    fs::remove_file(host.path("aborts")).expect("the file is removed");
    wait_for_other(&host, COPY, before.pid);
}

#[test]
fn answers_every_request_when_a_crashing_version_is_rolled_back() {
    let probation = "[plugins.probation]\ncalls = 100000\nfailures = 3";
    let host = builder(&format!("{probation}\n{}", in_worker(NAME, "", ""))).start();
    let (mut operator, mut peer) = (Operator::connect(&host), host.peer());
    let first = operator.row(NAME);
    let ledger = Ledger::start(&host);
    wait_for_traffic(&host);

    version(2).put(&host, FILE);
    operator.reload_published();
    let began = Instant::now();
    wait_for("the version that crashes is rolled back", || {
        // The clients have calls in flight in the process, which fail, too, and count.
        let reply = peer.call(&format!("{COPY}.run.blocking"), &json!({ "fault": "abort" }));
        assert_eq!(reply.code(), Some(PLUGIN_CRASHED), "{reply:?}");
        (Answering::of(&mut peer, COPY).version == 1).then_some(())
    });
    println!("rolled back within {:?}", began.elapsed());

    let row = operator.wait_until("the previous content is back", |row| row["hash"] == first["hash"]);
    assert_eq!(row["refused"]["reason"], "probation-failed", "{row}");
    operator.wait_until_unloaded();
    assert_answered(&ledger.stop());
}

/// Asserts that each request was answered with a result or with PLUGIN_CRASHED, and that each
/// result is that of an execution.
#[track_caller]
fn assert_answered(counts: &Counts) {
    println!("crashes: {counts:?}");
    let crashed = counts.answered.get(&Some(PLUGIN_CRASHED)).copied().unwrap_or_default();
    assert_eq!(counts.results() + crashed, counts.sent, "{counts:?}");
    assert!((counts.results()..=counts.sent).contains(&counts.executed), "{counts:?}");
}

#[test]
fn answers_every_request_in_flight_when_the_host_stops() {
    let mut host = builder(&in_worker(NAME, "", "count = 2")).plugin("device").start();
    let latch = host.latch("blocked");
    let mut peer = host.peer();
    for number in 0..20 {
        peer.send_async(&format!("blocked-{number}"), &format!("{COPY}.block_until"), &latch.params());
    }
    wait_until("all are in flight", || host.count("in_flight") == 20);

    host.signal(Signal::TERM);
    host.wait_for_log("stopping on SIG");
    latch.open();

    let replies = peer.receive_until_close();
    assert_eq!(replies.len(), 20);
    assert!(replies.iter().all(|reply| reply.code().is_none()), "{replies:?}");
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
}

#[test]
fn answers_waiting_calls_after_a_worker_cannot_start_for_a_while() {
    let host = builder(&in_worker(NAME, "", "")).start();
    let mut peer = host.peer();
    let before = Answering::of(&mut peer, COPY);

    fs::write(host.path("aborts"), "").expect("the file is written");
    let crashed = peer.call(&format!("{COPY}.run.blocking"), &json!({ "fault": "abort" }));
    assert_eq!(crashed.code(), Some(PLUGIN_CRASHED), "{crashed:?}");
    let starts = events(&host.path("starts"));
    wait_until("some starts have failed", || events(&host.path("starts")) >= starts + 3);

    // A call that was not sent waits for the next worker, or it is rejected.
    peer.send_async("waits", &format!("{COPY}.count"), &json!("waits"));
    fs::remove_file(host.path("aborts")).expect("the file is removed");
    let reply = peer.receive();
    assert!(matches!(reply.code(), None | Some(PLUGIN_UNAVAILABLE)), "{reply:?}");

    wait_for("the next worker answers", || {
        let reply = peer.call(&format!("{COPY}.process"), &Value::Null);
        (reply.json()["result"]["pid"].as_u64()? != u64::from(before.pid)).then_some(())
    });
}

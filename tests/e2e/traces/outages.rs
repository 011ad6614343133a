//! Collectors that are down, slow, refusing, or no collectors at all: no request notices.

use std::time::Instant;

use serde_json::{Value, json};

use super::call_sampled;
use crate::support::collector::{Answer, Collector, config};
use crate::support::http::address;
use crate::support::scrape::Scrape;
use crate::support::{CEILING, HostProcess, wait_until};

/// The queue of the hosts here, which the requests of a test exceed.
const QUEUE: u64 = 64;

const CALLS: u64 = 500;

fn host(trace: &str) -> HostProcess {
    let metrics = "[metrics]\nlisten = \"127.0.0.1:0\"\n";
    HostProcess::builder().plugin("echoes").config(&format!("{trace}queue = {QUEUE}\n{metrics}")).start()
}

fn call_all(host: &HostProcess) {
    let mut peer = host.peer();
    for number in 0..CALLS {
        assert_eq!(call_sampled(&mut peer, "fixture.echo", &json!(number)).result(), number);
    }
}

/// Returns how many spans were exported, and how many dropped for each reason.
fn counts(host: &HostProcess) -> (u64, [u64; 3]) {
    let scrape = Scrape::of(&address(host));
    let dropped = ["queue_full", "refused", "unreachable"]
        .map(|reason| scrape.value("ipc_spans_dropped_total", &[("reason", reason)]));
    (scrape.value("ipc_spans_exported_total", &[]), dropped)
}

/// Counts the lines of the log about outages.
fn warnings(host: &HostProcess) -> usize {
    host.log_lines().iter().filter(|line| line.contains("spans cannot be exported to ")).count()
}

#[test]
fn drops_and_counts_while_the_collector_is_down_and_exports_again_afterwards() {
    let collector = Collector::start();
    let reserved = collector.address();
    drop(collector);
    let host = host(&config(reserved));

    call_all(&host);
    host.wait_for_log("spans cannot be exported to http://127.0.0.1:");
    let (exported, [queue_full, refused, unreachable]) = counts(&host);
    assert_eq!((exported, refused), (0, 0));
    assert!(queue_full > 0 && queue_full + unreachable <= CALLS, "{queue_full} {unreachable}");

    let collector = Collector::start_at(reserved);
    host.wait_for_log("spans are exported to http://127.0.0.1:");
    wait_until("every span has a fate", || {
        let (exported, dropped) = counts(&host);
        exported + dropped.iter().sum::<u64>() == CALLS
    });
    let (exported, _) = counts(&host);
    assert_eq!(collector.wait_for(1).len() as u64, exported);
    assert_eq!(warnings(&host), 1, "one warning for the whole outage");
    let failures = Scrape::of(&address(&host)).value("ipc_span_export_failures_total", &[]);
    assert!(failures >= 1, "{failures}");
}

#[test]
fn serves_and_ends_while_the_collector_is_silent() {
    let collector = Collector::start();
    collector.set_answer(Answer::Silence);
    let mut host = host(&collector.config());

    call_all(&host);
    wait_until("an attempt is under way", || !collector.heads().is_empty());
    call_all(&host);
    let (exported, [queue_full, refused, _]) = counts(&host);
    assert_eq!((exported, refused), (0, 0));
    assert!(queue_full >= CALLS - 2 * QUEUE, "{queue_full}");

    let began = Instant::now();
    host.terminate();
    assert!(began.elapsed() < CEILING / 3, "{:?}", began.elapsed());
}

#[test]
fn drops_and_counts_what_the_collector_refuses() {
    for answer in [Answer::Status(400), Answer::Status(500), Answer::Status(302)] {
        let collector = Collector::start();
        collector.set_answer(answer);
        let host = host(&collector.config());
        call_all(&host);
        wait_until("every span has a fate", || counts(&host).1.iter().sum::<u64>() == CALLS);
        let (exported, [_, refused, unreachable]) = counts(&host);
        assert_eq!((exported, unreachable), (0, 0));
        assert!(refused > 0);
        assert_eq!(warnings(&host), 1);

        collector.set_answer(Answer::Accept);
        call_sampled(&mut host.peer(), "fixture.echo", &json!(1)).result();
        assert_eq!(collector.wait_for(1).len(), 1);
        host.wait_for_log("spans are exported to http://127.0.0.1:");
    }
}

#[test]
fn tries_again_after_garbage_and_overload() {
    for answer in [Answer::Garbage, Answer::Status(503), Answer::Status(429)] {
        let collector = Collector::start();
        collector.set_answer(answer);
        let host = host(&collector.config());
        call_sampled(&mut host.peer(), "fixture.echo", &json!(1)).result();
        wait_until("there is a second attempt", || collector.heads().len() >= 2);

        collector.set_answer(Answer::Accept);
        assert_eq!(collector.wait_for(1).len(), 1);
        wait_until("it is counted", || counts(&host) == (1, [0; 3]));
    }
}

#[test]
fn exports_what_waits_when_the_host_ends() {
    let collector = Collector::start();
    let late = collector.config().replace("100ms", "1m");
    let mut host = host(&late);
    call_sampled(&mut host.peer(), "fixture.echo", &Value::Null).result();
    assert!(collector.heads().is_empty());

    host.terminate();

    assert_eq!(collector.wait_for(1).len(), 1);
}

#[test]
fn sends_the_secret_of_a_file_and_never_logs_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let collector = Collector::start();
    let config = format!("{}authorization = \"token\"\n[log]\nlevel = \"trace\"\n", collector.config());
    let builder = HostProcess::builder().plugin("echoes").config(&config);
    let token = builder.directory().join("token");
    std::fs::write(&token, "Bearer s3cret\n").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let host = builder.start();

    call_sampled(&mut host.peer(), "fixture.echo", &json!(1)).result();

    collector.wait_for(1);
    assert!(collector.heads()[0].contains("authorization: Bearer s3cret"), "{:?}", collector.heads());
    assert!(!host.log().contains("s3cret"));
}

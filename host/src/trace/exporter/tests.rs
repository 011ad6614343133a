//! Exports to scripted collectors.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use jackfield_plugin_api::abi::{CallerFacts, Origin};
use serde_json::Value;

use super::super::span::{CallSpan, SpanPlace};
use super::*;
use crate::clock::Time;
use crate::config::OtlpEndpoint;

const LIMIT: Duration = Duration::from_secs(30);

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

fn config(address: SocketAddr) -> TraceConfig {
    let otlp =
        OtlpEndpoint { host: address.ip().to_string(), port: address.port(), path: "/v1/traces".to_owned() };
    TraceConfig { otlp: Some(otlp), queue: 64, interval: Duration::from_millis(10), ..TraceConfig::default() }
}

fn start(address: SocketAddr) -> (Arc<Tracer>, TraceExporter, Arc<Metrics>) {
    let metrics = Arc::<Metrics>::default();
    let (tracer, exporter) = TraceExporter::start(&config(address), [7; 16], &metrics).unwrap().unwrap();
    (tracer, exporter, metrics)
}

fn record(tracer: &Tracer, name: &str) {
    let place = SpanPlace { trace_id: [1; 16], span_id: [2; 8], parent_id: None, flags: 1, state: None };
    let caller = CallerFacts::new(Origin::Program);
    tracer.record(CallSpan::new(place, name, None, caller, Time::now()));
}

/// Reads a request, and returns its head and the names of the spans in its body.
fn read(stream: &mut TcpStream) -> (String, Vec<String>) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.to_ascii_lowercase().split("content-length: ").nth(1).and_then(|rest| {
                    rest.split("\r\n").next().and_then(|length| length.parse::<usize>().ok())
                });
            if Some(body.len()) == length {
                let document: Value = serde_json::from_str(body).unwrap();
                let spans = document["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
                let names = spans.iter().map(|span| span["name"].as_str().unwrap().to_owned());
                return (head.to_owned(), names.collect());
            }
        }
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "the request ends early: {text}");
        bytes.extend_from_slice(&chunk[..count]);
    }
}

/// Answers one connection with each of these responses, and passes on what it received. An empty
/// response is a connection that stays silent.
fn collector(responses: &'static [&'static str]) -> (SocketAddr, Receiver<(String, Vec<String>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, received) = channel();
    thread::spawn(move || {
        let mut silent = Vec::new();
        for response in responses {
            let (mut stream, _) = listener.accept().unwrap();
            sender.send(read(&mut stream)).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
            if response.is_empty() {
                silent.push(stream);
            }
        }
        // Until the test ends.
        drop(sender);
        thread::park();
    });
    (address, received)
}

/// Waits until the counts of exported, refused and unreachable spans are these.
#[track_caller]
fn wait_for(metrics: &Metrics, expected: [u64; 3]) {
    let counters = &metrics.counters;
    let counts = || {
        [&counters.spans_exported, &counters.spans_dropped_refused, &counters.spans_dropped_unreachable]
            .map(|counter| counter.read())
    };
    let began = std::time::Instant::now();
    while counts() != expected {
        assert!(began.elapsed() < LIMIT, "{:?} instead of {expected:?}", counts());
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn is_not_started_without_a_collector() {
    let metrics = Arc::<Metrics>::default();
    assert!(TraceExporter::start(&TraceConfig::default(), [0; 16], &metrics).unwrap().is_none());
}

#[test]
fn exports_spans_at_intervals() {
    let (address, received) = collector(&[OK]);
    let (tracer, _exporter, metrics) = start(address);
    record(&tracer, "a.b");

    let (head, names) = received.recv_timeout(LIMIT).unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    for header in [format!("host: {address}"), "content-type: application/json".to_owned()] {
        assert!(head.to_ascii_lowercase().contains(&header), "{head}");
    }
    assert_eq!(names, ["a.b"]);
    wait_for(&metrics, [1, 0, 0]);
}

#[test]
fn tries_again_after_a_temporary_failure() {
    const BUSY: &str = "HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
    let (address, received) = collector(&[BUSY, "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", OK]);
    let (tracer, exporter, metrics) = start(address);
    record(&tracer, "a.b");

    // The third response ends with its connection, and has no readable body.
    for _ in 0..3 {
        assert_eq!(received.recv_timeout(LIMIT).unwrap().1, ["a.b"]);
    }
    wait_for(&metrics, [1, 0, 0]);
    assert_eq!(metrics.counters.span_export_failures.read(), 2);
    drop(exporter);
}

#[test]
fn drops_what_the_collector_refuses() {
    const PARTIAL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n\
                           {\"partialSuccess\":{\"rejectedSpans\":\"1\"}}";
    let (address, _received) = collector(&["HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n", PARTIAL]);
    let (tracer, _exporter, metrics) = start(address);
    record(&tracer, "a.b");
    wait_for(&metrics, [0, 1, 0]);
    record(&tracer, "a.b");
    wait_for(&metrics, [0, 2, 0]);
}

#[test]
fn keeps_a_bounded_number_of_spans_while_the_collector_is_silent() {
    let (address, received) = collector(&[""]);
    let (tracer, exporter, metrics) = start(address);
    record(&tracer, "first");
    assert_eq!(received.recv_timeout(LIMIT).unwrap().1, ["first"]);

    (0..1000).for_each(|_| record(&tracer, "a.b"));
    assert_eq!(metrics.counters.spans_dropped_queue_full.read(), 1000 - 64);

    let began = std::time::Instant::now();
    drop(exporter);
    assert!(began.elapsed() < LIMIT);
    wait_for(&metrics, [0, 0, 65]);
}

#[test]
fn exports_what_waits_when_the_host_ends() {
    let (address, received) = collector(&[OK]);
    let metrics = Arc::<Metrics>::default();
    let config = TraceConfig { interval: Duration::from_secs(60), ..config(address) };
    let (tracer, exporter) = TraceExporter::start(&config, [7; 16], &metrics).unwrap().unwrap();
    record(&tracer, "last");
    drop(exporter);
    assert_eq!(received.recv_timeout(LIMIT).unwrap().1, ["last"]);
    wait_for(&metrics, [1, 0, 0]);

    record(&tracer, "late");
    assert_eq!(metrics.counters.spans_dropped_queue_full.read(), 1);
}

#[test]
fn drops_a_batch_after_a_few_attempts_to_reach_nobody() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (tracer, _exporter, metrics) = start(address);
    record(&tracer, "a.b");
    wait_for(&metrics, [0, 0, 1]);
    assert_eq!(metrics.counters.span_export_failures.read(), u64::from(MAX_ATTEMPTS));
}

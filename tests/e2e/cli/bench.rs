//! `jackfield bench`: it counts the same requests as the host, and it detects wrong replies.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use serde_json::Value;

use crate::support::HostProcess;
use crate::support::peer::{ASYNC_RESPONSE, SYNC};
use crate::support::program::{Finished, jackfield};
use crate::support::scratch::Scratch;

/// `EX_UNAVAILABLE`: no host.
const UNAVAILABLE: i32 = 69;

/// Runs the command with `--json` and returns its parsed report.
fn bench(directory: &Path, args: &[&str]) -> (Finished, Value) {
    let args: Vec<&str> = ["bench", "--json"].iter().chain(args).copied().collect();
    let finished = jackfield(directory, &args);
    let report = serde_json::from_str(&finished.stdout).unwrap_or(Value::Null);
    (finished, report)
}

#[test]
fn counts_the_same_requests_as_the_host() {
    let host = HostProcess::with(&["device"]);
    let update = ["device.status.update", r#"{"deviceId":"d","status":"online"}"#];
    let loads: [&[&str]; 4] = [
        &["--count", "1000"],
        &["--count", "1000", "--connections", "7", "--window", "3"],
        &["--count", "1000", "--async", "--connections", "3", "--window", "64"],
        &["--count", "1000", "--async", "--rate", "20000"],
    ];

    for load in loads {
        let before = host.count("results");

        let (finished, report) = bench(host.directory(), &[&update[..], load].concat());
        assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{finished:?}");

        let grown = host.count("results") - before;
        // Each call of `count` is counted by the next one.
        assert_eq!(grown - 1, 1000, "{load:?}");

        for (member, count) in
            [("sent", 1000), ("results", 1000), ("lost", 0), ("wrong", 0), ("unanswered", 0)]
        {
            assert_eq!(report[member], count, "{load:?}: {report}");
        }

        let latency = |name: &str| report["latency_us"][name].as_f64().unwrap();
        assert!(0.0 < latency("min") && latency("min") <= latency("p50"), "{report}");
        assert!(latency("p50") <= latency("p999") && latency("p999") <= latency("max"), "{report}");
    }
}

#[test]
fn ends_after_its_duration_and_counts_errors() {
    let host = HostProcess::with(&[]);

    let (finished, report) = bench(host.directory(), &["no.such", "--duration", "50ms"]);
    assert_eq!(finished.code, 1, "every request is an error: {finished:?}");
    assert_eq!((&report["results"], &report["errors"]["-32601"]), (&0.into(), &report["sent"]), "{report}");
    assert!(report["seconds"].as_f64().unwrap() >= 0.05, "{report}");

    let text = jackfield(host.directory(), &["bench", "--count", "10"]);
    assert_eq!((text.code, text.stderr.as_str()), (0, ""));
    assert!(text.stdout.starts_with("sync system.ping, 1 connections, 1 in flight on each\n"), "{text:?}");
    assert!(text.stdout.contains(": 10 answered in "), "{text:?}");
}

/// In an open loop no request waits for a reply: one that finds no room is late, and its latency
/// counts from its due time.
#[test]
fn measures_latency_from_the_due_time_in_an_open_loop() {
    let host = HostProcess::with(&["sleeps"]);
    // 10 requests are due within 50 ms and take 100 ms each, one after the other: the last one is
    // late by almost 1 s.
    let load = ["--count", "10", "--rate", "200", "--window", "1"];
    let nap = ["sleep.async", r#"{"ms":100}"#];

    let (finished, report) = bench(host.directory(), &[&nap[..], &load].concat());
    assert_eq!(finished.code, 0, "{finished:?}");

    let latency = |name: &str| report["latency_us"][name].as_f64().unwrap();
    assert!(latency("min") >= 100_000.0, "{report}");
    // The last one was due 45 ms after the first, and was answered 1 s after it at the earliest.
    assert!(latency("max") >= 950_000.0, "{report}");
}

#[test]
fn rejects_a_missing_host_and_invalid_options() {
    let scratch = Scratch::new();

    let bench_without_host =
        |args: &[&str]| jackfield(scratch.path(), &[&["bench", "--socket", "none"], args].concat());
    let finished = bench_without_host(&[]);
    assert_eq!((finished.code, finished.stdout.as_str()), (UNAVAILABLE, ""), "{finished:?}");
    assert!(finished.stderr.starts_with("no host at none: "), "{finished:?}");

    assert_eq!(bench_without_host(&["m", "{"]).code, 64);
    for args in
        [["--connections", "0"], ["--window", "0"], ["--rate", "0"], ["--duration", "1"], ["--count", "0"]]
    {
        assert_eq!(bench_without_host(&args).code, 2, "{args:?}");
    }
}

/// Runs the command against a host that answers the first request with the bytes that `answer`
/// makes of its id, and all others correctly.
fn bench_against_fake(answer: fn(&str, &mut Vec<u8>)) -> (Finished, Value) {
    let scratch = Scratch::new();
    let listener = UnixListener::bind(scratch.join("fake.sock")).unwrap();

    let host = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        serve(stream, answer)
    });

    let load = ["--socket", "fake.sock", "--count", "4", "--window", "2", "--async", "--timeout", "2s"];
    let outcome = bench(scratch.path(), &load);

    host.join().unwrap();
    outcome
}

fn serve(mut stream: UnixStream, answer: fn(&str, &mut Vec<u8>)) {
    let mut first = true;
    let mut header = [0; 7];

    while stream.read_exact(&mut header).is_ok() {
        let length = u32::from_be_bytes(header[3..].try_into().unwrap());
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).unwrap();

        let request: Value = serde_json::from_slice(&payload).unwrap();
        let (id, mut out) = (request["id"].to_string(), Vec::new());
        if std::mem::take(&mut first) {
            answer(&id, &mut out);
        } else {
            reply(&mut out, ASYNC_RESPONSE, &format!(r#"{{"id":{id},"result":1}}"#));
        }
        if stream.write_all(&out).is_err() {
            return;
        }
    }
}

fn reply(out: &mut Vec<u8>, kind: u8, payload: &str) {
    out.extend_from_slice(&[1, 1, kind]);
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    out.extend_from_slice(payload.as_bytes());
}

#[test]
fn detects_wrong_replies() {
    type Case = (&'static str, fn(&str, &mut Vec<u8>), u64, u64);
    let cases: [Case; 5] = [
        (
            "twice",
            |id, out| {
                (0..2).for_each(|_| reply(out, ASYNC_RESPONSE, &format!(r#"{{"id":{id},"result":1}}"#)))
            },
            1,
            0,
        ),
        ("another id", |_, out| reply(out, ASYNC_RESPONSE, r#"{"id":"ffffffffffff0000","result":1}"#), 1, 1),
        ("another kind", |id, out| reply(out, SYNC, &format!(r#"{{"id":{id},"result":1}}"#)), 1, 1),
        ("no reply", |id, out| reply(out, ASYNC_RESPONSE, &format!(r#"{{"id":{id}}}"#)), 1, 1),
        ("silence", |_, _| {}, 0, 1),
    ];

    for (what, answer, wrong, unanswered) in cases {
        let (finished, report) = bench_against_fake(answer);
        assert_eq!(finished.code, 1, "{what}: {finished:?}");
        assert_eq!(
            (&report["wrong"], &report["unanswered"]),
            (&wrong.into(), &unanswered.into()),
            "{what}: {report}"
        );
    }
}

#[test]
fn counts_requests_in_flight_as_lost_when_the_host_closes() {
    let (finished, report) = bench_against_fake(|_, out| out.extend_from_slice(&[9; 7]));
    assert_eq!(finished.code, 1, "{finished:?}");
    assert_eq!((&report["wrong"], &report["lost"]), (&1.into(), &2.into()), "{report}");
    assert_eq!(report["sent"], 2, "nothing is sent after an invalid frame: {report}");
}

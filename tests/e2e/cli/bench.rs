//! `jackfield bench`: what it sends is what the host counts, and a host that answers wrongly is
//! found out.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use serde_json::Value;

use crate::support::HostProcess;
use crate::support::peer::{ASYNC_RESPONSE, SYNC};
use crate::support::program::{Finished, jackfield};
use crate::support::scratch::Scratch;

/// `EX_UNAVAILABLE`: there is no host.
const UNAVAILABLE: i32 = 69;

/// Runs it with `--json` and reads its report.
fn bench(directory: &Path, words: &[&str]) -> (Finished, Value) {
    let words: Vec<&str> = ["bench", "--json"].iter().chain(words).copied().collect();
    let finished = jackfield(directory, &words);
    let report = serde_json::from_str(&finished.stdout).unwrap_or(Value::Null);
    (finished, report)
}

#[test]
fn what_is_sent_is_what_the_host_counts() {
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
        // Of what was asked to know this, each asking counts the one before it.
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
fn it_ends_when_its_time_is_over_and_says_how_many_were_errors() {
    let host = HostProcess::with(&[]);
    let (finished, report) = bench(host.directory(), &["no.such", "--duration", "50ms"]);
    assert_eq!(finished.code, 1, "all of them: {finished:?}");
    assert_eq!((&report["results"], &report["errors"]["-32601"]), (&0.into(), &report["sent"]), "{report}");
    assert!(report["seconds"].as_f64().unwrap() >= 0.05, "{report}");
    let text = jackfield(host.directory(), &["bench", "--count", "10"]);
    assert_eq!((text.code, text.stderr.as_str()), (0, ""));
    assert!(text.stdout.starts_with("sync system.ping, 1 connections, 1 in flight on each\n"), "{text:?}");
    assert!(text.stdout.contains(": 10 answered in "), "{text:?}");
}

/// In an open loop nothing waits for a reply: what has no room is late, and its latency counts from
/// when it was due.
#[test]
fn an_open_loop_counts_from_when_a_request_was_due() {
    let host = HostProcess::with(&["sleeps"]);
    // Half a second of requests, a tenth of a second each, one after the other: the last are
    // seconds late.
    let load = ["--count", "10", "--rate", "200", "--window", "1"];
    let nap = ["sleep.async", r#"{"ms":100}"#];
    let (finished, report) = bench(host.directory(), &[&nap[..], &load].concat());
    assert_eq!(finished.code, 0, "{finished:?}");
    let latency = |name: &str| report["latency_us"][name].as_f64().unwrap();
    assert!(latency("min") >= 100_000.0, "{report}");
    // The last was due 45 ms after the first, and was answered at the earliest a second after it.
    assert!(latency("max") >= 950_000.0, "{report}");
}

#[test]
fn no_host_and_words_that_are_no_load() {
    let scratch = Scratch::new();
    let there = |words: &[&str]| jackfield(scratch.path(), &[&["bench", "--socket", "none"], words].concat());
    let finished = there(&[]);
    assert_eq!((finished.code, finished.stdout.as_str()), (UNAVAILABLE, ""), "{finished:?}");
    assert!(finished.stderr.starts_with("no host at none: "), "{finished:?}");
    assert_eq!(there(&["m", "{"]).code, 64);
    for words in
        [["--connections", "0"], ["--window", "0"], ["--rate", "0"], ["--duration", "1"], ["--count", "0"]]
    {
        assert_eq!(there(&words).code, 2, "{words:?}");
    }
}

/// A host that answers the first request with whatever `answer` makes of its id, and everything
/// else rightly.
fn lying(answer: fn(&str, &mut Vec<u8>)) -> (Finished, Value) {
    let scratch = Scratch::new();
    let listener = UnixListener::bind(scratch.join("liar.sock")).unwrap();
    let host = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        serve(stream, answer)
    });
    let load = ["--socket", "liar.sock", "--count", "4", "--window", "2", "--async", "--timeout", "2s"];
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
fn a_reply_that_nobody_asked_for_is_found_out() {
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
        let (finished, report) = lying(answer);
        assert_eq!(finished.code, 1, "{what}: {finished:?}");
        assert_eq!(
            (&report["wrong"], &report["unanswered"]),
            (&wrong.into(), &unanswered.into()),
            "{what}: {report}"
        );
    }
}

#[test]
fn a_host_that_closes_has_lost_what_was_in_flight() {
    let (finished, report) = lying(|_, out| out.extend_from_slice(&[9; 7]));
    assert_eq!(finished.code, 1, "{finished:?}");
    assert_eq!((&report["wrong"], &report["lost"]), (&1.into(), &2.into()), "{report}");
    assert_eq!(report["sent"], 2, "nothing is sent to a host that speaks another language: {report}");
}

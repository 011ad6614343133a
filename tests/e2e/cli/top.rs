//! `jackfield top` against a running host, with and without a terminal.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::build::artifacts;
use crate::support::peer::METHOD_NOT_FOUND;
use crate::support::program::{command, jackfield};
use crate::support::pseudo_terminal::PseudoTerminal;
use crate::support::{HostProcess, wait_until};

#[test]
fn prints_json_lines_without_a_terminal() {
    let host = HostProcess::builder().plugin("hello").start();
    let finished = jackfield(host.directory(), &["top", "--interval", "10ms", "--count", "3"]);
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{finished:?}");

    let lines: Vec<Value> =
        finished.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines.iter().all(|line| line["pid"] == host.pid() && line["seconds"].as_f64() > Some(0.0)),
        "{lines:?}"
    );

    // Without a count it prints one line after another and ends when its reader closes the pipe.
    let mut child = command(&artifacts().program)
        .args(["top", "--json", "--interval", "20ms"])
        .current_dir(host.directory())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command starts");

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
    let ended = child.wait().expect("the process ends");
    assert!(ended.success(), "{ended}");
}

#[test]
fn reacts_to_keys_and_restores_the_terminal() {
    let host = HostProcess::builder().plugin("hello").start();
    let start =
        || PseudoTerminal::start(&artifacts().program, &["top", "--interval", "50ms"], host.directory());
    let mut terminal = start();

    terminal.wait_for("jackfield");
    terminal.wait_for("hello");
    host.peer().result("hello.greet", &json!({ "name": "Ada" }));
    terminal.wait_for("hello.greet");

    // The screen is drawn incrementally. "p99" is in no title before the sort order changes.
    terminal.press("ss");
    terminal.wait_for("p99");

    terminal.press("p");
    terminal.wait_for("paused");

    terminal.press("q");
    assert!(terminal.wait().success());

    // A signal restores the terminal, too.
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut terminal = start();
        terminal.wait_for("hello.greet");
        terminal.signal(signal);
        assert!(terminal.wait().success(), "{signal:?}");
    }

    let mut terminal = start();
    terminal.wait_for("hello.greet");
    // In raw mode Ctrl-C arrives as a key.
    terminal.press("\u{3}");
    assert!(terminal.wait().success());
}

#[test]
fn stays_open_and_reports_when_the_host_ends() {
    let mut host = HostProcess::builder().plugin("hello").start();
    let args = ["top", "--interval", "50ms"];
    let mut terminal = PseudoTerminal::start(&artifacts().program, &args, host.directory());

    terminal.wait_for("hello");

    host.terminate();
    terminal.wait_for("no host at");

    terminal.press("q");
    assert!(terminal.wait().success());
}

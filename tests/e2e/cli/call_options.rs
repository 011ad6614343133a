//! `jackfield call`: what travels with a request, opaque bytes, and Ctrl-C.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::build::artifacts;
use crate::support::program::{Finished, command, jackfield};
use crate::support::scratch::Scratch;
use crate::support::{HostProcess, wait_until};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn start(directory: &Path, args: &[&str]) -> Child {
    let mut command = command(&artifacts().program);
    command.args(args).current_dir(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).expect("the command runs");
}

/// Asserts the exit code of an interrupted command, and returns its message.
#[track_caller]
fn message_of(child: Child) -> String {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    assert_eq!((status.code(), stdout.as_slice()), (Some(130), &b""[..]), "{stderr:?}");
    String::from_utf8(stderr).unwrap()
}

#[test]
fn sends_metadata_trace_and_deadline_to_the_plugin() {
    let host = HostProcess::with(&["reports_context"]);
    let result = |args: &[&str]| -> Value {
        let finished = jackfield(host.directory(), &[&["call"], args].concat());
        assert_eq!(finished.code, 0, "{finished:?}");
        serde_json::from_str(&finished.stdout).unwrap()
    };

    let meta = result(&["ctx.meta", "--meta", "tenant=a=b", "--meta", "job=7"]);
    assert_eq!(meta, json!({ "tenant": "a=b", "job": "7" }));
    assert_eq!(result(&["ctx.meta"]), json!({}));
    // The plugin may get a span of the host, but it belongs to the same trace.
    let trace = result(&["ctx.trace", "--traceparent", TRACE]);
    assert!(trace["traceparent"].as_str().unwrap().starts_with(&TRACE[..36]), "{trace}");
    for option in ["--deadline", "--timeout"] {
        let remaining = result(&["ctx.remaining", option, "700ms"]);
        assert!(remaining.as_u64().unwrap() <= 700, "{option}: {remaining}");
    }
}

#[test]
fn rejects_metadata_and_traces_that_no_host_accepts() {
    let host = HostProcess::with(&[]);
    let long = format!("a={}", "x".repeat(2048));
    for (args, code, message) in [
        (["--traceparent", "00-1-2-3"], 64, "traceparent: "),
        (["--meta", &long], 64, "meta: "),
        (["--meta", "=x"], 64, "meta: "),
        (["--meta", "no-pair"], 2, "KEY=VALUE"),
        (["--bytes", "no.such.file"], 64, "--bytes: cannot read no.such.file"),
    ] {
        let finished = jackfield(host.directory(), &[&["call", "system.ping"], &args[..]].concat());
        assert!(finished.code == code && finished.stderr.contains(message), "{args:?}: {finished:?}");
    }
}

#[test]
fn prints_version_timing_and_generation_if_it_is_verbose() {
    let host = HostProcess::with(&["sleeps"]);
    for (option, method) in [("-v", "sleep.running"), ("--verbose", "no.such.method")] {
        let Finished { stderr, .. } = jackfield(host.directory(), &["call", option, method]);
        let answered =
            if method == "sleep.running" { "answered by generation " } else { "answered by the host" };
        let line = stderr.lines().next().unwrap();
        assert!(line.starts_with("protocol 1.2, queued ") && line.contains(answered), "{stderr:?}");
    }
    let finished = jackfield(host.directory(), &["call", "sleep.running"]);
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("0\n", ""));
}

#[test]
fn sends_and_prints_opaque_bytes() {
    let host = HostProcess::with(&["opaque_bytes"]);
    let content: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    fs::write(host.path("image"), &content).unwrap();

    for file in ["image", "-"] {
        for mode in [&[][..], &["--async"]] {
            let args = [&["call", "bytes.echo", "--bytes", file], mode].concat();
            let mut child = start(host.directory(), &args);
            // The command does not read standard input if a file was passed.
            let mut stdin = child.stdin.take().unwrap();
            if file == "-" {
                stdin.write_all(&content).unwrap();
            }
            drop(stdin);
            let output = child.wait_with_output().unwrap();
            assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
            assert!(output.stdout == content, "{args:?}: {} bytes", output.stdout.len());
        }
    }

    let finished = jackfield(host.directory(), &["call", "bytes.len", "--bytes", "image"]);
    assert_eq!(finished.stdout, "100000\n");
    let finished = jackfield(host.directory(), &["call", "system.ping", "[]", "--bytes", "image"]);
    assert!(finished.code == 2 && finished.stderr.contains("cannot be used with"), "{finished:?}");
}

#[test]
fn ctrl_c_cancels_the_call_and_waits_for_its_reply() {
    let host = HostProcess::with(&["reports_context"]);
    for (round, mode) in [(1, &[][..]), (2, &["--async"])] {
        // The request that asks about the params would be in flight, too.
        let args = [&["call", "cancel.wait_async", "--no-check", "--timeout", "60s"], mode].concat();
        let child = start(host.directory(), &args);
        wait_until("the call runs", || host.count("in_flight") == 1);

        interrupt(&child);

        let message = message_of(child);
        assert_eq!(message, "interrupted: the call was cancelled after the request was sent\n");
        assert_eq!(host.count("cancels"), round);
        let dropped = jackfield(host.directory(), &["call", "cancel.dropped"]);
        assert_eq!(dropped.stdout, format!("{round}\n"), "its future was dropped");
    }
}

/// Reads a frame of a client.
fn read_frame(peer: &mut UnixStream) -> Vec<u8> {
    let mut frame = vec![0; 7];
    peer.read_exact(&mut frame).unwrap();
    frame.resize(7 + u32::from_be_bytes(frame[3..].try_into().unwrap()) as usize, 0);
    peer.read_exact(&mut frame[7..]).unwrap();
    frame
}

/// The host of this test never answers the request. It grants everything that the hello wishes for.
#[test]
fn a_second_ctrl_c_does_not_wait_for_the_reply() {
    let scratch = Scratch::new();
    let listener = UnixListener::bind(scratch.join("host.sock")).unwrap();
    let args = ["call", "-v", "--async", "--no-check", "m", "--socket", "host.sock", "--timeout", "60s"];
    let child = start(scratch.path(), &args);
    let (mut peer, _) = listener.accept().unwrap();
    let mut hello = read_frame(&mut peer);
    hello[7 + 5] |= 1;
    peer.write_all(&hello).unwrap();
    let heartbeat = read_frame(&mut peer);
    peer.write_all(&heartbeat).unwrap();
    // A request of version 1.2 shows that the command has read the grant.
    assert_eq!(read_frame(&mut peer)[..3], [1, 2, 4]);

    interrupt(&child);
    assert_eq!(read_frame(&mut peer)[2], 6, "it asks the host to cancel the call");
    interrupt(&child);

    let message = message_of(child);
    assert_eq!(message, "interrupted: the host has not answered and may still execute the request\n");
}

#[test]
fn ctrl_c_ends_a_call_that_waits_for_a_host() {
    let scratch = Scratch::new();
    let child = start(scratch.path(), &["call", "m", "--socket", "none.sock", "--timeout", "60s"]);
    // The command has a handler of the signal.
    let status = format!("/proc/{}/status", child.id());
    wait_until("the command handles SIGINT", || {
        let text = fs::read_to_string(&status).unwrap();
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        u64::from_str_radix(caught, 16).unwrap() & 0b10 != 0
    });

    interrupt(&child);

    assert_eq!(message_of(child), "interrupted: the call was cancelled before the request was sent\n");
}

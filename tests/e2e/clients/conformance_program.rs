//! The conformance program (`tests/conformance/src`): it passes with the real host, and reports
//! each answer that differs.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::faulty_proxy::{Change, replace, with_faulty_proxy, with_server};
use crate::support::HostProcess;
use crate::support::build::program_of;
use crate::support::hello::BLOCK;
use crate::support::peer::{ASYNC_RESPONSE, Frame, HEARTBEAT, SYNC};
use crate::support::program::{Finished, command, finish};
use crate::support::scratch::Scratch;

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program_of("jackfield-conformance"))
}

fn check(socket: &Path, options: &[&str]) -> Finished {
    finish(command(program()).arg(socket).args(options))
}

#[test]
fn the_host_conforms_to_each_version() {
    let host = HostProcess::with(&["counts"]);
    let async_method = ["--slow", "counts.async", "--slow-params", r#"{"ms":300}"#];
    let blocking_method = ["--slow", "counts.blocking", "--slow-params", r#"{"ms":300}"#];

    for (version, slow, least) in [
        ("1.0", async_method, 150),
        ("1.1", async_method, 230),
        ("1.2", async_method, 400),
        ("1.2", blocking_method, 400),
    ] {
        let finished = check(&host.socket(), &[&["--version", version][..], &slow].concat());
        assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{version}: {finished:?}");
        let checks = finished.stdout.strip_suffix(" checks, 0 differ\n").and_then(|text| text.parse().ok());
        let checks: u32 = checks.unwrap_or_else(|| panic!("{version}: {finished:?}"));
        assert!(checks >= least, "{version}: {checks} checks");
    }
}

#[test]
fn reports_each_injected_fault() {
    let faults: [(&str, &str, Change); 9] = [
        ("a version", "heartbeats are answered in order", |frame| {
            let hit = frame.kind == HEARTBEAT;
            frame.version ^= u16::from(hit);
            hit
        }),
        ("an id", "vector id-integer", |frame| replace(frame, r#""id":"#, r#""id":1"#)),
        ("a code", "vector meta-17", |frame| replace(frame, "-32600", "-32700")),
        ("a kind", "vector async-request-1.1", |frame| {
            let hit = frame.kind == ASYNC_RESPONSE;
            frame.kind = if hit { SYNC } else { frame.kind };
            hit
        }),
        ("a tag", "vector block-unknown-mandatory", |frame| {
            replace(frame, r#"{"tag":254}"#, r#"{"tag":253}"#)
        }),
        ("a missing block", "replies to requests of 1.2 have a timing", |frame| {
            let hit = frame.kind & BLOCK != 0;
            frame.kind &= !BLOCK;
            hit
        }),
        ("a nonce", "vector hello-bare", |frame| flip(frame, 31)),
        ("a capability", "a grant lies within the wish", |frame| flip(frame, 8)),
        ("the result of a cancelled request", "is answered in its turn", |frame| {
            replace(frame, "-32800", "-32603")
        }),
    ];

    let host = HostProcess::with(&["counts"]);
    let slow = ["--slow", "counts.async", "--slow-params", r#"{"ms":100}"#];
    for (what, checks, change) in faults {
        let options = [&["--only", checks][..], &slow].concat();
        let unchanged = check(&host.socket(), &options);
        assert_eq!(unchanged.code, 0, "{what}: {unchanged:?}");
        assert!(!unchanged.stdout.starts_with("0 checks"), "{what}: {unchanged:?}");

        let finished = with_faulty_proxy(&host, change, |socket| check(socket, &options));
        assert_eq!((finished.code, finished.stderr.as_str()), (1, ""), "{what}: {finished:?}");
        let (lines, _) = finished.stdout.trim_end().rsplit_once('\n').expect("a line for each difference");
        for line in lines.lines() {
            assert!(line.contains(checks) && line.contains(": expected "), "{what}: {line}");
            assert!(line.contains("; received 01 0"), "{what}: {line}");
        }
    }
}

/// Inverts a bit of a byte of an acknowledgement.
fn flip(frame: &mut Frame, at: usize) -> bool {
    let hit = frame.kind == HEARTBEAT && frame.payload.len() > at;
    if hit {
        frame.payload[at] ^= 1;
    }
    hit
}

/// A peer that echoes whatever it receives grants nothing.
#[test]
fn takes_no_echo_for_an_answer() {
    let echo = |mut client: &UnixStream| {
        let mut back = client;
        let _ = std::io::copy(&mut client, &mut back);
    };
    with_server(echo, |socket| {
        for (checks, count) in [("vector hello-bare", 2), ("an instance has one number", 1)] {
            let finished = check(socket, &["--only", checks]);
            assert_eq!(finished.code, 1, "{finished:?}");
            assert!(
                finished.stdout.ends_with(&format!("\n{count} checks, {count} differ\n")),
                "{finished:?}"
            );
        }
    });
}

#[test]
fn fails_without_a_server_or_an_argument() {
    let scratch = Scratch::new();
    let nowhere = scratch.join("nowhere.sock");
    for options in
        [&[][..], &["--version", "1.3"], &["--version"], &["--unknown", "x"], &["--vectors", "/nowhere"]]
    {
        let finished = check(&nowhere, options);
        assert_eq!((finished.code, finished.stdout.as_str()), (2, ""), "{finished:?}");
        assert!(finished.stderr.starts_with("jackfield-conformance: "), "{finished:?}");
    }
    assert_eq!(finish(&mut command(program())).code, 2, "there is no socket");
}

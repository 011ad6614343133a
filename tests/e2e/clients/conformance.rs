//! The conformance check, a PHP program that shares no code with the project
//! (`tests/conformance/conformance.php`): it passes with the real host and fails with hosts that
//! answer wrongly.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use super::faulty_proxy::{Change, replace, with_faulty_proxy};
use crate::support::HostProcess;
use crate::support::build::root;
use crate::support::peer::{ASYNC_RESPONSE, HEARTBEAT, SYNC};
use crate::support::program::{Finished, NOT_FOUND, command, finish};
use crate::support::scratch::Scratch;

/// Number of scenes of the check.
const SCENES: usize = 9;

/// Runs the conformance check.
///
/// # Panics
///
/// If PHP is missing.
#[track_caller]
fn check_conformance(socket: &Path) -> Finished {
    let mut php = command("php");

    php.arg(root().join("tests/conformance/conformance.php")).arg(socket);
    let finished = finish(&mut php);
    assert_ne!(finished.code, NOT_FOUND, "there is no php: install it with `apt-get install php-cli`");

    finished
}

#[test]
fn passes_against_the_real_host() {
    let host = HostProcess::with(&["device"]);
    let finished = check_conformance(&host.socket());
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{finished:?}");
    let lines: Vec<_> = finished.stdout.lines().collect();
    let (last, scenes) = lines.split_last().expect("the check prints its scenes");
    assert_eq!(scenes.len(), SCENES, "{finished:?}");

    assert!(
        scenes.iter().all(|line| line.starts_with("conformance: ") && line.ends_with(": held")),
        "{finished:?}"
    );
    let checks = last.strip_prefix("conformance: all held, ").and_then(|rest| rest.strip_suffix(" checks"));
    let checks: u32 = checks.and_then(|count| count.parse().ok()).expect("how many checks there were");
    assert!(checks > 1000, "{checks} checks of 1,200 async requests and the rest");

    // The second run on the same host fails, because the devices are known and the first sequence
    // number differs.
    let again = check_conformance(&host.socket());
    assert_eq!(again.code, 1, "the state of the first run is seen: {again:?}");
}

#[test]
fn detects_each_injected_fault() {
    let faults: [(&str, &str, Change); 9] = [
        ("a version", "heartbeats", |frame| {
            let hit = frame.kind == HEARTBEAT;
            frame.version |= u16::from(hit);
            hit
        }),
        ("a payload", "heartbeats", |frame| {
            let hit = frame.kind == HEARTBEAT;
            frame.payload.extend(hit.then_some(b' '));
            hit
        }),
        ("a kind", "a sync request", |frame| {
            let hit = frame.kind == SYNC;
            frame.kind = if hit { ASYNC_RESPONSE } else { frame.kind };
            hit
        }),
        ("a number", "a sync request", |frame| replace(frame, r#""sequence":2"#, r#""sequence":3"#)),
        ("a member", "a sync request", |frame| replace(frame, r#"{"result""#, r#"{"extra":1,"result""#)),
        ("an error's code", "errors", |frame| replace(frame, "-32601", "-32600")),
        ("an error's field", "errors", |frame| replace(frame, r#""field":"status""#, r#""field":"state""#)),
        ("an id", "errors", |frame| replace(frame, r#"{"id":""#, r#"{"id":"0"#)),
        ("a result of another", "many async requests at once", |frame| {
            replace(frame, r#""number":7}"#, r#""number":8}"#)
        }),
    ];

    let host = HostProcess::with(&["device"]);
    let check = |(what, scene, change): (&str, &str, Change)| {
        // Each fault has its own host, because the check expects unknown devices.
        let host = HostProcess::with(&["device"]);
        let finished = with_faulty_proxy(&host, change, check_conformance);

        assert_eq!(finished.code, 1, "{what}: {finished:?}");
        let fault = format!("conformance: FAULT: {scene}: ");
        assert!(
            finished.stderr.lines().last().is_some_and(|line| line.starts_with(&fault)),
            "{what}: {finished:?}"
        );
        assert!(!finished.stdout.contains("all held"), "{what}: {finished:?}");
    };
    faults.into_iter().for_each(check);

    // A host that closes the connection without a reply is detected. A proxy that changes nothing
    // is not.
    let scratch = Scratch::new();
    let closing_socket = scratch.join("closes.sock");
    let listener = UnixListener::bind(&closing_socket).expect("a socket");
    thread::scope(|scope| {
        scope.spawn(|| drop(listener.accept()));
        assert_eq!(check_conformance(&closing_socket).code, 1);
    });

    let unchanged = with_faulty_proxy(&host, |_| false, check_conformance);
    assert_eq!(unchanged.code, 0, "{unchanged:?}");
}

#[test]
fn fails_without_a_host_or_an_argument() {
    let scratch = Scratch::new();
    assert_eq!(check_conformance(&scratch.join("nowhere.sock")).code, 1);
    let finished = finish(command("php").arg(root().join("tests/conformance/conformance.php")));
    assert_eq!(finished.code, 2, "{finished:?}");
}

//! A reload as operators and supervisors ask for it: over when it is over, and refused by its
//! reasons.

use rustix::process::Signal;
use serde_json::Value;

use super::supervisor::Place;
use crate::support::peer::METHOD_NOT_FOUND;
use crate::support::program::jackfield;

/// How often it is done: each time it must be in force when its end is told.
const RELOADS: usize = 20;

fn routed(enabled: bool) -> String {
    format!("[[route]]\nmethod = \"device.list\"\nplugin = \"device\"\nenabled = {enabled}\n")
}

/// Whether the route is there: a method that is not there has a code of its own.
fn is_routed(place: &Place) -> bool {
    place.peer().call("device.list", &Value::Null).code() != Some(METHOD_NOT_FOUND)
}

#[test]
fn a_hang_up_is_answered_when_all_of_it_is_applied() {
    // The watcher is out of it: what is applied was asked for.
    let place = Place::new(&routed(true), &["device"]);
    let host = place.start();
    place.hear("READY=1");
    for reload in 0..RELOADS {
        let enabled = reload % 2 == 1;
        place.scratch.write("config.toml", routed(enabled));
        host.signal(Signal::HUP);
        let (said, _) = place.hear("RELOADING=1");
        let since = said.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(since.is_some_and(|since| since.parse::<u64>().is_ok_and(|since| since > 0)), "{said}");
        let (said, between) = place.hear("READY=1");
        assert!(between.iter().all(|said| said.starts_with("STATUS=")), "{between:?} before {said}");
        assert_eq!(is_routed(&place), enabled, "reload {reload}");
    }
    host.terminate();
}

#[test]
fn the_command_returns_when_all_is_applied_and_fails_when_nothing_is() {
    let place = Place::new(&routed(true), &["device"]);
    let host = place.start();
    place.hear("READY=1");
    let reload = || jackfield(place.scratch.path(), &["reload", "--socket", "run/jackfield-admin.sock"]);
    for enabled in [false, true] {
        place.scratch.write("config.toml", routed(enabled));
        let finished = reload();
        assert_eq!((finished.code, finished.stderr.as_str()), (0, ""));
        assert_eq!(is_routed(&place), enabled);
        place.hear("RELOADING=1");
        place.hear("READY=1");
    }
    place.scratch.write("config.toml", "[limits]\nframe = 1\n[speed]\n");
    let finished = reload();
    assert_eq!(finished.code, 1, "{finished:?}");
    for fault in ["config.toml:2:", "config.toml:3:"] {
        assert!(finished.stderr.contains(fault), "every fault is told: {finished:?}");
    }
    assert!(is_routed(&place), "and the host serves on as before");
    // Without the socket's path the configuration says it; a faulty one is a fault here already.
    assert_eq!(jackfield(place.scratch.path(), &["reload"]).code, 78);
    place.scratch.write("config.toml", routed(true));
    assert_eq!(jackfield(place.scratch.path(), &["reload"]).code, 0);
    host.terminate();
    let finished = jackfield(place.scratch.path(), &["reload"]);
    assert_eq!(finished.code, 69, "{finished:?}");
    assert!(finished.stderr.contains("no host at"), "{finished:?}");
}

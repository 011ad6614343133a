//! Content that breaks callers of what serves, in the host and in workers.

use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, with_image};
use crate::support::program::jackfield;
use crate::support::{HostProcess, Peer, wait_until};

/// The first words of what is logged.
const BREAKS: &str = "the new content breaks callers of generation";

fn image(version: u32) -> Image {
    Image::of("promises").with("PROMISE-", &version.to_string())
}

/// Starts a host with version 1 of a plugin.
fn with_version_1(policy: &str, isolation: &str) -> (HostProcess, Peer) {
    let own = format!("[plugin.subject]\nincompatible = {policy:?}\nisolation = {isolation:?}\n");
    let host = with_image(&image(1), &own);
    let mut peer = host.peer();
    assert_eq!(version(&mut peer), 1);
    (host, peer)
}

fn version(peer: &mut Peer) -> Value {
    peer.result("promises.version", &json!({ "zone": "a" }))
}

fn wait_until_version(peer: &mut Peer, wanted: u32) {
    wait_until("the new content serves", || version(peer) == wanted);
}

#[test]
fn logs_incompatible_content_and_loads_it() {
    for isolation in ["in-process", "worker"] {
        let (host, mut peer) = with_version_1("warn", isolation);

        image(2).put(&host, FILE);
        wait_until_version(&mut peer, 2);
        assert!(!host.log_contains(BREAKS), "one more optional parameter breaks nobody");

        image(3).put(&host, FILE);
        wait_until_version(&mut peer, 3);
        let line = host.wait_for_log(BREAKS);
        for part in ["promises.version: params.zone: is required now", "promises.version: result"] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
}

#[test]
fn refuses_incompatible_content_until_an_operator_allows_it() {
    for isolation in ["in-process", "worker"] {
        let (host, mut peer) = with_version_1("refuse", isolation);
        let mut operator = Operator::connect(&host);
        let generation = operator.generation();

        image(3).put(&host, FILE);
        let row = operator.wait_until("it is refused", |row| row["refused"]["reason"] == "incompatible");
        let detail = row["refused"]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("params.zone: is required now"), "{detail}");
        assert!(detail.contains("--allow-incompatible"), "{detail}");
        assert_eq!((operator.generation(), version(&mut peer)), (generation, json!(1)));
        operator.reload_refused("incompatible");

        let command = ["plugin", "reload", NAME, "--allow-incompatible"];
        let reloaded = jackfield(host.directory(), &command);
        assert!(reloaded.code == 0 && reloaded.stdout.contains("published"), "{reloaded:?}");
        assert_eq!(version(&mut peer), 3);

        operator.roll_back(NAME);
        assert_eq!(version(&mut peer), 1, "a rollback is never refused");
        operator.wait_until_unloaded();
    }
}

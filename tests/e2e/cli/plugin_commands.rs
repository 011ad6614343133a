//! `jackfield plugin list`, `reload` and `rollback` against a running host.

use std::ffi::OsStr;

use serde_json::Value;

use crate::support::HostProcess;
use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::program::{Finished, jackfield};
use crate::support::scratch::Scratch;
use crate::support::wait::wait_until;

fn plugin(host: &HostProcess, args: &[&str]) -> Finished {
    let args: Vec<&OsStr> = ["plugin"].iter().chain(args).map(OsStr::new).collect();
    jackfield(host.directory(), &args)
}

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:?}"))
}

#[test]
fn lists_reloads_and_rolls_back_plugins() {
    let host = HostProcess::builder().plugin_as("good_v1", "versioned.so").plugin("device").start();

    let listed = plugin(&host, &["list"]);
    assert_eq!((listed.code, listed.stderr.as_str()), (0, ""));

    let mut lines = listed.stdout.lines();
    assert!(lines.next().unwrap().starts_with("PLUGIN "), "{}", listed.stdout);
    let rows: Vec<Vec<_>> = lines.map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows.iter().map(|row| (row[0], row[1])).collect::<Vec<_>>(),
        [("device", "serving"), ("versioned", "serving")]
    );

    install(artifacts().library("good_v2"), &host.path("plugins/versioned.so"));
    let reloaded = plugin(&host, &["reload", "versioned"]);
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    assert!(reloaded.stdout.starts_with("versioned: published: generation "), "{}", reloaded.stdout);

    let mut peer = host.peer();
    assert_eq!(peer.result("version.get", &Value::Null), 2);

    let rolled_back = plugin(&host, &["rollback", "versioned", "--json"]);
    assert_eq!((rolled_back.code, &json(&rolled_back)["outcome"]), (0, &"published".into()));
    assert_eq!(peer.result("version.get", &Value::Null), 1);

    let all = plugin(&host, &["reload", "--json"]);
    let all = json(&all);
    let names: Vec<_> =
        all.as_array().unwrap().iter().map(|verdict| verdict["plugin"].as_str().unwrap()).collect();
    assert_eq!(names, ["device", "versioned"]);
    assert_eq!(all[1]["refused"]["reason"], "rolled-back", "{all}");
    assert_eq!(peer.result("version.get", &Value::Null), 1);

    assert_eq!(plugin(&host, &["reload", "versioned"]).code, 0);
    assert_eq!(peer.result("version.get", &Value::Null), 2, "a reload by name loads the content of the file");
}

#[test]
fn fails_with_a_reason_for_a_refused_plugin() {
    let host = HostProcess::builder().plugin_as("good_v1", "versioned.so").start();

    let not_rolled_back = plugin(&host, &["rollback", "versioned"]);
    assert_eq!(not_rolled_back.code, 1);
    assert!(not_rolled_back.stdout.contains("nothing-to-roll-back"), "{}", not_rolled_back.stdout);
    let unknown = plugin(&host, &["reload", "nobody"]);
    assert_eq!(unknown.code, 1);
    assert!(!unknown.stderr.contains('{'), "sentences and no JSON: {unknown:?}");

    host.scratch().write("plugins/versioned.so", "no library");
    wait_until("the refusal is listed", || {
        plugin(&host, &["list"]).stdout.contains("the newest file is refused: not-elf")
    });

    let reloaded = plugin(&host, &["reload", "versioned"]);
    assert_eq!(reloaded.code, 1);
    assert!(reloaded.stdout.contains("versioned: refused: not-elf"), "{}", reloaded.stdout);
    assert_eq!(
        host.peer().result("version.get", &Value::Null),
        1,
        "the previous generation continues to serve"
    );
}

#[test]
fn fails_at_once_without_a_host() {
    let scratch = Scratch::new();
    scratch.write("config.toml", "");
    let listed = jackfield(scratch.path(), &["plugin", "list"]);
    assert_eq!(listed.code, 69, "{listed:?}");
    assert!(listed.stderr.contains("no host at "), "{}", listed.stderr);
}

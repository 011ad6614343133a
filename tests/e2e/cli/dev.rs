//! `jackfield dev`: it serves a source file when it is saved, and reports one that does not build.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::build::{artifacts, root, target};
use crate::support::log::Log;
use crate::support::peer::Peer;
use crate::support::program::command;
use crate::support::scratch::Scratch;
use crate::support::wait::{wait_for, wait_until};

/// Returns the manifest of a crate in the plugin directory. The crate is its own workspace, and is
/// built like the fixtures.
fn manifest() -> String {
    format!(
        "[package]\nname = \"greet\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n[lib]\n\
         crate-type = [\"cdylib\"]\n[dependencies]\njackfield-plugin-api = {{ path = {:?} }}\n[profile.dev]\n\
         debug = false\nstrip = \"debuginfo\"\n",
        root().join("plugin-api")
    )
}

fn source(greeting: &str) -> String {
    format!(
        "use jackfield_plugin_api::prelude::*;\nstruct Greet;\nimpl Plugin for Greet {{\n    \
         fn start(_: &Host) -> Result<Self, Error> {{ Ok(Self) }}\n}}\nimpl Greet {{\n    \
         fn greet(&self, _: ()) -> Result<String, Error> {{ Ok({greeting}.to_owned()) }}\n}}\n\
         export_plugin!(Greet {{ inline \"greet.greet\" => greet }});\n"
    )
}

/// Saves a file as editors do, by renaming a temporary file.
fn save(path: &Path, text: &str) {
    let temporary = path.with_extension("rs.new");
    fs::write(&temporary, text).unwrap();
    fs::rename(temporary, path).unwrap();
}

#[test]
fn serves_saved_sources_and_keeps_the_old_code_if_a_build_fails() {
    let artifacts = artifacts();
    let scratch = Scratch::new();

    scratch.directory("plugins");
    scratch.directory("plugins/greet");
    scratch.directory("plugins/greet/src");
    scratch.write("plugins/greet/Cargo.toml", manifest());

    fs::copy(root().join("tests/fixtures/Cargo.lock"), scratch.join("plugins/greet/Cargo.lock")).unwrap();
    let file = scratch.write("plugins/greet/src/lib.rs", source("\"one\""));
    let config = scratch.write("config.toml", "");

    let mut child = command(&artifacts.program)
        .args(["dev", "-c"])
        .arg(config)
        .current_dir(scratch.path())
        .env("CARGO_TARGET_DIR", target().join("fixtures"))
        .env("CARGO_NET_OFFLINE", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();

    let log = Log::follow(child.stderr.take().unwrap());
    log.wait_for("\"ready on\"", |line| line.contains("ready on "));

    let mut peer = Peer::connect(&scratch.join("run/jackfield.sock"));
    let mut greeting = || peer.call("greet.greet", &Value::Null).json()["result"].as_str().map(str::to_owned);
    assert_eq!(greeting().as_deref(), Some("one"));

    save(&file, &source("\"two\""));
    wait_until("the saved source is served", || greeting().as_deref() == Some("two"));

    save(&file, &source("two"));
    log.wait_for("the error message of the compiler", |line| line.contains("cannot find value `two`"));
    log.wait_for("the message that the plugin file is unchanged", |line| {
        line.contains("the plugin file is unchanged")
    });
    assert_eq!(greeting().as_deref(), Some("two"));

    save(&file, &source("\"three\""));
    wait_until("the corrected source is served", || greeting().as_deref() == Some("three"));

    drop(peer);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = wait_for("the end of the host", || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn rejects_a_directory_without_crates() {
    let scratch = Scratch::new();
    scratch.directory("plugins");
    scratch.write("config.toml", "");
    let finished = crate::support::program::jackfield(scratch.path(), &["dev"]);
    assert_eq!(finished.code, 78, "{}", finished.stderr);
    assert!(finished.stderr.contains("there is no plugin crate in it"), "{}", finished.stderr);
}

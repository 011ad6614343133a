//! `jackfield dev`: it serves a source file when it is saved, and reports one that does not build.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::build::{artifacts, root, target};
use crate::support::log::Log;
use crate::support::peer::Peer;
use crate::support::program::command;
use crate::support::scratch::Scratch;
use crate::support::wait::{wait_for, wait_until};

/// Returns the manifest of a crate in the plugin directory, with a line for a dependency. The crate
/// is its own workspace, and is built like the fixtures.
fn manifest(dependency: &str) -> String {
    format!(
        "[package]\nname = \"greet\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n[lib]\n\
         crate-type = [\"cdylib\"]\n[dependencies]\njackfield-plugin-api = {{ path = {:?} }}\n{dependency}\n\
         [profile.dev]\ndebug = false\nstrip = \"debuginfo\"\n",
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

/// `jackfield dev` with the crate `greet` in its plugin directory.
struct Dev {
    scratch: Scratch,
    child: Child,
    log: Log,
}

impl Dev {
    /// Starts it in a directory to which `prepare` adds further files. `dependency` is a line for
    /// the manifest of the crate.
    fn start(dependency: &str, source: &str, prepare: impl FnOnce(&Scratch)) -> Self {
        let artifacts = artifacts();
        let scratch = Scratch::new();
        for directory in ["plugins", "plugins/greet", "plugins/greet/src"] {
            scratch.directory(directory);
        }
        scratch.write("plugins/greet/Cargo.toml", manifest(dependency));
        fs::copy(root().join("tests/fixtures/Cargo.lock"), scratch.join("plugins/greet/Cargo.lock")).unwrap();
        scratch.write("plugins/greet/src/lib.rs", source);
        let config = scratch.write("config.toml", "");
        prepare(&scratch);

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
        Self { scratch, child, log }
    }

    fn peer(&self) -> Peer {
        Peer::connect(&self.scratch.join("run/jackfield.sock"))
    }

    /// Ends the host, which must succeed.
    fn stop(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let ended = wait_for("the end of the host", || self.child.try_wait().unwrap());
        assert_eq!(ended.code(), Some(0));
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Calls the plugin, which may be unavailable while it is replaced.
fn greeting(peer: &mut Peer) -> Option<String> {
    peer.call("greet.greet", &Value::Null).json()["result"].as_str().map(str::to_owned)
}

#[test]
fn serves_saved_sources_and_keeps_the_old_code_if_a_build_fails() {
    let dev = Dev::start("", &source("\"one\""), |_| ());
    let file = dev.scratch.join("plugins/greet/src/lib.rs");
    let mut peer = dev.peer();
    let mut greeting = || greeting(&mut peer);
    assert_eq!(greeting().as_deref(), Some("one"));

    save(&file, &source("\"two\""));
    wait_until("the saved source is served", || greeting().as_deref() == Some("two"));

    save(&file, &source("two"));
    dev.log.wait_for("the error message of the compiler", |line| line.contains("cannot find value `two`"));
    dev.log.wait_for("the message that the plugin file is unchanged", |line| {
        line.contains("the plugin file is unchanged")
    });
    assert_eq!(greeting().as_deref(), Some("two"));

    save(&file, &source("\"three\""));
    wait_until("the corrected source is served", || greeting().as_deref() == Some("three"));

    drop(peer);
    dev.stop();
}

#[test]
fn builds_a_plugin_again_when_a_crate_that_it_depends_on_by_path_changes() {
    let word = |word: &str| format!("pub const WORD: &str = {word:?};\n");
    let dev = Dev::start("words = { path = \"../../words\" }", &source("words::WORD"), |scratch| {
        scratch.directory("words/src");
        let manifest = "[package]\nname = \"words\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        scratch.write("words/Cargo.toml", manifest);
        scratch.write("words/src/lib.rs", word("one"));
    });
    let mut peer = dev.peer();
    assert_eq!(greeting(&mut peer).as_deref(), Some("one"));

    save(&dev.scratch.join("words/src/lib.rs"), &word("two"));

    wait_until("the changed crate is served", || greeting(&mut peer).as_deref() == Some("two"));
    drop(peer);
    dev.stop();
}

#[test]
fn reports_a_plugin_directory_that_others_can_write() {
    let scratch = Scratch::new();
    scratch.write("config.toml", "");
    let plugins = scratch.directory("plugins");
    scratch.directory("plugins/greet");
    scratch.write("plugins/greet/Cargo.toml", manifest(""));
    fs::set_permissions(plugins, fs::Permissions::from_mode(0o775)).unwrap();

    let finished = crate::support::program::jackfield(scratch.path(), &["dev"]);

    assert_eq!(finished.code, 78, "{}", finished.stderr);
    assert!(finished.stderr.contains("plugins: directory-writable: "), "{}", finished.stderr);
    assert!(finished.stderr.contains("run chmod go-w"), "{}", finished.stderr);
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

//! The host inside another program: the example is compiled and run as its users would.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::support::build::{artifacts, example};
use crate::support::host::install;
use crate::support::log::Log;
use crate::support::peer::{DEADLINE_EXCEEDED, INVALID_PARAMS, METHOD_NOT_FOUND};
use crate::support::program::finish;
use crate::support::scratch::Scratch;
use crate::support::{Peer, wait_until};

fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    // After everything else is built: two builds would wait for one another anyway.
    PROGRAM.get_or_init(|| {
        artifacts();
        example("embedded")
    })
}

/// The example, running.
struct Embedded {
    child: Child,
    log: Log,
    scratch: Scratch,
}

impl Embedded {
    fn start(plugins: &[&str]) -> Self {
        let scratch = Scratch::new();
        let directory = scratch.directory("plugins");
        for plugin in plugins {
            install(artifacts().library(plugin), &directory.join(format!("lib{plugin}.so")));
        }
        let mut command = Command::new(program());
        command.arg("turnstile.sock").arg("plugins").current_dir(scratch.path());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the example starts");
        let log = Log::follow(child.stderr.take().expect("its stderr is a pipe"));
        let mut this = Self { child, log, scratch };
        // It logs nothing of being ready: its socket takes connections, or it has ended.
        wait_until("it serves", || {
            UnixStream::connect(this.socket()).is_ok()
                || this.child.try_wait().is_ok_and(|ended| ended.is_some())
        });
        this
    }

    fn socket(&self) -> PathBuf {
        self.scratch.join("turnstile.sock")
    }

    /// Its future that says stop: the end of its stdin.
    fn say_stop(&mut self) {
        drop(self.child.stdin.take());
    }

    fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_until("it ends", || {
            ended = self.child.try_wait().expect("our child");
            ended.is_some()
        });
        self.log.wait_for_end();
        ended.expect("it has ended")
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the example's log ---\n{}\n--- its end ---", self.log.text());
        }
    }
}

#[test]
fn methods_of_the_program_answer_next_to_those_of_plugins_until_its_future_says_stop() {
    let mut embedded = Embedded::start(&["hello", "device", "sleeps"]);
    let mut peer = Peer::connect(&embedded.socket());
    // The program's own, inline and blocking; the second asks a plugin.
    assert_eq!(peer.result("turnstile.enter", &Value::Null), 1);
    let welcome = peer.result("turnstile.welcome", &json!({ "name": "Ada" }));
    assert_eq!(welcome, json!({ "greeting": "hello, Ada", "number": 2 }));
    assert_eq!(peer.call("turnstile.welcome", &json!({})).error(INVALID_PARAMS)["data"]["field"], "name");
    // The plugins' and the host's own.
    assert_eq!(peer.result("hello.greet", &json!({ "name": "Bob" })), "hello, Bob");
    let update = json!({ "deviceId": "gate", "status": "online" });
    assert_eq!(peer.result("device.status.update", &update)["sequence"], 1);
    peer.call("turnstile.leave", &Value::Null).error(METHOD_NOT_FOUND);
    let info = peer.result("system.info", &Value::Null);
    let names: Vec<_> =
        info["plugins"].as_array().into_iter().flatten().map(|plugin| &plugin["name"]).collect();
    assert!(names.contains(&&json!("turnstile")), "{info}");

    // What is in flight when it is told to stop is answered first.
    peer.send_async("last", "sleep.async", &json!({ "ms": 300 }));
    let mut other = Peer::connect(&embedded.socket());
    wait_until("it is in flight", || other.result("system.info", &Value::Null)["counts"]["in_flight"] == 1);
    embedded.say_stop();
    assert_eq!(peer.receive().result(), 300);
    peer.expect_close();
    assert_eq!(embedded.wait().code(), Some(0));
    assert!(!embedded.socket().exists() && !embedded.scratch.join("turnstile.sock.lock").exists());
}

#[test]
fn the_programs_own_routes_hold_and_a_plugin_that_is_not_there_is_an_error_of_the_call() {
    // The example gives its methods 2 s; a plugin that it asks and that is not there is told to its
    // client.
    let mut embedded = Embedded::start(&[]);
    let mut peer = Peer::connect(&embedded.socket());
    let reply = peer.call("turnstile.welcome", &json!({ "name": "Ada" }));
    assert!(reply.code().is_some_and(|code| code != DEADLINE_EXCEEDED), "{reply:?}");
    assert_eq!(peer.result("turnstile.enter", &Value::Null), 1);
    embedded.say_stop();
    assert_eq!(embedded.wait().code(), Some(0));
}

#[test]
fn what_keeps_it_from_starting_is_told_by_its_error() {
    let scratch = Scratch::new();
    scratch.write("turnstile.sock", "a file");
    let mut command = Command::new(program());
    command.args(["turnstile.sock", "plugins"]).current_dir(scratch.path()).stdin(Stdio::null());
    let finished = finish(&mut command);
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(finished.stderr.contains("there is a regular file by this name"), "{finished:?}");
    assert_eq!(finish(Command::new(program()).stdin(Stdio::null())).code, 64);
}

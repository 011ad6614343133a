//! The host as a library: the example program is compiled and run as its users would do it.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::support::build::{artifacts, example};
use crate::support::host::install;
use crate::support::log::Log;
use crate::support::peer::{DEADLINE_EXCEEDED, INVALID_PARAMS, METHOD_NOT_FOUND};
use crate::support::program::{command, finish};
use crate::support::scratch::Scratch;
use crate::support::stacks::stacks;
use crate::support::wait::poll_within;
use crate::support::{CEILING, Peer, wait_until};

fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    // The example is built last: two concurrent builds would wait for one another.
    PROGRAM.get_or_init(|| {
        artifacts();
        example("embedded")
    })
}

/// The running example.
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

        let mut command = command(program());
        command.arg("turnstile.sock").arg("plugins").current_dir(scratch.path());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the example starts");
        let log = Log::follow(child.stderr.take().expect("its stderr is a pipe"));
        let mut this = Self { child, log, scratch };

        // The example does not log that it is ready: either its socket accepts connections or it
        // has ended.
        wait_until("the plugin serves", || {
            UnixStream::connect(this.socket()).is_ok()
                || this.child.try_wait().is_ok_and(|ended| ended.is_some())
        });
        this
    }

    fn socket(&self) -> PathBuf {
        self.scratch.join("turnstile.sock")
    }

    /// Completes the shutdown future of the example, which waits for the end of its stdin.
    fn shut_down(&mut self) {
        drop(self.child.stdin.take());
    }

    fn wait(&mut self) -> ExitStatus {
        let Some(ended) = poll_within(CEILING, || self.child.try_wait().expect("our child")) else {
            panic!("the process does not end:\n{}", stacks(self.child.id()));
        };
        self.log.wait_for_end();
        ended
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
fn serves_methods_of_the_program_and_of_plugins_until_its_shutdown_future_completes() {
    let mut embedded = Embedded::start(&["hello", "device", "sleeps"]);
    let mut peer = Peer::connect(&embedded.socket());

    // Methods of the program itself, one inline, one blocking; the blocking one calls a plugin.
    assert_eq!(peer.result("turnstile.enter", &Value::Null), 1);
    let welcome = peer.result("turnstile.welcome", &json!({ "name": "Ada" }));
    assert_eq!(welcome, json!({ "greeting": "hello, Ada", "number": 2 }));
    assert_eq!(peer.call("turnstile.welcome", &json!({})).error(INVALID_PARAMS)["data"]["field"], "name");

    // Methods of plugins and of the host.
    assert_eq!(peer.result("hello.greet", &json!({ "name": "Bob" })), "hello, Bob");
    let update = json!({ "deviceId": "gate", "status": "online" });
    assert_eq!(peer.result("device.status.update", &update)["sequence"], 1);
    peer.call("turnstile.leave", &Value::Null).error(METHOD_NOT_FOUND);

    let info = peer.result("system.info", &Value::Null);
    let names: Vec<_> =
        info["plugins"].as_array().into_iter().flatten().map(|plugin| &plugin["name"]).collect();
    assert!(names.contains(&&json!("turnstile")), "{info}");

    // A request that is in flight at the shutdown is answered first.
    peer.send_async("last", "sleep.async", &json!({ "ms": 300 }));
    let mut other = Peer::connect(&embedded.socket());
    wait_until("the request is in flight", || {
        other.result("system.info", &Value::Null)["counts"]["in_flight"] == 1
    });
    embedded.shut_down();

    assert_eq!(peer.receive().result(), 300);
    peer.expect_close();
    assert_eq!(embedded.wait().code(), Some(0));
    assert!(!embedded.socket().exists() && !embedded.scratch.join("turnstile.sock.lock").exists());
}

#[test]
fn reports_a_missing_plugin_as_an_error_of_the_call() {
    // The example sets a time-out of 2 s for its methods. A call to a plugin that is missing fails
    // at once, and the client receives the error.
    let mut embedded = Embedded::start(&[]);
    let mut peer = Peer::connect(&embedded.socket());

    let reply = peer.call("turnstile.welcome", &json!({ "name": "Ada" }));
    assert!(reply.code().is_some_and(|code| code != DEADLINE_EXCEEDED), "{reply:?}");
    assert_eq!(peer.result("turnstile.enter", &Value::Null), 1);

    embedded.shut_down();
    assert_eq!(embedded.wait().code(), Some(0));
}

#[test]
fn reports_why_it_cannot_start() {
    let scratch = Scratch::new();
    scratch.write("turnstile.sock", "a file");

    let mut occupied = command(program());
    occupied.args(["turnstile.sock", "plugins"]).current_dir(scratch.path()).stdin(Stdio::null());
    let finished = finish(&mut occupied);

    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(finished.stderr.contains("there is a regular file by this name"), "{finished:?}");
    assert_eq!(finish(command(program()).stdin(Stdio::null())).code, 64);
}

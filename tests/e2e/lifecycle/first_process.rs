//! The host as the first process of a container: it reaps processes whose parents have ended, and
//! passes on signals and exit codes.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::CEILING;
use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::log::Log;
use crate::support::peer::Peer;
use crate::support::processes::is_alive;
use crate::support::program::{command, finish};
use crate::support::scratch::Scratch;
use crate::support::user::is_root;
use crate::support::wait::{poll_within, wait_for, wait_until};

/// A host in a process namespace of its own.
struct Container {
    scratch: Scratch,
    outer: Child,
    log: Log,

    /// Process 1 of the namespace, by its id outside.
    first: u32,
}

impl Container {
    fn start() -> Self {
        Self::with_passed_socket(None)
    }

    /// Starts a host that is passed a socket, which is bound to this path in its directory.
    fn with_passed_socket(passed: Option<&str>) -> Self {
        let scratch = Scratch::new();
        scratch.directory("plugins");
        install(artifacts().library("device"), &scratch.join("plugins/device.so"));
        let config = scratch.write("config.toml", "");

        // The supervisor passes sockets from descriptor 3 on.
        let mut command = command("sh");
        command.args([
            "-c",
            "exec 3<&0 </dev/null; exec unshare --pid --fork --mount-proc --kill-child \"$@\"",
            "sh",
        ]);
        command.arg(&artifacts().program).args(["serve", "-c"]).arg(config).current_dir(scratch.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        if let Some(socket) = passed {
            fs::create_dir(scratch.join("run")).unwrap();
            let listener = UnixListener::bind(scratch.join(socket)).unwrap();
            command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1").stdin(OwnedFd::from(listener));
        }
        let mut outer = command.spawn().unwrap();

        let log = Log::follow(outer.stderr.take().unwrap());
        log.wait_for("\"ready on\"", |line| line.contains("ready on "));
        let [first] = children(outer.id())[..] else { panic!("unshare has one child") };
        Self { scratch, outer, log, first }
    }

    fn signal(&self, signal: Signal) {
        let first = i32::try_from(self.first).ok().and_then(Pid::from_raw).unwrap();
        kill_process(first, signal).unwrap();
    }

    /// Waits until the namespace has ended, and returns the exit code of its process 1.
    fn exit_code(&mut self) -> Option<i32> {
        wait_for("the end of the namespace", || self.outer.try_wait().unwrap()).code()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.outer.kill();
        let _ = self.outer.wait();
        // The kernel ends the namespace after that, and until then the host writes into its
        // directory. Process 1 is a zombie or gone once all others are.
        let has_ended = poll_within(CEILING, || (!is_alive(self.first)).then_some(())).is_some();
        assert!(has_ended || std::thread::panicking(), "the namespace has not ended");
        if std::thread::panicking() {
            eprintln!("--- the host's log ---\n{}", self.log.text());
        }
    }
}

/// Returns the children of all threads of a process, zombies included.
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    lists.collect::<String>().split_whitespace().map(|id| id.parse().unwrap()).collect()
}

#[test]
fn reaps_processes_whose_parents_have_ended() {
    if !is_root("the reaping of orphans") {
        return;
    }
    let container = Container::start();
    let before = children(container.first);
    let latch = container.scratch.join("latch");

    // The shell leaves a process behind, whose parent is then process 1.
    let script = format!("(while ! [ -e {} ]; do sleep 0.02; done) & exit", latch.display());
    let first = container.first.to_string();
    let left = finish(
        command("nsenter")
            .args(["--target", &first, "--pid", "--", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    assert_eq!(left.code, 0, "{left:?}");
    wait_until("the process has a new parent", || children(container.first).len() > before.len());
    fs::write(&latch, "").unwrap();

    wait_until("the process is reaped", || children(container.first) == before);

    // The exit status of the probe reached the host, which has therefore loaded the plugin.
    let mut peer = Peer::connect(&container.scratch.join("run/jackfield.sock"));
    peer.result("device.list", &json!({}));
}

#[test]
fn drains_at_the_first_signal_and_ends_with_the_exit_code_of_the_host() {
    if !is_root("the first process of a container") {
        return;
    }
    for signal in [Signal::TERM, Signal::INT] {
        let mut container = Container::start();

        container.signal(signal);

        assert_eq!(container.exit_code(), Some(0));
        assert!(
            !container.log.text().contains("stopping now"),
            "one signal arrived: {}",
            container.log.text()
        );
    }

    let mut container = Container::start();
    let [host] = children(container.first)[..] else { panic!("process 1 has one child") };
    kill_process(i32::try_from(host).ok().and_then(Pid::from_raw).unwrap(), Signal::ABORT).unwrap();
    assert_eq!(container.exit_code(), Some(128 + Signal::ABORT.as_raw()), "as a shell reports a signal");
}

#[test]
fn reloads_at_a_hang_up() {
    if !is_root("the first process of a container") {
        return;
    }
    let container = Container::start();

    container.signal(Signal::HUP);

    container.log.wait_for("the reload", |line| line.contains("reload requested by SIGHUP"));
}

#[test]
fn serves_a_socket_that_process_1_was_passed() {
    if !is_root("the first process of a container") {
        return;
    }
    let mut container = Container::with_passed_socket(Some("run/jackfield.sock"));
    let socket = container.scratch.join("run/jackfield.sock");
    let bound = fs::metadata(&socket).unwrap().ino();

    Peer::connect(&socket).assert_usable();
    container.signal(Signal::TERM);

    assert_eq!(container.exit_code(), Some(0));
    assert_eq!(fs::metadata(&socket).unwrap().ino(), bound, "the socket belongs to the supervisor");
}

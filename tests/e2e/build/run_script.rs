//! `scripts/run`, which is `make run` without the build: it starts the host, shows a request and
//! its reply, and stops.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use super::script;
use crate::support::build::{artifacts, root};
use crate::support::host::install;
use crate::support::log::Log;
use crate::support::program::{command, jackfield};
use crate::support::scratch::Scratch;
use crate::support::{HostProcess, wait_until};

/// The script, running in its own clone of the project.
struct Run {
    child: Child,
    /// The output of the script.
    output: Log,
    /// The log of the host.
    logged: Log,
}

/// Creates a clone with the default configuration and the plugins that come with the host.
fn clone() -> Scratch {
    let scratch = Scratch::new();

    let config = fs::read(root().join("config.toml")).expect("the default configuration");
    let clone = scratch.directory("clone");
    fs::write(clone.join("config.toml"), config).expect("a configuration");

    scratch.directory("clone/plugins");
    for name in ["device", "hello", "journal"] {
        install(artifacts().library(name), &clone.join(format!("plugins/{name}.so")));
    }

    scratch.directory("tmp");
    scratch
}

impl Run {
    fn start(scratch: &Scratch) -> Self {
        let mut command = script("run");
        command.arg(&artifacts().program).args(["config.toml", "plugins"]);

        command.current_dir(scratch.join("clone")).env("TMPDIR", scratch.join("tmp"));
        // A separate process group, like the foreground of a terminal: Ctrl-C signals all of it.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());

        let mut child = command.spawn().expect("the script starts");

        let output = Log::follow(child.stdout.take().expect("its stdout is a pipe"));
        let logged = Log::follow(child.stderr.take().expect("its stderr is a pipe"));
        Self { child, output, logged }
    }

    /// Returns the command that the script prints for another terminal, after it has shown a
    /// request and its reply.
    fn shown(&self) -> String {
        let request = self.output.wait_for("the request", |line| line.contains("  request   "));
        assert!(
            request.ends_with(r#"device.status.update {"deviceId":"dev_123","status":"online"}"#),
            "{request}"
        );

        let reply = self.output.wait_for("the reply", |line| line.contains("  reply     "));
        assert!(reply.contains(r#""status":"online","sequence":1"#), "{reply}");

        self.output.wait_for("how to stop the host", |line| line.contains("Ctrl-C stops it"));
        self.output
            .wait_for("how to call the host again", |line| line.contains(" call device.status.update '"))
    }

    fn ctrl_c(&self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process group");
        kill_process_group(group, Signal::INT).expect("the signal is sent");
    }

    fn wait(&mut self) -> Option<i32> {
        let mut ended = None;
        wait_until("the script ends", || {
            ended = self.child.try_wait().expect("our child");
            ended.is_some()
        });

        self.output.wait_for_end();
        self.logged.wait_for_end();
        ended.and_then(|status| status.code())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // The script stops its host when it receives a signal.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            // Not SIGINT: background jobs of a shell may ignore it, and the script would inherit
            // that.
            let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            let _ = group.map(|group| kill_process_group(group, Signal::TERM));
            let _ = self.child.wait();
        }

        if std::thread::panicking() {
            eprintln!("--- output ---\n{}\n--- logged ---\n{}", self.output.text(), self.logged.text());
        }
    }
}

#[test]
fn shows_a_request_and_serves_until_ctrl_c_even_in_an_old_run_directory() {
    let scratch = clone();
    let socket = scratch.join("clone/run/jackfield.sock");
    for round in 0..2 {
        let mut run = Run::start(&scratch);
        let shown = run.shown();

        // The command works as printed, in another shell in the same directory.
        let mut shell = command("sh");
        shell.args(["-c", shown.trim()]).current_dir(scratch.join("clone"));
        let again = crate::support::program::finish(&mut shell);
        assert_eq!(again.code, 0, "{again:?}");
        assert!(again.stdout.contains(r#""sequence":2"#), "{again:?}");

        run.ctrl_c();
        assert_eq!(run.wait(), Some(0), "round {round}");

        let log = run.logged.text();
        assert!(
            log.contains("all requests answered") && !log.contains("stopping now"),
            "one Ctrl-C is one signal: {log}"
        );
        assert!(!socket.exists());

        // A host that was killed leaves its socket behind.
        drop(UnixListener::bind(&socket).expect("a dead socket"));
    }
    assert_eq!(fs::read_dir(scratch.join("tmp")).expect("the directory").count(), 0);
}

#[test]
fn serves_a_world_writable_clone_from_a_private_copy() {
    let scratch = clone();
    fs::set_permissions(scratch.join("clone"), fs::Permissions::from_mode(0o777)).expect("for all to write");

    let mut run = Run::start(&scratch);
    let shown = run.shown();

    let why = run.logged.wait_for("why", |line| line.contains(": directory-writable: "));
    assert!(why.contains("\"clone\"") && why.contains("chmod go-w"), "{why}");

    let copy = run.logged.wait_for("where", |line| line.contains("a private copy serves instead: "));
    let copy = PathBuf::from(copy.rsplit(' ').next().expect("a path"));
    assert!(copy.starts_with(scratch.join("tmp")) && shown.contains(&*copy.to_string_lossy()), "{shown}");

    let config = copy.join("config.toml");
    let called = jackfield(
        &scratch.join("tmp"),
        &["call".as_ref(), "--config".as_ref(), config.as_os_str(), "system.ping".as_ref()],
    );
    assert_eq!((called.code, called.stdout.trim()), (0, "\"pong\""), "{called:?}");

    run.ctrl_c();
    assert_eq!(run.wait(), Some(0));
    assert!(!copy.exists(), "the copy goes with the host");
}

#[test]
fn ends_with_the_exit_code_of_a_host_that_does_not_start() {
    let scratch = clone();
    // Another host owns the socket. The script must not take its answers for those of its own host.
    let other = HostProcess::with(&["device"]);
    let config = format!("[[listener]]\nsocket = {:?}\n", other.socket());
    scratch.write("clone/config.toml", config);

    let mut run = Run::start(&scratch);
    assert_eq!(run.wait(), Some(71));
    assert!(run.logged.text().contains("in use by another process"), "{}", run.logged.text());
    assert_eq!(run.output.text(), "");
    other.peer().assert_usable();

    scratch.write("clone/config.toml", "[limits]\nframes = 1\n");
    let mut run = Run::start(&scratch);
    assert_eq!(run.wait(), Some(78));
    let log = run.logged.text();
    assert_eq!(log.matches("config.toml:2:1: ").count(), 1, "{log}");
}

#[test]
fn ends_successfully_when_stopped_before_it_is_ready() {
    let scratch = clone();
    let mut run = Run::start(&scratch);

    run.logged.wait_for("a plugin", |line| line.contains(" now serves"));
    run.ctrl_c();
    assert_eq!(run.wait(), Some(0));
    assert!(!scratch.join("clone/run/jackfield.sock").exists());
}

//! The program as a process: started in a directory of its own, observed, and checked for leftovers
//! at the end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::build::artifacts;
use super::host_command::{HostCommand, MARK};
use super::latch::Latch;
use super::line_peer::LinePeer;
use super::log::Log;
use super::peer::Peer;
use super::scratch::Scratch;
use super::stacks::stacks;
use super::start_script::StartScript;
use super::wait::{CEILING, poll_within};

/// I/O threads of a host whose test does not set them. There are at least two on every machine, so
/// that faults between I/O threads are found everywhere.
pub(crate) const IO_THREADS: usize = 2;

/// Time that a dropped host has to answer the requests in flight before it receives a second
/// signal.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// A host that is not started yet.
pub(crate) struct HostBuilder {
    scratch: Scratch,
    config: String,
    command: HostCommand,
}

impl HostBuilder {
    /// Copies a plugin or fixture into the plugin directory, as `libNAME.so`.
    pub(crate) fn plugin(self, name: &str) -> Self {
        self.plugin_as(name, &format!("lib{name}.so"))
    }

    /// As [`HostBuilder::plugin`], with another file name.
    pub(crate) fn plugin_as(self, name: &str, file: &str) -> Self {
        install(artifacts().library(name), &self.scratch.join("plugins").join(file));
        self
    }

    /// Adds text to the configuration file. By default the socket is `run/jackfield.sock` and the
    /// plugins are in `plugins`.
    pub(crate) fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self.config.push('\n');
        self
    }

    /// Sets an environment variable of the host.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs this script before the host, in the directory of the host.
    pub(crate) fn script(mut self, script: StartScript) -> Self {
        self.command.script = Some(script);
        self
    }

    /// Runs another program than `jackfield`, with the same arguments.
    pub(crate) fn program(mut self, program: &Path) -> Self {
        self.command.program = Some(program.to_owned());
        self
    }

    /// Returns the directory of the host, so that the test can add files.
    pub(crate) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Starts the host and returns when it logs that it is ready.
    #[track_caller]
    pub(crate) fn start(self) -> HostProcess {
        let host = self.spawn();
        host.log.wait_for("\"ready on\"", |line| line.contains("ready on "));
        host
    }

    /// Starts the host without waiting.
    pub(crate) fn spawn(self) -> HostProcess {
        let Self { scratch, mut config, command } = self;
        if !config.contains("[io]") {
            config.push_str(&format!("\n[io]\nthreads = {IO_THREADS}\n"));
        }

        scratch.write("config.toml", &config);
        let (child, log) = command.spawn(&scratch);
        HostProcess { child, log, scratch, command, status: None, was_killed: false }
    }
}

/// Copies a file and sets its mode to 0644, independently of the umask.
pub(crate) fn install(from: &Path, to: &Path) {
    fs::copy(from, to).expect("the plugin is copied");
    fs::set_permissions(to, fs::Permissions::from_mode(0o644)).expect("the plugin's mode");
}

/// A host that runs or has ended. Dropping it ends the process and asserts that nothing is left
/// behind.
pub(crate) struct HostProcess {
    child: Child,
    log: Log,
    scratch: Scratch,
    command: HostCommand,
    status: Option<ExitStatus>,
    /// Whether it was ended in a way that prevents it from cleaning up.
    was_killed: bool,
}

impl HostProcess {
    pub(crate) fn builder() -> HostBuilder {
        let scratch = Scratch::new();
        scratch.directory("plugins");
        HostBuilder { scratch, config: String::new(), command: HostCommand::default() }
    }

    /// Starts a host with these plugins and the default configuration.
    #[track_caller]
    pub(crate) fn with(plugins: &[&str]) -> Self {
        plugins.iter().fold(Self::builder(), |builder, plugin| builder.plugin(plugin)).start()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the directory of the host.
    pub(crate) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Returns a path in the directory of the host.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Returns the path of the default socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/jackfield.sock")
    }

    /// Returns a latch of this name, which methods of fixtures can wait for.
    pub(crate) fn latch(&self, name: &str) -> Latch {
        Latch::at(self.path(&format!("latch-{name}")))
    }

    /// Opens a connection to the default socket.
    #[track_caller]
    pub(crate) fn peer(&self) -> Peer {
        Peer::connect(&self.socket())
    }

    /// Opens a connection to a socket with the line framing.
    #[track_caller]
    pub(crate) fn line_peer(&self, name: &str) -> LinePeer {
        LinePeer::connect(&self.path(name))
    }

    /// Returns the result of `system.info`, called on a new connection.
    #[track_caller]
    pub(crate) fn info(&self) -> Value {
        self.peer().result("system.info", &Value::Null)
    }

    /// Returns one of the counts of `system.info`.
    #[track_caller]
    pub(crate) fn count(&self, name: &str) -> u64 {
        let info = self.info();
        info["counts"][name].as_u64().unwrap_or_else(|| panic!("no count {name:?} in {info}"))
    }

    /// Returns the text that the host has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.log.lines()
    }

    pub(crate) fn log_contains(&self, text: &str) -> bool {
        self.log.text().contains(text)
    }

    /// Stops reading the log until the returned value is dropped.
    pub(crate) fn pause_log_reader(&self) -> impl Drop + '_ {
        self.log.pause()
    }

    /// Waits for a log line that contains `text` and returns the first one.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        self.log.wait_for(&format!("{text:?}"), |line| line.contains(text))
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        self.was_killed |= signal == Signal::KILL;
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the signal is sent");
    }

    /// Returns whether the host has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.status.is_none() && self.child.try_wait().expect("our child").is_none()
    }

    /// Waits until the host and its log have ended.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        if let Some(ended) = self.status {
            return ended;
        }

        let Some(ended) = poll_within(CEILING, || self.child.try_wait().expect("our child")) else {
            panic!("the host does not end:\n{}", stacks(self.pid()));
        };
        self.status = Some(ended);
        self.log.wait_for_end();
        ended
    }

    /// Waits until the host has ended and starts the next one in its place, as a supervisor does.
    /// Returns the status of the one that ended.
    #[track_caller]
    pub(crate) fn restart(&mut self) -> ExitStatus {
        let ended = self.wait();
        (self.child, self.log) = self.command.spawn(&self.scratch);
        (self.status, self.was_killed) = (None, false);
        ended
    }

    /// As [`HostProcess::restart`], but returns when the next host is ready.
    #[track_caller]
    pub(crate) fn restart_ready(&mut self) -> ExitStatus {
        let ended = self.restart();
        self.log.wait_for("\"ready on\"", |line| line.contains("ready on "));
        ended
    }

    /// Sends SIGTERM and asserts that the host ends successfully.
    #[track_caller]
    pub(crate) fn terminate(&mut self) {
        self.signal(Signal::TERM);
        let ended = self.wait();
        assert!(ended.success(), "the host ended with {ended}:\n{}", self.log());
    }

    /// Ends the host if it runs: SIGTERM, a second SIGTERM, then SIGKILL. Returns `None` if it had
    /// to be killed.
    fn stop(&mut self) -> Option<ExitStatus> {
        if self.status.is_some() {
            return self.status;
        }

        let mut ended = self.child.try_wait().expect("our child");
        for grace in [SHUTDOWN_GRACE, CEILING] {
            if ended.is_none() {
                self.signal(Signal::TERM);
                ended = poll_within(grace, || self.child.try_wait().expect("our child"));
            }
        }

        if ended.is_none() {
            eprintln!("--- a host that does not end ---\n{}", stacks(self.pid()));
            let _ = self.child.kill();
            let _ = self.child.wait();
        }

        self.status = ended;
        ended
    }

    /// Returns the sockets and locks that remain below the directory of the host.
    fn leftovers(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.scratch.join("run")).into_iter().flatten().flatten();

        let ours = |path: &PathBuf| {
            path.extension().is_some_and(|extension| extension == "sock" || extension == "lock")
        };
        entries.map(|entry| entry.path()).filter(ours).collect()
    }

    /// Returns the living processes that carry the mark of this host, itself included.
    fn processes(&self) -> Vec<String> {
        let variable_of_host = format!("{MARK}={}", self.scratch.path().display());

        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ours = |path: &PathBuf| {
            let environment = fs::read(path.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == variable_of_host.as_bytes())
        };
        processes.map(|entry| entry.path()).filter(ours).map(|path| path.display().to_string()).collect()
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        let has_ended = self.status.is_some() || self.was_killed;
        let ended = self.stop();

        if std::thread::panicking() {
            eprintln!("--- the host's log ---\n{}\n--- its end ---", self.log.text());
            return;
        }

        assert!(ended.is_some(), "the host did not end after two signals:\n{}", self.log.text());
        self.log.wait_for_end();

        assert!(
            has_ended || ended.is_some_and(|ended| ended.success()),
            "the host ended with {ended:?}:\n{}",
            self.log.text()
        );

        let processes = poll_within(CEILING, || self.processes().is_empty().then_some(()));
        assert!(processes.is_some(), "processes remain: {:?}", self.processes());
        assert!(self.was_killed || self.leftovers().is_empty(), "files remain: {:?}", self.leftovers());
    }
}

//! The program as a process: started on a directory of its own, watched, and gone without a trace at the end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::build::artifacts;
use super::gate::Gate;
use super::line_peer::LinePeer;
use super::log::Log;
use super::peer::Peer;
use super::scratch::Scratch;
use super::wait::{until_some, within};

/// Marks the processes of one host, its children included.
const MARK: &str = "JACKFIELD_TEST_HOST";

/// Threads that serve connections where a test says nothing else: more than one, whatever the machine, for what goes wrong
/// between them is to be seen.
pub(crate) const IO_THREADS: usize = 2;

/// How long a host that a test dropped may answer what is in flight, before it is told a second time.
const PATIENCE: Duration = Duration::from_millis(500);

/// A host that is not started.
pub(crate) struct HostBuilder {
    scratch: Scratch,
    config: String,
    variables: Vec<(String, String)>,
}

impl HostBuilder {
    /// Copies a plugin or fixture into the directory of the plugins, as `libNAME.so`.
    pub(crate) fn plugin(self, name: &str) -> Self {
        self.plugin_as(name, &format!("lib{name}.so"))
    }

    /// As [`HostBuilder::plugin`], under another file name.
    pub(crate) fn plugin_as(self, name: &str, file: &str) -> Self {
        install(artifacts().library(name), &self.scratch.join("plugins").join(file));
        self
    }

    /// Adds to the configuration file. What it does not say is the default: a socket `run/jackfield.sock`, plugins
    /// from `plugins`.
    pub(crate) fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self.config.push('\n');
        self
    }

    /// Sets an environment variable of the host.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The host's directory, to put things into.
    pub(crate) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Starts the host, and returns when it says that it is ready.
    #[track_caller]
    pub(crate) fn start(self) -> HostProcess {
        let host = self.spawn();
        host.log.wait_for("\"ready on\"", |line| line.contains("ready on "));
        host
    }

    /// Starts the host and does not wait.
    pub(crate) fn spawn(self) -> HostProcess {
        let Self { scratch, mut config, variables } = self;
        if !config.contains("[io]") {
            config.push_str(&format!("\n[io]\nthreads = {IO_THREADS}\n"));
        }
        scratch.write("config.toml", &config);
        let (child, log) = spawn(&scratch, &variables);
        HostProcess { child, log, scratch, variables, ended: None, killed: false }
    }
}

fn spawn(scratch: &Scratch, variables: &[(String, String)]) -> (Child, Log) {
    let mut command = Command::new(&artifacts().program);
    command.args(["serve", "-c"]).arg(scratch.join("config.toml")).current_dir(scratch.path());
    command.env(MARK, scratch.path()).env_remove("RUST_BACKTRACE");
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let log = Log::follow(child.stderr.take().expect("its stderr is a pipe"));
    (child, log)
}

/// Copies a file, mode 0644 whatever the umask is.
pub(crate) fn install(from: &Path, to: &Path) {
    fs::copy(from, to).expect("the plugin is copied");
    fs::set_permissions(to, fs::Permissions::from_mode(0o644)).expect("the plugin's mode");
}

/// A host that runs, or has ended; dropped, it is ended, and has left nothing behind.
pub(crate) struct HostProcess {
    child: Child,
    log: Log,
    scratch: Scratch,
    variables: Vec<(String, String)>,
    ended: Option<ExitStatus>,
    /// Whether it was ended in a way in which it cannot clean up.
    killed: bool,
}

impl HostProcess {
    pub(crate) fn builder() -> HostBuilder {
        let scratch = Scratch::new();
        scratch.directory("plugins");
        HostBuilder { scratch, config: String::new(), variables: Vec::new() }
    }

    /// A host with these plugins and the default configuration.
    #[track_caller]
    pub(crate) fn with(plugins: &[&str]) -> Self {
        plugins.iter().fold(Self::builder(), |builder, plugin| builder.plugin(plugin)).start()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The host's own directory.
    pub(crate) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// A path in the host's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// The default socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/jackfield.sock")
    }

    /// A gate of this name, for fixtures' methods to wait at.
    pub(crate) fn gate(&self, name: &str) -> Gate {
        Gate::at(self.path(&format!("gate-{name}")))
    }

    /// A new connection to the default socket.
    #[track_caller]
    pub(crate) fn peer(&self) -> Peer {
        Peer::connect(&self.socket())
    }

    /// A new connection to a socket that speaks lines.
    #[track_caller]
    pub(crate) fn line_peer(&self, name: &str) -> LinePeer {
        LinePeer::connect(&self.path(name))
    }

    /// What `system.info` says, asked on a connection of its own.
    #[track_caller]
    pub(crate) fn info(&self) -> Value {
        self.peer().result("system.info", &Value::Null)
    }

    /// One number of `system.info`'s counts.
    #[track_caller]
    pub(crate) fn count(&self, name: &str) -> u64 {
        let info = self.info();
        info["counts"][name].as_u64().unwrap_or_else(|| panic!("no count {name:?} in {info}"))
    }

    /// Everything it logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.log.lines()
    }

    pub(crate) fn log_contains(&self, text: &str) -> bool {
        self.log.text().contains(text)
    }

    /// Its log is not read until what this gives back is dropped.
    pub(crate) fn unread_log(&self) -> impl Drop + '_ {
        self.log.unread()
    }

    /// The first log line that contains `text`, when there is one.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        self.log.wait_for(&format!("{text:?}"), |line| line.contains(text))
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        self.killed |= signal == Signal::KILL;
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the signal is sent");
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.ended.is_none() && self.child.try_wait().expect("our child").is_none()
    }

    /// Waits for its end, and that of its log.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        if let Some(ended) = self.ended {
            return ended;
        }
        let ended = until_some("the host ends", || self.child.try_wait().expect("our child"));
        self.ended = Some(ended);
        self.log.wait_for_end();
        ended
    }

    /// Waits for its end and starts the next one in its place, as a supervisor does; gives back how it ended.
    #[track_caller]
    pub(crate) fn succeed(&mut self) -> ExitStatus {
        let ended = self.wait();
        (self.child, self.log) = spawn(&self.scratch, &self.variables);
        (self.ended, self.killed) = (None, false);
        ended
    }

    /// As [`HostProcess::succeed`], and returns when the next one is ready.
    #[track_caller]
    pub(crate) fn succeed_ready(&mut self) -> ExitStatus {
        let ended = self.succeed();
        self.log.wait_for("\"ready on\"", |line| line.contains("ready on "));
        ended
    }

    /// SIGTERM, and its end; it must be a good one.
    #[track_caller]
    pub(crate) fn terminate(&mut self) {
        self.signal(Signal::TERM);
        let ended = self.wait();
        assert!(ended.success(), "the host ended with {ended}:\n{}", self.log());
    }

    /// Ends it if it runs: asked, asked again, and then killed, which is a fault.
    fn end(&mut self) -> Option<ExitStatus> {
        if self.ended.is_some() {
            return self.ended;
        }
        let mut ended = self.child.try_wait().expect("our child");
        for patience in [PATIENCE, super::CEILING] {
            if ended.is_none() {
                self.signal(Signal::TERM);
                ended = within(patience, || self.child.try_wait().expect("our child"));
            }
        }
        if ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        self.ended = ended;
        ended
    }

    /// Sockets and locks below the host's directory.
    fn left_behind(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.scratch.join("run")).into_iter().flatten().flatten();
        let ours = |path: &PathBuf| {
            path.extension().is_some_and(|extension| extension == "sock" || extension == "lock")
        };
        entries.map(|entry| entry.path()).filter(ours).collect()
    }

    /// Living processes that this host started, itself included.
    fn processes(&self) -> Vec<String> {
        let mark = format!("{MARK}={}", self.scratch.path().display());
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ours = |path: &PathBuf| {
            let environment = fs::read(path.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        processes.map(|entry| entry.path()).filter(ours).map(|path| path.display().to_string()).collect()
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        let good_end = self.ended.is_some() || self.killed;
        let ended = self.end();
        if std::thread::panicking() {
            eprintln!("--- the host's log ---\n{}\n--- its end ---", self.log.text());
            return;
        }
        assert!(ended.is_some(), "the host did not end, told twice:\n{}", self.log.text());
        self.log.wait_for_end();
        assert!(
            good_end || ended.is_some_and(|ended| ended.success()),
            "the host ended with {ended:?}:\n{}",
            self.log.text()
        );
        let processes = within(super::CEILING, || self.processes().is_empty().then_some(()));
        assert!(processes.is_some(), "processes are left: {:?}", self.processes());
        assert!(self.killed || self.left_behind().is_empty(), "left behind: {:?}", self.left_behind());
    }
}

//! A host as a supervisor starts it: with sockets handed over, and an ear for what it says.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::log::Log;
use crate::support::scratch::Scratch;
use crate::support::threads::threads;
use crate::support::wait::wait_for;
use crate::support::{CEILING, Peer, wait_until};

/// Gives the descriptors 0 and 1 the places of inherited sockets, and the variables that tell of
/// them.
const HAND_OVER: &str = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ exec \"$@\"";

/// A place for hosts that are started one after the other, with the same sockets.
pub(super) struct Place {
    pub(super) scratch: Scratch,
    ear: UnixDatagram,
}

/// One host in it.
pub(super) struct Supervised {
    child: Child,
    pub(super) log: Log,
    ended: Option<ExitStatus>,
}

impl Place {
    pub(super) fn new(config: &str, plugins: &[&str]) -> Self {
        let scratch = Scratch::new();
        scratch.directory("plugins");
        scratch.directory("run");
        scratch.write("config.toml", config);
        for plugin in plugins {
            install(artifacts().library(plugin), &scratch.join(format!("plugins/{plugin}.so")));
        }
        let ear = UnixDatagram::bind(scratch.join("notify")).expect("a socket");
        Self { scratch, ear }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// A socket as a supervisor binds it.
    pub(super) fn bind(&self, name: &str) -> UnixListener {
        UnixListener::bind(self.path(name)).expect("a socket")
    }

    /// A command that serves here and tells how it is.
    pub(super) fn command(&self, before: &[&str]) -> Command {
        let mut words = before.iter().map(ToString::to_string).collect::<Vec<_>>();
        words.extend([artifacts().program.display().to_string(), "serve".to_owned()]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(self.scratch.path());
        command.env("NOTIFY_SOCKET", self.path("notify")).env_remove("RUST_BACKTRACE");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Starts a host without any socket.
    pub(super) fn start(&self) -> Supervised {
        Supervised::of(self.command(&[]))
    }

    /// Starts a host with one or two descriptors, by these names.
    pub(super) fn start_with(&self, descriptors: Vec<OwnedFd>, names: &str) -> Supervised {
        let mut command = self.command(&["sh", "-c", HAND_OVER, "sh"]);
        command.env("LISTEN_FDS", descriptors.len().to_string()).env("LISTEN_FDNAMES", names);
        let mut descriptors = descriptors.into_iter();
        command.stdin(descriptors.next().map_or_else(Stdio::null, Stdio::from));
        command.stdout(descriptors.next().map_or_else(Stdio::null, Stdio::from));
        Supervised::of(command)
    }

    /// The next thing a host says, each assignment a line; `None` when it says nothing for so long.
    pub(super) fn hear_within(&self, limit: Duration) -> Option<String> {
        self.ear.set_read_timeout(Some(limit.max(Duration::from_millis(1)))).expect("a read time-out");
        let mut bytes = [0; 4096];
        match self.ear.recv(&mut bytes) {
            Ok(length) => Some(String::from_utf8(bytes[..length].to_vec()).expect("assignments are UTF-8")),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("hearing: {error}"),
        }
    }

    /// The next thing a host says that has this assignment; what comes before is given back, too.
    #[track_caller]
    pub(super) fn hear(&self, assignment: &str) -> (String, Vec<String>) {
        let until = Instant::now() + CEILING;
        let mut before = Vec::new();
        loop {
            match self.hear_within(until.saturating_duration_since(Instant::now())) {
                Some(said) if said.lines().any(|line| line == assignment) => return (said, before),
                Some(said) => before.push(said),
                None => panic!("nobody said {assignment}, but {before:?}"),
            }
        }
    }

    pub(super) fn peer(&self) -> Peer {
        Peer::connect(&self.path("run/jackfield.sock"))
    }
}

impl Supervised {
    pub(super) fn of(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let log = Log::follow(child.stderr.take().expect("its stderr is a pipe"));
        Self { child, log, ended: None }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the signal is sent");
    }

    /// Stops it, and returns when none of its threads runs any more.
    pub(super) fn stand_still(&self) {
        self.signal(Signal::STOP);
        wait_until("all of it stands still", || {
            threads(self.child.id()).iter().all(|thread| thread.state == 'T')
        });
    }

    /// Its exit code once it has ended, and its log with it; -1 after a signal.
    #[track_caller]
    pub(super) fn wait(&mut self) -> i32 {
        let ended = wait_for("the host ends", || self.child.try_wait().expect("our child"));
        self.ended = Some(ended);
        self.log.wait_for_end();
        ended.code().unwrap_or(-1)
    }

    /// SIGTERM, and its end; it must be a good one.
    #[track_caller]
    pub(super) fn terminate(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.wait(), 0, "{}", self.log.text());
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the host's log ---\n{}\n--- its end ---", self.log.text());
        }
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The inode, the mode and the owner of a socket's file.
pub(super) fn facts(path: &Path) -> (u64, u32, u32, u32) {
    use std::os::unix::fs::MetadataExt;
    let facts = std::fs::symlink_metadata(path).expect("the socket is there");
    (facts.ino(), facts.mode(), facts.uid(), facts.gid())
}

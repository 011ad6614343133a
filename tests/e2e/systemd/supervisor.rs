//! A simulated supervisor: it starts hosts with inherited sockets and receives their notifications.

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
use crate::support::program::command;
use crate::support::scratch::Scratch;
use crate::support::threads::threads;
use crate::support::wait::wait_for;
use crate::support::{CEILING, Peer, wait_until};

/// A shell command that moves the descriptors 0 and 1 to the numbers of inherited sockets and sets
/// `LISTEN_PID`.
const INHERIT_SOCKETS: &str = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ exec \"$@\"";

/// A directory in which hosts are started one after another, and the notify socket.
pub(crate) struct Supervisor {
    pub(crate) scratch: Scratch,
    notify_socket: UnixDatagram,
}

/// A host that was started by the supervisor.
pub(crate) struct SupervisedHost {
    child: Child,
    pub(crate) log: Log,
    status: Option<ExitStatus>,
}

impl Supervisor {
    pub(crate) fn new(config: &str, plugins: &[&str]) -> Self {
        let scratch = Scratch::new();
        scratch.directory("plugins");
        scratch.directory("run");
        scratch.write("config.toml", config);
        for plugin in plugins {
            install(artifacts().library(plugin), &scratch.join(format!("plugins/{plugin}.so")));
        }

        let notify_socket = UnixDatagram::bind(scratch.join("notify")).expect("a socket");
        Self { scratch, notify_socket }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Binds a socket, as a supervisor does.
    pub(crate) fn bind(&self, name: &str) -> UnixListener {
        UnixListener::bind(self.path(name)).expect("a socket")
    }

    /// Returns a command that serves in this directory and sends notifications.
    pub(crate) fn command(&self, before: &[&str]) -> Command {
        let mut args = before.iter().map(ToString::to_string).collect::<Vec<_>>();
        args.extend([artifacts().program.display().to_string(), "serve".to_owned()]);

        let mut command = command(&args[0]);
        command.args(&args[1..]).current_dir(self.scratch.path());
        command.env("NOTIFY_SOCKET", self.path("notify")).env_remove("RUST_BACKTRACE");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());

        command
    }

    /// Starts a host without inherited sockets.
    pub(crate) fn start(&self) -> SupervisedHost {
        SupervisedHost::spawn(self.command(&[]))
    }

    /// Starts a host with one or two inherited descriptors of these names.
    pub(crate) fn start_with(&self, descriptors: Vec<OwnedFd>, names: &str) -> SupervisedHost {
        let mut command = self.command(&["sh", "-c", INHERIT_SOCKETS, "sh"]);
        command.env("LISTEN_FDS", descriptors.len().to_string()).env("LISTEN_FDNAMES", names);

        let mut descriptors = descriptors.into_iter();
        command.stdin(descriptors.next().map_or_else(Stdio::null, Stdio::from));
        command.stdout(descriptors.next().map_or_else(Stdio::null, Stdio::from));
        SupervisedHost::spawn(command)
    }

    /// Returns the next notification, one assignment per line, or `None` if there is none within
    /// `limit`.
    pub(crate) fn next_notification(&self, limit: Duration) -> Option<String> {
        self.notify_socket
            .set_read_timeout(Some(limit.max(Duration::from_millis(1))))
            .expect("a read time-out");
        let mut bytes = [0; 4096];

        match self.notify_socket.recv(&mut bytes) {
            Ok(length) => Some(String::from_utf8(bytes[..length].to_vec()).expect("assignments are UTF-8")),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("receiving a notification: {error}"),
        }
    }

    /// Returns the next notification with this assignment, and the notifications before it.
    #[track_caller]
    pub(crate) fn wait_for_notification(&self, assignment: &str) -> (String, Vec<String>) {
        let end = Instant::now() + CEILING;
        let mut before = Vec::new();
        loop {
            match self.next_notification(end.saturating_duration_since(Instant::now())) {
                Some(notification) if notification.lines().any(|line| line == assignment) => {
                    return (notification, before);
                }
                Some(notification) => before.push(notification),
                None => panic!("no notification {assignment}, only {before:?}"),
            }
        }
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer::connect(&self.path("run/jackfield.sock"))
    }
}

impl SupervisedHost {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let log = Log::follow(child.stderr.take().expect("its stderr is a pipe"));
        Self { child, log, status: None }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the signal is sent");
    }

    /// Stops the host and waits until none of its threads runs.
    pub(crate) fn stop_and_wait(&self) {
        self.signal(Signal::STOP);
        wait_until("all threads are stopped", || {
            threads(self.child.id()).iter().all(|thread| thread.state == 'T')
        });
    }

    /// Waits until the host and its log have ended and returns the exit code, or -1 after a signal.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> i32 {
        let ended = wait_for("the host ends", || self.child.try_wait().expect("our child"));
        self.status = Some(ended);
        self.log.wait_for_end();
        ended.code().unwrap_or(-1)
    }

    /// Sends SIGTERM and asserts that the host ends successfully.
    #[track_caller]
    pub(crate) fn terminate(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.wait(), 0, "{}", self.log.text());
    }
}

impl Drop for SupervisedHost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the host's log ---\n{}\n--- its end ---", self.log.text());
        }
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Returns inode, mode, owner and group of a socket file.
pub(crate) fn socket_file_metadata(path: &Path) -> (u64, u32, u32, u32) {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::symlink_metadata(path).expect("the socket exists");
    (metadata.ino(), metadata.mode(), metadata.uid(), metadata.gid())
}

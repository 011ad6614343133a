//! A server under test: started in its own scratch directory, terminated and cleaned up when
//! dropped.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Time-out of the start of a server until it accepts connections, and of its end.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Interval of the checks whether a server has started or ended.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A running server.
pub(super) struct Peer {
    pub(super) name: &'static str,
    child: Child,
    pub(super) socket: PathBuf,
    /// The last field, so that it is removed after the process has ended.
    scratch: TempDir,
}

/// Creates a directory for one server.
pub(super) fn create_scratch() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("jackfield-bench-").tempdir()
}

impl Peer {
    /// Starts a program that listens on `peer.sock` in its directory, and waits until it does.
    pub(super) fn start(
        name: &'static str,
        scratch: TempDir,
        program: impl AsRef<OsStr>,
        arguments: &[&str],
    ) -> io::Result<Self> {
        let log = File::create(scratch.path().join("log"))?;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(&scratch)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C interrupts only this program, which then terminates its servers.
            .process_group(0)
            .spawn()
            .map_err(|error| io::Error::other(format!("{name}: {error}")))?;

        let mut peer = Self { name, child, socket: scratch.path().join("peer.sock"), scratch };
        let end = Instant::now() + TIMEOUT;
        while UnixStream::connect(&peer.socket).is_err() {
            let has_ended = peer.child.try_wait()?.is_some();
            if has_ended || Instant::now() > end {
                let log = peer.log().unwrap_or_default();
                return Err(io::Error::other(format!("{name} does not listen on its socket: {log}")));
            }
            sleep(POLL_INTERVAL);
        }
        Ok(peer)
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Returns the scratch directory.
    pub(super) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Returns the output of the server so far.
    pub(super) fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.directory().join("log"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        terminate(&mut self.child, Signal::SIGTERM);
    }
}

/// Sends a signal to a process and waits for its end. After the time-out the process is killed.
pub(super) fn terminate(child: &mut Child, signal: Signal) {
    // This fails if the process has already ended.
    let _ = kill(Pid::from_raw(child.id().cast_signed()), signal);

    let end = Instant::now() + TIMEOUT;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        sleep(POLL_INTERVAL);
    }
}

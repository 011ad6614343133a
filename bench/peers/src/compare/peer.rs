//! A server under test: started in a scratch directory of its own, ended and cleaned up when dropped.

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

/// How long a server may take until it answers, and to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A running server.
pub(super) struct Peer {
    pub(super) name: &'static str,
    child: Child,
    pub(super) socket: PathBuf,
    /// Removed last.
    scratch: TempDir,
}

/// A directory for one server.
pub(super) fn scratch() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("jackfield-bench-").tempdir()
}

impl Peer {
    /// Starts `command`, which is to listen on `peer.sock` in its directory, and waits until it does.
    pub(super) fn start(
        name: &'static str,
        scratch: TempDir,
        program: impl AsRef<OsStr>,
        words: &[&str],
    ) -> io::Result<Self> {
        let log = File::create(scratch.path().join("log"))?;
        let child = Command::new(program)
            .args(words)
            .current_dir(&scratch)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C is for this program, which then ends its servers.
            .process_group(0)
            .spawn()
            .map_err(|error| io::Error::other(format!("{name}: {error}")))?;
        let mut peer = Self { name, child, socket: scratch.path().join("peer.sock"), scratch };
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(&peer.socket).is_err() {
            let ended = peer.child.try_wait()?.is_some();
            if ended || Instant::now() > end {
                let log = peer.log().unwrap_or_default();
                return Err(io::Error::other(format!("{name} does not serve: {log}")));
            }
            sleep(LOOK);
        }
        Ok(peer)
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Its scratch directory.
    pub(super) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// What it printed.
    pub(super) fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.directory().join("log"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        end(&mut self.child, Signal::SIGTERM);
    }
}

/// Asks a process to end, makes it if it does not, and waits for it.
pub(super) fn end(child: &mut Child, by: Signal) {
    // It may have ended already.
    let _ = kill(Pid::from_raw(child.id().cast_signed()), by);
    let end = Instant::now() + PATIENCE;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        sleep(LOOK);
    }
}

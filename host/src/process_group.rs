//! A child process that leads a process group: it is killed with everything that it started, and
//! reaped.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// Time until a killed process must have ended. It ends at once, except if a disk hangs or its
/// control group is frozen.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// A running child process. Dropping it kills the process.
pub(crate) struct ProcessGroup {
    /// The kind of process, for the log.
    kind: &'static str,

    child: Option<Child>,

    /// Becomes readable when the process has ended. Unlike the process id, it never denotes another
    /// process.
    pidfd: OwnedFd,

    group: Pid,
}

impl ProcessGroup {
    /// Starts `command` as the leader of a new process group. Its stderr, if that is a pipe, does
    /// not block.
    ///
    /// # Errors
    ///
    /// The program cannot be started.
    pub(crate) fn spawn(
        kind: &'static str,
        command: &mut Command,
    ) -> io::Result<(Self, Option<ChildStderr>)> {
        let mut child = command.process_group(0).spawn()?;
        let stderr = child.stderr.take();
        // The process is not reaped yet, so the id still belongs to it.
        let group = Pid::from_child(&child);

        let opened = pidfd_open(group, PidfdFlags::empty()).and_then(|pidfd| {
            stderr.as_ref().map_or(Ok(()), |stderr| rustix::io::ioctl_fionbio(stderr, true))?;
            Ok(pidfd)
        });
        match opened {
            Ok(pidfd) => Ok((Self { kind, child: Some(child), pidfd, group }, stderr)),
            Err(error) => {
                let _ = kill_process_group(group, Signal::KILL);
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    /// Returns a descriptor that is readable once the process has ended.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Returns the id of the process, for the log.
    pub(crate) fn pid(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits until the process has ended, for at most `limit`, and returns whether it has.
    pub(crate) fn has_ended(&self, limit: Duration) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let limit = Timespec::try_from(limit).ok();
        poll(&mut fds, limit.as_ref()).is_ok_and(|ready| ready > 0)
    }

    /// Kills the group and reaps the process. Returns its status; `None` if it does not end, or was
    /// reaped before. If it had ended already, the signal does not change its status.
    pub(crate) fn end(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        // Before the process is reaped, its id, which is that of the group, belongs to it.
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = child.kill();

        let deadline = Instant::now() + KILL_TIMEOUT;
        while !self.has_ended(deadline.saturating_duration_since(Instant::now())) {
            if Instant::now() >= deadline {
                let (kind, pid) = (self.kind, child.id());
                tracing::error!(
                    pid,
                    "{kind} {pid} does not end after SIGKILL; the host no longer waits for it"
                );
                // A separate thread reaps it whenever it ends.
                let _ = std::thread::Builder::new().name("reaper".into()).spawn(move || child.wait());
                return None;
            }
        }
        child.wait().ok()
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.end();
    }
}

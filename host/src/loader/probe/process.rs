//! The probing process from the host's side: started, listened to until a deadline, killed with
//! everything that it started, and reaped.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::super::host_environment::HostEnvironment;
use super::super::load_error::{LoadError, LoadErrorReason};
use super::super::signal_name::SignalNumber;
use super::super::staged::StagedPlugin;
use super::report::PROCESS_NAME;
use crate::process_group::ProcessGroup;
use crate::system_failure::is_shortage;

/// Bytes at the end of the plugin's output that are kept.
const STDERR_MAX: usize = 4 << 10;

/// Reads that empty a full pipe. A pipe holds 64 KiB.
const STDERR_READS: usize = (64 << 10) / STDERR_MAX;

/// Interval at which a waiting host checks whether the probe is cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(20);

/// How listening ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ListenEnd {
    /// The listener needs no more bytes.
    Answered,
    /// The process has ended.
    Exited,
    /// The deadline has passed.
    TimedOut,
    /// The probe was cancelled.
    Cancelled,
}

/// How a process ended, and what it wrote.
pub(super) struct ProbeOutput {
    /// The end of its output, in one line.
    pub(super) stderr: String,
    status: Option<ExitStatus>,
}

/// A running probing process. Dropping it kills the process.
pub(super) struct ProbeProcess {
    process: ProcessGroup,
    socket: UnixStream,
    stderr: Option<ChildStderr>,
    written: Vec<u8>,
}

impl ProbeProcess {
    /// Starts `program`. Its stdin is the staged copy, its stdout is `child_socket`, and its stderr
    /// is a pipe.
    pub(super) fn spawn(
        program: &Path,
        environment: &HostEnvironment,
        staged: &StagedPlugin,
        socket: UnixStream,
        child_socket: UnixStream,
    ) -> Result<Self, LoadError> {
        let not_run = |error: io::Error| {
            let is_shortage = is_shortage(&error);
            let reason =
                if is_shortage { LoadErrorReason::NoResources } else { LoadErrorReason::ProbeFailed };
            LoadError::of_system(
                reason,
                format_args!("cannot run the probe process {}", program.display()),
                &error,
            )
        };
        let copy = staged.as_fd().try_clone_to_owned().map_err(not_run)?;
        socket.set_nonblocking(true).map_err(not_run)?;

        // `start` reads files and variables in the probe as in the host, so the process inherits
        // the working directory and has the environment of the host.
        let (process, stderr) = ProcessGroup::spawn(
            "probe process",
            Command::new(program)
                .arg0(PROCESS_NAME)
                .env_clear()
                .envs(environment.passed_on(None))
                .stdin(Stdio::from(copy))
                .stdout(Stdio::from(OwnedFd::from(child_socket)))
                .stderr(Stdio::piped()),
        )
        .map_err(not_run)?;
        Ok(Self { process, socket, stderr, written: Vec::new() })
    }

    /// Sends `request` and passes the answer to `receive`, until `receive` returns `true`, the
    /// process ends, `deadline` passes, or `is_cancelled` returns `true`.
    pub(super) fn exchange(
        &mut self,
        mut request: &[u8],
        deadline: Option<Instant>,
        is_cancelled: &dyn Fn() -> bool,
        mut receive: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<ListenEnd> {
        let mut is_open = true;
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(ListenEnd::TimedOut);
            }
            if is_cancelled() {
                return Ok(ListenEnd::Cancelled);
            }

            let wait = left.map_or(CANCEL_POLL, |left| left.min(CANCEL_POLL));
            let ready = self.wait(wait, is_open, !request.is_empty())?;
            if ready.stderr {
                self.read_stderr();
            }
            if ready.socket_write {
                request = self.write_request(request);
            }
            // When the process has ended, the rest of its report can be read completely.
            while is_open && (ready.socket_read || ready.exited) {
                let mut buffer = [0; 4096];
                match self.socket.read(&mut buffer) {
                    Ok(read) if read > 0 => {
                        if receive(&buffer[..read]) {
                            return Ok(ListenEnd::Answered);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(_) | Err(_) => is_open = false,
                }
            }
            if ready.exited {
                return Ok(ListenEnd::Exited);
            }
        }
    }

    /// Writes a part of the request, and returns the rest.
    fn write_request<'r>(&mut self, request: &'r [u8]) -> &'r [u8] {
        match self.socket.write(request) {
            Ok(sent) => &request[sent..],
            Err(error) if is_transient(&error) => request,
            // The process does not read any more. How it ends shows why.
            Err(_) => &[],
        }
    }

    /// Waits until a descriptor is ready, for at most `limit`.
    fn wait(&self, limit: Duration, reads: bool, writes: bool) -> io::Result<Ready> {
        let limit = Timespec::try_from(limit).ok();
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, reads);
        wanted.set(PollFlags::OUT, writes);

        let pidfd = self.process.pidfd();
        let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
        // A closed descriptor is always ready, so it is not polled after that is known.
        let socket = (!wanted.is_empty()).then(|| {
            fds.push(PollFd::new(&self.socket, wanted));
            fds.len() - 1
        });
        let stderr = self.stderr.as_ref().map(|stderr| {
            fds.push(PollFd::new(stderr, PollFlags::IN));
            fds.len() - 1
        });
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }

        let is_ready = |index: Option<usize>, flags: PollFlags| {
            let ended = PollFlags::HUP | PollFlags::ERR;
            index.is_some_and(|index| fds[index].revents().intersects(flags | ended))
        };
        Ok(Ready {
            exited: is_ready(Some(0), PollFlags::IN),
            socket_read: reads && is_ready(socket, PollFlags::IN),
            socket_write: writes && is_ready(socket, PollFlags::OUT),
            stderr: is_ready(stderr, PollFlags::IN),
        })
    }

    /// Reads output once, and returns whether there was any. A process that writes endlessly must
    /// not keep the host from its deadline.
    fn read_stderr(&mut self) -> bool {
        let Some(stderr) = &mut self.stderr else { return false };
        let mut buffer = [0; STDERR_MAX];
        match stderr.read(&mut buffer) {
            Ok(read) if read > 0 => {
                self.written.extend_from_slice(&buffer[..read]);
                let surplus = self.written.len().saturating_sub(STDERR_MAX);
                self.written.drain(..surplus);
                true
            }
            Err(error) if is_transient(&error) => false,
            Ok(_) | Err(_) => {
                self.stderr = None;
                false
            }
        }
    }

    /// Kills the process and everything in its process group, and reaps it.
    pub(super) fn kill(mut self) -> ProbeOutput {
        // If the process has already ended, the signal does not change its status.
        let status = self.process.end();
        // The number of reads is bounded, because a process outside of the group may still write.
        for _ in 0..STDERR_READS {
            if !self.read_stderr() {
                break;
            }
        }
        ProbeOutput { stderr: one_line(&self.written), status }
    }
}

/// The descriptors that are ready.
struct Ready {
    exited: bool,
    socket_read: bool,
    socket_write: bool,
    stderr: bool,
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn one_line(written: &[u8]) -> String {
    let text = String::from_utf8_lossy(written);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" | ").replace(char::is_control, " ")
}

impl ProbeOutput {
    /// Returns how the process ended, such as `signal 11 (SIGSEGV)` or `exit code 0`.
    pub(super) fn describe_end(&self) -> String {
        let Some(status) = self.status else { return "an unknown status".to_owned() };
        match (status.signal(), status.code()) {
            (Some(signal), _) => SignalNumber(signal).to_string(),
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => "an unknown status".to_owned(),
        }
    }
}

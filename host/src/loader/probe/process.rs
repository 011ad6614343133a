//! The probing process as its parent sees it: started, listened to until a deadline, killed with all it started,
//! reaped.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::super::StagedPlugin;
use super::super::load_error::{LoadError, LoadErrorReason};

/// How much of what the plugin wrote to stdout and stderr is kept, in bytes: the end of it.
const STDERR_KEPT: usize = 4 << 10;
/// How long a killed process may take to go. It goes at once, but for disks that hang and frozen control groups.
const DYING_MAX: Duration = Duration::from_secs(5);

/// How listening ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ListenEnd {
    /// The listener has heard enough.
    Answered,
    /// The process has ended.
    Exited,
    /// The deadline came first.
    TimedOut,
}

/// What is left of a process.
pub(super) struct ProbeOutput {
    /// The end of what it wrote, in one line.
    pub(super) stderr: String,
    status: Option<ExitStatus>,
}

pub(super) struct ProbeProcess {
    child: Option<Child>,
    /// Readable once the process has ended. Unlike its number, this never means another process.
    pidfd: OwnedFd,
    group: Pid,
    socket: UnixStream,
    stderr: Option<ChildStderr>,
    written: Vec<u8>,
}

impl ProbeProcess {
    /// Starts `program`: the staged copy is its stdin, `theirs` its stdout, a pipe its stderr.
    pub(super) fn spawn(
        program: &Path,
        argument: OsString,
        staged: &StagedPlugin,
        socket: UnixStream,
        theirs: UnixStream,
    ) -> Result<Self, LoadError> {
        let not_run = |error: io::Error| {
            let reason = match Errno::from_io_error(&error) {
                Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE) => {
                    LoadErrorReason::NoResources
                }
                _ => LoadErrorReason::ProbeFailed,
            };
            LoadError::new(reason, format_args!("{} could not be run: {error}", program.display()))
        };
        let copy = staged.as_fd().try_clone_to_owned().map_err(not_run)?;
        socket.set_nonblocking(true).map_err(not_run)?;
        // The environment is not the plugin's, and LD_PRELOAD and LD_LIBRARY_PATH in it would add code to it.
        let mut child = Command::new(program)
            .arg0(argument)
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(copy))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::piped())
            .spawn()
            .map_err(not_run)?;
        let stderr = child.stderr.take();
        // It is not reaped yet, so the number is still its own.
        let group = Pid::from_child(&child);
        let opened = pidfd_open(group, PidfdFlags::empty()).and_then(|pidfd| {
            stderr.as_ref().map_or(Ok(()), |stderr| rustix::io::ioctl_fionbio(stderr, true))?;
            Ok(pidfd)
        });
        match opened {
            Ok(pidfd) => Ok(Self { child: Some(child), pidfd, group, socket, stderr, written: Vec::new() }),
            Err(error) => {
                let _ = kill_process_group(group, Signal::KILL);
                let _ = child.wait();
                Err(not_run(error.into()))
            }
        }
    }

    /// Sends `request` and hands what comes back to `hear` until that says `true`, the process ends, or `deadline`.
    pub(super) fn attend(
        &mut self,
        mut request: &[u8],
        deadline: Option<Instant>,
        mut hear: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<ListenEnd> {
        let mut reporting = true;
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(ListenEnd::TimedOut);
            }
            let ready = self.wait(left, reporting, !request.is_empty())?;
            if ready.stderr {
                self.read_stderr();
            }
            if ready.socket_write {
                match self.socket.write(request) {
                    Ok(sent) => request = &request[sent..],
                    Err(error) if is_passing(&error) => {}
                    // It does not read any more: how it ends says why.
                    Err(_) => request = &[],
                }
            }
            // Once it has ended, what it had still to say is there in full.
            while reporting && (ready.socket_read || ready.exited) {
                let mut buffer = [0; 4096];
                match self.socket.read(&mut buffer) {
                    Ok(read) if read > 0 => {
                        if hear(&buffer[..read]) {
                            return Ok(ListenEnd::Answered);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(_) | Err(_) => reporting = false,
                }
            }
            if ready.exited {
                return Ok(ListenEnd::Exited);
            }
        }
    }

    fn wait(&self, left: Option<Duration>, reading: bool, writing: bool) -> io::Result<Ready> {
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, reading);
        wanted.set(PollFlags::OUT, writing);
        let mut polled = vec![PollFd::new(&self.pidfd, PollFlags::IN)];
        // A side that has been closed is ready for ever: it is left out once that is known.
        let socket = (!wanted.is_empty()).then(|| {
            polled.push(PollFd::new(&self.socket, wanted));
            polled.len() - 1
        });
        let stderr = self.stderr.as_ref().map(|stderr| {
            polled.push(PollFd::new(stderr, PollFlags::IN));
            polled.len() - 1
        });
        match poll(&mut polled, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is = |index: Option<usize>, flags: PollFlags| {
            index.is_some_and(|index| {
                polled[index].revents().intersects(flags | PollFlags::HUP | PollFlags::ERR)
            })
        };
        Ok(Ready {
            exited: is(Some(0), PollFlags::IN),
            socket_read: reading && is(socket, PollFlags::IN),
            socket_write: writing && is(socket, PollFlags::OUT),
            stderr: is(stderr, PollFlags::IN),
        })
    }

    /// Reads what is there, once: one that writes without end does not keep the parent from its deadline.
    fn read_stderr(&mut self) -> bool {
        let Some(stderr) = &mut self.stderr else { return false };
        let mut buffer = [0; STDERR_KEPT];
        match stderr.read(&mut buffer) {
            Ok(read) if read > 0 => {
                self.written.extend_from_slice(&buffer[..read]);
                let surplus = self.written.len().saturating_sub(STDERR_KEPT);
                self.written.drain(..surplus);
                true
            }
            Err(error) if is_passing(&error) => false,
            Ok(_) | Err(_) => {
                self.stderr = None;
                false
            }
        }
    }

    /// Kills the process and everything in its group, and reaps it.
    pub(super) fn kill(mut self) -> ProbeOutput {
        // Seen before the killing, which a process that has already ended does not notice.
        let status = self.end();
        // A pipe holds 64 KiB: more cannot be there, and one outside the group may still be writing.
        for _ in 0..16 {
            if !self.read_stderr() {
                break;
            }
        }
        ProbeOutput { stderr: one_line(&self.written), status }
    }

    /// The status, unless the process does not die.
    fn end(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        // While it is not reaped its number, which is the group's, belongs to it.
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = child.kill();
        let deadline = Instant::now() + DYING_MAX;
        while !self.has_ended(deadline.saturating_duration_since(Instant::now())) {
            if Instant::now() >= deadline {
                tracing::error!(pid = child.id(), "a killed probing process does not end");
                // It is reaped whenever it does, and until then waits where it holds nobody up.
                let _ = std::thread::Builder::new().name("probe-reaper".into()).spawn(move || child.wait());
                return None;
            }
        }
        child.wait().ok()
    }

    fn has_ended(&self, within: Duration) -> bool {
        let mut polled = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let within = Timespec::try_from(within).ok();
        poll(&mut polled, within.as_ref()).is_ok_and(|ready| ready > 0)
    }
}

impl Drop for ProbeProcess {
    fn drop(&mut self) {
        self.end();
    }
}

struct Ready {
    exited: bool,
    socket_read: bool,
    socket_write: bool,
    stderr: bool,
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn one_line(written: &[u8]) -> String {
    let text = String::from_utf8_lossy(written);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" | ").replace(char::is_control, " ")
}

impl ProbeOutput {
    /// `signal 11 (SIGSEGV)`, or `exit code 0`.
    pub(super) fn ended_how(&self) -> String {
        let Some(status) = self.status else { return "an unknown end".to_owned() };
        match (status.signal(), status.code()) {
            (Some(signal), _) => match signal_name(signal) {
                Some(name) => format!("signal {signal} ({name})"),
                None => format!("signal {signal}"),
            },
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => "an unknown end".to_owned(),
        }
    }
}

/// Signals that faults end in; their numbers are the same on x86_64 and aarch64 (signal(7)).
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

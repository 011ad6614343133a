//! Process 1 of a container: starts the host as its child, forwards signals, and reaps processes.
//!
//! The kernel makes process 1 the parent of every process whose own parent has ended, and keeps a
//! zombie of each until process 1 reaps it. The host itself must not reap a process that it does
//! not know: a plugin may have started it, and may wait for its exit status. So the host runs as
//! the only child that process 1 has started.
//!
//! ```text
//! container runtime ──signals──► process 1 ──signals──► host ──► probes, processes of plugins
//!                                    ▲                                    │ (orphaned)
//!                                    └──────────── reaped ◄───────────────┘
//! ```
//!
//! Process 1 ends with the exit code of the host, or with 128 plus the number of the signal that
//! ended the host. Its end ends all other processes of the container.

use std::env;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use tokio::signal::unix::{SignalKind, signal};

use super::exit_code::{SYSTEM, fail};

/// The id of this process when it is the first one of a container.
const FIRST: u32 = 1;

/// Added to the number of the signal that ended the host, as shells do.
const SIGNAL_EXIT: i32 = 128;

/// Runs the host as a child and returns its exit code, if this process is process 1. Otherwise
/// returns `None` at once.
pub(super) fn run_as_init() -> Option<ExitCode> {
    if std::process::id() != FIRST {
        return None;
    }
    let code = run_host();
    Some(code.map_or_else(|error| fail(SYSTEM, &format_args!("process 1: {error}")), ExitCode::from))
}

fn run_host() -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    runtime.block_on(async {
        // Before the host starts, so that no signal is missed.
        let mut ended = signal(SignalKind::child())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let host = start_host()?;

        loop {
            // One signal may stand for several processes that have ended.
            while let Some((pid, status)) = wait(WaitOptions::NOHANG)? {
                if pid == host {
                    return Ok(exit_code(status));
                }
            }

            let forwarded = tokio::select! {
                _ = ended.recv() => continue,
                _ = terminate.recv() => Signal::TERM,
                _ = interrupt.recv() => Signal::INT,
                _ = hang_up.recv() => Signal::HUP,
            };
            // The host is not reaped yet, so the id still belongs to it.
            kill_process(host, forwarded)?;
        }
    })
}

/// Starts this program with the same arguments, in a process group of its own: Ctrl-C on a terminal
/// must reach the host once, by way of process 1.
fn start_host() -> io::Result<Pid> {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let mut command = Command::new(env::current_exe()?);
    command.arg0(name).args(arguments).process_group(0);

    // Both variables name the process that they are meant for. The host has another id.
    let is_for_this_process = |variable| env::var(variable).is_ok_and(|pid| pid == FIRST.to_string());
    if is_for_this_process("LISTEN_PID") {
        command.env_remove("LISTEN_PID").env(jackfield::LISTEN_FDS_PASSED_ON, "1");
    }
    if is_for_this_process("WATCHDOG_PID") {
        command.env_remove("WATCHDOG_PID");
    }
    // The handle is dropped: `wait` reaps the host.
    Ok(Pid::from_child(&command.spawn()?))
}

fn exit_code(status: WaitStatus) -> u8 {
    let code =
        status.exit_status().or_else(|| status.terminating_signal().map(|signal| SIGNAL_EXIT + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(SYSTEM)
}

//! The setup of a process that the host has started from its own program: its socket to the host
//! moves out of reach of plugins, and it ends with the host.
//!
//! Such a process is recognized by its name (`argv[0]`), by its stdin, which is the sealed memory
//! file of a plugin, and by its stdout, which is the socket.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::process::exit;

use rustix::fs::{FileType, SealFlags, fcntl_get_seals, fstat};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{
    Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
};
use rustix::stdio::{dup2_stdout, stderr, stdin, stdout};

use crate::system_failure::WithRemedy;

/// The lowest number for the descriptor of the socket, where the process may have as many. It is
/// out of reach of code that closes or reuses low numbers.
const SOCKET_MIN: i32 = 100;

/// Returns whether the host has started this process, under a name for which `is_name` returns
/// `true`. Any process can be given the name, so the kinds of stdin and stdout are checked, too.
pub(crate) fn is_child_process(is_name: impl FnOnce(&OsStr) -> bool) -> bool {
    env::args_os().next().is_some_and(|name| is_name(&name))
        && fcntl_get_seals(stdin()).is_ok_and(|seals| seals.contains(SealFlags::WRITE))
        && fstat(stdout()).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}

/// Ends a process that cannot report. The host reads its stderr.
pub(crate) fn give_up(failed: &str, error: &io::Error) -> ! {
    let _ = writeln!(io::stderr(), "cannot {failed}: {}", WithRemedy(error));
    exit(1)
}

/// Moves the socket to the host away from stdout, to which the plugin may print, and limits the
/// cost of a crash.
///
/// # Errors
///
/// A system call failed.
pub(crate) fn isolate_socket() -> rustix::io::Result<OwnedFd> {
    let socket = fcntl_dupfd_cloexec(stdout(), socket_min())?;
    dup2_stdout(stderr())?;

    // A crash of the process is expected, and needs no core dump. The limit is 1 byte instead of 0:
    // if core_pattern is a pipe, the kernel writes the dump even at 0 (core(5)).
    setrlimit(Resource::Core, Rlimit { current: Some(1), maximum: Some(1) })?;
    // The signal is sent when the thread of the host ends that has started the process. That thread
    // does not end before the process.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(socket)
}

/// Returns the lowest number for the descriptor of the socket, which the limit of this process
/// permits.
fn socket_min() -> i32 {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| i32::try_from(limit).ok());
    limit.map_or(SOCKET_MIN, |limit| SOCKET_MIN.min(limit / 2))
}

/// Ends this process if `parent` is not its parent any more: the host may have ended before the
/// death signal was set.
pub(crate) fn exit_without_parent(parent: u32) {
    if getppid().map(|found| found.as_raw_nonzero().get().unsigned_abs()) != Some(parent) {
        exit(1);
    }
}

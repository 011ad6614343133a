//! The first steps of a worker process: whether it is one, its descriptors, its name.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, open};
use rustix::stdio::{dup2_stdin, stdin};
use rustix::thread::set_name;

use super::super::plugin_thread::thread_name;
use crate::loader::child_setup::{is_child_process, isolate_socket};
use crate::worker::spec::PROCESS_NAME;

/// The descriptors that a worker has beside stdin, stdout and stderr.
pub(super) struct Descriptors {
    /// The channel to the host.
    pub(super) socket: Arc<OwnedFd>,

    /// The memory file with the plugin.
    pub(super) plugin: OwnedFd,
}

/// Returns whether this process was started as a worker.
pub(super) fn is_worker_process() -> bool {
    is_child_process(|name| name.as_bytes().starts_with(PROCESS_NAME.as_bytes()))
}

/// Moves the channel and the plugin away from stdout and stdin. After that, the plugin reads
/// nothing from stdin, what it prints goes to stderr, which the host captures, and no other
/// descriptor is left.
///
/// # Errors
///
/// A system call failed.
pub(super) fn isolate() -> io::Result<Descriptors> {
    let socket = isolate_socket()?;
    let plugin = stdin().try_clone_to_owned()?;
    let null = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    drop(null);

    close_others(&[socket.as_fd().as_raw_fd(), plugin.as_raw_fd()])?;
    Ok(Descriptors { socket: Arc::new(socket), plugin })
}

/// Closes every descriptor above stderr that is not one of `kept`. Those of the host are closed
/// when the process is started, so there are some only if another part of the program has opened or
/// passed them on.
fn close_others(kept: &[RawFd]) -> io::Result<()> {
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<RawFd>().ok();
    let open: Vec<RawFd> = fs::read_dir("/proc/self/fd")?.filter_map(|entry| number(entry.ok()?)).collect();
    for other in open.into_iter().filter(|open| *open > 2 && !kept.contains(open)) {
        // The directory that was read is among them, and is closed already.
        let _ = nix::unistd::close(other);
    }
    Ok(())
}

/// Names the main thread as a thread of the plugin, because `top` and `pkill` know a process by it.
/// Signals for all processes that are called `jackfield` do not reach workers.
pub(super) fn name_process(plugin: &str) {
    // The name of a plugin contains no NUL, and the process works without the name as well.
    if let Ok(name) = CString::new(thread_name(plugin, "worker")) {
        let _ = set_name(&name);
    }
}

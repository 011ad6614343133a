//! The process groups of sandboxed workers, so that the admin socket can refuse them.
//!
//! A worker has the user of the host, and so the right to use the admin socket, and most kernels
//! do not restrict connections to Unix sockets by path. A command of an operator would end the
//! sandbox: it can move the plugin into the host. The filter of system calls keeps every process of
//! a sandboxed worker in the group of the worker, so the group of a peer decides.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::process::{Pid, getpgid};

use crate::sync::lock;

/// The groups of all hosts in this process.
static GROUPS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Whether there ever was a sandboxed worker in this process.
static EXISTED: AtomicBool = AtomicBool::new(false);

/// Keeps a group in the list until it is dropped.
#[derive(Debug)]
pub(crate) struct SandboxedGroup(u32);

impl SandboxedGroup {
    /// Adds the group of a worker, before the worker runs any code of its plugin.
    pub(crate) fn add(group: u32) -> Self {
        EXISTED.store(true, Ordering::Relaxed);
        lock(&GROUPS).push(group);
        Self(group)
    }
}

impl Drop for SandboxedGroup {
    fn drop(&mut self) {
        let mut groups = lock(&GROUPS);
        if let Some(index) = groups.iter().position(|group| *group == self.0) {
            groups.swap_remove(index);
        }
    }
}

/// Returns whether a process may belong to a sandboxed worker. Once there was one, this also holds
/// for every process that has ended: it may have been one, and its request may still be unread.
///
/// A process outside of this PID namespace, which has no number here, is none of a worker.
pub(crate) fn contain(pid: u32) -> bool {
    if !EXISTED.load(Ordering::Relaxed) {
        return false;
    }
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    match getpgid(Some(pid)) {
        Ok(group) => lock(&GROUPS).contains(&group.as_raw_nonzero().get().unsigned_abs()),
        Err(error) => error == Errno::SRCH,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn contain_a_worker_and_its_children_until_it_is_dropped() {
        // The shell starts a child, and reports its process id.
        let mut worker = Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = worker.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        let child: u32 = line.trim().parse().unwrap();

        assert!(!contain(worker.id()));
        let group = SandboxedGroup::add(worker.id());
        assert!(contain(worker.id()) && contain(child));
        assert!(!contain(std::process::id()) && !contain(0));
        drop(group);
        assert!(!contain(worker.id()));

        let group = Pid::from_child(&worker);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        let pid = worker.id();
        worker.wait().unwrap();
        assert!(contain(pid), "its last request may be unread");
    }
}

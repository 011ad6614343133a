//! The resources that a server has used, including its threads and children.

use std::fs;
use std::io;
use std::time::Duration;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// Resources used since the start of the server.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// User and system time, including ended threads.
    ///
    /// The CPU clock of a process has a resolution of a nanosecond; `utime` and `stime` in
    /// `/proc/PID/stat` are rounded from it.
    pub(super) cpu: Duration,
    /// Voluntary and involuntary context switches of the existing threads.
    pub(super) switches: u64,
}

impl Usage {
    /// Returns the resources used by a process and its descendants.
    pub(super) fn of(pid: Pid) -> io::Result<Self> {
        let mut usage = Self::default();
        for pid in process_tree(pid)? {
            usage.cpu += Duration::from(clock_getcpuclockid(pid)?.now()?);
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                // The thread may have ended since.
                let Ok(status) = fs::read_to_string(task?.path().join("status")) else { continue };
                usage.switches += status
                    .lines()
                    .filter(|line| line.contains("voluntary_ctxt_switches:"))
                    .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
                    .sum::<u64>();
            }
        }
        Ok(usage)
    }

    /// Returns the resources used since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            switches: self.switches.saturating_sub(before.switches),
        }
    }
}

/// Returns a process and all its descendants.
pub(super) fn process_tree(root: Pid) -> io::Result<Vec<Pid>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name in parentheses may contain any characters. The parent is the second field after
        // it.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<i32>().ok());
        parents.extend(parent.map(|parent| (Pid::from_raw(pid), Pid::from_raw(parent))));
    }

    let mut tree = vec![root];
    let mut at = 0;
    while let Some(parent) = tree.get(at).copied() {
        tree.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    Ok(tree)
}

/// Returns the private memory of a process in bytes: anonymous pages in RAM, which it shares with
/// no other process.
pub(super) fn private_memory(pid: Pid) -> io::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other(format!("{path} has no RssAnon")))
}

/// Returns the bytes of a process that no other process shares: anonymous pages and those that only
/// it has mapped (`Private_Clean` and `Private_Dirty` of `smaps_rollup`).
pub(super) fn unshared_memory(pid: Pid) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = rollup
        .lines()
        .filter(|line| line.starts_with("Private_Clean:") || line.starts_with("Private_Dirty:"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum::<u64>();
    Ok(kib * 1024)
}

//! What a server has used of the machine so far, its threads and children counted.

use std::fs;
use std::io;
use std::time::Duration;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// Used since it began.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// User and system time, of ended threads too. To the nanosecond: the clock of a process is what `utime` and `stime`
    /// in `/proc/PID/stat` are rounded from.
    pub(super) cpu: Duration,
    /// Voluntary and involuntary, of threads that are there.
    pub(super) switches: u64,
}

impl Usage {
    pub(super) fn of(pid: Pid) -> io::Result<Self> {
        let mut usage = Self::default();
        for pid in family(pid)? {
            usage.cpu += Duration::from(clock_getcpuclockid(pid)?.now()?);
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                // A thread may end meanwhile.
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

    /// Used since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            switches: self.switches.saturating_sub(before.switches),
        }
    }
}

/// A process and all its descendants.
fn family(root: Pid) -> io::Result<Vec<Pid>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name in parentheses may hold anything: the parent is the second field after it.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<i32>().ok());
        parents.extend(parent.map(|parent| (Pid::from_raw(pid), Pid::from_raw(parent))));
    }
    let mut family = vec![root];
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    Ok(family)
}

/// Memory of its own that a process has in use, in bytes: what no other process could share.
pub(super) fn own_memory(pid: Pid) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("no RssAnon in the status of a process"))
}

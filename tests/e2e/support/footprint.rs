//! Resources of a process (descriptors, threads, mappings, resident memory), and whether they are
//! released.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use super::wait::{CEILING, poll_within, wait_until};

/// The resources that a process holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    pub(crate) mappings: usize,
    /// Resident memory, in KiB.
    pub(crate) resident: usize,
}

impl Footprint {
    /// Returns the resources that the process holds now.
    pub(crate) fn of(pid: u32) -> Self {
        let entries =
            |name: &str| fs::read_dir(format!("/proc/{pid}/{name}")).expect("a living process").count();
        Self {
            descriptors: entries("fd"),
            threads: entries("task"),
            mappings: fs::read_to_string(format!("/proc/{pid}/maps")).expect("its mappings").lines().count(),
            resident: resident_kib(pid),
        }
    }

    /// Returns whether `self` does not exceed `before`.
    ///
    /// Descriptors and threads are compared exactly. Mappings and memory may grow by 2 % and by
    /// what an allocator keeps for later: 16 mappings, because it adds an arena of a few mappings
    /// whenever two threads contend for one, and 1 MiB of free memory.
    pub(crate) fn is_back_to(&self, before: &Self) -> bool {
        let about = |now: usize, before: usize, slack: usize| now <= before + before / 50 + slack;
        self.descriptors <= before.descriptors
            && self.threads <= before.threads
            && about(self.mappings, before.mappings, 16)
            && about(self.resident, before.resident, 1024)
    }
}

/// Waits until the process serves no connection and returns its footprint.
///
/// The host keeps the descriptor of a client for a moment after the client was dropped.
#[track_caller]
pub(crate) fn idle_footprint(pid: u32) -> Footprint {
    wait_until("no connection is served", || connections(pid) == 0);
    Footprint::of(pid)
}

/// Returns the number of accepted connections of a process: its connected sockets that have a name.
pub(crate) fn connections(pid: u32) -> usize {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("a living process").flatten();
    let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    let sockets: BTreeSet<String> = links
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
        .collect();

    // Columns: Num RefCount Protocol Flags Type St Inode Path. State 03 is connected.
    let table = fs::read_to_string("/proc/net/unix").expect("the system's sockets");
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|line| matches!(line[..], [_, _, _, _, _, "03", inode, _] if sockets.contains(inode)))
        .count()
}

/// Returns the resident memory, in KiB.
pub(crate) fn resident_kib(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its resident memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

/// Returns the processor time of all threads of a process. The kernel counts in units of 10 ms.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    cpu_time_in(&format!("/proc/{pid}/stat"))
}

/// Returns the processor time of the current thread, in the same units.
pub(crate) fn cpu_time_of_this_thread() -> Duration {
    cpu_time_in("/proc/thread-self/stat")
}

fn cpu_time_in(stat: &str) -> Duration {
    let stat = fs::read_to_string(stat).expect("a living process");
    // The name, in parentheses, may contain anything. utime and stime are fields 12 and 13 behind
    // it.
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks"));
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// Waits until the process holds no more than before.
///
/// # Errors
///
/// The footprint at the end of `ceiling`, if it still exceeds `before`.
pub(crate) fn wait_until_released(pid: u32, before: &Footprint, ceiling: Duration) -> Result<(), Footprint> {
    let back = poll_within(ceiling, || Footprint::of(pid).is_back_to(before).then_some(()));
    back.ok_or_else(|| Footprint::of(pid))
}

/// Waits until the process holds no more than before, and fails if it does not.
#[track_caller]
pub(crate) fn assert_released(pid: u32, before: &Footprint) {
    if let Err(after) = wait_until_released(pid, before, CEILING) {
        panic!("something leaks: before {before:?}, after {after:?}");
    }
}

/// As [`assert_released`], but allows `extra_kib` KiB of memory in addition.
#[track_caller]
pub(crate) fn assert_released_within(pid: u32, before: &Footprint, extra_kib: usize) {
    assert_released(pid, &Footprint { resident: before.resident + extra_kib, ..*before });
}

/// Repeats `round` until one of six rounds releases all that it took, except for `extra_kib` KiB,
/// and fails if none does.
///
/// The memory that an allocator keeps grows only when a peak exceeds all previous ones, which
/// depends on chance. A leak grows in each round.
#[track_caller]
pub(crate) fn assert_levels_off(pid: u32, extra_kib: usize, mut round: impl FnMut()) {
    const ROUNDS: usize = 6;
    const ROUND_CEILING: Duration = Duration::from_secs(5);

    let mut grown = Vec::new();

    for _ in 0..ROUNDS {
        let before = idle_footprint(pid);
        round();
        match wait_until_released(
            pid,
            &Footprint { resident: before.resident + extra_kib, ..before },
            ROUND_CEILING,
        ) {
            Ok(()) => return,
            Err(after) => grown.push((before, after)),
        }
    }
    panic!("something leaks, before and after each round: {grown:#?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::HostProcess;

    /// Time for which an injected leak is observed. It must not disappear in that time.
    const WATCHED: Duration = Duration::from_millis(300);

    #[test]
    fn detects_a_leaked_connection() {
        let host = HostProcess::with(&[]);
        host.peer().assert_usable();
        let before = idle_footprint(host.pid());

        let mut kept = host.peer();
        kept.assert_usable();

        let leaking = wait_until_released(host.pid(), &before, WATCHED).unwrap_err();
        assert_eq!(leaking.descriptors, before.descriptors + 1, "an open connection holds one descriptor");

        drop(kept);
        assert_released(host.pid(), &before);
    }

    #[test]
    fn compares_each_resource() {
        let before = Footprint { descriptors: 20, threads: 5, mappings: 200, resident: 10_000 };
        assert!(before.is_back_to(&before));
        let is_released_after = |change: fn(&mut Footprint)| {
            let mut after = before;
            change(&mut after);
            after.is_back_to(&before)
        };
        assert!(!is_released_after(|after| after.descriptors += 1));
        assert!(!is_released_after(|after| after.threads += 1));
        assert!(!is_released_after(|after| after.mappings += 21));
        assert!(!is_released_after(|after| after.resident += 1225));
    }
}

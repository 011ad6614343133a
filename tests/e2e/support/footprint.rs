//! What a process holds of the system: descriptors, threads, mappings, resident memory; and whether that comes back.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use super::wait::{CEILING, until, within};

/// What a process holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    pub(crate) mappings: usize,
    /// Resident memory in KiB.
    pub(crate) resident: usize,
}

impl Footprint {
    /// What the process holds now.
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

    /// Whether `self` is no more than `before`, but for 2 % and what an allocator keeps for next time: some arenas of
    /// a few mappings each, of which it makes one more whenever two threads meet in one, and a MiB of free memory. Descriptors and threads are counted to the last one.
    pub(crate) fn is_back_to(&self, before: &Self) -> bool {
        let about = |now: usize, before: usize, slack: usize| now <= before + before / 50 + slack;
        self.descriptors <= before.descriptors
            && self.threads <= before.threads
            && about(self.mappings, before.mappings, 16)
            && about(self.resident, before.resident, 1024)
    }
}

/// What a process holds once it serves no connection: a client that was dropped is a moment longer a descriptor.
#[track_caller]
pub(crate) fn at_rest(pid: u32) -> Footprint {
    until("no connection is served", || connections(pid) == 0);
    Footprint::of(pid)
}

/// How many accepted connections a process holds: sockets that have a name and are connected.
pub(crate) fn connections(pid: u32) -> usize {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("a living process").flatten();
    let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    let sockets: BTreeSet<String> = links
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
        .collect();
    // Num RefCount Protocol Flags Type St Inode Path; state 03 is connected.
    let table = fs::read_to_string("/proc/net/unix").expect("the system's sockets");
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|line| matches!(line[..], [_, _, _, _, _, "03", inode, _] if sockets.contains(inode)))
        .count()
}

/// Resident memory in KiB.
pub(crate) fn resident_kib(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its resident memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

/// How long a process has had a processor, in all its threads; the kernel counts by hundredths of a second.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
    // The name, in parentheses, may hold anything; behind it the 12th and 13th fields are what we want.
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks"));
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// Waits until the process holds no more than before.
pub(crate) fn settles(pid: u32, before: &Footprint, ceiling: Duration) -> Result<(), Footprint> {
    let back = within(ceiling, || Footprint::of(pid).is_back_to(before).then_some(()));
    back.ok_or_else(|| Footprint::of(pid))
}

/// The process comes back to what it held before.
#[track_caller]
pub(crate) fn assert_settles(pid: u32, before: &Footprint) {
    if let Err(after) = settles(pid, before, CEILING) {
        panic!("something leaks: before {before:?}, after {after:?}");
    }
}

/// As [`assert_settles`], for what leaves an allocator with more or less each time: at most so many KiB more.
#[track_caller]
pub(crate) fn assert_settles_within(pid: u32, before: &Footprint, more: usize) {
    assert_settles(pid, &Footprint { resident: before.resident + more, ..*before });
}

/// The process comes back from a round to what it held before, but for so many KiB: from one of several. What an
/// allocator keeps grows only while there were never so many at once, which is up to chance; what leaks grows each time.
#[track_caller]
pub(crate) fn assert_levels_off(pid: u32, more: usize, mut round: impl FnMut()) {
    const ROUNDS: usize = 6;
    const SETTLING: Duration = Duration::from_secs(5);
    let mut grown = Vec::new();
    for _ in 0..ROUNDS {
        let before = at_rest(pid);
        round();
        match settles(pid, &Footprint { resident: before.resident + more, ..before }, SETTLING) {
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

    /// How long a planted leak is watched: it must not go away by itself.
    const WATCHED: Duration = Duration::from_millis(300);

    #[test]
    fn a_planted_leak_is_seen() {
        let host = HostProcess::with(&[]);
        host.peer().assert_usable();
        let before = at_rest(host.pid());
        let mut kept = host.peer();
        kept.assert_usable();
        let leaking = settles(host.pid(), &before, WATCHED).unwrap_err();
        assert_eq!(
            leaking.descriptors,
            before.descriptors + 1,
            "a connection that is kept is one descriptor"
        );
        drop(kept);
        assert_settles(host.pid(), &before);
    }

    #[test]
    fn each_part_is_compared() {
        let before = Footprint { descriptors: 20, threads: 5, mappings: 200, resident: 10_000 };
        assert!(before.is_back_to(&before));
        let more = |change: fn(&mut Footprint)| {
            let mut after = before;
            change(&mut after);
            after.is_back_to(&before)
        };
        assert!(!more(|after| after.descriptors += 1));
        assert!(!more(|after| after.threads += 1));
        assert!(!more(|after| after.mappings += 21));
        assert!(!more(|after| after.resident += 1225));
    }
}

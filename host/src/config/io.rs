//! `[io]`: how the threads that serve connections behave.

use std::ops::RangeInclusive;
use std::thread;
use std::time::Duration;

use super::section::Section;

/// How the I/O threads behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Io {
    /// How many threads serve connections, 1 to 256. Takes effect at the next start. Default half of the cores this
    /// process may use, and one in any case: who asks is on the same machine, and with the other half in use by
    /// clients each further thread only makes the others wait (on two cores, a second one takes half of the speed).
    pub threads: usize,
    /// How long a thread that has just been asked something looks for more before it sleeps, 0 to 10 ms; zero: not at
    /// all. Waking a thread costs more than a small request, so this is what makes one client that waits for each
    /// reply fast. A thread for which it does not pay does it ever more seldom, and an idle one never; half of the cores
    /// at most are used for it. Default 50 us: shorter misses the client's next request, longer finds hardly more.
    pub spin: Duration,
}

impl Default for Io {
    fn default() -> Io {
        Io { threads: half_of_the_cores(), spin: Duration::from_micros(50) }
    }
}

/// Half of the cores that this process may use, and one in any case: clients have the others.
pub(crate) fn half_of_the_cores() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).max(1)
}

/// More threads than any machine this runs on has use for.
const THREADS: RangeInclusive<usize> = 1..=256;
const SPIN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_millis(10);

pub(super) fn read(section: Section<'_>) -> Io {
    let default = Io::default();
    let threads = section.count("threads", THREADS, default.threads);
    let io = Io { threads, spin: section.duration("spin", SPIN, default.spin) };
    section.close();
    io
}

//! `[io]`: the threads that serve connections.

use std::ops::RangeInclusive;
use std::thread;
use std::time::Duration;

use super::section::Section;

/// The I/O threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Io {
    /// Number of I/O threads, 1 to 256. Takes effect at the next start.
    ///
    /// Default half of the cores that this process may use, but at least one. The clients run on
    /// the same machine and use the other half; each further thread would only make the others wait
    /// (on two cores, a second one takes half of the speed).
    pub threads: usize,

    /// How long an I/O thread polls for the next request before it sleeps, 0 to 10 ms; zero
    /// disables busy polling.
    ///
    /// Waking a thread costs more than a small request, so busy polling is what makes a client fast
    /// that waits for each reply. A thread that gains nothing from it polls less and less often,
    /// and an idle thread never; at most half of the cores poll. Default 50 us: a shorter time
    /// misses the next request of the client, and a longer one finds hardly more.
    pub spin: Duration,
}

impl Default for Io {
    fn default() -> Io {
        Io { threads: half_of_the_cores(), spin: Duration::from_micros(50) }
    }
}

/// Returns half of the cores that this process may use, but at least one. The clients use the
/// others.
pub(crate) fn half_of_the_cores() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).max(1)
}

/// The upper bound is more than any machine that runs the host can use.
const THREADS: RangeInclusive<usize> = 1..=256;
const SPIN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_millis(10);

pub(super) fn read(section: Section<'_>) -> Io {
    let default = Io::default();
    let io = Io {
        threads: section.count("threads", THREADS, default.threads),
        spin: section.duration("spin", SPIN, default.spin),
    };
    section.close();
    io
}

//! `[io]`: how the threads that serve connections behave.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::section::Section;

/// How the I/O threads behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Io {
    /// How long a thread that has just been asked something looks for more before it sleeps, 0 to 10 ms; zero: not at
    /// all. Waking a thread costs more than a small request, so this is what makes one client that waits for each
    /// reply fast. A thread for which it does not pay does it ever more seldom, and an idle one never; half of the cores
    /// at most are used for it. Default 50 us:
    /// shorter misses the client's next request, longer finds hardly more.
    pub spin: Duration,
}

impl Default for Io {
    fn default() -> Io {
        Io { spin: Duration::from_micros(50) }
    }
}

const SPIN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_millis(10);

pub(super) fn read(section: Section<'_>) -> Io {
    let default = Io::default();
    let io = Io { spin: section.duration("spin", SPIN, default.spin) };
    section.close();
    io
}

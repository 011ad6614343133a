//! The one monotonic clock of the process.

use std::sync::OnceLock;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The zero of the clock, in nanoseconds of the monotonic clock of the kernel.
static EPOCH: OnceLock<u64> = OnceLock::new();

/// An instant on the clock of the process, in nanoseconds since the clock was first read. The clock
/// of a worker process is that of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) u64);

/// Returns the monotonic clock of the kernel in nanoseconds, which overflow after 584 years.
///
/// An `Instant` reads the same clock, but converting it to a number takes three times as long. A
/// kernel without this clock would have failed long before.
fn monotonic() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| {
        now.tv_sec().cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec().cast_unsigned())
    })
}

/// Returns the zero of the clock, for [`adopt_epoch`] in a worker process.
pub(crate) fn epoch() -> u64 {
    *EPOCH.get_or_init(monotonic)
}

/// Makes the clock of the host that of this process. It must not have been read before. Returns
/// whether it had not.
pub(crate) fn adopt_epoch(of_host: u64) -> bool {
    EPOCH.set(of_host).is_ok()
}

impl Time {
    /// Later than any other instant.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) fn now() -> Self {
        // The epoch is read first, because this call may be the one that sets it.
        let epoch = epoch();
        Self(monotonic().saturating_sub(epoch))
    }

    /// Returns the instant `length` later; [`Time::NEVER`] if that is past the end of the clock.
    pub(crate) fn after(self, length: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(length)))
    }

    /// Returns the time that has passed since `earlier`; zero if that instant is not earlier.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Returns a duration in nanoseconds, at most `u64::MAX` (584 years).
pub(crate) fn nanoseconds(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturates_at_both_ends_of_the_clock() {
        let second = Duration::from_secs(1);
        assert_eq!(Time(0).after(Duration::MAX), Time::NEVER);
        assert_eq!(Time::NEVER.after(second), Time::NEVER);
        assert_eq!(Time(1).since(Time(2)), Duration::ZERO);
        assert_eq!(Time(5).after(second).since(Time(5)), second);
    }

    #[test]
    fn never_goes_back() {
        let earlier = Time::now();
        assert!(Time::now() >= earlier);
    }
}

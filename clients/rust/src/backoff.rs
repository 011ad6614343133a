//! Exponential backoff with jitter: the delay before an attempt is repeated.

use std::time::Duration;

use uuid::Uuid;

/// Delay after the first failure.
const FIRST: Duration = Duration::from_millis(1);

/// Longest delay. A host that restarts is found again within 100 ms.
const MAX: Duration = Duration::from_millis(100);

/// Returns the delay after `failures` consecutive failures: 1, 2, 4, … ms, at most [`MAX`].
///
/// Up to half of the delay is random, so that callers that failed together do not retry together.
pub(crate) fn delay(failures: u32) -> Duration {
    let full = MAX.min(FIRST * (1 << failures.saturating_sub(1).min(10)));
    let half = full / 2;

    let (random, _) = Uuid::new_v4().as_u64_pair();
    let range = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);

    half + Duration::from_nanos(random % range)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns many delays after the same number of failures.
    fn delays(failures: u32) -> Vec<Duration> {
        (0..64).map(|_| delay(failures)).collect()
    }

    #[test]
    fn doubles_the_delay_up_to_the_limit() {
        for (failures, full) in [(1, 1), (2, 2), (4, 8), (7, 64), (8, 100), (1_000, 100), (u32::MAX, 100)] {
            let full = Duration::from_millis(full);
            let delays = delays(failures);
            assert!(delays.iter().all(|delay| (full / 2..=full).contains(delay)), "{failures}: {delays:?}");
        }
    }

    #[test]
    fn varies_the_delay_of_callers_that_failed_together() {
        for failures in [1, 4, 1_000] {
            let delays = delays(failures);
            assert!(delays.iter().any(|delay| *delay != delays[0]), "{failures}: {delays:?}");
        }
    }

    #[test]
    fn treats_no_failure_like_the_first() {
        assert!(delays(0).iter().all(|delay| *delay <= FIRST));
    }
}

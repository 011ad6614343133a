//! How long to wait before trying again: doubling, with jitter, so that many callers do not come back at once.

use std::time::Duration;

use uuid::Uuid;

const FIRST: Duration = Duration::from_millis(1);
/// A host that restarts is found again within a tenth of a second.
const MOST: Duration = Duration::from_millis(100);

/// The wait after so many failures in a row: half of it fixed, half of it random.
pub(crate) fn delay(failures: u32) -> Duration {
    let whole = MOST.min(FIRST * (1 << failures.saturating_sub(1).min(10)));
    let half = whole / 2;
    let (random, _) = Uuid::new_v4().as_u64_pair();
    let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_nanos(random % nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_a_limit_and_is_never_the_same() {
        for (failures, whole) in [(1, 1), (2, 2), (4, 8), (8, 100), (1_000, 100)] {
            let whole = Duration::from_millis(whole);
            let delays: Vec<Duration> = (0..64).map(|_| delay(failures)).collect();
            assert!(delays.iter().all(|delay| (whole / 2..=whole).contains(delay)), "{failures}: {delays:?}");
            assert!(delays.iter().any(|delay| *delay != delays[0]));
        }
    }
}

//! Lengths of time in buckets: eight to each doubling, so that a percentile is right to an eighth of itself.

use std::time::Duration;

use super::thread_cells::CounterCell;
use crate::clock::nanoseconds;

/// What is not longer than 2^10 ns, a microsecond, is in the first bucket.
const FIRST: u32 = 10;
/// What is longer than 2^36 ns, 69 seconds, is in the last one.
const LAST: u32 = 36;
/// Each doubling has 2^3 buckets.
const SPLIT: u32 = 3;

const DOUBLINGS: usize = (LAST - FIRST) as usize;
const EACH: usize = 1 << SPLIT;
const BUCKETS: usize = 1 + DOUBLINGS * EACH + 1;

/// The bucket of a length: those not longer than its upper end and longer than the one before.
fn bucket(nanoseconds: u64) -> usize {
    let below = nanoseconds.saturating_sub(1);
    let doubling = u64::BITS - 1 - (below | 1).leading_zeros();
    if doubling < FIRST {
        return 0;
    }
    if doubling >= LAST {
        return BUCKETS - 1;
    }
    // The bits behind the first one.
    let part = usize::try_from(below >> (doubling - SPLIT)).unwrap_or(0) & (EACH - 1);
    1 + (doubling - FIRST) as usize * EACH + part
}

/// The upper end of a bucket, in nanoseconds; `None` of the last one.
fn upper_end(bucket: usize) -> Option<u64> {
    if bucket == 0 {
        return Some(1 << FIRST);
    }
    let (doubling, part) = ((bucket - 1) / EACH, (bucket - 1) % EACH);
    let step = 1u64 << (FIRST - SPLIT + u32::try_from(doubling).ok()?);
    (bucket < BUCKETS - 1).then(|| step * (EACH + part + 1) as u64)
}

/// A histogram that one thread writes and others read.
pub(super) struct HistogramCells {
    buckets: [CounterCell; BUCKETS],
    nanoseconds: CounterCell,
}

impl Default for HistogramCells {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| CounterCell::default()), nanoseconds: CounterCell::default() }
    }
}

impl HistogramCells {
    pub(super) fn add(&self, length: Duration) {
        let length = nanoseconds(length);
        self.nanoseconds.add(length);
        self.buckets[bucket(length)].add(1);
    }
}

/// A histogram as it was at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Histogram {
    buckets: Box<[u64; BUCKETS]>,
    nanoseconds: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), nanoseconds: 0 }
    }
}

impl Histogram {
    pub(super) fn add_all(&mut self, cells: &HistogramCells) {
        for (sum, cell) in self.buckets.iter_mut().zip(&cells.buckets) {
            *sum += cell.read();
        }
        self.nanoseconds += cells.nanoseconds.read();
    }

    /// How many lengths there are.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All lengths together.
    pub(crate) fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds)
    }

    /// The length that this part of all is not longer than, `0.5` being the median; `None` when there is none.
    ///
    /// The right one is at most an eighth shorter; what is longer than 69 s counts as 69 s.
    pub(crate) fn quantile(&self, part: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        // Counts are far below 2^52, where a float is exact.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let rank = ((count as f64 * part).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        let at = self.buckets.iter().position(|bucket| {
            seen += bucket;
            seen >= rank
        });
        at.map(|at| Duration::from_nanos(upper_end(at).unwrap_or(1 << LAST)))
    }

    /// The upper end of each bucket that has any in nanoseconds, 69 s for what is longer, and how many.
    pub(crate) fn filled(&self) -> impl Iterator<Item = (u64, u64)> {
        let filled = self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(at, count)| (upper_end(at).unwrap_or(1 << LAST), *count))
    }

    /// For each doubling its upper end in nanoseconds, and how many are not longer.
    pub(crate) fn doublings(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut sum = 0;
        self.buckets[..BUCKETS - 1].iter().enumerate().filter_map(move |(at, bucket)| {
            sum += bucket;
            at.is_multiple_of(EACH).then(|| upper_end(at).map(|end| (end, sum))).flatten()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_in_the_bucket_whose_ends_it_lies_between() {
        let ends: Vec<_> = (0..BUCKETS - 1).map(|bucket| upper_end(bucket).unwrap()).collect();
        assert!(ends.is_sorted_by(|one, next| one < next));
        assert_eq!((ends[0], ends[BUCKETS - 2], upper_end(BUCKETS - 1)), (1024, 1 << LAST, None));
        for (at, end) in ends.iter().enumerate() {
            assert_eq!([end - 1, *end, end + 1].map(bucket), [at, at, at + 1], "{end} ns");
        }
        assert_eq!([0, 1, u64::MAX].map(bucket), [0, 0, BUCKETS - 1]);
    }

    #[test]
    fn a_percentile_is_right_to_an_eighth() {
        let cells = HistogramCells::default();
        for micros in 1..=10_000 {
            cells.add(Duration::from_micros(micros));
        }
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        histogram.add_all(&cells);
        assert_eq!((histogram.count(), histogram.sum()), (10_000, Duration::from_micros(50_005_000)));
        for (part, right) in [(0.5, 5000), (0.9, 9000), (0.99, 9900), (1.0, 10_000)] {
            let found = histogram.quantile(part).unwrap();
            let right = Duration::from_micros(right);
            assert!(found >= right && found <= right * 9 / 8, "{part}: {found:?}");
        }
        cells.add(Duration::from_secs(100));
        let mut after = Histogram::default();
        after.add_all(&cells);
        assert_eq!(after.quantile(1.0), Some(Duration::from_nanos(1 << LAST)));
        let doublings: Vec<_> = after.doublings().collect();
        assert_eq!((doublings.len(), doublings[0]), (DOUBLINGS + 1, (1024, 1)));
        assert_eq!(doublings.last(), Some(&(1 << LAST, 10_000)), "what is longer is in none");
    }
}

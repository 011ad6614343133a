//! Durations in buckets, eight for each power of two: a percentile is exact to an eighth of itself.

use std::time::Duration;

use super::counters::CounterCell;
use crate::clock::nanoseconds;

/// The first bucket holds everything up to 2^10 ns, about a microsecond.
const FIRST: u32 = 10;
/// The last bucket holds everything above 2^36 ns, about 69 seconds.
const LAST: u32 = 36;
/// Each doubling between them is divided into 2^3 buckets.
const SPLIT: u32 = 3;

const DOUBLINGS: usize = (LAST - FIRST) as usize;
const PER_DOUBLING: usize = 1 << SPLIT;
const BUCKETS: usize = 1 + DOUBLINGS * PER_DOUBLING + 1;

/// Returns the index of the bucket for a duration. A bucket holds the durations above the upper
/// bound of the previous bucket, up to and including its own.
fn bucket_of(nanoseconds: u64) -> usize {
    let below = nanoseconds.saturating_sub(1);
    let doubling = u64::BITS - 1 - (below | 1).leading_zeros();
    if doubling < FIRST {
        return 0;
    }
    if doubling >= LAST {
        return BUCKETS - 1;
    }
    // The SPLIT bits behind the highest one.
    let part = usize::try_from(below >> (doubling - SPLIT)).unwrap_or(0) & (PER_DOUBLING - 1);
    1 + (doubling - FIRST) as usize * PER_DOUBLING + part
}

/// Returns the upper bound of a bucket in nanoseconds; `None` for the last one.
fn upper_bound(bucket: usize) -> Option<u64> {
    if bucket == 0 {
        return Some(1 << FIRST);
    }
    let doubling = (bucket - 1) / PER_DOUBLING;
    let part = (bucket - 1) % PER_DOUBLING;
    let width = 1u64 << (FIRST - SPLIT + u32::try_from(doubling).ok()?);
    (bucket < BUCKETS - 1).then(|| width * (PER_DOUBLING + part + 1) as u64)
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
    /// Counts a duration. Only the one thread that writes the cells may call this.
    pub(super) fn add(&self, length: Duration) {
        let length = nanoseconds(length);
        self.nanoseconds.add(length);
        self.buckets[bucket_of(length)].add(1);
    }
}

/// A histogram at the time of a snapshot.
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
    /// Adds what one thread has counted.
    pub(super) fn add_cells(&mut self, cells: &HistogramCells) {
        for (sum, cell) in self.buckets.iter_mut().zip(&cells.buckets) {
            *sum += cell.read();
        }
        self.nanoseconds += cells.nanoseconds.read();
    }

    /// Returns the number of durations.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns the sum of all durations.
    pub(crate) fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds)
    }

    /// Returns the duration that the given part of all durations does not exceed (`0.5` is the
    /// median); `None` if nothing was counted.
    ///
    /// The exact value is at most an eighth smaller. Durations above 69 s count as 69 s.
    pub(crate) fn quantile(&self, part: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        // Counts are far below 2^52, up to which a float is exact.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let rank = ((count as f64 * part).ceil() as u64).clamp(1, count);

        let mut seen = 0;
        let index = self.buckets.iter().position(|bucket| {
            seen += bucket;
            seen >= rank
        });
        index.map(|index| Duration::from_nanos(upper_bound(index).unwrap_or(1 << LAST)))
    }

    /// Iterates over the buckets that are not empty: the upper bound in nanoseconds (69 s for the
    /// last bucket) and the number of durations.
    pub(crate) fn non_empty_buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let filled = self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(index, count)| (upper_bound(index).unwrap_or(1 << LAST), *count))
    }

    /// Iterates over the doublings: the upper bound in nanoseconds and the number of durations that
    /// do not exceed it.
    pub(crate) fn doublings(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut sum = 0;
        self.buckets[..BUCKETS - 1].iter().enumerate().filter_map(move |(index, bucket)| {
            sum += bucket;
            index.is_multiple_of(PER_DOUBLING).then(|| upper_bound(index).map(|end| (end, sum))).flatten()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_every_duration_between_the_bounds_of_its_bucket() {
        let bounds: Vec<_> = (0..BUCKETS - 1).map(|bucket| upper_bound(bucket).unwrap()).collect();
        assert!(bounds.is_sorted_by(|one, next| one < next));
        assert_eq!((bounds[0], bounds[BUCKETS - 2], upper_bound(BUCKETS - 1)), (1024, 1 << LAST, None));

        for (index, bound) in bounds.iter().enumerate() {
            let found = [bound - 1, *bound, bound + 1].map(bucket_of);
            assert_eq!(found, [index, index, index + 1], "{bound} ns");
        }
        assert_eq!([0, 1, u64::MAX].map(bucket_of), [0, 0, BUCKETS - 1]);
    }

    #[test]
    fn computes_percentiles_that_are_exact_to_an_eighth() {
        let cells = HistogramCells::default();
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);

        for micros in 1..=10_000 {
            cells.add(Duration::from_micros(micros));
        }
        histogram.add_cells(&cells);

        assert_eq!((histogram.count(), histogram.sum()), (10_000, Duration::from_micros(50_005_000)));
        for (part, exact) in [(0.5, 5000), (0.9, 9000), (0.99, 9900), (1.0, 10_000)] {
            let found = histogram.quantile(part).unwrap();
            let exact = Duration::from_micros(exact);
            assert!(found >= exact && found <= exact * 9 / 8, "{part}: {found:?}");
        }
    }

    #[test]
    fn counts_a_duration_above_the_last_bound_in_no_doubling() {
        let cells = HistogramCells::default();
        cells.add(Duration::from_micros(1));
        cells.add(Duration::from_secs(100));
        let mut histogram = Histogram::default();
        histogram.add_cells(&cells);

        assert_eq!(histogram.quantile(1.0), Some(Duration::from_nanos(1 << LAST)));
        let doublings: Vec<_> = histogram.doublings().collect();
        assert_eq!((doublings.len(), doublings[0]), (DOUBLINGS + 1, (1024, 1)));
        assert_eq!(doublings.last(), Some(&(1 << LAST, 1)));
    }
}

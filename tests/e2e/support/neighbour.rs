//! The latency of a well-behaved client while other clients misbehave.
//!
//! Two latencies of the same run are compared with each other, never a latency with a constant, so
//! that the load of the machine does not matter. As that load varies, the comparison is repeated
//! until one round holds.

use std::time::{Duration, Instant};

use super::host::HostProcess;
use super::peer::Peer;

/// Permitted factor between the 99th percentiles with and without the other clients.
const MAX_RATIO: f64 = 1.5;
/// Maximum number of comparisons. Other work on the machine disturbs some of them, but not all.
const ROUNDS: usize = 12;
/// Requests per 99th percentile.
const REQUESTS: usize = 1000;

const DEFAULT: Measure = Measure { rounds: ROUNDS, requests: REQUESTS, max_ratio: MAX_RATIO };

/// Returns the 99th percentile of the durations.
pub(crate) fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[(took.len() * 99 / 100).min(took.len() - 1)]
}

/// The parameters of a comparison.
#[derive(Clone, Copy)]
struct Measure {
    rounds: usize,
    requests: usize,
    max_ratio: f64,
}

impl Measure {
    /// Returns the 99th percentile of the latency of `request`.
    fn p99(self, peer: &mut Peer, request: &mut impl FnMut(&mut Peer)) -> Duration {
        let took = (0..self.requests).map(|_| {
            let began = Instant::now();
            request(peer);
            began.elapsed()
        });
        p99(took.collect())
    }

    /// Divides the p99 of `peer` under the load of `start_load` by its p99 under the load of
    /// `start_baseline`, and returns the lowest ratio of all rounds. The first ratio within the
    /// limit ends the comparison.
    fn lowest_ratio<A, C>(
        self,
        peer: &mut Peer,
        mut request: impl FnMut(&mut Peer),
        mut start_baseline: impl FnMut() -> A,
        mut start_load: impl FnMut() -> C,
    ) -> f64 {
        let mut lowest = f64::INFINITY;
        for _ in 0..self.rounds {
            let baseline = start_baseline();
            let p99_at_baseline = self.p99(peer, &mut request);
            drop(baseline);

            let load = start_load();
            let p99_under_load = self.p99(peer, &mut request);
            drop(load);

            lowest = lowest.min(p99_under_load.as_secs_f64() / p99_at_baseline.as_secs_f64());
            if lowest <= self.max_ratio {
                break;
            }
        }
        lowest
    }

    #[track_caller]
    fn report_and_assert(self, what: &str, ratio: f64) {
        println!("{what}: the p99 of a neighbour is {ratio:.2} times its p99 at the baseline");
        assert!(
            ratio <= self.max_ratio,
            "{what}: the p99 of a neighbour is {ratio:.2} times its p99 at the baseline"
        );
    }
}

/// Asserts that the load of `start_load`, which ends when it is dropped, raises the p99 of a
/// neighbour by at most 50 %.
#[track_caller]
pub(crate) fn assert_neighbour_unaffected<C>(host: &HostProcess, what: &str, start_load: impl FnMut() -> C) {
    assert_neighbour_unaffected_by(host, what, Peer::assert_usable, start_load);
}

/// As [`assert_neighbour_unaffected`], for a neighbour that sends `request` instead of a ping.
#[track_caller]
pub(crate) fn assert_neighbour_unaffected_by<C>(
    host: &HostProcess,
    what: &str,
    mut request: impl FnMut(&mut Peer),
    start_load: impl FnMut() -> C,
) {
    let mut peer = host.peer();
    request(&mut peer);
    DEFAULT.report_and_assert(what, DEFAULT.lowest_ratio(&mut peer, request, || (), start_load));
}

/// Asserts that the p99 of a neighbour is at most 50 % higher under the load of `start_load` than
/// under the load of `start_baseline`, whose clients behave well and send as much. It is for loads
/// that keep a processor busy: on a small machine even well-behaved ones slow the neighbours.
#[track_caller]
pub(crate) fn assert_slowdown_bounded<A, C>(
    host: &HostProcess,
    what: &str,
    start_baseline: impl FnMut() -> A,
    start_load: impl FnMut() -> C,
) {
    assert_slowdown_at_most(host, what, MAX_RATIO, start_baseline, start_load);
}

/// As [`assert_slowdown_bounded`], with `max_ratio` instead of 1.5 as the permitted factor.
#[track_caller]
pub(crate) fn assert_slowdown_at_most<A, C>(
    host: &HostProcess,
    what: &str,
    max_ratio: f64,
    start_baseline: impl FnMut() -> A,
    start_load: impl FnMut() -> C,
) {
    let mut peer = host.peer();
    let measure = Measure { max_ratio, ..DEFAULT };
    measure.report_and_assert(
        what,
        measure.lowest_ratio(&mut peer, Peer::assert_usable, start_baseline, start_load),
    );
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn detects_a_load_that_slows_a_neighbour() {
        let host = HostProcess::with(&[]);
        let is_slow = Cell::new(false);

        // The requests take at least three times as long while the load exists.
        let request = |peer: &mut Peer| {
            let began = Instant::now();
            peer.assert_usable();
            if is_slow.get() {
                std::thread::sleep(Duration::from_millis(20) + 2 * began.elapsed());
            }
        };

        struct Load<'a>(&'a Cell<bool>);
        impl Drop for Load<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }

        let start_load = || {
            is_slow.set(true);
            Load(&is_slow)
        };

        let measure = Measure { rounds: 2, requests: 50, max_ratio: MAX_RATIO };
        let ratio = measure.lowest_ratio(&mut host.peer(), request, || (), start_load);
        assert!(ratio > MAX_RATIO, "requests that take three times as long have the ratio {ratio:.2}");
    }
}

//! The latency of a well-behaved client while other clients misbehave.
//!
//! Two latencies of the same run are compared with each other, never a latency with a constant, so
//! that the load of the machine does not matter. As that load varies, the comparison is repeated
//! until one round holds.

use std::time::{Duration, Instant};

use super::host::HostProcess;
use super::peer::Peer;

/// Permitted factor between the 99th percentiles with and without the other clients.
const MOST: f64 = 1.5;
/// Maximum number of comparisons. Other work on the machine disturbs some of them, but not all.
const ROUNDS: usize = 12;
/// Requests per 99th percentile.
const REQUESTS: usize = 1000;

const WHOLE: Measure = Measure { rounds: ROUNDS, requests: REQUESTS, most: MOST };

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
    most: f64,
}

impl Measure {
    /// Returns the 99th percentile of the latency of `request`.
    fn p99(self, peer: &mut Peer, request: &mut impl FnMut(&mut Peer)) -> Duration {
        let took = (0..self.requests).map(|_| {
            let begun = Instant::now();
            request(peer);
            begun.elapsed()
        });
        p99(took.collect())
    }

    /// Divides the p99 of `peer` under the load of `gather` by its p99 under the load of
    /// `gather_baseline`, and returns the lowest ratio of all rounds. The first ratio within the
    /// limit ends the comparison.
    fn least_ratio<A, C>(
        self,
        peer: &mut Peer,
        mut request: impl FnMut(&mut Peer),
        mut gather_baseline: impl FnMut() -> A,
        mut gather: impl FnMut() -> C,
    ) -> f64 {
        let mut least = f64::INFINITY;
        for _ in 0..self.rounds {
            let baseline = gather_baseline();
            let p99_at_baseline = self.p99(peer, &mut request);
            drop(baseline);

            let crowd = gather();
            let p99_with_crowd = self.p99(peer, &mut request);
            drop(crowd);

            least = least.min(p99_with_crowd.as_secs_f64() / p99_at_baseline.as_secs_f64());
            if least <= self.most {
                break;
            }
        }
        least
    }

    #[track_caller]
    fn report_and_assert(self, what: &str, ratio: f64) {
        println!("{what}: the p99 of a neighbour is {ratio:.2} times its p99 alone");
        assert!(ratio <= self.most, "{what}: the p99 of a neighbour is {ratio:.2} times its p99 alone");
    }
}

/// Asserts that the load of `gather`, which ends when it is dropped, raises the p99 of a neighbour
/// by at most 50 %.
#[track_caller]
pub(crate) fn assert_neighbour_unaffected<C>(host: &HostProcess, what: &str, gather: impl FnMut() -> C) {
    assert_neighbour_unaffected_by(host, what, Peer::assert_usable, gather);
}

/// As [`assert_neighbour_unaffected`], for a neighbour that sends `request` instead of a ping.
#[track_caller]
pub(crate) fn assert_neighbour_unaffected_by<C>(
    host: &HostProcess,
    what: &str,
    mut request: impl FnMut(&mut Peer),
    gather: impl FnMut() -> C,
) {
    let mut peer = host.peer();
    request(&mut peer);
    WHOLE.report_and_assert(what, WHOLE.least_ratio(&mut peer, request, || (), gather));
}

/// Asserts that the p99 of a neighbour is at most 50 % higher under the load of `gather` than under
/// the load of `gather_baseline`, whose clients behave well and send as much. For loads that keep a
/// processor busy: on a small machine these cost the neighbours something in any case.
#[track_caller]
pub(crate) fn assert_slowdown_bounded<A, C>(
    host: &HostProcess,
    what: &str,
    gather_baseline: impl FnMut() -> A,
    gather: impl FnMut() -> C,
) {
    assert_slowdown_at_most(host, what, MOST, gather_baseline, gather);
}

/// As [`assert_slowdown_bounded`], with `most` instead of 1.5 as the permitted factor.
#[track_caller]
pub(crate) fn assert_slowdown_at_most<A, C>(
    host: &HostProcess,
    what: &str,
    most: f64,
    gather_baseline: impl FnMut() -> A,
    gather: impl FnMut() -> C,
) {
    let mut peer = host.peer();
    let measure = Measure { most, ..WHOLE };
    measure.report_and_assert(
        what,
        measure.least_ratio(&mut peer, Peer::assert_usable, gather_baseline, gather),
    );
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn detects_a_crowd_that_slows_a_neighbour() {
        let host = HostProcess::with(&[]);
        let is_slow = Cell::new(false);

        // A host whose requests take three times as long while a crowd is connected.
        let request = |peer: &mut Peer| {
            let begun = Instant::now();
            peer.assert_usable();
            if is_slow.get() {
                std::thread::sleep(Duration::from_millis(20) + 2 * begun.elapsed());
            }
        };

        struct Crowd<'a>(&'a Cell<bool>);
        impl Drop for Crowd<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }

        let gather = || {
            is_slow.set(true);
            Crowd(&is_slow)
        };

        let measure = Measure { rounds: 2, requests: 50, most: MOST };
        let ratio = measure.least_ratio(&mut host.peer(), request, || (), gather);
        assert!(ratio > MOST, "three times as long is {ratio:.2}");
    }
}

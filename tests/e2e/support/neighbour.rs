//! A client that does nothing wrong, beside others that do: how much longer its requests take for it.
//!
//! What is compared are two times of the same run, one after the other, never a time with a number: the machine may be
//! as busy as it likes. It is busy unevenly, so the comparison is made again until one holds.

use std::time::{Duration, Instant};

use super::host::HostProcess;
use super::peer::Peer;

/// How much longer than without them one in a hundred of its requests may take.
const MOST: f64 = 1.5;
/// How often it is compared at most: what other work on the machine does to one comparison it does not do to all.
const ROUNDS: usize = 12;
/// Requests of which the hundredth part is looked at.
const REQUESTS: usize = 1000;

const WHOLE: Measure = Measure { rounds: ROUNDS, requests: REQUESTS, most: MOST };

/// What 99 of a hundred durations are not above.
pub(crate) fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[(took.len() * 99 / 100).min(took.len() - 1)]
}

/// How often, and how thoroughly, a bystander is compared.
#[derive(Clone, Copy)]
struct Measure {
    rounds: usize,
    requests: usize,
    most: f64,
}

impl Measure {
    /// What 99 of a hundred of the requests take at most.
    fn p99(self, peer: &mut Peer, request: &mut impl FnMut(&mut Peer)) -> Duration {
        let took = (0..self.requests).map(|_| {
            let begun = Instant::now();
            request(peer);
            begun.elapsed()
        });
        p99(took.collect())
    }

    /// Compares a bystander's p99 beside what `calm` brings with its p99 beside the crowd that `gather` brings, and
    /// gives back the least ratio of all rounds; the first that is good enough is the last.
    fn least_ratio<A, C>(
        self,
        peer: &mut Peer,
        mut request: impl FnMut(&mut Peer),
        mut calm: impl FnMut() -> A,
        mut gather: impl FnMut() -> C,
    ) -> f64 {
        let mut least = f64::INFINITY;
        for _ in 0..self.rounds {
            let others = calm();
            let without = self.p99(peer, &mut request);
            drop(others);
            let crowd = gather();
            let beside = self.p99(peer, &mut request);
            drop(crowd);
            least = least.min(beside.as_secs_f64() / without.as_secs_f64());
            if least <= self.most {
                break;
            }
        }
        least
    }

    #[track_caller]
    fn judge(self, what: &str, ratio: f64) {
        println!("{what}: a bystander's p99 is {ratio:.2} of what it is without");
        assert!(ratio <= self.most, "{what}: a bystander's p99 is {ratio:.2} times what it is without");
    }
}

/// A bystander's p99 is at most half again of what it is without the crowd, which `gather` brings and which goes when it
/// is dropped.
#[track_caller]
pub(crate) fn assert_unhurt<C>(host: &HostProcess, what: &str, gather: impl FnMut() -> C) {
    assert_unhurt_by(host, what, Peer::assert_usable, gather);
}

/// As [`assert_unhurt`], for a bystander whose request is another than a ping.
#[track_caller]
pub(crate) fn assert_unhurt_by<C>(
    host: &HostProcess,
    what: &str,
    mut request: impl FnMut(&mut Peer),
    gather: impl FnMut() -> C,
) {
    let mut peer = host.peer();
    request(&mut peer);
    WHOLE.judge(what, WHOLE.least_ratio(&mut peer, request, || (), gather));
}

/// A crowd costs a bystander at most half again of the p99 that it has beside one that behaves and asks as much: for
/// crowds that keep a processor busy, which on a small machine costs the others something whoever they are.
#[track_caller]
pub(crate) fn assert_no_worse<A, C>(
    host: &HostProcess,
    what: &str,
    orderly: impl FnMut() -> A,
    gather: impl FnMut() -> C,
) {
    assert_no_worse_than(host, what, MOST, orderly, gather);
}

/// As [`assert_no_worse`], with so much of that p99 and no more.
#[track_caller]
pub(crate) fn assert_no_worse_than<A, C>(
    host: &HostProcess,
    what: &str,
    most: f64,
    orderly: impl FnMut() -> A,
    gather: impl FnMut() -> C,
) {
    let mut peer = host.peer();
    let measure = Measure { most, ..WHOLE };
    measure.judge(what, measure.least_ratio(&mut peer, Peer::assert_usable, orderly, gather));
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_crowd_that_hurts_is_seen() {
        let host = HostProcess::with(&[]);
        let hurts = Cell::new(false);
        // A host that, beside a crowd, takes three times as long for each request.
        let request = |peer: &mut Peer| {
            let begun = Instant::now();
            peer.assert_usable();
            if hurts.get() {
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
            hurts.set(true);
            Crowd(&hurts)
        };
        let measure = Measure { rounds: 2, requests: 50, most: MOST };
        let ratio = measure.least_ratio(&mut host.peer(), request, || (), gather);
        assert!(ratio > MOST, "three times as long is {ratio:.2}");
    }
}

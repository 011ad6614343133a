//! Which requests begin a trace, and the ids of traces and spans.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use crate::config::Sample;

/// The threshold that samples every trace.
const ALL: u64 = 1 << 63;

thread_local! {
    /// The state of the generator of this thread; 0 before its first use. It has no destructor.
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// Decides which requests without a `traceparent` are recorded.
pub(super) struct Sampler {
    /// A trace is sampled if the last 63 bits of its id are below this. Zero samples none.
    threshold: AtomicU64,
}

impl Sampler {
    pub(super) fn new(sample: Sample) -> Self {
        Self { threshold: AtomicU64::new(threshold_of(sample)) }
    }

    pub(super) fn set(&self, sample: Sample) {
        self.threshold.store(threshold_of(sample), Ordering::Relaxed);
    }

    /// Returns whether any trace is sampled.
    pub(super) fn samples_any(&self) -> bool {
        self.threshold.load(Ordering::Relaxed) > 0
    }

    /// Returns whether a trace is sampled. The decision depends on the id alone, so every service
    /// with the same ratio decides in the same way.
    pub(super) fn samples(&self, trace_id: [u8; 16]) -> bool {
        let low = u128::from_be_bytes(trace_id) & u128::from(ALL - 1);
        low < u128::from(self.threshold.load(Ordering::Relaxed))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a ratio is from 0.0 to 1.0")]
#[expect(clippy::cast_precision_loss, reason = "a power of two is exact")]
fn threshold_of(sample: Sample) -> u64 {
    match sample {
        Sample::Parent => 0,
        // The cast saturates.
        Sample::Ratio(ratio) => ((ratio * ALL as f64) as u64).min(ALL),
    }
}

/// Returns the id of a new trace, which is not zero.
pub(super) fn new_trace_id() -> [u8; 16] {
    (u128::from(next_nonzero()) << 64 | u128::from(next_nonzero())).to_be_bytes()
}

/// Returns the id of a new span, which is not zero.
pub(super) fn new_span_id() -> [u8; 8] {
    next_nonzero().to_be_bytes()
}

fn next_nonzero() -> u64 {
    loop {
        let number = next();
        if number != 0 {
            return number;
        }
    }
}

/// Returns the next number of the SplitMix64 generator of this thread.
///
/// Ids need to be distinct, not secret, and a system call for each request without a `traceparent`
/// would cost more than the rest of the decision.
fn next() -> u64 {
    let mut state = STATE.get();
    if state == 0 {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        state = high ^ low;
    }
    state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    STATE.set(state);

    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn samples_a_ratio_by_the_trace_id() {
        let (all, none, half) = (
            Sampler::new(Sample::Ratio(1.0)),
            Sampler::new(Sample::Parent),
            Sampler::new(Sample::Ratio(0.5)),
        );
        assert!(all.samples([0xFF; 16]) && all.samples([0; 16]));
        assert!(!none.samples([0; 16]) && !none.samples_any() && half.samples_any());

        let of = |low: u64| (1_u128 << 127 | u128::from(low)).to_be_bytes();
        assert!(half.samples(of(0)) && half.samples(of((1 << 62) - 1)) && !half.samples(of(1 << 62)));
        assert!(half.samples(of(1 << 63)), "the bit above the last 63 does not count");
        half.set(Sample::Ratio(0.0));
        assert!(!half.samples(of(0)) && !half.samples_any());
    }

    #[test]
    fn samples_about_the_ratio_of_new_ids() {
        let sampler = Sampler::new(Sample::Ratio(0.25));
        let sampled = (0..40_000).filter(|_| sampler.samples(new_trace_id())).count();
        assert!((9_000..11_000).contains(&sampled), "{sampled}");
    }

    #[test]
    fn gives_each_span_an_id_of_its_own_on_every_thread() {
        let ids = || (0..10_000).map(|_| new_span_id()).collect::<Vec<_>>();
        let other = std::thread::spawn(ids).join().unwrap();
        let all: BTreeSet<_> = ids().into_iter().chain(other).collect();
        assert_eq!(all.len(), 20_000);
    }
}

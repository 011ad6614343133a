//! What a run counts: replies by their outcome, latencies, and whatever was not as it should be.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};

/// Latencies are kept in nanoseconds, to three digits; a longer one counts as this.
const LONGEST: u64 = 3_600_000_000_000;
/// Faults that are told in words; the others are only counted.
const TOLD: usize = 5;

/// The counts of a run.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) results: u64,
    /// Error replies by their code.
    pub(super) errors: BTreeMap<i64, u64>,
    /// Requests whose connection ended before their reply.
    pub(super) lost: u64,
    /// Requests that nobody answered in time.
    pub(super) unanswered: u64,
    /// Requests that were due and never sent: there was no room for them.
    pub(super) unsent: u64,
    /// Frames that answer nothing that was asked, or not in the way it was asked.
    pub(super) wrong: u64,
    /// The first faults in words.
    pub(super) faults: Vec<String>,
    pub(super) latencies: Histogram<u64>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Tally {
    /// # Errors
    /// The histogram's bounds are none.
    pub(super) fn new() -> Result<Self, CreationError> {
        Ok(Self {
            sent: 0,
            results: 0,
            errors: BTreeMap::new(),
            lost: 0,
            unanswered: 0,
            unsent: 0,
            wrong: 0,
            faults: Vec::new(),
            latencies: Histogram::new_with_bounds(1, LONGEST, 3)?,
            bytes_in: 0,
            bytes_out: 0,
        })
    }

    /// Replies of both kinds.
    pub(super) fn answered(&self) -> u64 {
        self.results + self.errors.values().sum::<u64>()
    }

    pub(super) fn took(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(LONGEST);
        self.latencies.saturating_record(nanos.clamp(1, LONGEST));
    }

    /// A frame that should not be there.
    #[cold]
    pub(super) fn wrong(&mut self, what: impl FnOnce() -> String) {
        self.wrong += 1;
        self.tell(what);
    }

    /// A connection that ended with so many requests in flight.
    #[cold]
    pub(super) fn lost(&mut self, in_flight: u64, what: impl FnOnce() -> String) {
        self.lost += in_flight;
        self.tell(what);
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.faults.len() < TOLD {
            self.faults.push(what());
        }
    }
}

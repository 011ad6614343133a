//! The counts of a run: replies by outcome, latencies, and faults.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};

/// Upper bound of the histogram, in nanoseconds: one hour. A longer latency counts as this.
const MAX_LATENCY: u64 = 3_600_000_000_000;

/// Significant digits of a latency in the histogram.
const DIGITS: u8 = 3;

/// Number of faults that are reported as text. Further ones are only counted.
const MAX_FAULTS: usize = 5;

/// The counts of a run.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) results: u64,

    /// Error replies by their code.
    pub(super) errors: BTreeMap<i64, u64>,

    /// Requests whose connection ended before their reply.
    pub(super) lost: u64,

    /// Requests that were not answered in time.
    pub(super) unanswered: u64,

    /// Requests that were due and never sent, because no connection had room.
    pub(super) unsent: u64,

    /// Frames that match no request, or have another kind or version than its reply must have.
    pub(super) unexpected: u64,

    /// The first faults as text.
    pub(super) faults: Vec<String>,

    pub(super) latencies: Histogram<u64>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Tally {
    /// Creates a tally without any counts.
    ///
    /// # Errors
    ///
    /// The bounds of the histogram are invalid.
    pub(super) fn new() -> Result<Self, CreationError> {
        Ok(Self {
            sent: 0,
            results: 0,
            errors: BTreeMap::new(),
            lost: 0,
            unanswered: 0,
            unsent: 0,
            unexpected: 0,
            faults: Vec::new(),
            latencies: Histogram::new_with_bounds(1, MAX_LATENCY, DIGITS)?,
            bytes_in: 0,
            bytes_out: 0,
        })
    }

    /// Returns the number of replies, results and errors.
    pub(super) fn answered(&self) -> u64 {
        self.results + self.errors.values().sum::<u64>()
    }

    pub(super) fn record_latency(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(MAX_LATENCY);
        self.latencies.saturating_record(nanos.clamp(1, MAX_LATENCY));
    }

    /// Counts a frame that is no valid reply to a request in flight.
    #[cold]
    pub(super) fn count_unexpected(&mut self, fault: impl FnOnce() -> String) {
        self.unexpected += 1;
        self.record_fault(fault);
    }

    /// Counts the requests in flight of a connection that ended.
    #[cold]
    pub(super) fn count_lost(&mut self, in_flight: u64, fault: impl FnOnce() -> String) {
        self.lost += in_flight;
        self.record_fault(fault);
    }

    fn record_fault(&mut self, fault: impl FnOnce() -> String) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault());
        }
    }
}

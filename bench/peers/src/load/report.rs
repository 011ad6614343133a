//! The report of a load, in the form of `jackfield bench --json`, and the recorder of its
//! latencies.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest latency that is recorded exactly: one hour, in nanoseconds.
const LATENCY_MAX: u64 = 3_600_000_000_000;

/// The report of a load. It has the members of `jackfield bench --json` that are compared.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) results: u64,
    pub(crate) seconds: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) latency_us: Latency,
    /// This and the next three must be 0. Only `jackfield bench` counts them; other loads end at
    /// the first error.
    #[serde(default)]
    pub(crate) lost: u64,
    #[serde(default)]
    pub(crate) unanswered: u64,
    #[serde(default)]
    pub(crate) wrong: u64,
    #[serde(default)]
    pub(crate) errors: BTreeMap<String, u64>,
    /// Requests of an open loop that were due, but exceeded the window. If there are any, the rate
    /// was not kept.
    #[serde(default)]
    pub(crate) unsent: u64,
}

impl Report {
    /// Returns the number of requests without a correct result.
    pub(crate) fn failures(&self) -> u64 {
        self.lost + self.unanswered + self.wrong + self.errors.values().sum::<u64>()
    }
}

/// Quantiles of the latency, in microseconds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

/// Records the latencies of a load.
pub(super) struct Recorder {
    began: Instant,
    end: Instant,
    latencies: Histogram<u64>,
}

impl Recorder {
    /// Starts a load of this duration.
    pub(super) fn new(duration: Duration) -> io::Result<Self> {
        let began = Instant::now();
        let latencies = Histogram::new_with_bounds(1, LATENCY_MAX, 3).map_err(io::Error::other)?;
        Ok(Self { began, end: began + duration, latencies })
    }

    /// Records a reply, and returns whether another request is to follow.
    pub(super) fn record(&mut self, sent: Instant) -> bool {
        let now = Instant::now();
        let nanos = u64::try_from((now - sent).as_nanos()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(nanos.max(1));
        now < self.end
    }

    pub(super) fn report(&self) -> Report {
        let seconds = self.began.elapsed().as_secs_f64();
        let results = self.latencies.len();
        let quantile_us = |quantile| self.latencies.value_at_quantile(quantile) as f64 / 1e3;

        Report {
            results,
            seconds,
            requests_per_second: results as f64 / seconds,
            latency_us: Latency { p50: quantile_us(0.5), p99: quantile_us(0.99), p999: quantile_us(0.999) },
            lost: 0,
            unanswered: 0,
            wrong: 0,
            errors: BTreeMap::new(),
            unsent: 0,
        }
    }
}

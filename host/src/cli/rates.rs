//! The rates of a host between two replies of `admin.stats`.

use std::collections::BTreeMap;

use jackfield::admin::{HostStats, MethodStats};
use serde::Serialize;

/// The rates of a host, averaged over the time between two samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct HostRates {
    /// The time between the samples.
    pub(super) seconds: f64,
    pub(super) requests_per_second: f64,
    pub(super) failed_per_second: f64,
    pub(super) bytes_in_per_second: f64,
    pub(super) bytes_out_per_second: f64,
    pub(super) methods: Vec<MethodRates>,
}

/// The rates of one method. The percentiles are of the requests answered between the samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct MethodRates {
    pub(super) name: String,
    pub(super) requests_per_second: f64,
    pub(super) failed_per_second: f64,
    pub(super) in_flight: u64,
    pub(super) p50_us: Option<u64>,
    pub(super) p99_us: Option<u64>,
}

impl HostRates {
    /// Returns the rates between two samples.
    ///
    /// If `before` is of another host, as after a restart, the counters are taken to start at zero.
    pub(super) fn between(before: &HostStats, now: &HostStats) -> Self {
        let zero = HostStats::default();
        let is_same_host = before.pid == now.pid && before.uptime_ms <= now.uptime_ms;
        let before = if is_same_host { before } else { &zero };

        #[expect(clippy::cast_precision_loss, reason = "a few digits of the uptime are enough")]
        let seconds = (now.uptime_ms - before.uptime_ms) as f64 / 1000.0;
        let count = |stats: &HostStats, name: &str| stats.counts.get(name).copied().unwrap_or(0);
        let rate_of = |name| rate(count(now, name).saturating_sub(count(before, name)), seconds);

        Self {
            seconds,
            requests_per_second: rate_of("requests"),
            failed_per_second: rate_of("errors"),
            bytes_in_per_second: rate_of("bytes_in"),
            bytes_out_per_second: rate_of("bytes_out"),
            methods: now.methods.iter().map(|method| MethodRates::since(before, method, seconds)).collect(),
        }
    }
}

impl MethodRates {
    fn since(before: &HostStats, now: &MethodStats, seconds: f64) -> Self {
        let zero = MethodStats::default();
        let before = before.methods.iter().find(|method| method.name == now.name).unwrap_or(&zero);
        let latencies = added(&before.lengths, &now.lengths);

        Self {
            name: now.name.clone(),
            requests_per_second: rate(now.accepted.saturating_sub(before.accepted), seconds),
            failed_per_second: rate(now.failed.saturating_sub(before.failed), seconds),
            in_flight: now.in_flight,
            p50_us: quantile(&latencies, 50),
            p99_us: quantile(&latencies, 99),
        }
    }
}

/// Returns a rate, rounded to three decimal places.
#[expect(clippy::cast_precision_loss, reason = "the rate is rounded anyway")]
fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { (count as f64 / seconds * 1000.0).round() / 1000.0 } else { 0.0 }
}

/// Returns the buckets of what was added to a histogram.
fn added(before: &[(u64, u64)], now: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let before: BTreeMap<_, _> = before.iter().copied().collect();
    let added =
        |(bound, count): &(u64, u64)| (*bound, count.saturating_sub(before.get(bound).copied().unwrap_or(0)));
    now.iter().map(added).filter(|(_, count)| *count > 0).collect()
}

/// Returns a percentile of a histogram with bounds in nanoseconds, in microseconds.
fn quantile(buckets: &[(u64, u64)], percent: u64) -> Option<u64> {
    let total: u64 = buckets.iter().map(|(_, count)| count).sum();
    let rank = (total * percent).div_ceil(100).max(1);

    let mut seen = 0;
    let bucket = buckets.iter().find(|(_, count)| {
        seen += count;
        seen >= rank
    });
    bucket.map(|(bound, _)| bound / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(uptime_ms: u64, requests: u64, lengths: &[(u64, u64)]) -> HostStats {
        let method = MethodStats {
            name: "a.b".to_owned(),
            accepted: requests,
            failed: requests / 10,
            in_flight: 2,
            lengths: lengths.to_vec(),
            ..MethodStats::default()
        };
        let counts = [("requests", requests), ("errors", requests / 10)];
        let counts = counts.map(|(name, count)| (name.to_owned(), count)).into();
        HostStats { pid: 7, uptime_ms, counts, methods: vec![method], ..HostStats::default() }
    }

    #[test]
    fn divides_what_was_added_by_the_uptime_between_the_samples() {
        let before = stats(1000, 100, &[(1_000_000, 90)]);
        let now = stats(3000, 300, &[(1_000_000, 189), (5_000_000, 100), (9_000_000, 1)]);

        let rates = HostRates::between(&before, &now);

        assert_eq!((rates.seconds, rates.requests_per_second, rates.failed_per_second), (2.0, 100.0, 10.0));
        let [method] = &rates.methods[..] else { panic!("one method") };
        assert_eq!((method.requests_per_second, method.in_flight), (100.0, 2));
        // 99 in the first bucket, 100 in the second, one in the last.
        assert_eq!((method.p50_us, method.p99_us), (Some(5_000), Some(5_000)));
    }

    #[test]
    fn has_no_percentiles_without_requests() {
        let sample = stats(1000, 100, &[(1_000_000, 90)]);

        let rates = HostRates::between(&sample, &sample);

        assert_eq!((rates.requests_per_second, rates.methods[0].p99_us), (0.0, None));
    }

    #[test]
    fn starts_at_zero_after_a_restart_of_the_host() {
        let before = stats(1000, 100, &[(1_000_000, 90)]);
        let restarted = HostStats { pid: 8, ..stats(500, 50, &[(2_000_000, 50)]) };

        let rates = HostRates::between(&before, &restarted);

        assert_eq!((rates.seconds, rates.requests_per_second), (0.5, 100.0));
        assert_eq!(rates.methods[0].p50_us, Some(2_000));
    }
}

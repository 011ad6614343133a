//! A host in numbers, as it tells its operators; and what happened between two times, as rates and lengths.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The answer of `admin.stats`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct HostStats {
    pub(super) version: String,
    pub(super) pid: u32,
    pub(super) at_ms: u64,
    pub(super) uptime_ms: u64,
    pub(super) connections: u64,
    pub(super) in_flight: u64,
    pub(super) async_in_flight: u64,
    pub(super) buffered_bytes: u64,
    pub(super) limits: LimitStats,
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) outcomes: BTreeMap<String, u64>,
    pub(super) rejected: BTreeMap<String, u64>,
    pub(super) methods: Vec<MethodRow>,
    pub(super) callers: Vec<ConnectionRow>,
    pub(super) more_callers: u64,
    pub(super) plugins: Vec<PluginRow>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct LimitStats {
    pub(super) connections: u64,
    pub(super) in_flight: u64,
    pub(super) buffers: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct MethodRow {
    pub(super) name: String,
    pub(super) accepted: u64,
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) in_flight: u64,
    pub(super) p50_us: Option<u64>,
    pub(super) p90_us: Option<u64>,
    pub(super) p99_us: Option<u64>,
    /// Up to so many nanoseconds, so many.
    #[serde(default)]
    pub(super) lengths: Vec<(u64, u64)>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct ConnectionRow {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) pid: Option<u32>,
    pub(super) connections: u64,
    pub(super) in_flight: u64,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct PluginRow {
    pub(super) name: String,
    pub(super) generation: Option<u64>,
    pub(super) version: Option<String>,
    pub(super) state: String,
    pub(super) draining: u64,
    pub(super) retained: u64,
    pub(super) lost_threads: u64,
    pub(super) loaded: u64,
    pub(super) refused: u64,
    pub(super) rolled_back: u64,
}

/// The answer of `admin.slowlog`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct SlowRequests {
    pub(super) slow: Vec<SlowRequest>,
    pub(super) failed: Vec<SlowRequest>,
    pub(super) missed: u64,
}

/// One request that was slow or failed.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct SlowRequest {
    pub(super) at_ms: u64,
    pub(super) conn: u64,
    pub(super) id: String,
    pub(super) method: String,
    pub(super) plugin: Option<String>,
    pub(super) generation: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) pid: Option<u32>,
    pub(super) queued_us: u64,
    pub(super) ran_us: u64,
    pub(super) outcome: String,
}

/// What happened in a second, on average, between two times.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct HostRates {
    /// How long it was.
    pub(super) seconds: f64,
    pub(super) requests_per_second: f64,
    pub(super) failed_per_second: f64,
    pub(super) bytes_in_per_second: f64,
    pub(super) bytes_out_per_second: f64,
    pub(super) methods: Vec<MethodRates>,
}

/// The same of one method. Lengths are of the requests that were answered in that time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct MethodRates {
    pub(super) name: String,
    pub(super) requests_per_second: f64,
    pub(super) failed_per_second: f64,
    pub(super) in_flight: u64,
    pub(super) p50_us: Option<u64>,
    pub(super) p99_us: Option<u64>,
}

#[expect(clippy::cast_precision_loss, reason = "a rate to be read, not to be counted with")]
fn rate(more: u64, seconds: f64) -> f64 {
    // Three digits behind the point are more than anybody reads.
    if seconds > 0.0 { (more as f64 / seconds * 1000.0).round() / 1000.0 } else { 0.0 }
}

impl HostRates {
    /// What came since `before`, which is of the same host. Of another one, as after a restart, everything came since.
    pub(super) fn between(before: &HostStats, now: &HostStats) -> Self {
        let blank = HostStats::default();
        let is_same = before.pid == now.pid && before.uptime_ms <= now.uptime_ms;
        let before = if is_same { before } else { &blank };
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a host's life")]
        let seconds = (now.uptime_ms - before.uptime_ms) as f64 / 1000.0;
        let count = |figures: &HostStats, name: &str| figures.counts.get(name).copied().unwrap_or(0);
        let of = |name| rate(count(now, name).saturating_sub(count(before, name)), seconds);
        let method = |method: &MethodRow| {
            let none = MethodRow::default();
            let earlier = before.methods.iter().find(|other| other.name == method.name).unwrap_or(&none);
            let lengths = added(&earlier.lengths, &method.lengths);
            MethodRates {
                name: method.name.clone(),
                requests_per_second: rate(method.accepted.saturating_sub(earlier.accepted), seconds),
                failed_per_second: rate(method.failed.saturating_sub(earlier.failed), seconds),
                in_flight: method.in_flight,
                p50_us: quantile(&lengths, 50),
                p99_us: quantile(&lengths, 99),
            }
        };
        Self {
            seconds,
            requests_per_second: of("requests"),
            failed_per_second: of("errors"),
            bytes_in_per_second: of("bytes_in"),
            bytes_out_per_second: of("bytes_out"),
            methods: now.methods.iter().map(method).collect(),
        }
    }
}

/// How many more there are of each length.
fn added(before: &[(u64, u64)], now: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let earlier: BTreeMap<_, _> = before.iter().copied().collect();
    let more = |(end, count): &(u64, u64)| (*end, count - earlier.get(end).copied().unwrap_or(0).min(*count));
    now.iter().map(more).filter(|(_, count)| *count > 0).collect()
}

/// The length in microseconds that so many of a hundred are not longer than.
fn quantile(lengths: &[(u64, u64)], percent: u64) -> Option<u64> {
    let all: u64 = lengths.iter().map(|(_, count)| count).sum();
    let rank = (all * percent).div_ceil(100).max(1);
    let mut seen = 0;
    let found = lengths.iter().find(|(_, count)| {
        seen += count;
        seen >= rank
    });
    found.map(|(end, _)| end / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(uptime_ms: u64, requests: u64, lengths: &[(u64, u64)]) -> HostStats {
        let method = MethodRow {
            name: "a.b".to_owned(),
            accepted: requests,
            failed: requests / 10,
            in_flight: 2,
            lengths: lengths.to_vec(),
            ..MethodRow::default()
        };
        let counts = [("requests", requests), ("errors", requests / 10)];
        let counts = counts.map(|(name, count)| (name.to_owned(), count)).into();
        HostStats { pid: 7, uptime_ms, counts, methods: vec![method], ..HostStats::default() }
    }

    #[test]
    fn a_rate_is_what_was_added_in_the_time_that_the_host_counted() {
        let before = figures(1000, 100, &[(1_000_000, 90)]);
        let now = figures(3000, 300, &[(1_000_000, 189), (5_000_000, 100), (9_000_000, 1)]);
        let pace = HostRates::between(&before, &now);
        assert_eq!((pace.seconds, pace.requests_per_second, pace.failed_per_second), (2.0, 100.0, 10.0));
        let [method] = &pace.methods[..] else { panic!("one method") };
        assert_eq!((method.requests_per_second, method.in_flight), (100.0, 2));
        // 99 of the first length, 100 of the second, one of the last.
        assert_eq!((method.p50_us, method.p99_us), (Some(5_000), Some(5_000)));
    }

    #[test]
    fn nothing_happened_has_no_lengths_and_another_host_begins_anew() {
        let before = figures(1000, 100, &[(1_000_000, 90)]);
        let same = HostRates::between(&before, &before);
        assert_eq!((same.requests_per_second, same.methods[0].p99_us), (0.0, None));
        let restarted = HostStats { pid: 8, ..figures(500, 50, &[(2_000_000, 50)]) };
        let pace = HostRates::between(&before, &restarted);
        assert_eq!((pace.seconds, pace.requests_per_second), (0.5, 100.0));
        assert_eq!(pace.methods[0].p50_us, Some(2_000));
    }
}

//! The reply of `admin.stats`: the counters and gauges of a running host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plugin_status::PluginState;
use super::worker_stats::WorkerStats;

/// The counters and gauges of a host. Counters start with the host.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HostStats {
    /// The version of the host.
    pub version: String,
    /// The process ID of the host.
    pub pid: u32,
    /// The time of this reply, in milliseconds since 1970 by the clock of the host.
    pub at_ms: u64,
    /// The time since the start of the host, in milliseconds.
    pub uptime_ms: u64,
    /// Open connections, without those of operators.
    pub connections: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Async requests in flight.
    pub async_in_flight: u64,
    /// Bytes that all connections together buffer.
    pub buffered_bytes: u64,
    /// The configured limits.
    pub limits: LimitStats,
    /// The counters of `system.info` by name.
    pub counts: BTreeMap<String, u64>,
    /// Ended requests by outcome, without outcomes that did not occur.
    pub outcomes: BTreeMap<String, u64>,
    /// Rejected connections and requests by reason, without reasons that did not occur.
    pub rejected: BTreeMap<String, u64>,
    /// The methods that were requested, by name.
    pub methods: Vec<MethodStats>,
    /// The peers of open connections, those with the most requests in flight first; at most 100.
    pub callers: Vec<CallerStats>,
    /// Number of peers that `callers` leaves out.
    pub more_callers: u64,
    /// The plugins, in the order of their names.
    pub plugins: Vec<PluginStats>,
}

/// The configured limits of the gauges in [`HostStats`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LimitStats {
    /// `limits.connections`.
    pub connections: u64,
    /// `limits.in_flight`.
    pub in_flight: u64,
    /// `limits.buffers`, in bytes.
    pub buffers: u64,
}

/// The requests of one method.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct MethodStats {
    /// The method, or a name in parentheses for requests that are not counted by name.
    pub name: String,
    /// Requests accepted.
    pub accepted: u64,
    /// Requests answered with a result.
    pub ok: u64,
    /// Requests that ended in any other way.
    pub failed: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Median of the time from acceptance to reply, over the requests that began to run, in
    /// microseconds. Like the other percentiles it is at most an eighth too long.
    pub p50_us: Option<u64>,
    /// The 90th percentile of that time, in microseconds.
    pub p90_us: Option<u64>,
    /// The 99th percentile of that time, in microseconds.
    pub p99_us: Option<u64>,
    /// The mean of that time, in microseconds.
    pub mean_us: Option<u64>,
    /// The latency histogram since the start of the host: pairs of the upper bound of a bucket in
    /// nanoseconds and the number of requests in it. Empty unless it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lengths: Vec<(u64, u64)>,
}

/// The open connections of one peer process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallerStats {
    /// The user ID of the process; `None` if the kernel did not report the peer.
    pub uid: Option<u32>,
    /// The group ID of the process.
    pub gid: Option<u32>,
    /// The process ID.
    pub pid: Option<u32>,
    /// Its open connections.
    pub connections: u64,
    /// Its requests in flight.
    pub in_flight: u64,
}

/// The generations of one plugin, and the loads of its files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PluginStats {
    /// The name of the plugin.
    pub name: String,
    /// The number of the generation that serves.
    pub generation: Option<u64>,
    /// The version of that generation.
    pub version: Option<String>,
    /// Whether it serves: `serving`, `probation`, `unhealthy` or `gone`.
    pub state: PluginState,
    /// Number of retired generations with calls in flight.
    pub draining: u64,
    /// Number of generations whose code could not be unloaded.
    pub retained: u64,
    /// Number of threads that run calls past their deadline.
    pub lost_threads: u64,
    /// Number of I/O threads that its inline methods block at the moment.
    #[serde(default)]
    pub held_threads: u64,
    /// Whether its newest content is not loaded because it was running in too many crashes.
    #[serde(default)]
    pub quarantined: bool,
    /// Number of loads of a file or of settings.
    pub loaded: u64,
    /// Number of refused files.
    pub refused: u64,
    /// Number of automatic rollbacks.
    pub rolled_back: u64,
    /// Where the generation that serves runs: `in-process` or `worker`.
    #[serde(default)]
    pub isolation: Option<String>,
    /// The one who decided that it runs in a worker, if somebody did: `host` or `operator`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated_by: Option<String>,
    /// The workers, if it runs in any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerStats>,
}

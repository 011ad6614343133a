//! Values that a scrape reads instead of counting them.

use std::collections::BTreeMap;

/// Values that are not counted but read at the time of the scrape.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gauges {
    pub(crate) open_connections: u64,

    /// Bytes buffered for clients.
    pub(crate) buffered_bytes: u64,

    /// The keys of `[limits]` and their values.
    pub(crate) limits: Vec<(&'static str, u64)>,

    pub(crate) plugins: Vec<PluginGauges>,

    /// The number of crashes that the crash log contains, by each plugin whose code ran then.
    pub(crate) crashes: BTreeMap<String, u64>,

    /// The calls that ran at the last crash.
    pub(crate) last_crash: Vec<CrashGauge>,

    /// Log lines that were not written because there were too many, or because nothing read them.
    pub(crate) log_dropped: u64,

    pub(crate) uptime: std::time::Duration,
}

/// The health of a plugin that serves.
#[derive(Debug, Clone)]
pub(crate) struct PluginGauges {
    pub(crate) name: String,
    pub(crate) is_healthy: bool,
    pub(crate) lost_threads: usize,

    /// `None` for a plugin that runs in the host.
    pub(crate) worker: Option<WorkerGauges>,
}

/// The workers of a plugin that serves.
#[derive(Debug, Clone, Default)]
pub(crate) struct WorkerGauges {
    /// Replaced workers, by the label of the cause.
    pub(crate) restarts: Vec<(&'static str, u64)>,

    pub(crate) resident_bytes: u64,
    pub(crate) calls_in_flight: u64,
}

/// A call that ran when a host crashed.
#[derive(Debug, Clone)]
pub(crate) struct CrashGauge {
    pub(crate) plugin: String,
    pub(crate) generation: u64,
    pub(crate) method: String,

    /// The request's id; empty if it had none.
    pub(crate) id: String,

    /// When the crash was found, in seconds since 1970.
    pub(crate) at: u64,
}

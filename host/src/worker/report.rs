//! The report about the workers of a plugin, for operators.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use crate::sync::lock;

/// Why a worker was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RestartCause {
    /// It ended by itself, or a signal ended it.
    Crash,
    /// A call did not end after its deadline, and the host killed it.
    Stuck,
    /// It sent something that is no message, and the host killed it.
    Protocol,
    /// It reached a limit of `recycle_memory`, `recycle_calls` or `recycle_age`.
    Recycled,
}

impl RestartCause {
    pub(crate) const ALL: [Self; 4] = [Self::Crash, Self::Stuck, Self::Protocol, Self::Recycled];

    /// Returns the word for metrics and JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Stuck => "stuck",
            Self::Protocol => "protocol",
            Self::Recycled => "recycled",
        }
    }
}

impl fmt::Display for RestartCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The restarts of the workers of one plugin, across its generations.
#[derive(Debug, Default)]
pub(crate) struct RestartCounters(Mutex<RestartCounts>);

/// The restarts so far.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct RestartCounts {
    pub(crate) by_cause: BTreeMap<RestartCause, u64>,
    /// How the last worker ended, such as `signal 11 (SIGSEGV)`.
    pub(crate) last: Option<String>,
}

impl RestartCounters {
    pub(crate) fn count(&self, cause: RestartCause, detail: &str) {
        let mut counts = lock(&self.0);
        *counts.by_cause.entry(cause).or_default() += 1;
        counts.last = Some(detail.to_owned());
    }

    pub(crate) fn get(&self) -> RestartCounts {
        lock(&self.0).clone()
    }
}

/// One worker process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkerStatus {
    pub(crate) pid: u32,
    /// Resident memory in bytes; 0 if it is not known.
    pub(crate) resident: u64,
    /// Calls that were sent to it and have not ended.
    pub(crate) calls: usize,
}

/// The workers of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkerReport {
    pub(crate) workers: Vec<WorkerStatus>,
    pub(crate) restarts: RestartCounts,
}

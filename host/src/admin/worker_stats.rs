//! Where a plugin runs, and its workers, as `admin.plugin.list` and `admin.stats` report them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::worker::report::{WorkerReport, WorkerStatus};

/// The workers of a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStats {
    /// The processes that run the plugin.
    pub processes: Vec<WorkerProcessStats>,
    /// The number of workers that were replaced since the start of the host, by cause, without
    /// causes that did not occur.
    pub restarts: BTreeMap<String, u64>,
    /// How the last of them ended, such as `signal 11 (SIGSEGV)`.
    #[serde(default)]
    pub last_cause: Option<String>,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerProcessStats {
    /// The process ID.
    pub pid: u32,
    /// Its resident memory; 0 if it is not known.
    pub resident_bytes: u64,
    /// Calls that were sent to it and have not ended.
    pub in_flight: u64,
}

impl From<WorkerReport> for WorkerStats {
    fn from(report: WorkerReport) -> Self {
        let process = |worker: &WorkerStatus| WorkerProcessStats {
            pid: worker.pid,
            resident_bytes: worker.resident,
            in_flight: worker.calls as u64,
        };
        let restarts = report.restarts.by_cause.iter();
        Self {
            processes: report.workers.iter().map(process).collect(),
            restarts: restarts.map(|(cause, count)| (cause.word().to_owned(), *count)).collect(),
            last_cause: report.restarts.last,
        }
    }
}

/// Returns the word for where a generation runs.
pub(crate) fn isolation_of(worker: Option<&WorkerReport>) -> String {
    let word = if worker.is_some() { "worker" } else { "in-process" };
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::worker::report::{RestartCause, RestartCounters};

    #[test]
    fn reports_processes_and_restarts_by_cause() {
        let counters = RestartCounters::default();
        counters.count(RestartCause::Recycled, "65 calls");
        counters.count(RestartCause::Crash, "signal 6 (SIGABRT)");
        counters.count(RestartCause::Crash, "signal 11 (SIGSEGV)");
        let workers = vec![WorkerStatus { pid: 7, resident: 4096, calls: 2 }];
        let report = WorkerReport { workers, restarts: counters.get() };

        assert_eq!([isolation_of(Some(&report)), isolation_of(None)], ["worker", "in-process"]);
        let expected = json!({
            "processes": [{ "pid": 7, "resident_bytes": 4096, "in_flight": 2 }],
            "restarts": { "crash": 2, "recycled": 1 }, "last_cause": "signal 11 (SIGSEGV)",
        });
        assert_eq!(serde_json::to_value(WorkerStats::from(report)).unwrap(), expected);
    }
}

//! How the commands print where plugins run, and their workers.

use jackfield::admin::WorkerStats;

use super::table::{format_count, format_table};

pub(super) const WORKER_HEAD: [&str; 6] =
    ["WORKERS OF", "PIDS", "RESIDENT", "IN FLIGHT", "RESTARTS", "LAST CAUSE"];

/// Returns where a plugin runs, and who decided that if it is not configured so.
pub(super) fn isolation_cell(isolation: Option<&str>, decided_by: Option<&str>) -> String {
    match isolation {
        Some("worker") => with_decision("worker", decided_by),
        isolation => isolation.unwrap_or("-").to_owned(),
    }
}

/// Adds who decided that a plugin runs in a worker, if somebody did.
pub(super) fn with_decision(text: &str, decided_by: Option<&str>) -> String {
    match decided_by {
        Some("host") => format!("{text} (automatic)"),
        Some(_) => format!("{text} (by command)"),
        None => text.to_owned(),
    }
}

/// Returns an empty line and a table of the plugins that run in workers; nothing if none does.
pub(super) fn format_workers<'p>(
    plugins: impl Iterator<Item = (&'p str, Option<&'p WorkerStats>)>,
) -> String {
    let rows: Vec<_> = plugins.filter_map(|(name, workers)| Some(worker_row(name, workers?))).collect();
    if rows.is_empty() { String::new() } else { format!("\n{}", format_table(&WORKER_HEAD, rows)) }
}

/// Returns the cells of a plugin below [`WORKER_HEAD`].
pub(super) fn worker_row(plugin: &str, workers: &WorkerStats) -> Vec<String> {
    let WorkerStats { processes, restarts, last_cause } = workers;
    let pids: Vec<_> = processes.iter().map(|process| process.pid.to_string()).collect();
    let resident = processes.iter().map(|process| process.resident_bytes).sum();
    let in_flight: u64 = processes.iter().map(|process| process.in_flight).sum();
    let restarts: Vec<_> = restarts.iter().map(|(cause, count)| format!("{count} {cause}")).collect();

    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    vec![
        plugin.to_owned(),
        or_dash(pids.join(",")),
        format!("{}B", format_count(resident)),
        in_flight.to_string(),
        or_dash(restarts.join(", ")),
        or_dash(last_cause.clone().unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn says_who_decided_where_a_plugin_runs() {
        let cell = |isolation: &str, by| isolation_cell(Some(isolation), by);
        assert_eq!(isolation_cell(None, None), "-");
        assert_eq!([cell("in-process", None), cell("worker", None)], ["in-process", "worker"]);
        let decided = [cell("worker", Some("host")), cell("worker", Some("operator"))];
        assert_eq!(decided, ["worker (automatic)", "worker (by command)"]);
    }

    #[test]
    fn prints_a_row_for_each_plugin_in_workers_only() {
        let busy: WorkerStats = serde_json::from_value(json!({
            "processes": [
                { "pid": 41, "resident_bytes": 5_000_000, "in_flight": 2 },
                { "pid": 42, "resident_bytes": 7_000_000, "in_flight": 1 },
            ],
            "restarts": { "crash": 2, "recycled": 1 }, "last_cause": "signal 11 (SIGSEGV)",
        }))
        .unwrap();
        let restarting = WorkerStats::default();

        let plugins = [("a", None), ("device", Some(&busy)), ("idle", Some(&restarting))];
        let expected = "
WORKERS OF  PIDS   RESIDENT  IN FLIGHT  RESTARTS             LAST CAUSE
device      41,42  12MB      3          2 crash, 1 recycled  signal 11 (SIGSEGV)
idle        -      0B        0          -                    -
";
        assert_eq!(format_workers(plugins.into_iter()), expected);
        assert_eq!(format_workers([("a", None)].into_iter()), "");
    }
}

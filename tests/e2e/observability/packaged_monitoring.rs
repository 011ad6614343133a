//! The packaged dashboard and alert rules: they refer to existing metrics only.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::build::root;
use crate::support::http::address;
use crate::support::scrape::Scrape;

/// Metric names that documents, dashboards and users' scripts depend on.
const STABLE_NAMES: [&str; 21] = [
    "ipc_async_pending",
    "ipc_async_timeout_total",
    "ipc_connections",
    "ipc_connections_total",
    "ipc_requests_total",
    "ipc_request_seconds",
    "ipc_in_flight",
    "ipc_rejected_total",
    "ipc_bytes_total",
    "ipc_plugin_generation",
    "ipc_plugin_reloads_total",
    "ipc_plugin_generations",
    "ipc_plugin_healthy",
    "ipc_log_dropped_total",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
];

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns every word of a text that starts like a metric name.
fn metric_names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let is_metric =
        |word: &&str| word.starts_with("ipc_") || (word.starts_with("process_") && *word != "process_");
    words.filter(is_metric).map(str::to_owned).collect()
}

/// Returns the metric families of a host that has had requests.
fn families() -> BTreeSet<String> {
    let host = super::host(&["echoes"], "");
    host.peer().assert_usable();
    Scrape::of(&address(&host)).families.into_keys().collect()
}

fn family_of(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

#[test]
fn names_existing_metrics_and_documents_each() {
    let families = families();
    for name in STABLE_NAMES {
        assert!(families.contains(name), "{name} is not in a scrape");
    }

    for file in
        ["packaging/grafana/jackfield.json", "packaging/prometheus/jackfield.rules.yml", "docs/metrics.md"]
    {
        let metric_names = metric_names(&read(file));
        assert!(metric_names.len() >= 8, "{file} names {metric_names:?}");
        for name in metric_names {
            assert!(families.contains(family_of(&name)), "{file}: no metric {name}");
        }
    }

    let documented = metric_names(&read("docs/metrics.md"));
    for family in families {
        assert!(documented.contains(&family), "docs/metrics.md does not describe {family}");
    }
}

#[test]
fn has_a_query_in_each_panel_of_the_dashboard() {
    let dashboard: Value = serde_json::from_str(&read("packaging/grafana/jackfield.json")).unwrap();
    assert_eq!(dashboard["uid"], "jackfield");
    let panels = dashboard["panels"].as_array().unwrap();

    let mut ids = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && panel["title"].is_string(), "{panel}");
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            assert!(!metric_names(expression).is_empty() && is_balanced(expression), "{expression}");
        }
    }
    assert!(ids.len() >= 8, "{ids:?}");
}

/// Returns whether the brackets of an expression are balanced.
fn is_balanced(text: &str) -> bool {
    let mut open = Vec::new();
    for c in text.chars() {
        match c {
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' if open.pop() != Some(c) => return false,
            _ => {}
        }
    }
    open.is_empty()
}

#[test]
fn has_all_parts_in_each_alert_rule_and_documents_it() {
    let rules = read("packaging/prometheus/jackfield.rules.yml");
    let documented = read("docs/metrics.md");
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 6, "{}", alerts.len());

    for alert in alerts {
        let name = alert.lines().next().unwrap();
        for part in ["expr: ", "severity: ", "summary: ", "description: "] {
            assert!(alert.contains(part), "{name} has no {part:?}");
        }
        assert!(!metric_names(alert).is_empty() && is_balanced(alert), "{name}");
        assert!(documented.contains(&format!("`{name}`")), "docs/metrics.md does not describe {name}");
    }
}

//! What is shipped for Prometheus and Grafana names what there is, and nothing else.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::build::root;
use crate::support::http::address;
use crate::support::scrape::Scrape;

/// The names that documents, dashboards and other people's scripts lean on.
const FIXED: [&str; 14] = [
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
];

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every word of a text that begins like a metric of ours.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("ipc_")).map(str::to_owned).collect()
}

/// The families of a host that has had requests.
fn families() -> BTreeSet<String> {
    let host = super::host(&["echoes"], "");
    host.peer().assert_usable();
    Scrape::of(&address(&host)).families.into_keys().collect()
}

fn family_of(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

#[test]
fn every_metric_that_is_named_is_there_and_every_one_there_is_documented() {
    let families = families();
    for name in FIXED {
        assert!(families.contains(name), "{name} is not in a scrape");
    }
    for file in
        ["packaging/grafana/jackfield.json", "packaging/prometheus/jackfield.rules.yml", "docs/operations.md"]
    {
        let named = named(&read(file));
        assert!(named.len() >= 8, "{file} names {named:?}");
        for name in named {
            assert!(families.contains(family_of(&name)), "{file}: there is no {name}");
        }
    }
    let documented = named(&read("docs/operations.md"));
    for family in families {
        assert!(documented.contains(&family), "docs/operations.md does not tell of {family}");
    }
}

#[test]
fn the_dashboard_is_one_and_each_panel_asks_something() {
    let dashboard: Value = serde_json::from_str(&read("packaging/grafana/jackfield.json")).unwrap();
    assert_eq!(dashboard["uid"], "jackfield");
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && panel["title"].is_string(), "{panel}");
        for target in targets {
            let asked = target["expr"].as_str().unwrap();
            assert!(!named(asked).is_empty() && balanced(asked), "{asked}");
        }
    }
    assert!(ids.len() >= 8, "{ids:?}");
}

/// Whether every bracket of an expression is closed by its like.
fn balanced(text: &str) -> bool {
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
fn every_rule_has_what_a_rule_must_have() {
    let rules = read("packaging/prometheus/jackfield.rules.yml");
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 6, "{}", alerts.len());
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        for part in ["expr: ", "severity: ", "summary: ", "description: "] {
            assert!(alert.contains(part), "{name} has no {part:?}");
        }
        assert!(!named(alert).is_empty() && balanced(alert), "{name}");
    }
}

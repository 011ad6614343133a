//! `jackfield plugin list`: prints the plugins of a running host.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use jackfield::admin::{CrashedMethod, DecisionStatus, PluginStatus, Refusal, RetainedGeneration, method};
use jackfield::log::ShortDuration;
use serde_json::Value;

use super::short_hash;
use crate::cli::admin_client::{OperatorArgs, call, print};
use crate::cli::table::{format_cell, format_table};
use crate::cli::workers::{format_workers, isolation_cell};

const HEAD: [&str; 11] = [
    "PLUGIN",
    "STATE",
    "GENERATION",
    "VERSION",
    "HASH",
    "METHODS",
    "DRAINING",
    "RETAINED",
    "UNLOADED",
    "SIGNED BY",
    "ISOLATION",
];

/// The arguments of `jackfield plugin list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Prints every plugin.
pub(crate) fn list(args: &ListArgs, config: Option<&Path>) -> ExitCode {
    let reply = call(&args.operator, config, method::PLUGIN_LIST, &Value::Null);
    print(reply, args.operator.json, |plugins: Vec<PluginStatus>| (render(&plugins), ExitCode::SUCCESS))
}

/// Returns a table of the plugins, a table of those that run in workers, and a line for each
/// problem.
fn render(plugins: &[PluginStatus]) -> String {
    let mut text = format_table(&HEAD, plugins.iter().map(row));
    let workers = format_workers(plugins.iter().map(|plugin| (&*plugin.name, plugin.worker.as_ref())));
    if !workers.is_empty() {
        text += &format!("{workers}\n");
    }

    for plugin in plugins {
        let name = &plugin.name;
        for RetainedGeneration { generation, reason } in &plugin.retained {
            text += &format!("{name}: generation {generation} is retained: {reason}\n");
        }
        for CrashedMethod { generation, method, id, .. } in &plugin.deaths {
            text += &format!(
                "{name}: generation {generation} ran {method} when the host crashed, request {id:?}\n"
            );
        }
        if let Some(Refusal { reason, detail }) = &plugin.refused {
            text += &format!("{name}: the newest file is refused: {reason}: {detail}\n");
        }
        for decision in &plugin.decisions {
            text += &decision_line(name, decision);
        }
        if let Some(decision) = &plugin.isolated {
            text += &isolation_line(name, decision);
        }
    }
    text
}

fn decision_line(name: &str, decision: &DecisionStatus) -> String {
    let DecisionStatus { hash, detail, .. } = decision;
    format!(
        "{name}: content {} is not loaded: rolled back {}: {detail}; \
         \"jackfield plugin reload {name}\" loads it\n",
        short_hash(Some(hash)),
        by_and_age(decision)
    )
}

fn isolation_line(name: &str, decision: &DecisionStatus) -> String {
    let detail = &decision.detail;
    format!(
        "{name}: isolated {}: {detail}; \"jackfield plugin isolate {name} --off\" ends that\n",
        by_and_age(decision)
    )
}

/// Returns who made a decision, and how long ago.
fn by_and_age(decision: &DecisionStatus) -> String {
    let DecisionStatus { by, uid, at, .. } = decision;
    let by = uid.map_or_else(|| by.clone(), |uid| format!("uid {uid}"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let age = ShortDuration(Duration::from_secs(now.saturating_sub(*at)));
    format!("by {by} {age} ago")
}

fn row(plugin: &PluginStatus) -> Vec<String> {
    vec![
        plugin.name.clone(),
        plugin.state.to_string(),
        format_cell(plugin.generation),
        format_cell(plugin.version.as_ref()),
        short_hash(plugin.hash.as_ref()).to_owned(),
        plugin.methods.len().to_string(),
        plugin.draining.len().to_string(),
        plugin.retained.len().to_string(),
        plugin.unloaded.to_string(),
        format_cell(plugin.signed.as_ref().map(|signature| &signature.key)),
        isolation_cell(plugin.isolation.as_deref(), plugin.isolated.as_ref().map(|decision| &*decision.by)),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prints_a_row_for_each_plugin_and_a_line_for_each_problem() {
        let plugin = json!({
            "name": "device", "state": "probation", "generation": 7, "version": "0.1.0",
            "hash": "0123456789abcdef", "build_id": null, "signed": { "key": "00AA", "at": 1 },
            "methods": ["device.list"], "healthy": true, "lost_threads": 0, "held_threads": 0,
            "moved": [], "draining": [5, 6], "retained": [{ "generation": 3, "reason": "why" }],
            "unloaded": 2,
            "deaths": [{ "at": 1, "generation": 4, "method": "m", "id": "i", "hash": "h" }],
            "refused": { "reason": "not-elf", "detail": "no library" },
            "decisions": [
                { "hash": "ba9876543210ffff", "reason": "rolled-back", "by": "operator", "uid": 7,
                  "at": u64::MAX, "detail": "by command, from generation 6" },
                { "hash": "00", "reason": "probation-failed", "by": "host", "at": u64::MAX, "detail": "d" },
            ],
            "isolation": "worker",
            "isolated": { "hash": "00", "reason": "isolated", "by": "host", "at": u64::MAX, "detail": "crashes" },
            "worker": {
                "processes": [{ "pid": 9, "resident_bytes": 1000, "in_flight": 1 }], "restarts": {},
            },
        });
        let plugins: Vec<PluginStatus> = serde_json::from_value(json!([plugin])).unwrap();

        let text = render(&plugins);

        let lines: Vec<_> = text.lines().collect();
        let cells: Vec<_> = lines[1].split_whitespace().collect();
        let expected = ["device", "probation", "7", "0.1.0", "0123456789ab", "1", "2", "1", "2", "00AA"];
        assert_eq!((&cells[..10], &cells[10..]), (&expected[..], &["worker", "(automatic)"][..]));
        assert_eq!(
            lines[2..],
            [
                "",
                "WORKERS OF  PIDS  RESIDENT  IN FLIGHT  RESTARTS  LAST CAUSE",
                "device      9     1.0kB     1          -         -",
                "",
                "device: generation 3 is retained: why",
                "device: generation 4 ran m when the host crashed, request \"i\"",
                "device: the newest file is refused: not-elf: no library",
                "device: content ba9876543210 is not loaded: rolled back by uid 7 0 s ago: by command, from \
                 generation 6; \"jackfield plugin reload device\" loads it",
                "device: content 00 is not loaded: rolled back by host 0 s ago: d; \"jackfield plugin reload \
                 device\" loads it",
                "device: isolated by host 0 s ago: crashes; \"jackfield plugin isolate device --off\" ends that",
            ]
        );
    }
}

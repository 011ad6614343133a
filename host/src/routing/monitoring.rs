//! The answers of a host to its monitoring: the metrics page, and whether it is ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::dispatcher::Dispatcher;
use crate::clock::Time;
use crate::crash_record::{Crash, CrashedCall};
use crate::log;
use crate::metrics::{CrashGauge, Gauges, PluginGauges, WorkerGauges, render_page};
use crate::plugin::Generation;
use crate::worker::report::{RestartCause, WorkerReport};

impl Dispatcher {
    /// Returns all metrics in the Prometheus text format.
    pub(crate) fn render_metrics(&self) -> String {
        let limits = &self.rules.load().limits;
        let crashes = self.crash_record.crashes();
        // The guard of the table is dropped at once, because the replacement of a table waits until
        // nothing holds the previous one.
        let plugins = self.table.load().generations().map(plugin_gauges).collect();

        let gauges = Gauges {
            open_connections: self.connections.held() as u64,
            buffered_bytes: self.budget.held(),
            limits: vec![
                ("connections", limits.connections as u64),
                ("in_flight", limits.in_flight as u64),
                ("buffers", limits.buffers),
            ],
            plugins,
            crashes: count_by_plugin(&crashes),
            last_crash: crashes.last().map_or_else(Vec::new, crash_gauges),
            log_dropped: log::dropped(),
            uptime: Time::now().since(self.started),
        };
        render_page(&self.metrics.snapshot(), &gauges)
    }

    /// Returns whether clients should use this host.
    ///
    /// # Errors
    ///
    /// Why they should use another one, one reason per line.
    pub(crate) fn check_readiness(&self) -> Result<(), String> {
        let phase = self.phase.unready_reason().map(str::to_owned);
        let unhealthy = |generation: &Arc<Generation>| {
            let reason = generation.unhealthy_reason()?;
            let identity = &generation.identity;
            Some(format!("plugin {}: generation {}: {reason}", identity.plugin, identity.number))
        };
        let mut reasons: Vec<_> = phase.into_iter().collect();
        let table = self.table.load();
        reasons.extend(table.generations().filter_map(unhealthy));
        let down = table.unavailable().iter().filter(|plugin| plugin.is_down);
        reasons.extend(
            down.map(|down| format!("plugin {}: it cannot be started ({})", down.plugin, down.reason)),
        );
        if reasons.is_empty() { Ok(()) } else { Err(reasons.join("\n")) }
    }
}

fn plugin_gauges(generation: &Arc<Generation>) -> PluginGauges {
    let health = generation.health();
    PluginGauges {
        name: generation.identity.plugin.to_string(),
        is_healthy: health.is_healthy,
        lost_threads: health.lost_threads,
        worker: generation.worker_report().as_ref().map(worker_gauges),
    }
}

fn worker_gauges(report: &WorkerReport) -> WorkerGauges {
    let restarts = |cause: RestartCause| {
        (cause.word(), report.restarts.by_cause.get(&cause).copied().unwrap_or_default())
    };
    WorkerGauges {
        restarts: RestartCause::ALL.map(restarts).to_vec(),
        resident_bytes: report.workers.iter().map(|worker| worker.resident).sum(),
        calls_in_flight: report.workers.iter().map(|worker| worker.calls as u64).sum(),
    }
}

/// Counts the crashes of each plugin whose code ran then.
fn count_by_plugin(crashes: &[Crash]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for crash in crashes {
        // A plugin that ran on several threads counts once.
        let plugins: BTreeSet<_> = crash.calls.iter().map(|call| &call.plugin).collect();
        plugins.into_iter().for_each(|plugin| *counts.entry(plugin.clone()).or_default() += 1);
    }
    counts
}

fn crash_gauges(crash: &Crash) -> Vec<CrashGauge> {
    let gauge = |call: &CrashedCall| CrashGauge {
        plugin: call.plugin.clone(),
        generation: call.generation,
        method: call.method.clone(),
        id: call.id.clone(),
        at: crash.at,
    };
    crash.calls.iter().map(gauge).collect()
}

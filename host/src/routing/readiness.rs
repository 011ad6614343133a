//! What a host says of itself to those who watch over it: its numbers as a page, and whether it is ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::Dispatcher;
use crate::clock::Time;
use crate::crash_record::{Crash, CrashedCall};
use crate::log;
use crate::metrics::{CrashGauge, Gauges, PluginGauges, render_page};
use crate::plugin::Generation;

/// How far a host has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostPhase {
    Starting,
    Serving,
    Draining,
}

/// The phase, told from thread to thread.
pub(crate) struct PhaseCell(AtomicU8);

impl PhaseCell {
    pub(super) fn starting() -> Self {
        Self(AtomicU8::new(HostPhase::Starting as u8))
    }

    /// From now on.
    pub(crate) fn enter(&self, phase: HostPhase) {
        self.0.store(phase as u8, Ordering::Release);
    }

    fn why_not(&self) -> Option<&'static str> {
        match self.0.load(Ordering::Acquire) {
            phase if phase == HostPhase::Serving as u8 => None,
            phase if phase == HostPhase::Draining as u8 => Some("draining: the host ends"),
            _ => Some("starting: plugins are being loaded"),
        }
    }
}

fn gauges_of_death(death: &Crash) -> Vec<CrashGauge> {
    let gauge = |ran: &CrashedCall| CrashGauge {
        plugin: ran.plugin.clone(),
        generation: ran.generation,
        method: ran.method.clone(),
        id: ran.id.clone(),
        at: death.at,
    };
    death.ran.iter().map(gauge).collect()
}

impl Dispatcher {
    /// Everything that is counted, for Prometheus.
    pub(crate) fn report(&self) -> String {
        let limits = &self.rules.load().limits;
        let gauges_of = |generation: &Arc<Generation>| {
            let health = generation.health();
            let (name, is_well) = (generation.identity.plugin.to_string(), health.is_healthy);
            PluginGauges { name, is_healthy: is_well, lost_threads: health.lost_threads }
        };
        // The table goes back at once: who replaces it waits until nobody holds it.
        let plugins = self.table.load().generations().map(gauges_of).collect();
        let deaths = self.crash_record.deaths();
        let mut deaths_of = BTreeMap::new();
        for death in &deaths {
            let plugins: BTreeSet<_> = death.ran.iter().map(|ran| &ran.plugin).collect();
            plugins.into_iter().for_each(|plugin| *deaths_of.entry(plugin.clone()).or_default() += 1);
        }
        let gauges = Gauges {
            open_connections: self.connections.held() as u64,
            buffered_bytes: self.budget.held(),
            limits: vec![
                ("connections", limits.connections as u64),
                ("in_flight", limits.in_flight as u64),
                ("buffers", limits.buffers),
            ],
            plugins,
            crashes: deaths_of,
            last_crash: deaths.last().map_or_else(Vec::new, gauges_of_death),
            log_dropped: log::dropped(),
            uptime: Time::now().since(self.started),
        };
        render_page(&self.metrics.snapshot(), &gauges)
    }

    /// Why a client had better ask another host, a line for each reason; `Ok` when there is none.
    pub(crate) fn readiness(&self) -> Result<(), String> {
        let phase = self.phases.why_not().map(str::to_owned);
        let unwell = |generation: &Arc<Generation>| {
            let (plugin, number) = (&generation.identity.plugin, generation.identity.number);
            generation.unhealthy_reason().map(|why| format!("plugin {plugin}, generation {number}: {why}"))
        };
        let reasons = phase.into_iter();
        let reasons: Vec<_> = reasons.chain(self.table.load().generations().filter_map(unwell)).collect();
        if reasons.is_empty() { Ok(()) } else { Err(reasons.join("\n")) }
    }
}

//! The plugins as the admin API and the metrics report them.

use super::owner::PluginOwner;
use super::plugin_slot::{PluginSlot, SlotState};
use crate::admin::{
    CrashedMethod, DecisionStatus, PluginReloadOutcome, PluginReloadResult, PluginState, PluginStatus,
    is_own_plugin, isolation_of,
};
use crate::crash_record::Crash;
use crate::decisions::Decision;
use crate::loader::LoadError;
use crate::metrics::GenerationCounts;
use crate::plugin::Generation;
use crate::routing::UnavailablePlugin;

/// The reason that calls are answered with while a plugin is stopped and the next start has not
/// failed yet.
const STARTING: &str = "starting";

impl PluginOwner {
    /// Returns the plugins that have files, by name.
    pub(super) fn list(&self) -> Vec<PluginStatus> {
        let crashes = self.dispatcher.crash_record.crashes();
        let status = |(name, slot): (&String, &PluginSlot)| {
            let decisions = self.decisions.of(name);
            PluginStatus {
                decisions: decisions.iter().map(Into::into).collect(),
                isolated: self.isolated(name, slot).map(DecisionStatus::of_isolation),
                ..slot.status(name, &crashes)
            }
        };
        self.slots.iter().map(status).collect()
    }

    /// Returns the decision by which the content that serves runs in a worker.
    fn isolated(&self, name: &str, slot: &PluginSlot) -> Option<&Decision> {
        self.decisions.isolation(name, &slot.generation()?.identity.hash)
    }

    /// Returns the result of a reload or rollback of the plugin: what serves now, and why it is not
    /// what was requested.
    pub(super) fn reload_result(&self, name: &str, refused: Option<&LoadError>) -> PluginReloadResult {
        let identity = self.slots.get(name).and_then(PluginSlot::generation).map(|serving| &serving.identity);

        PluginReloadResult {
            plugin: name.to_owned(),
            outcome: match refused {
                Some(_) => PluginReloadOutcome::Refused,
                None => PluginReloadOutcome::Published,
            },
            generation: identity.map(|identity| identity.number),
            hash: identity.map(|identity| identity.hash.clone()),
            build_id: identity.and_then(|identity| identity.build_id.clone()),
            refused: refused.map(Into::into),
        }
    }

    /// Updates the metrics of all plugins but the host's own.
    pub(super) fn report_counts(&self) {
        let counts = |name, slot: &PluginSlot| {
            let isolated_by = self.isolated(name, slot).map(|decision| decision.by.word());
            GenerationCounts { isolated_by, ..slot.counts() }
        };
        let slots = self.slots.iter().map(|(name, slot)| (name.as_str(), counts(name, slot)));
        // Plugins whose files were refused have no generations. There may be many of them.
        let slots = slots.filter(|(_, counts)| *counts != GenerationCounts::default());
        let embedded = self.built_in.iter().map(|generation| &generation.identity);
        let built_in = embedded.filter(|identity| !is_own_plugin(&identity.plugin)).map(|identity| {
            let serving = Some(identity.number);
            (&*identity.plugin, GenerationCounts { serving, ..GenerationCounts::default() })
        });
        self.dispatcher.metrics.plugins.set_generations(built_in.chain(slots));
    }
}

impl PluginSlot {
    fn is_on_probation(&self) -> bool {
        let probation = self.generation().and_then(|serving| serving.probation.as_ref());
        probation.is_some_and(|probation| !probation.is_over())
    }

    fn counts(&self) -> GenerationCounts {
        GenerationCounts {
            serving: self.generation().map(|serving| serving.identity.number),
            on_probation: self.is_on_probation(),
            draining: self.draining.len() as u64,
            retained: self.retained.len() as u64,
            isolated_by: None,
        }
    }

    fn status(&self, name: &str, crashes: &[Crash]) -> PluginStatus {
        let generation = self.generation().map(AsRef::as_ref);
        let identity = generation.map(|generation| &generation.identity);
        let methods = generation.into_iter().flat_map(|generation| &generation.methods);
        let health = generation.map(Generation::health);
        let worker = generation.and_then(Generation::worker_report);
        let is_healthy = health.as_ref().is_some_and(|health| health.is_healthy);

        let failure = self.stopped().and_then(|stopped| Some(&stopped.retry.as_ref()?.failure));
        let state = match self.state() {
            SlotState::Serving(_) if !is_healthy => PluginState::Unhealthy,
            SlotState::Serving(_) if self.is_on_probation() => PluginState::Probation,
            SlotState::Serving(_) => PluginState::Serving,
            SlotState::Stopped(_) => PluginState::Unavailable,
            SlotState::Removed => PluginState::Removed,
            SlotState::NeverServed => PluginState::Refused,
        };

        PluginStatus {
            name: name.to_owned(),
            state,
            generation: identity.map(|identity| identity.number),
            version: identity.map(|identity| identity.version.clone()),
            hash: identity.map(|identity| identity.hash.clone()),
            build_id: identity.and_then(|identity| identity.build_id.clone()),
            signed: generation.and_then(Generation::signature).map(Into::into),
            methods: methods.map(|method| method.name.clone()).collect(),
            healthy: is_healthy,
            lost_threads: health.as_ref().map_or(0, |health| health.lost_threads),
            held_threads: health.as_ref().map_or(0, |health| health.stalled_io_threads),
            moved: health.map(|health| health.demoted_methods).unwrap_or_default(),
            draining: self.draining.clone(),
            retained: self.retained.clone(),
            unloaded: self.unloaded,
            deaths: crashes.iter().flat_map(|crash| crashed_methods(crash, name)).collect(),
            refused: self.refused.as_ref().or(failure).map(Into::into),
            decisions: Vec::new(),
            isolation: generation.map(|_| isolation_of(worker.as_ref())),
            isolated: None,
            worker: worker.map(Into::into),
        }
    }

    /// Returns the contents of the plugin whose methods are known although they do not serve: the
    /// one that was stopped, and the one that was refused. `is_waited_for` says whether calls wait
    /// for the next start.
    pub(super) fn unavailable(
        &self,
        plugin: &str,
        is_waited_for: bool,
    ) -> impl Iterator<Item = UnavailablePlugin> {
        let stopped = self.stopped().map(|stopped| UnavailablePlugin {
            plugin: plugin.to_owned(),
            reason: stopped.retry.as_ref().map_or(STARTING, |retry| retry.failure.reason.code()),
            retry_after: None,
            methods: stopped.content.method_names(),
            is_down: !is_waited_for,
        });
        let refused = self.refused.as_ref().filter(|refused| !refused.methods.is_empty());
        let refused = refused.map(|refused| UnavailablePlugin {
            plugin: plugin.to_owned(),
            reason: refused.reason.code(),
            retry_after: refused.retry_after,
            methods: refused.methods.clone(),
            is_down: false,
        });
        stopped.into_iter().chain(refused)
    }
}

/// Returns the calls of a plugin that were running in a crash.
fn crashed_methods(crash: &Crash, plugin: &str) -> impl Iterator<Item = CrashedMethod> {
    let calls = crash.calls.iter().filter(move |call| call.plugin == plugin);
    calls.map(|call| CrashedMethod {
        at: crash.at,
        generation: call.generation,
        method: call.method.clone(),
        id: call.id.clone(),
        hash: call.hash.clone(),
    })
}

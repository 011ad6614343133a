//! Rolls plugins back to their previous content, by command or after a failed probation.

use std::sync::Arc;

use super::owner::PluginOwner;
use super::plugin_slot::{PluginSlot, RollbackRetry};
use super::transaction::{Candidate, Purpose};
use crate::admin::PluginReloadResult;
use crate::decisions::{Decider, Decision};
use crate::loader::{KeptImage, LoadError, LoadErrorReason};
use crate::log::Counted;
use crate::metrics::ReloadOutcome;
use crate::plugin::{Probation, ProbationFailure, ProbationVerdict};
use crate::plugin_events::PluginEvent;

/// Why there is nothing to roll back.
#[derive(Debug, thiserror::Error)]
enum RollbackError {
    #[error("no plugin {0:?} serves; \"jackfield plugin list\" lists the plugins")]
    NotServing(String),
    #[error(
        "the plugin {0:?} has no previous content: none served before, or the host has rolled it back already; \
         install the file that is to serve"
    )]
    NoPreviousContent(String),
}

impl From<RollbackError> for LoadError {
    fn from(error: RollbackError) -> Self {
        let reason = match error {
            RollbackError::NotServing(_) => LoadErrorReason::NoSuchPlugin,
            RollbackError::NoPreviousContent(_) => LoadErrorReason::NothingToRollBack,
        };
        Self::new(reason, error)
    }
}

impl PluginOwner {
    /// Rolls a plugin back for an operator, who may roll forward again in the same way.
    pub(super) fn roll_back(&mut self, name: &str, by: Decider) -> PluginReloadResult {
        if let Err(error) = self.previous_content(name) {
            return self.reload_result(name, Some(&error.into()));
        }

        match self.restore_previous(name, by, None) {
            Ok(()) => self.reload_result(name, None),
            Err(refused) if refused.reason == LoadErrorReason::HostEnds => {
                self.reload_result(name, Some(&refused))
            }
            Err(refused) => {
                let (reason, detail) = (refused.reason.code(), &refused.detail);
                let effect = self.effect_of_refusal(name);
                tracing::error!(
                    plugin = name,
                    reason,
                    "plugin {name}: rollback by command failed ({reason}): {detail}; {effect}"
                );
                self.reload_result(name, Some(&refused))
            }
        }
    }

    /// Handles the end of a probation: rolls the plugin back if the generation failed.
    pub(super) fn probation_ended(&mut self, plugin: &str, generation: u64, verdict: ProbationVerdict) {
        let Some(serving) = self.slots.get(plugin).and_then(PluginSlot::serving) else { return };
        if serving.generation.identity.number != generation {
            // The generation was replaced in the meantime.
            return;
        }
        let ProbationVerdict::Failed(reason) = verdict else {
            let calls = serving.generation.probation.as_ref().map_or(0, Probation::length);
            let calls = Counted(calls, "call");
            tracing::info!(
                plugin,
                generation,
                "plugin {plugin}: generation {generation} passed its probation of {calls}"
            );
            return;
        };
        if serving.previous.is_none() {
            tracing::error!(
                plugin,
                generation,
                "plugin {plugin}: generation {generation} failed its probation ({reason}) but continues to serve, \
                 because there is no previous content; install a corrected file"
            );
            return;
        }

        match self.restore_previous(plugin, Decider::Host, Some(reason)) {
            Ok(()) => {
                let metrics = &self.dispatcher.metrics;
                metrics.counters.plugins_rolled_back.add(1);
                metrics.plugins.count_reload(plugin, ReloadOutcome::RolledBack);
                self.log_rolled_back(plugin, generation, reason);
            }
            Err(refused) if refused.reason == LoadErrorReason::HostEnds => {}
            // Nothing serves any more, which was logged.
            Err(_) if self.slots.get(plugin).is_some_and(|slot| slot.stopped().is_some()) => {}
            Err(refused) => {
                let is_retried = refused.reason.is_transient();
                if is_retried {
                    self.retry_rollback_later(plugin, generation, reason);
                }

                let (code, detail) = (refused.reason.code(), &refused.detail);
                let remedy = if is_retried { "the host tries again" } else { "install a corrected file" };
                tracing::error!(
                    plugin,
                    generation,
                    reason = code,
                    "plugin {plugin}: generation {generation} failed its probation ({reason}) but continues to \
                     serve, because the rollback failed ({code}): {detail}; {remedy}"
                );
            }
        }
    }

    fn log_rolled_back(&self, plugin: &str, failed: u64, reason: ProbationFailure) {
        let serving = self.slots.get(plugin).and_then(PluginSlot::generation);
        let hash = serving.map_or("?", |serving| serving.identity.short_hash());
        tracing::error!(
            plugin,
            generation = failed,
            hash,
            "plugin {plugin}: generation {failed} rolled back to {hash}: {reason}"
        );
    }

    /// Tries the automatic rollbacks again that are due.
    pub(super) fn retry_rollbacks(&mut self) {
        let now = self.now().monotonic;
        let due = self.slots.iter_mut().filter_map(|(name, slot)| {
            let retry = &mut slot.serving_mut()?.rollback_retry;
            Some((name.clone(), retry.take_if(|retry| now >= retry.at)?))
        });

        for (plugin, retry) in due.collect::<Vec<_>>() {
            self.probation_ended(&plugin, retry.generation, ProbationVerdict::Failed(retry.reason));
        }
    }

    fn retry_rollback_later(&mut self, plugin: &str, generation: u64, reason: ProbationFailure) {
        // Each attempt holds calls for up to `hand_over`: at most a fifth of the time.
        let at = self.now().monotonic + self.config.plugins.state_transfer * 4;
        if let Some(serving) = self.slots.get_mut(plugin).and_then(PluginSlot::serving_mut) {
            serving.rollback_retry = Some(RollbackRetry { generation, at, reason });
        }
    }

    fn previous_content(&self, name: &str) -> Result<(&PluginSlot, &KeptImage), RollbackError> {
        let slot = self.slots.get(name).filter(|slot| slot.file().is_some());
        let slot = slot.ok_or_else(|| RollbackError::NotServing(name.to_owned()))?;
        Ok((slot, slot.previous().ok_or_else(|| RollbackError::NoPreviousContent(name.to_owned()))?))
    }

    /// Replaces what serves by the previous content, and decides against what served. `failure` is
    /// why, unless an operator asks.
    ///
    /// The image of the previous content is copied, so that a failed rollback can be tried again.
    fn restore_previous(
        &mut self,
        name: &str,
        by: Decider,
        failure: Option<ProbationFailure>,
    ) -> Result<(), LoadError> {
        let (slot, previous) = self.previous_content(name)?;
        let from = slot.hash().unwrap_or_default().to_owned();
        let (number, declared) = (slot.number().unwrap_or_default(), slot.methods().to_vec());
        let file = slot.file().cloned().unwrap_or_default();
        let purpose = match by {
            Decider::Host => Purpose::RollBackAfterProbation,
            Decider::Operator { .. } => Purpose::RollBackByOperator,
        };
        let candidate = Candidate { staged: previous.staged()?, file, purpose };

        let config = Arc::clone(&self.config);
        let prepared = self.prepare(candidate, &config)?;
        self.commit_one(prepared)?;

        let why = match failure {
            Some(reason) => format!("generation {number} failed its probation ({reason})"),
            None => format!("by command, from generation {number}"),
        };
        let to = self.slots.get(name).and_then(PluginSlot::number).unwrap_or_default();
        self.dispatcher.events.publish(&PluginEvent::RolledBack {
            plugin: name.to_owned(),
            from: number,
            to,
            reason: why.clone(),
        });
        self.decide(name, Decision::now(from, by, why), &declared);
        Ok(())
    }
}

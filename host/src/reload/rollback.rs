//! Rolls plugins back to their previous content, by command or after a failed probation.

use std::sync::Arc;

use super::owner::PluginOwner;
use super::plugin_slot::{PluginSlot, RollbackRetry, ServingPlugin};
use super::transaction::{Candidate, Purpose};
use crate::admin::PluginReloadResult;
use crate::loader::{KeptImage, LoadError, LoadErrorReason};
use crate::metrics::ReloadOutcome;
use crate::plugin::{ProbationFailure, ProbationVerdict};

/// Why there is nothing to roll back.
#[derive(Debug, thiserror::Error)]
enum RollbackError {
    #[error("no plugin {0:?} serves")]
    NotServing(String),
    #[error("no content of the plugin {0:?} served before, or it has been gone back to")]
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
    pub(super) fn roll_back(&mut self, name: &str) -> PluginReloadResult {
        if let Err(error) = self.previous_content(name) {
            return self.reload_result(name, Some(&error.into()));
        }

        match self.restore_previous(name, Purpose::RollBackByOperator, None) {
            Ok(()) => {
                tracing::info!(plugin = name, "rolled back by hand");
                self.reload_result(name, None)
            }
            Err(refused) => {
                tracing::error!(plugin = name, reason = refused.reason.code(), "not rolled back: {refused}");
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
            tracing::info!(plugin, generation, "its probation is over");
            return;
        };
        if serving.previous.is_none() {
            tracing::error!(plugin, generation, "{reason}, and there is nothing to go back to");
            return;
        }

        tracing::error!(plugin, generation, "{reason}: the content before comes back");
        let detail = format!("generation {generation}: {reason}");
        let failure = LoadError::new(LoadErrorReason::ProbationFailed, detail);
        match self.restore_previous(plugin, Purpose::RollBackAfterProbation, Some(failure)) {
            Ok(()) => {
                let metrics = &self.dispatcher.metrics;
                metrics.counters.plugins_rolled_back.add(1);
                metrics.plugins.count_reload(plugin, ReloadOutcome::RolledBack);
            }
            Err(refused) => {
                let code = refused.reason.code();
                tracing::error!(
                    plugin,
                    generation,
                    reason = code,
                    "not rolled back, it serves on: {refused}"
                );
                if refused.reason.is_transient() {
                    self.retry_rollback_later(plugin, generation, reason);
                }
            }
        }
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

    fn previous_content(&self, name: &str) -> Result<(&ServingPlugin, &KeptImage), RollbackError> {
        let serving = self.slots.get(name).and_then(PluginSlot::serving);
        let serving = serving.ok_or_else(|| RollbackError::NotServing(name.to_owned()))?;
        let previous = serving.previous.as_deref();
        Ok((serving, previous.ok_or_else(|| RollbackError::NoPreviousContent(name.to_owned()))?))
    }

    /// Replaces what serves by the previous content. `failure` is why, unless an operator asks.
    ///
    /// The image of the previous content is copied, so that a failed rollback can be tried again.
    fn restore_previous(
        &mut self,
        name: &str,
        purpose: Purpose,
        failure: Option<LoadError>,
    ) -> Result<(), LoadError> {
        let (serving, previous) = self.previous_content(name)?;
        let from = serving.generation.identity.hash.clone();
        let candidate = Candidate { staged: previous.staged()?, file: serving.file.clone(), purpose };

        let config = Arc::clone(&self.config);
        let prepared = self.prepare(candidate, &config)?;
        self.commit_one(prepared)?;

        if let Some(slot) = self.slots.get_mut(name) {
            slot.rolled_back(from, failure);
        }
        Ok(())
    }
}

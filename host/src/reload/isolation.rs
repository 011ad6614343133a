//! Where plugins run: in the host or in a worker, by the configuration or by a decision.
//!
//! An operator decides about a plugin, whatever content its file has. The host decides about a
//! content that caused crashes of the host, if `plugins.crash.action` is `worker`; otherwise the
//! content is quarantined. Both decisions are kept from host to host, and another content ends the
//! second one. `jackfield plugin isolate NAME --off` ends both.

use std::borrow::Cow;
use std::sync::Arc;

use super::decided::{age_of, short};
use super::load_checks::LoadCheckError;
use super::load_outcome::LoadTrigger;
use super::owner::PluginOwner;
use super::plugin_slot::PluginSlot;
use super::transaction::{Candidate, Purpose};
use crate::admin::PluginReloadResult;
use crate::config::{Config, CrashAction, Isolation};
use crate::crash_record::Quarantined;
use crate::decisions::{Decider, Decision};
use crate::loader::{Inspection, LoadError, LoadErrorReason};
use crate::log::{Counted, ShortDuration, printable};

/// Why a plugin cannot be moved by command.
#[derive(Debug, thiserror::Error)]
enum IsolateError {
    #[error("no plugin {0:?} is loaded from a file; \"jackfield plugin list\" lists the plugins")]
    NoPlugin(String),

    #[error("no decision isolates the plugin {0:?}; plugin.{0}.isolation sets where it runs")]
    NotIsolated(String),
}

impl From<IsolateError> for LoadError {
    fn from(error: IsolateError) -> Self {
        let reason = match error {
            IsolateError::NoPlugin(_) => LoadErrorReason::NoSuchPlugin,
            IsolateError::NotIsolated(_) => LoadErrorReason::NotIsolated,
        };
        Self::new(reason, error)
    }
}

impl PluginOwner {
    /// Returns where a content of a plugin runs with this configuration.
    pub(super) fn isolation(&self, plugin: &str, hash: &str, config: &Config) -> Isolation {
        match self.decisions.isolation(plugin, hash) {
            Some(_) => Isolation::Worker,
            None => config.isolation(plugin),
        }
    }

    /// Returns the configuration with which these candidates are probed and started: each has the
    /// isolation that was decided for it.
    pub(super) fn with_decisions<'c, 'a>(
        &self,
        config: &'c Config,
        candidates: impl IntoIterator<Item = &'a Candidate>,
    ) -> Cow<'c, Config> {
        let mut config = Cow::Borrowed(config);
        for Candidate { staged, purpose, .. } in candidates {
            let Inspection { name, hash, .. } = &staged.inspection;
            let isolation = match *purpose {
                Purpose::Isolate(isolation) => isolation,
                _ => self.isolation(name, &hash.to_string(), &config),
            };
            if isolation != config.isolation(name) {
                config.to_mut().plugin.entry(name.clone()).or_default().isolation = isolation;
            }
        }
        config
    }

    /// Returns where a content runs, for the message that it serves.
    pub(super) fn place_of(&self, plugin: &str, hash: &str) -> String {
        match self.decisions.isolation(plugin, hash) {
            Some(Decision { by, at, .. }) => {
                format!(" in a worker (isolated by {by} {} ago)", ShortDuration(age_of(*at)))
            }
            None if self.config.isolation(plugin) == Isolation::Worker => " in a worker".to_owned(),
            None => String::new(),
        }
    }

    /// Has a plugin run in a worker for an operator; with `is_off`, it returns to where it is
    /// configured to run. A plugin of which nothing serves is loaded again.
    pub(super) fn isolate(&mut self, name: &str, is_off: bool, by: Decider) -> PluginReloadResult {
        let slot = match self.check_isolate(name, is_off) {
            Ok(slot) => slot,
            Err(error) => return self.reload_result(name, Some(&error.into())),
        };
        let Some(hash) = slot.hash().map(str::to_owned) else {
            // No content serves, so the decision comes first.
            self.decide_isolation(name, "", is_off, by);
            let results = self.reload_files(Some(name), LoadTrigger::OperatorForAll);
            return results.into_iter().next().unwrap_or_else(|| self.reload_result(name, None));
        };

        let configured = self.config.isolation(name);
        let wanted = if is_off { configured } else { Isolation::Worker };
        if wanted == self.isolation(name, &hash, &self.config) {
            self.decide_isolation(name, &hash, is_off, by);
            return self.reload_result(name, None);
        }
        match self.restart_in(name, wanted) {
            Ok(()) => {
                self.decide_isolation(name, &hash, is_off, by);
                let note = if is_off { ", moved out of its worker by command" } else { "" };
                self.report_serving(name, note);
                self.reload_result(name, None)
            }
            Err(refused) => {
                self.log_not_moved(name, wanted, &refused);
                self.reload_result(name, Some(&refused))
            }
        }
    }

    fn check_isolate(&self, name: &str, is_off: bool) -> Result<&PluginSlot, IsolateError> {
        let is_known = |slot: &&PluginSlot| slot.file().is_some() || slot.refused.is_some();
        let slot = self.slots.get(name).filter(is_known);
        let slot = slot.ok_or_else(|| IsolateError::NoPlugin(name.to_owned()))?;
        if is_off && !self.decisions.has_isolation(name) {
            return Err(IsolateError::NotIsolated(name.to_owned()));
        }
        Ok(slot)
    }

    /// Starts the content of a plugin again, in the host or in a worker.
    fn restart_in(&mut self, name: &str, isolation: Isolation) -> Result<(), LoadError> {
        self.check_not_ending()?;
        let config = Arc::clone(&self.config);
        let prepared = self.prepare_again(name, Purpose::Isolate(isolation), &config);
        let prepared = prepared.unwrap_or_else(|| Err(IsolateError::NoPlugin(name.to_owned()).into()))?;
        self.commit(vec![prepared], config).map_err(|error| error.refused)
    }

    /// Records the decision of an operator about a plugin whose content has this hash.
    fn decide_isolation(&mut self, name: &str, hash: &str, is_off: bool, by: Decider) {
        if !is_off {
            tracing::info!(
                plugin = name,
                %by,
                "plugin {name}: it runs in a worker until \"jackfield plugin isolate {name} --off\": {by} isolated it"
            );
            self.decisions.isolate(name, Decision::now(hash.to_owned(), by, "by command".to_owned()));
            return;
        }

        tracing::info!(
            plugin = name,
            %by,
            "plugin {name}: it runs where it is configured to run: {by} ended its isolation"
        );
        let ended = self.decisions.end_isolation(name);
        let record = Arc::clone(&self.dispatcher.crash_record);
        for hash in ended.iter().map(|decision| &*decision.hash).chain([hash]) {
            // Otherwise the crashes would isolate or quarantine the content again.
            if let Some(content) = record.quarantined(hash) {
                self.clear_quarantine(content);
            }
        }
    }

    fn log_not_moved(&self, name: &str, wanted: Isolation, refused: &LoadError) {
        if refused.reason == LoadErrorReason::HostEnds {
            return;
        }
        let direction = match wanted {
            Isolation::Worker => "into a worker",
            Isolation::InProcess => "out of its worker",
        };
        let (reason, detail) = (refused.reason.code(), &refused.detail);
        let effect = self.effect_of_refusal(name);
        tracing::error!(
            plugin = name,
            reason,
            "plugin {name}: it cannot be moved {direction} by command ({reason}): {detail}; {effect}"
        );
    }

    /// Checks whether this content may run, although it has caused crashes.
    ///
    /// In a worker it may. Otherwise it is isolated, or it is quarantined and an operator clears
    /// the quarantine.
    pub(super) fn check_crashes(
        &mut self,
        content: &Inspection,
        trigger: LoadTrigger,
    ) -> Result<(), LoadError> {
        let hash = content.hash.to_string();
        let record = &self.dispatcher.crash_record;
        let Some(quarantined) = record.quarantined(&hash) else { return Ok(()) };
        if self.isolation(&content.name, &hash, &self.config) == Isolation::Worker {
            return Ok(());
        }

        let limits = record.limits();
        match limits.action {
            CrashAction::Worker => self.isolate_crashing(&content.name, quarantined),
            CrashAction::Quarantine if trigger != LoadTrigger::Scan => self.clear_quarantine(quarantined),
            CrashAction::Quarantine => {
                let window = limits.window;
                return Err(LoadCheckError::Quarantined { content: quarantined, window }.into());
            }
        }
        Ok(())
    }

    /// Decides that a content which has caused crashes runs in a worker.
    fn isolate_crashing(&mut self, name: &str, content: Quarantined) {
        let Quarantined { hash, crashes: deaths, method, .. } = content;
        let window = ShortDuration(self.dispatcher.crash_record.limits().window);
        let crashes = Counted(deaths, "crash");
        let why = format!("it was running in {crashes} of the host within {window}, last in {method}");

        let (short_hash, shown) = (short(&hash), printable(&why));
        tracing::warn!(
            plugin = name,
            hash,
            deaths,
            "plugin {name}: content {short_hash} runs in a worker from now on: {shown}; install a corrected file, or run \
             \"jackfield plugin isolate {name} --off\""
        );
        self.decisions.isolate(name, Decision::now(hash, Decider::Host, why));
    }

    /// Ends the quarantine of a content for an operator.
    fn clear_quarantine(&self, content: Quarantined) {
        let Quarantined { plugin, hash, crashes: deaths, .. } = content;
        self.dispatcher.crash_record.clear(&hash);
        let crashes = Counted(deaths, "crash");
        tracing::warn!(
            plugin,
            hash,
            deaths,
            "plugin {plugin}: quarantine cleared by command, although content {hash} was running in {crashes}"
        );
    }
}

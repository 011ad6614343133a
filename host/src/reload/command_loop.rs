//! What is done for each order: by operators, by the watcher, by generations that have come to something.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Instant;

use super::command::{ReloadCommand, ReloadResult};
use super::owner::PluginOwner;
use super::plugin_slot::PluginSlot;
use super::restart_required;
use super::transaction::{CommitError, changed_plugins};
use crate::config::Config;
use crate::loader::{LoadError, LoadErrorReason, StagedPlugin, plugin_name};
use crate::metrics::ReloadOutcome;
use crate::plugin::{ProbationVerdict, RetirementOutcome};
use crate::routing::ConnectionRules;

impl PluginOwner {
    /// Does what is ordered; `true` when the directory is to be looked at again soon.
    pub(super) fn obey(&mut self, order: ReloadCommand) -> bool {
        match order {
            ReloadCommand::Look(whole) => return self.look(&whole, false),
            ReloadCommand::LookAtAll(done) => {
                self.try_refused_again();
                self.open_directory();
                let again = self.look(&[], true);
                done.map(|done| done.send(()));
                return again;
            }
            // Whoever asked may have gone: then nobody is told.
            ReloadCommand::Reload(name, reply) => drop(reply.send(self.reload(name.as_deref()))),
            ReloadCommand::Rollback(name, reply) => drop(reply.send(self.roll_back(&name))),
            ReloadCommand::List(reply) => {
                let deaths = self.dispatcher.crash_record.deaths();
                drop(reply.send(self.slots.iter().map(|(name, slot)| slot.row(name, &deaths)).collect()));
            }
            ReloadCommand::Judged { plugin, generation, sentence } => {
                self.judged(&plugin, generation, sentence)
            }
            ReloadCommand::Retired { plugin, generation, how } => {
                return self.retired(&plugin, generation, &how);
            }
            ReloadCommand::Configure(config, reply) => {
                drop(reply.send(self.configure(config)));
                return true;
            }
            ReloadCommand::Stop(_) => {}
        }
        false
    }

    /// Forgets that files were refused.
    fn try_refused_again(&mut self) {
        for file in self.sightings.files().cloned().collect::<Vec<_>>() {
            let slot = self.slots.values().find(|slot| slot.file.as_ref() == Some(&file));
            let serves = slot.is_some_and(|slot| slot.serving.is_some() && slot.refused.is_none());
            if !serves {
                self.sightings.try_again(&file);
            }
        }
    }

    fn reload(&mut self, name: Option<&str>) -> Vec<ReloadResult> {
        self.open_directory();
        let listed = self.sightings.directory().map_or_else(|| Ok(Vec::new()), |directory| directory.list());
        let files: Vec<_> = listed.unwrap_or_default().into_iter().collect();
        let is_meant = |file: &OsString| name.is_none_or(|name| plugin_name(file).as_deref() == Some(name));
        let meant: Vec<_> = files.into_iter().filter(is_meant).collect();
        if let (Some(name), true) = (name, meant.is_empty()) {
            let detail = format!("there is no file of a plugin {name:?} in the plugin directory");
            return vec![self.verdict(name, Some(LoadError::new(LoadErrorReason::NoSuchPlugin, detail)))];
        }
        meant.iter().filter_map(|file| self.load(file, true)).collect()
    }

    fn roll_back(&mut self, name: &str) -> ReloadResult {
        let Some(slot) = self.slots.get(name).filter(|slot| slot.serving.is_some()) else {
            let refused = LoadError::new(LoadErrorReason::NoSuchPlugin, format!("no plugin {name:?} serves"));
            return self.verdict(name, Some(refused));
        };
        let Some(before) = &slot.before else {
            let detail =
                format!("no content of the plugin {name:?} served before, or it has been gone back to");
            return self.verdict(name, Some(LoadError::new(LoadErrorReason::NothingToRollBack, detail)));
        };
        let from = slot.serving.as_ref().map(|serving| serving.identity.hash.clone()).unwrap_or_default();
        let rolled_back = before.staged().and_then(|staged| self.put_back(staged, true));
        if let Err(refused) = rolled_back {
            tracing::error!(plugin = name, reason = refused.reason.code(), "not rolled back: {refused}");
            return self.verdict(name, Some(refused));
        }
        tracing::info!(plugin = name, "rolled back by hand");
        if let Some(slot) = self.slots.get_mut(name) {
            slot.went_back(from, None);
        }
        self.verdict(name, None)
    }

    fn put_back(&mut self, staged: StagedPlugin, keep_before: bool) -> Result<(), LoadError> {
        let config = Arc::clone(&self.config);
        let mut new = self.prepare(staged, None, &config, false)?;
        new.keep_before = keep_before;
        self.serve(new)
    }

    fn judged(&mut self, plugin: &str, generation: u64, sentence: ProbationVerdict) {
        let Some(slot) = self.slots.get_mut(plugin) else { return };
        if slot.serving.as_ref().is_none_or(|serving| serving.identity.number != generation) {
            // It was replaced in the meantime.
            return;
        }
        let ProbationVerdict::Failed(why) = sentence else {
            tracing::info!(plugin, generation, "its probation is over");
            return;
        };
        let Some(before) = &slot.before else {
            tracing::error!(plugin, generation, "{why}, and there is nothing to go back to");
            return;
        };
        tracing::error!(plugin, generation, "{why}: the content before comes back");
        let from = slot.serving.as_ref().map(|serving| serving.identity.hash.clone()).unwrap_or_default();
        // A copy: when it cannot come back now, an operator can still order it.
        match before.staged().and_then(|before| self.put_back(before, false)) {
            Ok(()) => {
                let metrics = &self.dispatcher.metrics;
                metrics.counters.plugins_rolled_back.add(1);
                metrics.plugins.count_reload(plugin, ReloadOutcome::RolledBack);
                if let Some(slot) = self.slots.get_mut(plugin) {
                    let detail = format!("generation {generation}: {why}");
                    slot.went_back(from, Some(LoadError::new(LoadErrorReason::ProbationFailed, detail)));
                }
            }
            Err(refused) => {
                let reason = refused.reason.code();
                tracing::error!(plugin, generation, reason, "not rolled back, it serves on: {refused}");
                if let Some(slot) = self.slots.get_mut(plugin)
                    && refused.reason.is_of_the_moment()
                {
                    // As for a reload: calls are held meanwhile, at most a fifth of the time.
                    let next = Instant::now() + self.config.plugins.hand_over * 4;
                    slot.goes_back = Some((generation, next, why));
                }
            }
        }
    }

    /// Tries again to go back where that could not be done in its moment.
    pub(super) fn go_back(&mut self) {
        let is_due = |slot: &mut PluginSlot| slot.goes_back.take_if(|(_, next, _)| Instant::now() >= *next);
        let due: Vec<_> =
            self.slots.iter_mut().filter_map(|(name, slot)| Some((name.clone(), is_due(slot)?))).collect();
        for (plugin, (generation, _, why)) in due {
            self.judged(&plugin, generation, ProbationVerdict::Failed(why));
        }
    }

    pub(super) fn retired(&mut self, plugin: &str, generation: u64, how: &RetirementOutcome) -> bool {
        let counters = &self.dispatcher.metrics.counters;
        match how {
            RetirementOutcome::Unloaded if self.own.contains(plugin) => {
                tracing::debug!(plugin, generation, "ended");
            }
            RetirementOutcome::Unloaded => {
                counters.generations_unloaded.add(1);
                tracing::info!(plugin, generation, "unloaded");
            }
            RetirementOutcome::Retained(reason) => {
                counters.generations_retained.add(1);
                let reason = reason.to_string();
                tracing::warn!(plugin, generation, reason, "retained: its code stays in the process");
            }
        }
        let Some(slot) = self.slots.get_mut(plugin) else { return false };
        slot.ended(generation, how);
        // One that was refused for those that drained may be loaded now.
        slot.refused.as_ref().is_some_and(|refused| refused.reason == LoadErrorReason::TooManyDraining)
    }

    /// Changes to another configuration, with everything that hangs on it, or not at all.
    fn configure(&mut self, config: Arc<Config>) -> Result<(), Vec<String>> {
        let mut prepared = Vec::new();
        let mut faults = Vec::new();
        for name in changed_plugins(&self.config, &config) {
            let serving = self.slots.get(&name).and_then(|slot| slot.serving.as_ref());
            let Some(kept) = serving.and_then(|serving| serving.kept_image()) else { continue };
            let staged = kept.and_then(|kept| kept.staged());
            match staged.and_then(|staged| self.prepare(staged, None, &config, true)) {
                Ok(new) => prepared.push(new),
                Err(refused) => faults.push(format!("plugin.{name}: {refused}")),
            }
        }
        if !faults.is_empty() {
            prepared.into_iter().for_each(|new| self.discard(new.generation));
            return Err(faults);
        }
        let changed = changed_plugins(&self.config, &config);
        let other_keys = config.plugins.trusted_keys != self.config.plugins.trusted_keys;
        let more_retained = config.plugins.retained > self.config.plugins.retained;
        let rules = ConnectionRules::of(&config);
        let listeners = config.listeners.clone();
        restart_required::tell(&self.config, &config);
        let new: Vec<_> =
            prepared.iter().map(|new| (new.name.clone(), Arc::clone(&new.generation))).collect();
        // Before the table that goes with them, which is built of them; permits of routes that are gone are kept by
        // the calls that hold them.
        self.permits.update(&config.routes);
        if let Err(CommitError { plugin, refused }) = self.commit(prepared, config) {
            self.permits.update(&self.config.routes);
            return Err(vec![format!("plugin.{plugin}: {refused}")]);
        }
        self.dispatcher.set_rules(rules);
        self.dispatcher.acls.set(&listeners);
        self.try_with_new_settings(&changed, more_retained);
        if other_keys {
            // What may be loaded now is, and what may not any more is told; what serves serves on.
            for file in self.sightings.files().cloned().collect::<Vec<_>>() {
                self.sightings.try_again(&file);
            }
        }
        for (name, generation) in new {
            self.tell_of(&name, &generation);
        }
        Ok(())
    }

    /// Tries again what the settings before may have been the cause of.
    fn try_with_new_settings(&mut self, changed: &BTreeSet<String>, more_retained: bool) {
        for file in self.sightings.files().cloned().collect::<Vec<_>>() {
            let Some(name) = plugin_name(&file) else { continue };
            let refused = self.slots.get(&name).and_then(|slot| slot.refused.as_ref());
            let has_room =
                |refused: &LoadError| more_retained && refused.reason == LoadErrorReason::TooManyRetained;
            if refused.is_some_and(|refused| has_room(refused) || changed.contains(&name)) {
                self.sightings.try_again(&file);
            }
        }
    }
}

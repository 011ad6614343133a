//! Applies a new configuration while the host serves: everything that depends on it, or nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::owner::PluginOwner;
use super::plugin_slot::PluginSlot;
use super::restart_required;
use super::transaction::{Candidate, PreparedGeneration, PreparedStart, Purpose};
use crate::config::{
    Config, IncompatiblePolicy, Isolation, Place, PluginConfig, ReplacePolicy, WorkerConfig,
};
use crate::loader::{LoadError, LoadErrorReason, plugin_name};
use crate::routing::ConnectionRules;

/// A plugin that cannot be started with its new settings.
#[derive(Debug, thiserror::Error)]
#[error("plugin.{plugin}: cannot run with its new settings ({}): {}", .refused.reason, .refused.detail)]
struct SettingsError {
    plugin: String,
    refused: LoadError,
}

impl PluginOwner {
    /// Applies a configuration.
    ///
    /// # Errors
    ///
    /// Every plugin that cannot be started with its new settings. Nothing has changed.
    pub(super) fn configure(&mut self, config: Arc<Config>) -> Result<(), Vec<String>> {
        let old = Arc::clone(&self.config);
        let changed = self.changed_plugins(&old, &config);
        let prepared = self.prepare_all(&changed, &config).map_err(to_strings)?;

        restart_required::warn(&old, &config);
        let names: Vec<_> = prepared.iter().map(|new| new.name.clone()).collect();
        // Before the commit, which builds the routing table of them. The permits of removed routes
        // are kept by the calls that hold them.
        self.permits.update(&config.routes);
        if let Err(error) = self.commit(prepared, Arc::clone(&config)) {
            self.permits.update(&old.routes);
            return Err(to_strings(vec![SettingsError { plugin: error.plugin, refused: error.refused }]));
        }

        self.dispatcher.set_rules(ConnectionRules::of(&config));
        self.dispatcher.acls.set(&config.listeners, config.admin.as_ref());
        if let Some(tracer) = self.dispatcher.tracer.get() {
            tracer.set_sample(config.trace.sample);
        }
        self.retry_with_settings(&changed, &old);
        if config.plugins.trusted_keys != old.plugins.trusted_keys {
            // A refused file may be trusted now, and a loaded one may not be any more, which is
            // reported. What serves serves on.
            self.scan.files.retry_all();
        }
        for name in names {
            self.report_serving(&name, " with its new settings");
        }
        Ok(())
    }

    /// Returns the plugins that have to be started again for a new configuration: their settings,
    /// threads, queue, circuit breaker or isolation differ. Their policies (`replace` and
    /// `incompatible`) apply to the next replacement. The options of workers apply only to plugins
    /// that run in workers.
    fn changed_plugins(&self, old: &Config, new: &Config) -> BTreeSet<String> {
        let settings = |config: &Config, name: &String| {
            let settings = config.plugin.get(name).cloned().unwrap_or_default();
            let hash = self.slots.get(name).and_then(PluginSlot::hash).unwrap_or_default();
            let isolation = self.isolation(name, hash, config);
            let worker = match isolation {
                Isolation::InProcess => WorkerConfig::default(),
                Isolation::Worker => settings.worker,
            };
            let (place, replace) = (Place::default(), ReplacePolicy::default());
            PluginConfig { place, replace, incompatible: None, isolation, worker, ..settings }
        };
        let all = old.plugin.keys().chain(new.plugin.keys());
        all.filter(|name| settings(old, name) != settings(new, name)).cloned().collect()
    }

    /// Prepares a generation with the new settings for each changed plugin that serves.
    fn prepare_all(
        &mut self,
        changed: &BTreeSet<String>,
        config: &Config,
    ) -> Result<Vec<PreparedGeneration>, Vec<SettingsError>> {
        let mut prepared = Vec::new();
        let mut errors = Vec::new();
        for name in changed {
            match self.prepare_again(name, Purpose::ApplySettings, config) {
                Some(Ok(new)) => prepared.push(new),
                Some(Err(refused)) => errors.push(SettingsError { plugin: name.clone(), refused }),
                None => {}
            }
        }

        if errors.is_empty() {
            return Ok(prepared);
        }
        for new in prepared {
            if let PreparedStart::Started(generation) = new.start {
                self.retire(generation);
            }
        }
        Err(errors)
    }

    /// Prepares another generation with the content that serves, or served until it was stopped;
    /// `None` if there is none.
    pub(super) fn prepare_again(
        &mut self,
        name: &str,
        purpose: Purpose,
        config: &Config,
    ) -> Option<Result<PreparedGeneration, LoadError>> {
        let slot = self.slots.get(name)?;
        let file = slot.file()?.clone();
        let staged = match (slot.generation(), slot.stopped()) {
            (Some(generation), _) => self.starter.image(generation)?.and_then(|image| image.staged()),
            (None, Some(stopped)) => stopped.content.staged(),
            (None, None) => return None,
        };

        Some(staged.and_then(|staged| self.prepare(Candidate { staged, file, purpose }, config)))
    }

    /// Has the next scan load the files that may have been refused because of the old settings.
    fn retry_with_settings(&mut self, changed: &BTreeSet<String>, old: &Config) {
        let config = Arc::clone(&self.config);
        let may_retain_more = config.plugins.retained > old.plugins.retained;
        for file in self.scan.files.names().cloned().collect::<Vec<_>>() {
            let Some(name) = plugin_name(&file) else { continue };
            let Some(refused) = self.slots.get(&name).and_then(|slot| slot.refused.as_ref()) else {
                continue;
            };
            let is_over = match refused.reason {
                LoadErrorReason::TooManyRetained => may_retain_more,
                LoadErrorReason::Incompatible => {
                    config.incompatible_policy(&name) != IncompatiblePolicy::Refuse
                }
                _ => changed.contains(&name),
            };
            if is_over || changed.contains(&name) {
                self.scan.files.retry(&file);
            }
        }
    }
}

fn to_strings(errors: Vec<SettingsError>) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

//! The decisions of all plugins, and their form in `decisions.json`.
//!
//! The names of the members do not change, so that a host reads the file of an earlier version. A
//! file of another `version` is not read.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use serde::{Deserialize, Serialize};

use super::decision::Decision;
use crate::loader::plugin_name;

/// The version of the file that this host reads and writes.
const VERSION: u32 = 1;

/// Decisions of one plugin that are kept of each kind. The oldest ones go first.
pub(super) const MAX_DECISIONS: usize = 64;

/// Plugins whose decisions are kept. The one whose last decision is oldest goes first.
pub(super) const MAX_PLUGINS: usize = 256;

/// Why a file is not a decision log of this version.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecisionLogError {
    #[error(transparent)]
    Json(#[from] serde_json::Error),

    #[error("the file has version {0}, and this host reads version {VERSION}")]
    Version(u32),

    #[error("{0:?} is not the name of a plugin")]
    PluginName(String),
}

/// The decisions of one plugin, oldest first.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PluginDecisions {
    /// The hash of the content that is kept to return to.
    kept: Option<String>,

    /// The contents that were rolled back.
    decisions: Vec<Decision>,

    /// The contents that run in a worker. A decision of an operator is the only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    isolated: Vec<Decision>,
}

/// All decisions by plugin.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct DecisionLog(BTreeMap<String, PluginDecisions>);

/// The file.
#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    plugins: BTreeMap<String, PluginDecisions>,
}

/// The only member that every version has.
#[derive(Deserialize)]
struct DocumentVersion {
    version: u32,
}

/// Returns the name of the file that keeps the content of a plugin.
pub(super) fn kept_file_name(plugin: &str) -> String {
    format!("lib{plugin}.so")
}

impl DecisionLog {
    /// Parses the file.
    ///
    /// # Errors
    ///
    /// The file is damaged, or has another version.
    pub(super) fn parse(json: &[u8]) -> Result<Self, DecisionLogError> {
        let DocumentVersion { version } = serde_json::from_slice(json)?;
        if version != VERSION {
            return Err(DecisionLogError::Version(version));
        }

        let Document { mut plugins, .. } = serde_json::from_slice(json)?;
        // The name becomes part of a path.
        let is_name = |name: &String| {
            let file = kept_file_name(name);
            plugin_name(OsStr::new(&file)).as_ref() == Some(name)
        };
        if let Some(name) = plugins.keys().find(|name| !is_name(name)) {
            return Err(DecisionLogError::PluginName(name.clone()));
        }
        plugins.values_mut().for_each(PluginDecisions::drop_oldest);
        Ok(Self(plugins))
    }

    /// Returns the content of the file.
    pub(super) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec_pretty(&Document { version: VERSION, plugins: self.0.clone() })
    }

    /// Returns the decision against a content of a plugin.
    pub(super) fn find(&self, plugin: &str, hash: &str) -> Option<&Decision> {
        self.of(plugin).iter().find(|decision| decision.hash == hash)
    }

    /// Returns the decisions of a plugin, oldest first.
    pub(super) fn of(&self, plugin: &str) -> &[Decision] {
        self.0.get(plugin).map_or(&[], |of_plugin| &of_plugin.decisions)
    }

    /// Returns every content that a decision is against, with its plugin.
    pub(super) fn contents(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(plugin, of_plugin)| {
            of_plugin.decisions.iter().map(move |decision| (plugin.as_str(), decision.hash.as_str()))
        })
    }

    /// Adds a decision, which replaces an earlier one against the same content. Returns the plugin
    /// whose decisions were dropped to make room, if one had to be.
    pub(super) fn add(&mut self, plugin: &str, decision: Decision) -> Option<String> {
        let of_plugin = self.0.entry(plugin.to_owned()).or_default();
        of_plugin.decisions.retain(|earlier| earlier.hash != decision.hash);
        of_plugin.decisions.push(decision);
        self.drop_surplus(plugin)
    }

    /// Adds a decision to run a plugin in a worker. It replaces the earlier ones that it includes.
    /// Returns the plugin whose decisions were dropped to make room, if one had to be.
    pub(super) fn isolate(&mut self, plugin: &str, decision: Decision) -> Option<String> {
        let of_plugin = self.0.entry(plugin.to_owned()).or_default();
        of_plugin.isolated.retain(|earlier| !decision.isolates(&earlier.hash));
        of_plugin.isolated.push(decision);
        self.drop_surplus(plugin)
    }

    /// Removes and returns every decision to run a plugin in a worker.
    pub(super) fn end_isolation(&mut self, plugin: &str) -> Vec<Decision> {
        let Some(of_plugin) = self.0.get_mut(plugin) else { return Vec::new() };
        let ended = std::mem::take(&mut of_plugin.isolated);
        if of_plugin.is_empty() {
            self.0.remove(plugin);
        }
        ended
    }

    /// Returns the decisions to run a plugin in a worker, oldest first.
    pub(super) fn isolated(&self, plugin: &str) -> &[Decision] {
        self.0.get(plugin).map_or(&[], |of_plugin| &of_plugin.isolated)
    }

    /// Drops what exceeds the limits, after a decision about `plugin` was added. Returns the other
    /// plugin whose decisions were dropped, if one had to be.
    fn drop_surplus(&mut self, plugin: &str) -> Option<String> {
        self.0.get_mut(plugin)?.drop_oldest();
        if self.0.len() <= MAX_PLUGINS {
            return None;
        }

        let others = self.0.iter().filter(|(name, _)| *name != plugin);
        let oldest = others.min_by_key(|(_, of_plugin)| of_plugin.last_at()).map(|(name, _)| name.clone())?;
        self.0.remove(&oldest);
        Some(oldest)
    }

    /// Removes the decision against a content. A plugin without decisions is forgotten as a whole.
    pub(super) fn clear(&mut self, plugin: &str, hash: &str) -> Option<Decision> {
        let of_plugin = self.0.get_mut(plugin)?;
        let index = of_plugin.decisions.iter().position(|decision| decision.hash == hash)?;
        let cleared = of_plugin.decisions.remove(index);

        if of_plugin.decisions.is_empty() {
            of_plugin.kept = None;
        }
        if of_plugin.is_empty() {
            self.0.remove(plugin);
        }
        Some(cleared)
    }

    /// Returns the hash of the content that is kept for a plugin.
    pub(super) fn kept(&self, plugin: &str) -> Option<&str> {
        self.0.get(plugin)?.kept.as_deref()
    }

    /// Sets the content that is kept for a plugin that has decisions. Returns whether it is
    /// another one than before.
    pub(super) fn set_kept(&mut self, plugin: &str, hash: &str) -> bool {
        match self.0.get_mut(plugin) {
            Some(of_plugin) if of_plugin.kept.as_deref() != Some(hash) => {
                of_plugin.kept = Some(hash.to_owned());
                true
            }
            _ => false,
        }
    }
}

impl PluginDecisions {
    fn drop_oldest(&mut self) {
        for decisions in [&mut self.decisions, &mut self.isolated] {
            let surplus = decisions.len().saturating_sub(MAX_DECISIONS);
            decisions.drain(..surplus);
        }
    }

    fn is_empty(&self) -> bool {
        self.decisions.is_empty() && self.isolated.is_empty()
    }

    /// Returns when the last decision was made.
    fn last_at(&self) -> u64 {
        self.decisions.iter().chain(&self.isolated).map(|decision| decision.at).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;

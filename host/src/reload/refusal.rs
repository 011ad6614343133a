//! Reports refused files: each refusal is logged and counted once, and listed with its plugin.

use std::ffi::OsStr;

use super::owner::PluginOwner;
use super::plugin_slot::PluginSlot;
use crate::loader::{LoadError, LoadErrorReason, plugin_name};
use crate::metrics::ReloadOutcome;

impl PluginOwner {
    /// Logs and counts a refusal, unless it is the one that the plugin is listed with already.
    ///
    /// A file that is retried (a copy is under way, or a generation still drains) is thus reported
    /// once, however often it fails.
    pub(super) fn report_refused(&mut self, file: &OsStr, refused: &LoadError) {
        let Some(name) = self.slot_name(file) else {
            // The file has no slot of its own, so that nothing remembers the refusal.
            let shown = plugin_name(file).unwrap_or_else(|| file.display().to_string());
            self.count_refused(&shown);
            log_refused(&shown, file, refused);
            return;
        };

        let slot = self.slots.entry(name.clone()).or_default();
        if slot.refused.as_ref() != Some(refused) {
            slot.refused = Some(refused.clone());
            log_refused(&name, file, refused);
            self.count_refused(&name);
        }
    }

    /// Returns the plugin that a refusal of the file is listed with: the one with the name of the
    /// file, unless that plugin serves from another file.
    pub(super) fn slot_name(&self, file: &OsStr) -> Option<String> {
        let name = plugin_name(file)?;
        let serving_file = self.slots.get(&name).and_then(PluginSlot::file);
        serving_file.is_none_or(|serving_file| serving_file == file).then_some(name)
    }

    fn count_refused(&self, plugin: &str) {
        self.dispatcher.metrics.counters.plugins_refused.add(1);
        self.dispatcher.metrics.plugins.count_reload(plugin, ReloadOutcome::Refused);
    }
}

/// Returns whether the same file may well be loaded a little later.
pub(super) fn is_transient(reason: LoadErrorReason) -> bool {
    reason.is_transient() || is_in_motion(reason)
}

/// Returns whether a file that is just being written or renamed fails for this reason.
pub(super) fn is_in_motion(reason: LoadErrorReason) -> bool {
    matches!(reason, LoadErrorReason::ChangedWhileRead | LoadErrorReason::NotFound)
}

fn log_refused(plugin: &str, file: &OsStr, refused: &LoadError) {
    let (file, reason) = (file.display(), refused.reason.code());
    tracing::error!(plugin, %file, reason, "not loaded: {refused}");
}

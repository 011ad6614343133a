//! Reports refused files: each refusal is logged and counted once, and listed with its plugin.

use std::ffi::OsStr;
use std::time::Duration;

use super::directory_scan::ScanTime;
use super::owner::PluginOwner;
use super::plugin_slot::PluginSlot;
use crate::loader::{FileStamp, LoadError, LoadErrorReason, plugin_name};
use crate::log::printable;
use crate::metrics::ReloadOutcome;
use crate::plugin_events::PluginEvent;

/// How long a file and its signature must not have changed before a mismatch is reported. They are
/// two files, and one of them arrives first.
const SIGNATURE_GRACE: Duration = Duration::from_secs(1);

impl PluginOwner {
    /// Logs and counts a refusal, unless it is the one that the plugin is listed with already, and
    /// publishes the methods of the refused content.
    ///
    /// A file that is retried (a copy is under way, or a generation still drains) is thus reported
    /// once, however often it fails.
    pub(super) fn report_refused(&mut self, file: &OsStr, refused: &LoadError) {
        if !refused.is_shortage() {
            self.shortages.forget(file);
        }
        if refused.reason == LoadErrorReason::HostEnds {
            // The plugin is not at fault.
            return;
        }
        let Some(name) = self.slot_name(file) else {
            // The file has no slot of its own, so that nothing remembers the refusal.
            let shown = plugin_name(file).unwrap_or_else(|| file.display().to_string());
            self.count_refused(&shown);
            self.log_refused(&shown, file, refused);
            return;
        };

        let slot = self.slots.entry(name.clone()).or_default();
        if slot.refused.as_ref() != Some(refused) {
            let previous = slot.refused.replace(refused.clone());
            self.log_refused(&name, file, refused);
            self.count_refused(&name);
            // Most refused files make no method known. There may be many of them.
            if previous.iter().chain([refused]).any(|refused| !refused.methods.is_empty()) {
                self.publish_refusals();
            }
        }
    }

    fn log_refused(&self, plugin: &str, file: &OsStr, refused: &LoadError) {
        let path = self.scan.path().join(file);
        let detail = refused.detail_about(&path);
        let path = path.display().to_string();
        let (shown, path) = (printable(plugin), printable(&path));

        let (file, reason) = (file.display(), refused.reason.code());
        let mut effect = self.effect_of_refusal(plugin);
        if refused.is_shortage() {
            effect.push_str(", and the host tries again");
        }
        let (published, published_detail) = (plugin.to_owned(), refused.detail.clone());
        self.dispatcher.events.publish(&match refused.reason {
            LoadErrorReason::TooManyCrashes => {
                PluginEvent::Quarantined { plugin: published, detail: published_detail }
            }
            _ => PluginEvent::Refused {
                plugin: published,
                reason: reason.to_owned(),
                detail: published_detail,
            },
        });
        tracing::error!(plugin, %file, reason, "plugin {shown}: {path} refused ({reason}): {detail}; {effect}");
    }

    /// Returns the effect of a refused file or a failed rollback on the plugin.
    pub(super) fn effect_of_refusal(&self, plugin: &str) -> String {
        if self.built_in_names.contains(plugin) {
            return "the built-in plugin still serves".to_owned();
        }
        match self.slots.get(plugin).and_then(PluginSlot::generation) {
            Some(serving) => format!("generation {} still serves", serving.identity.number),
            None if self.slots.contains_key(plugin) => "the plugin is unavailable".to_owned(),
            // The name of the file is not that of a plugin.
            None => "no plugin is loaded from it".to_owned(),
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

/// Returns whether a file that is just being written or renamed fails for this reason, or one whose
/// link leads to a directory that is just being replaced.
pub(super) fn is_in_motion(reason: LoadErrorReason) -> bool {
    matches!(reason, LoadErrorReason::ChangedWhileRead | LoadErrorReason::NotFound | LoadErrorReason::Symlink)
}

/// Returns whether the signature of a file may still be on the way.
pub(super) fn is_signature_pending(reason: LoadErrorReason, stamp: Option<FileStamp>, now: ScanTime) -> bool {
    reason.is_in_signature() && stamp.is_none_or(|stamp| !stamp.is_unchanged_for(SIGNATURE_GRACE, now.wall))
}

//! What becomes of a file that is refused: it is told once, counted, and shown with what serves instead.

use std::ffi::OsString;

use super::command::ReloadResult;
use super::owner::PluginOwner;
use crate::loader::{LoadError, LoadErrorReason, plugin_name};
use crate::metrics::ReloadOutcome;

impl PluginOwner {
    /// Logs, counts and keeps a refusal; says what serves instead.
    pub(super) fn note_refusal(&mut self, file: &OsString, refused: LoadError) -> ReloadResult {
        let name = plugin_name(file);
        let shown = name.clone().unwrap_or_else(|| file.display().to_string());
        // A copy under way, a generation that still drains: it is tried again, and told of when it lasts.
        let Some(slot) = name.as_ref().and_then(|name| {
            let owned = self.slots.get(name).and_then(|slot| slot.file.as_ref());
            let is_theirs = owned.is_none_or(|owner| owner == file);
            is_theirs.then(|| self.slots.entry(name.clone()).or_default())
        }) else {
            self.count_refusal(&shown);
            tell_refusal(&shown, file, &refused);
            return ReloadResult { refused: Some(refused), ..nothing(&shown) };
        };
        if slot.refused.as_ref() != Some(&refused) {
            tell_refusal(&shown, file, &refused);
            slot.refused = Some(refused.clone());
            self.count_refusal(&shown);
        }
        self.verdict(&shown, Some(refused))
    }

    fn count_refusal(&self, plugin: &str) {
        self.dispatcher.metrics.counters.plugins_refused.add(1);
        self.dispatcher.metrics.plugins.count_reload(plugin, ReloadOutcome::Refused);
    }

    pub(super) fn verdict(&self, name: &str, refused: Option<LoadError>) -> ReloadResult {
        let serving = self.slots.get(name).and_then(|slot| slot.serving.as_ref());
        let identity = serving.map(|serving| &serving.identity);
        ReloadResult {
            plugin: name.to_owned(),
            outcome: if refused.is_some() { "refused" } else { "published" },
            generation: identity.map(|identity| identity.number),
            hash: identity.map(|identity| identity.hash.clone()),
            build_id: identity.and_then(|identity| identity.build_id.clone()),
            refused,
        }
    }
}

pub(super) fn is_of_the_moment(verdict: &ReloadResult) -> bool {
    let passes = |refused: &LoadError| refused.reason.is_of_the_moment() || is_passing(refused.reason);
    verdict.refused.as_ref().is_some_and(passes)
}

/// What a file that is just being written or renamed looks like.
pub(super) fn is_passing(reason: LoadErrorReason) -> bool {
    matches!(reason, LoadErrorReason::ChangedWhileRead | LoadErrorReason::NotFound)
}

pub(super) fn nothing(plugin: &str) -> ReloadResult {
    ReloadResult {
        plugin: plugin.to_owned(),
        outcome: "refused",
        generation: None,
        hash: None,
        build_id: None,
        refused: None,
    }
}

fn tell_refusal(plugin: &str, file: &OsString, refused: &LoadError) {
    let (file, reason) = (file.display(), refused.reason.code());
    tracing::error!(plugin, %file, reason, "not loaded: {refused}");
}

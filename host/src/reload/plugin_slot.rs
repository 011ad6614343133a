//! One plugin's name: what serves under it, what did before, and what became of that.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Instant;

use super::command::{CrashListing, PluginListing, RetainedGeneration};
use crate::crash_record::{Crash, CrashedCall};
use crate::loader::{KeptImage, LoadError};
use crate::plugin::{Generation, ProbationFailure, RetirementOutcome};

/// Generations of one plugin that may answer their last requests at once.
pub(super) const MOST_DRAINING: usize = 8;

/// One plugin.
#[derive(Default)]
pub(super) struct PluginSlot {
    /// The file that it was loaded from.
    pub(super) file: Option<OsString>,
    pub(super) serving: Option<Arc<Generation>>,
    /// The content to go back to: what served before.
    pub(super) before: Option<KeptImage>,
    /// The content that was gone back from, and why, if it was not by hand: it is not loaded again by itself.
    pub(super) gone_back_from: Option<(String, Option<LoadError>)>,
    /// The generation that is to go back as soon as it can, the next try, and why.
    pub(super) goes_back: Option<(u64, Instant, ProbationFailure)>,
    /// Generations that answer their last requests, or are about to be unloaded.
    pub(super) draining: Vec<u64>,
    pub(super) retained: Vec<RetainedGeneration>,
    pub(super) unloaded: u64,
    /// Why the newest content does not serve.
    pub(super) refused: Option<LoadError>,
    /// Whether its file was removed.
    pub(super) removed: bool,
    /// When the content that serves, or served last, was signed, in seconds since 1970.
    pub(super) signed_at: Option<u64>,
}

impl PluginSlot {
    /// Another generation serves from now on; gives back the one before. With `keep_before`, `kept` is
    /// its content, the one to go back to.
    pub(super) fn replace(
        &mut self,
        new: Arc<Generation>,
        keep_before: bool,
        kept: Option<KeptImage>,
    ) -> Option<Arc<Generation>> {
        let is_restart = self.is_restart(&new);
        self.signed_at = new.signature().map(|signed| signed.at).or(self.signed_at);
        let before = self.serving.replace(new);
        if !is_restart {
            self.gone_back_from = None;
        }
        if !keep_before {
            self.before = None;
        } else if !is_restart {
            self.before = kept;
        }
        (self.refused, self.removed, self.goes_back) = (None, false, None);
        before
    }

    /// Whether the content is the one that serves already.
    pub(super) fn is_restart(&self, new: &Generation) -> bool {
        self.serving.as_ref().is_some_and(|before| before.identity.hash == new.identity.hash)
    }

    /// Whether what is to become of this content is decided: it serves, or was gone back from.
    pub(super) fn is_decided(&mut self, hash: &str) -> bool {
        if self.serving.as_ref().is_some_and(|serving| serving.identity.hash == hash) {
            self.refused = None;
            return true;
        }
        let Some((_, why)) = self.gone_back_from.as_ref().filter(|(content, _)| content == hash) else {
            return false;
        };
        self.refused.clone_from(why);
        true
    }

    /// The content `hash` was gone back from.
    pub(super) fn went_back(&mut self, hash: String, why: Option<LoadError>) {
        self.refused.clone_from(&why);
        self.gone_back_from = Some((hash, why));
    }

    /// Whether there is nothing to tell of the plugin any more.
    pub(super) fn is_blank(&self) -> bool {
        self.serving.is_none() && self.draining.is_empty() && self.retained.is_empty() && self.unloaded == 0
    }

    /// A generation has ended.
    pub(super) fn ended(&mut self, generation: u64, how: &RetirementOutcome) {
        self.draining.retain(|draining| *draining != generation);
        match how {
            RetirementOutcome::Unloaded => self.unloaded += 1,
            RetirementOutcome::Retained(reason) => {
                self.retained.push(RetainedGeneration { generation, reason: reason.to_string() });
            }
        }
    }

    /// The plugin as a list shows it; `deaths` are those of all plugins.
    pub(super) fn row(&self, name: &str, deaths: &[Crash]) -> PluginListing {
        let serving = self.serving.as_deref();
        let health = serving.map(Generation::health);
        let on_probation =
            serving.and_then(|serving| serving.probation.as_ref()).is_some_and(|p| !p.is_over());
        let state = match serving {
            Some(_) if health.as_ref().is_some_and(|health| !health.is_healthy) => "unhealthy",
            Some(_) if on_probation => "probation",
            Some(_) => "serving",
            None if self.removed => "removed",
            None => "refused",
        };
        let identity = serving.map(|serving| &serving.identity);
        PluginListing {
            name: name.to_owned(),
            state,
            generation: identity.map(|identity| identity.number),
            version: identity.map(|identity| identity.version.clone()),
            hash: identity.map(|identity| identity.hash.clone()),
            build_id: identity.and_then(|identity| identity.build_id.clone()),
            signed: serving.and_then(Generation::signature),
            methods: serving
                .into_iter()
                .flat_map(|serving| &serving.methods)
                .map(|method| method.name.clone())
                .collect(),
            healthy: health.as_ref().is_some_and(|health| health.is_healthy),
            lost_threads: health.as_ref().map_or(0, |health| health.lost_threads),
            held_threads: health.as_ref().map_or(0, |health| health.stalled_io_threads),
            moved: health.map(|health| health.demoted_methods).unwrap_or_default(),
            draining: self.draining.clone(),
            retained: self.retained.clone(),
            unloaded: self.unloaded,
            deaths: deaths.iter().flat_map(|death| ran_at(death, name)).collect(),
            refused: self.refused.clone(),
        }
    }
}

fn ran_at(death: &Crash, plugin: &str) -> impl Iterator<Item = CrashListing> {
    death.ran.iter().filter(move |ran| ran.plugin == plugin).cloned().map(|ran| {
        let CrashedCall { generation, method, id, hash, .. } = ran;
        CrashListing { at: death.at, generation, method, id, hash }
    })
}

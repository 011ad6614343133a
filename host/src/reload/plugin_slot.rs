//! The slot of one plugin name: what serves, what can be rolled back to, and what is being retired.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Instant;

use crate::admin::RetainedGeneration;
use crate::loader::{KeptImage, LoadError};
use crate::plugin::{Generation, ProbationFailure, RetirementOutcome};

/// A plugin name that a generation serves under, or a file was refused for.
#[derive(Default)]
pub(super) struct PluginSlot {
    state: SlotState,

    /// Why the newest content of its file does not serve.
    pub(super) refused: Option<LoadError>,

    /// When the content that serves, or served last, was signed, in seconds since 1970. It outlives
    /// the removal of the file: an older file must not come back by being removed first.
    signed_at: Option<u64>,

    /// Retired generations that were not unloaded yet.
    pub(super) draining: Vec<u64>,

    /// Generations whose code stays in the process.
    pub(super) retained: Vec<RetainedGeneration>,

    /// The number of generations that were unloaded.
    pub(super) unloaded: u64,
}

/// Whether a generation serves.
///
/// ```text
///                +------ a file is refused ------> NeverServed
///   (no slot) ---|                                      | a file is loaded
///                +------ a file is loaded -----> Serving <------------+
///                                                 |   ^ replaced      |
///                                   file removed  |   +----- Serving  |
///                                                 v                   |
///                                              Removed -- file loaded +
/// ```
#[derive(Default)]
pub(super) enum SlotState {
    /// No generation has served, because every file of this name was refused.
    #[default]
    NeverServed,
    /// A generation serves.
    Serving(Box<ServingPlugin>),
    /// The file of the plugin was removed.
    Removed,
}

/// The part of a slot that exists while a generation serves.
pub(super) struct ServingPlugin {
    pub(super) generation: Arc<Generation>,

    /// The file that the plugin was loaded from. After a rollback it has other content than
    /// `generation`.
    pub(super) file: OsString,

    /// The content that served before, if it can be rolled back to.
    pub(super) previous: Option<Box<KeptImage>>,

    /// A rollback that failed for a transient reason and is tried again.
    pub(super) rollback_retry: Option<RollbackRetry>,
}

/// An automatic rollback to be tried again.
pub(super) struct RollbackRetry {
    /// The generation that failed its probation.
    pub(super) generation: u64,

    /// When to try.
    pub(super) at: Instant,

    /// Why the generation failed its probation.
    pub(super) reason: ProbationFailure,
}

/// The fate of content that another one replaces.
pub(super) enum ReplacedContent {
    /// It can be rolled back to, if there is a descriptor for it.
    Keep(Option<Box<KeptImage>>),
    /// It failed, and must not be rolled back to.
    Discard,
}

impl PluginSlot {
    pub(super) fn state(&self) -> &SlotState {
        &self.state
    }

    pub(super) fn serving(&self) -> Option<&ServingPlugin> {
        match &self.state {
            SlotState::Serving(serving) => Some(serving),
            SlotState::NeverServed | SlotState::Removed => None,
        }
    }

    pub(super) fn serving_mut(&mut self) -> Option<&mut ServingPlugin> {
        match &mut self.state {
            SlotState::Serving(serving) => Some(serving),
            SlotState::NeverServed | SlotState::Removed => None,
        }
    }

    /// Returns the generation that serves.
    pub(super) fn generation(&self) -> Option<&Arc<Generation>> {
        self.serving().map(|serving| &serving.generation)
    }

    /// Returns the file that the plugin was loaded from, while it serves.
    pub(super) fn file(&self) -> Option<&OsString> {
        self.serving().map(|serving| &serving.file)
    }

    /// Returns when the content that serves, or served last, was signed, in seconds since 1970.
    pub(super) fn signed_at(&self) -> Option<u64> {
        self.signed_at
    }

    /// Returns whether `new` has the content that serves already.
    pub(super) fn is_restart(&self, new: &Generation) -> bool {
        self.generation().is_some_and(|previous| previous.identity.hash == new.identity.hash)
    }

    /// Has `new` serve, loaded from `file`. Returns the previous generation.
    ///
    /// A generation with the content of the previous one leaves as it is what can be rolled back to,
    /// unless `replaced` discards it.
    pub(super) fn serve(
        &mut self,
        new: Arc<Generation>,
        file: OsString,
        replaced: ReplacedContent,
    ) -> Option<Arc<Generation>> {
        let is_restart = self.is_restart(&new);
        self.signed_at = new.signature().map(|signed| signed.at).or(self.signed_at);
        self.refused = None;

        let mut old = self.end_serving(SlotState::NeverServed);
        let previous = match replaced {
            ReplacedContent::Discard => None,
            ReplacedContent::Keep(_) if is_restart => old.as_mut().and_then(|old| old.previous.take()),
            ReplacedContent::Keep(image) => image,
        };

        self.state = SlotState::Serving(Box::new(ServingPlugin {
            generation: new,
            file,
            previous,
            rollback_retry: None,
        }));
        old.map(|old| old.generation)
    }

    /// Ends what serves, because its file was removed. Returns the generation.
    pub(super) fn remove(&mut self) -> Option<Arc<Generation>> {
        self.refused = None;
        self.end_serving(SlotState::Removed).map(|old| old.generation)
    }

    fn end_serving(&mut self, next: SlotState) -> Option<Box<ServingPlugin>> {
        match std::mem::replace(&mut self.state, next) {
            SlotState::Serving(serving) => Some(serving),
            SlotState::NeverServed | SlotState::Removed => None,
        }
    }

    /// Returns whether a scan has nothing to do about this content, because it serves. If so, a
    /// refusal of other content in the meantime is over.
    pub(super) fn settles(&mut self, hash: &str) -> bool {
        let serves = self.generation().is_some_and(|serving| serving.identity.hash == hash);
        if serves {
            self.refused = None;
        }
        serves
    }

    /// Returns whether the slot has nothing to report.
    pub(super) fn is_blank(&self) -> bool {
        let has_generations = !self.draining.is_empty() || !self.retained.is_empty() || self.unloaded > 0;
        self.serving().is_none() && !has_generations && self.refused.is_none()
    }

    /// Records the end of a retired generation.
    pub(super) fn retired(&mut self, generation: u64, outcome: &RetirementOutcome) {
        self.draining.retain(|draining| *draining != generation);
        match outcome {
            RetirementOutcome::Unloaded => self.unloaded += 1,
            RetirementOutcome::Retained(reason) => {
                self.retained.push(RetainedGeneration { generation, reason: reason.to_string() });
            }
        }
    }
}

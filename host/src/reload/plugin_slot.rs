//! The slot of one plugin name: what serves, what can be rolled back to, and what is being retired.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jackfield_plugin_api::manifest::DeclaredMethod;

use crate::admin::RetainedGeneration;
use crate::loader::{KeptImage, LoadError};
use crate::plugin::{ExportedState, Generation, ProbationFailure, RetirementOutcome};

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
///                                               | |   ^ replaced      |
///                            stopped before its | |   +----- Serving  |
///                            successor starts   | |                   |
///                                               v |                   |
///                                         Stopped----- started -------+
///                                               | | file removed      |
///                                               v v                   |
///                                              Removed -- file loaded +
/// ```
#[derive(Default)]
pub(super) enum SlotState {
    /// No generation has served, because every file of this name was refused.
    #[default]
    NeverServed,
    /// A generation serves.
    Serving(Box<ServingPlugin>),
    /// The last generation was stopped so that another one can start, or none could be started.
    Stopped(Box<StoppedPlugin>),
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

/// The part of a slot that exists between a stop and the next start.
pub(super) struct StoppedPlugin {
    /// The content that served. It is started again if its successor does not start.
    pub(super) content: Box<KeptImage>,

    /// The generation that was stopped.
    generation: u64,

    /// The hash of its content.
    hash: String,

    /// As in [`ServingPlugin`].
    pub(super) file: OsString,
    previous: Option<Box<KeptImage>>,
    rollback_retry: Option<RollbackRetry>,

    /// The state that the generation exported, which the next generation imports.
    pub(super) state: Option<Arc<ExportedState>>,

    /// Whether the content was on probation, and is again when it is started again.
    pub(super) is_on_probation: bool,

    /// When the start of the content is tried again, once it has failed.
    pub(super) retry: Option<StartRetry>,
}

/// A start to be tried again.
pub(super) struct StartRetry {
    /// When to try.
    pub(super) at: Instant,

    /// The time between the last attempt and `at`.
    pub(super) pause: Duration,

    /// Why the last attempt failed.
    pub(super) failure: LoadError,
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
            SlotState::NeverServed | SlotState::Stopped(_) | SlotState::Removed => None,
        }
    }

    pub(super) fn serving_mut(&mut self) -> Option<&mut ServingPlugin> {
        match &mut self.state {
            SlotState::Serving(serving) => Some(serving),
            SlotState::NeverServed | SlotState::Stopped(_) | SlotState::Removed => None,
        }
    }

    /// Returns the generation that serves.
    pub(super) fn generation(&self) -> Option<&Arc<Generation>> {
        self.serving().map(|serving| &serving.generation)
    }

    pub(super) fn stopped(&self) -> Option<&StoppedPlugin> {
        match &self.state {
            SlotState::Stopped(stopped) => Some(stopped),
            SlotState::NeverServed | SlotState::Serving(_) | SlotState::Removed => None,
        }
    }

    pub(super) fn stopped_mut(&mut self) -> Option<&mut StoppedPlugin> {
        match &mut self.state {
            SlotState::Stopped(stopped) => Some(stopped),
            SlotState::NeverServed | SlotState::Serving(_) | SlotState::Removed => None,
        }
    }

    /// Returns the file that the plugin was loaded from, while it serves or is stopped.
    pub(super) fn file(&self) -> Option<&OsString> {
        let stopped = self.stopped().map(|stopped| &stopped.file);
        self.serving().map(|serving| &serving.file).or(stopped)
    }

    /// Returns the hash of the content that serves, or served until it was stopped.
    pub(super) fn hash(&self) -> Option<&str> {
        let stopped = self.stopped().map(|stopped| &*stopped.hash);
        self.generation().map(|generation| &*generation.identity.hash).or(stopped)
    }

    /// Returns the number of the generation that serves, or served until it was stopped.
    pub(super) fn number(&self) -> Option<u64> {
        let stopped = self.stopped().map(|stopped| stopped.generation);
        self.generation().map(|generation| generation.identity.number).or(stopped)
    }

    /// Returns the methods of the content that serves, or served until it was stopped.
    pub(super) fn methods(&self) -> &[DeclaredMethod] {
        let stopped = self.stopped().map(|stopped| stopped.content.declared());
        self.generation().map(|generation| &*generation.methods).or(stopped).unwrap_or_default()
    }

    /// Returns the content that can be rolled back to.
    pub(super) fn previous(&self) -> Option<&KeptImage> {
        let stopped = self.stopped().and_then(|stopped| stopped.previous.as_deref());
        self.serving().and_then(|serving| serving.previous.as_deref()).or(stopped)
    }

    /// Returns whether there is a state that the next generation may import.
    pub(super) fn has_state(&self) -> bool {
        let is_exported = self.stopped().is_some_and(|stopped| stopped.state.is_some());
        self.generation().is_some_and(|serving| serving.state_schema.is_some()) || is_exported
    }

    /// Returns when the content that serves, or served last, was signed, in seconds since 1970.
    pub(super) fn signed_at(&self) -> Option<u64> {
        self.signed_at
    }

    /// Returns whether `new` has the content that serves already, or served until it was stopped.
    pub(super) fn is_restart(&self, new: &Generation) -> bool {
        self.hash() == Some(&new.identity.hash)
    }

    /// Has `new` serve, loaded from `file`. Returns the previous generation, unless it was stopped.
    ///
    /// A generation with the content of the previous one leaves as it is what can be rolled back
    /// to, unless `replaced` discards it.
    pub(super) fn serve(
        &mut self,
        new: Arc<Generation>,
        file: OsString,
        replaced: ReplacedContent,
    ) -> Option<Arc<Generation>> {
        let is_restart = self.is_restart(&new);
        self.signed_at = new.signature().map(|signed| signed.at).or(self.signed_at);
        self.refused = None;

        let (generation, content, previous) = match std::mem::replace(&mut self.state, SlotState::NeverServed)
        {
            SlotState::Serving(old) => (Some(old.generation), None, old.previous),
            SlotState::Stopped(old) => (None, Some(old.content), old.previous),
            SlotState::NeverServed | SlotState::Removed => (None, None, None),
        };
        let previous = match replaced {
            ReplacedContent::Discard => None,
            ReplacedContent::Keep(_) if is_restart => previous,
            ReplacedContent::Keep(image) => image.or(content),
        };

        self.state = SlotState::Serving(Box::new(ServingPlugin {
            generation: new,
            file,
            previous,
            rollback_retry: None,
        }));
        generation
    }

    /// Ends what serves, so that it can be stopped. `content` is what it was loaded from, and
    /// `state` what it has exported. Returns the generation.
    pub(super) fn stop(
        &mut self,
        content: Box<KeptImage>,
        state: Option<Arc<ExportedState>>,
    ) -> Option<Arc<Generation>> {
        let old = match std::mem::replace(&mut self.state, SlotState::NeverServed) {
            SlotState::Serving(old) => old,
            state => {
                self.state = state;
                return None;
            }
        };

        let probation = old.generation.probation.as_ref();
        self.state = SlotState::Stopped(Box::new(StoppedPlugin {
            content,
            generation: old.generation.identity.number,
            hash: old.generation.identity.hash.clone(),
            file: old.file,
            previous: old.previous,
            rollback_retry: old.rollback_retry,
            state,
            is_on_probation: probation.is_some_and(|probation| !probation.is_over()),
            retry: None,
        }));
        Some(old.generation)
    }

    /// Has a generation serve again that was to be stopped and was not.
    pub(super) fn resume(&mut self, generation: Arc<Generation>) {
        self.state = match std::mem::replace(&mut self.state, SlotState::NeverServed) {
            SlotState::Stopped(old) => SlotState::Serving(Box::new(ServingPlugin {
                generation,
                file: old.file,
                previous: old.previous,
                rollback_retry: old.rollback_retry,
            })),
            state => state,
        };
    }

    /// Ends what serves, because its file was removed. Returns the generation, unless it was
    /// stopped.
    pub(super) fn remove(&mut self) -> Option<Arc<Generation>> {
        self.refused = None;
        match std::mem::replace(&mut self.state, SlotState::Removed) {
            SlotState::Serving(serving) => Some(serving.generation),
            SlotState::NeverServed | SlotState::Stopped(_) | SlotState::Removed => None,
        }
    }

    /// Returns whether a scan has nothing to do about this content, because it serves. If so, a
    /// refusal of other content in the meantime is over.
    pub(super) fn settles(&mut self, hash: &str) -> bool {
        let serves = self.hash() == Some(hash);
        if serves {
            self.refused = None;
        }
        serves
    }

    /// Returns whether the slot has nothing to report.
    pub(super) fn is_blank(&self) -> bool {
        let has_generations = !self.draining.is_empty() || !self.retained.is_empty() || self.unloaded > 0;
        self.file().is_none() && !has_generations && self.refused.is_none()
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

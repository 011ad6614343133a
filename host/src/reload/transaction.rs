//! Prepares generations, the first part of a transaction; `commit` is the second part.
//!
//! The names are free and there is room for a generation. The probe process has run the plugin, and
//! it is loaded and started here. The previous generation is not involved.
//!
//! A stop-first plugin whose previous generation serves is not started: its code was checked in the
//! probe process, and it starts during the commit.

use std::ffi::OsString;
use std::sync::Arc;

use super::command::ReloadCommand;
use super::generation_starter::GenerationStarter;
use super::owner::PluginOwner;
use crate::admin::RetainedGeneration;
use crate::config::{Config, Isolation, ReplacePolicy};
use crate::failpoint;
use crate::loader::{LoadError, LoadErrorReason, StagedPlugin};
use crate::log::printable;
use crate::plugin::{Generation, GenerationLoadError, Probation};

/// Why a generation is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A file has new content, or an operator reloads it.
    LoadFile {
        /// Whether the operator accepts that it breaks callers of what serves.
        allow_incompatible: bool,
    },
    /// The configuration of the plugin changed; its content starts again.
    ApplySettings,
    /// An operator has the plugin run there; its content starts again.
    Isolate(Isolation),
    /// An operator returns to the previous content, and may return from there.
    RollBackByOperator,
    /// The content failed its probation. It must not be returned to.
    RollBackAfterProbation,
    /// A decision is against the content of the file, and nothing serves.
    RestoreKept,
    /// The content was stopped, and its successor did not start.
    StartAgain,
}

impl Purpose {
    pub(super) fn keeps_replaced_content(self) -> bool {
        self != Self::RollBackAfterProbation
    }
}

/// Staged content that is to serve.
pub(super) struct Candidate {
    pub(super) staged: StagedPlugin,

    /// The file that the plugin is loaded from, even if the content is that of a kept image.
    pub(super) file: OsString,
    pub(super) purpose: Purpose,
}

/// A probed candidate with the number of its generation.
pub(super) struct NumberedCandidate {
    candidate: Candidate,
    number: u64,
    probation: Option<Probation>,
}

/// A candidate after the attempt to start it.
pub(super) struct StartedCandidate {
    name: String,
    number: u64,
    file: OsString,
    purpose: Purpose,
    outcome: Result<Generation, GenerationLoadError>,
}

impl NumberedCandidate {
    /// Loads and starts the candidate. It needs nothing of the owner, so that several can start at
    /// a time.
    pub(super) fn start(self, starter: &dyn GenerationStarter, config: &Config) -> StartedCandidate {
        let Self { candidate: Candidate { staged, file, purpose }, number, probation } = self;
        let name = staged.inspection.name.clone();
        let outcome = starter.start(staged, number, config, probation);
        StartedCandidate { name, number, file, purpose, outcome }
    }
}

impl StartedCandidate {
    /// Returns the file that the candidate was loaded from.
    pub(super) fn file(&self) -> &OsString {
        &self.file
    }
}

/// A candidate that may serve, and does not serve yet.
pub(super) struct PreparedGeneration {
    pub(super) name: String,
    pub(super) file: OsString,
    pub(super) purpose: Purpose,
    pub(super) start: PreparedStart,
}

/// Whether a prepared candidate is started.
pub(super) enum PreparedStart {
    Started(Arc<Generation>),

    /// It starts after the previous generation was stopped. `None` once that has failed.
    AfterStop(Option<Box<StagedPlugin>>),
}

impl PreparedGeneration {
    /// Returns the generation, if it is started.
    pub(super) fn generation(&self) -> Option<&Arc<Generation>> {
        match &self.start {
            PreparedStart::Started(generation) => Some(generation),
            PreparedStart::AfterStop(_) => None,
        }
    }
}

impl PluginOwner {
    /// Checks, probes and starts a candidate. A stop-first one whose previous generation serves is
    /// not started.
    ///
    /// # Errors
    ///
    /// Why it must not or cannot serve. Nothing has changed.
    pub(super) fn prepare(
        &mut self,
        candidate: Candidate,
        config: &Config,
    ) -> Result<PreparedGeneration, LoadError> {
        self.check(&candidate, config)?;
        let config = &*self.with_decisions(config, [&candidate]);
        let name = candidate.staged.inspection.name.clone();
        let is_replacement = self.slots.get(&name).is_some_and(|slot| slot.serving().is_some());
        let starts_first = config.replace_policy(&name) == ReplacePolicy::StartFirst;
        let explain =
            |refused| if is_replacement && starts_first { with_remedy(refused, &name) } else { refused };

        self.starter.probe(&candidate.staged, config).map_err(explain)?;
        let (purpose, manifest) = (candidate.purpose, &candidate.staged.inspection.manifest);
        // A worker that is its own probe describes itself when it starts.
        let described = candidate.staged.contract.get();
        let is_checked = described.is_some() || (is_replacement && !starts_first);
        if is_checked {
            let contract = candidate.staged.contract.get_or_names(manifest);
            self.check_contract(&name, purpose, &contract, config)?;
        }

        if is_replacement && !starts_first {
            let Candidate { staged, file, purpose } = candidate;
            let start = PreparedStart::AfterStop(Some(Box::new(staged)));
            return Ok(PreparedGeneration { name, file, purpose, start });
        }

        let started = self.number(candidate, config).start(&*self.starter, config);
        let prepared = self.started(started).map_err(explain)?;
        if let Some(generation) = prepared.generation().filter(|_| !is_checked)
            && let Err(refused) = self.check_contract(&name, purpose, &generation.contract, config)
        {
            self.retire(Arc::clone(generation));
            return Err(refused);
        }
        Ok(prepared)
    }

    /// Checks a candidate before any of its code runs.
    ///
    /// # Errors
    ///
    /// Why it must not serve.
    pub(super) fn check(&self, candidate: &Candidate, config: &Config) -> Result<(), LoadError> {
        let Candidate { staged, file, purpose } = candidate;
        let inspection = &staged.inspection;
        let name = &inspection.name;

        failpoint::pass("names")?;
        self.check_names(name, file, &inspection.manifest.methods)?;
        self.check_signature(name, inspection.signed, config, matches!(purpose, Purpose::LoadFile { .. }))?;
        failpoint::pass("room")?;
        Ok(self.check_room(name, config)?)
    }

    /// Numbers a probed candidate, so that it can be started.
    pub(super) fn number(&self, candidate: Candidate, config: &Config) -> NumberedCandidate {
        let number = self.starter.reserve_number();
        let name = &candidate.staged.inspection.name;
        let probation = self.probation(name, number, candidate.purpose, config);
        NumberedCandidate { candidate, number, probation }
    }

    /// Records the outcome of a start.
    ///
    /// # Errors
    ///
    /// The error of the start. The code may stay in the process, which is recorded.
    pub(super) fn started(&mut self, started: StartedCandidate) -> Result<PreparedGeneration, LoadError> {
        let StartedCandidate { name, number, file, purpose, outcome } = started;
        let generation = match outcome {
            Ok(generation) => Arc::new(generation),
            Err(failure) => return Err(self.start_failed(name, number, failure)),
        };

        if let Err(planted) = failpoint::pass("started") {
            self.retire(generation);
            return Err(planted);
        }
        Ok(PreparedGeneration { name, file, purpose, start: PreparedStart::Started(generation) })
    }

    /// Returns the probation of a generation, if the configuration has one and there is content to
    /// roll back to.
    fn probation(&self, name: &str, generation: u64, purpose: Purpose, config: &Config) -> Option<Probation> {
        let limits = config.plugins.probation;
        let slot = self.slots.get(name)?;
        let is_due = match purpose {
            Purpose::LoadFile { .. } | Purpose::ApplySettings | Purpose::Isolate(_) => slot.file().is_some(),
            Purpose::StartAgain => slot.stopped().is_some_and(|stopped| stopped.is_on_probation),
            Purpose::RollBackByOperator | Purpose::RollBackAfterProbation | Purpose::RestoreKept => false,
        };
        if !is_due || limits.calls == 0 {
            return None;
        }

        let commands = self.commands.clone();
        let plugin = name.to_owned();
        let report = Box::new(move |verdict| {
            commands.send(ReloadCommand::ProbationEnded { plugin: plugin.clone(), generation, verdict });
        });
        Some(Probation::new(limits, report))
    }

    /// Records a generation that could not be started and whose code may stay in the process.
    fn start_failed(&mut self, name: String, generation: u64, failure: GenerationLoadError) -> LoadError {
        let GenerationLoadError { error, retained } = failure;
        if let Some(reason) = retained {
            let reason = reason.to_string();
            let shown = printable(&reason);
            if error.reason == LoadErrorReason::HostEnds {
                tracing::info!(
                    plugin = name,
                    generation,
                    reason,
                    "plugin {name}: generation {generation} still started when the host ended ({shown})"
                );
            } else {
                tracing::warn!(
                    plugin = name,
                    generation,
                    reason,
                    "plugin {name}: code of the refused generation {generation} could not be unloaded ({shown}); \
                     restart when convenient"
                );
            }

            self.dispatcher.metrics.counters.generations_retained.add(1);
            let slot = self.slots.entry(name).or_default();
            slot.retained.push(RetainedGeneration { generation, reason });
        }
        error
    }
}

/// Adds the remedy to the refusal of content that could not start beside the generation that
/// serves, as far as that can be the cause.
fn with_remedy(mut refused: LoadError, plugin: &str) -> LoadError {
    let may_be_exclusive = matches!(
        refused.reason,
        LoadErrorReason::StartFailed
            | LoadErrorReason::StartPanicked
            | LoadErrorReason::StartTimedOut
            | LoadErrorReason::ProbeTimedOut
    );
    if may_be_exclusive {
        let remedy = format!(
            "; if it needs a resource that only one instance can have (a lock, a port, a database), set \
             plugin.{plugin}.replace = \"stop-first\""
        );
        refused.detail.push_str(&remedy);
    }
    refused
}

//! Replaces generations as a transaction: prepared, then committed by one swap, or not at all.
//!
//! 1. **Prepare.** The names are free and there is room for a generation. The probe process has
//!    run the plugin, and it is loaded and started here. The previous generation is not involved.
//! 2. **Commit.** If state is transferred, new calls are held, running calls are waited for, and
//!    the state is exported and imported. Then the routing table is swapped, and the previous
//!    generation retires.
//!
//! A failure before the swap leaves everything as it was.

use std::ffi::OsString;
use std::sync::Arc;

use super::command::ReloadCommand;
use super::generation_starter::GenerationStarter;
use super::owner::PluginOwner;
use super::plugin_slot::{PluginSlot, ReplacedContent};
use super::state_transfer::{CommitError, HeldCalls, TransferPair};
use crate::admin::RetainedGeneration;
use crate::config::Config;
use crate::failpoint;
use crate::loader::{KeptImage, LoadError, StagedPlugin};
use crate::log::printable;
use crate::plugin::{Generation, GenerationLoadError, Probation};

/// Why a generation is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A file has new content, or an operator reloads it.
    LoadFile,
    /// The configuration of the plugin changed; its content starts again.
    ApplySettings,
    /// An operator returns to the previous content, and may return from there.
    RollBackByOperator,
    /// The content failed its probation. It must not be returned to.
    RollBackAfterProbation,
    /// A decision is against the content of the file, and nothing serves.
    RestoreKept,
}

impl Purpose {
    fn has_probation(self) -> bool {
        matches!(self, Self::LoadFile | Self::ApplySettings)
    }

    fn keeps_replaced_content(self) -> bool {
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

/// A generation that is started and does not serve yet.
pub(super) struct PreparedGeneration {
    pub(super) name: String,
    pub(super) generation: Arc<Generation>,
    file: OsString,
    purpose: Purpose,
}

impl PluginOwner {
    /// Checks, probes and starts a candidate.
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
        self.starter.probe(&candidate.staged, config)?;

        let started = self.number(candidate, config).start(&*self.starter, config);
        self.started(started)
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
        self.check_signature(name, inspection.signed, config, *purpose == Purpose::LoadFile)?;
        failpoint::pass("room")?;
        Ok(self.check_room(name, config)?)
    }

    /// Numbers a probed candidate, so that it can be started.
    pub(super) fn number(&self, candidate: Candidate, config: &Config) -> NumberedCandidate {
        let number = self.starter.reserve_number();
        let has_probation = candidate.purpose.has_probation();
        let name = &candidate.staged.inspection.name;
        let probation = has_probation.then(|| self.probation(name, number, config)).flatten();
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
        Ok(PreparedGeneration { name, generation, file, purpose })
    }

    /// Returns the probation of a generation, if the configuration has one and there is content to
    /// roll back to.
    fn probation(&self, name: &str, generation: u64, config: &Config) -> Option<Probation> {
        let limits = config.plugins.probation;
        self.slots.get(name)?.serving()?;
        if limits.calls == 0 {
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
            tracing::warn!(
                plugin = name,
                generation,
                reason,
                "plugin {name}: code of the refused generation {generation} could not be unloaded ({shown}); \
                 restart when convenient"
            );

            self.dispatcher.metrics.counters.generations_retained.add(1);
            let slot = self.slots.entry(name).or_default();
            slot.retained.push(RetainedGeneration { generation, reason });
        }
        error
    }

    /// Commits one generation and reports it.
    ///
    /// # Errors
    ///
    /// As for [`PluginOwner::commit`].
    pub(super) fn commit_one(&mut self, prepared: PreparedGeneration) -> Result<(), LoadError> {
        let name = prepared.name.clone();
        let generation = Arc::clone(&prepared.generation);
        let note = self.note_on_rollback(&prepared);

        let config = Arc::clone(&self.config);
        self.commit(vec![prepared], config).map_err(|error| error.refused)?;
        self.report_loaded(&name, &generation, &note);
        Ok(())
    }

    /// Returns what the log says in addition about a generation that serves after a rollback by
    /// command.
    fn note_on_rollback(&self, prepared: &PreparedGeneration) -> String {
        let replaced = self.slots.get(&prepared.name).and_then(PluginSlot::generation);
        match replaced.filter(|_| prepared.purpose == Purpose::RollBackByOperator) {
            Some(replaced) => {
                format!(", rolled back by command from generation {}", replaced.identity.number)
            }
            None => String::new(),
        }
    }

    /// Has prepared generations serve with `config`, all with one swap.
    ///
    /// # Errors
    ///
    /// The prepared generations are retired, and everything serves as before.
    pub(super) fn commit(
        &mut self,
        prepared: Vec<PreparedGeneration>,
        config: Arc<Config>,
    ) -> Result<(), CommitError> {
        let images: Vec<_> = prepared.iter().map(|new| self.replaced_image(new)).collect();

        // The gate opens when this is dropped, whatever happens: by then the table is published
        // in which the calls at the gate find their method.
        let pairs = self.transfers(&prepared);
        let held = HeldCalls::of(&pairs);
        let transferred = match &held {
            Some(held) => self.transfer_states(pairs, held, &config),
            None => Ok(()),
        };
        if let Err(error) = transferred.and_then(|()| check_publish(&prepared)) {
            self.publish(None);
            prepared.into_iter().for_each(|new| self.retire(new.generation));
            return Err(error);
        }

        self.warn_about_discarded_states(&prepared);
        self.config = config;
        let mut replaced = Vec::new();
        for (new, image) in prepared.into_iter().zip(images) {
            let content = match new.purpose.keeps_replaced_content() {
                true => ReplacedContent::Keep(image),
                false => ReplacedContent::Discard,
            };
            let slot = self.slots.entry(new.name).or_default();
            replaced.extend(slot.serve(new.generation, new.file, content));
        }
        self.publish(None);
        replaced.into_iter().for_each(|previous| self.retire(previous));
        Ok(())
    }

    /// Returns the content that `new` replaces, if it can be rolled back to. Without a descriptor
    /// for it, it cannot.
    fn replaced_image(&self, new: &PreparedGeneration) -> Option<Box<KeptImage>> {
        let slot = self.slots.get(&new.name)?;
        let is_kept = new.purpose.keeps_replaced_content() && !slot.is_restart(&new.generation);
        let previous = slot.generation().filter(|_| is_kept)?;
        self.starter.image(previous)?.ok().map(Box::new)
    }

    /// Returns the generations between which state is transferred.
    fn transfers(&self, prepared: &[PreparedGeneration]) -> Vec<TransferPair> {
        let mut pairs = Vec::new();
        for new in prepared {
            let Some(previous) = self.slots.get(&new.name).and_then(PluginSlot::generation) else { continue };
            if previous.state_schema.is_none() || new.generation.state_schema.is_none() {
                continue;
            }
            pairs.push(TransferPair {
                plugin: new.name.clone(),
                previous: Arc::clone(previous),
                new: Arc::clone(&new.generation),
            });
        }
        pairs
    }

    /// Logs which of the generations that are about to be replaced have a state that their
    /// successors do not accept.
    fn warn_about_discarded_states(&self, prepared: &[PreparedGeneration]) {
        for new in prepared.iter().filter(|new| new.generation.state_schema.is_none()) {
            let previous = self.slots.get(&new.name).and_then(PluginSlot::generation);
            let Some(previous) = previous.filter(|previous| previous.state_schema.is_some()) else {
                continue;
            };

            let name = &new.name;
            let (generation, old) = (new.generation.identity.number, previous.identity.number);
            tracing::warn!(
                plugin = name,
                generation,
                "plugin {name}: generation {generation} accepts no state; the state of generation {old} is discarded"
            );
        }
    }
}

fn check_publish(prepared: &[PreparedGeneration]) -> Result<(), CommitError> {
    failpoint::pass("publish").map_err(|refused| CommitError {
        plugin: prepared.first().map(|new| new.name.clone()).unwrap_or_default(),
        refused,
    })
}

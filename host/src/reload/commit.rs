//! Commits prepared generations: the second part of a transaction.
//!
//! If state is transferred, new calls are held, running calls are waited for, and the state is
//! exported and imported. Stop-first plugins are then stopped and started (`stop_first`). At the
//! end the routing table is swapped, and the previous generations retire.
//!
//! A failure before the swap leaves everything as it was, except that a plugin which was stopped is
//! started again, with its previous content and its state.

use std::sync::Arc;

use super::owner::PluginOwner;
use super::plugin_slot::{PluginSlot, ReplacedContent};
use super::state_transfer::{CommitError, HeldCalls, TransferPair, import};
use super::transaction::{PreparedGeneration, PreparedStart, Purpose};
use crate::config::Config;
use crate::failpoint;
use crate::loader::{KeptImage, LoadError};
use crate::plugin::Generation;

impl PluginOwner {
    /// Commits one generation and reports it.
    ///
    /// # Errors
    ///
    /// As for [`PluginOwner::commit`].
    pub(super) fn commit_one(&mut self, prepared: PreparedGeneration) -> Result<(), LoadError> {
        let name = prepared.name.clone();
        let note = self.note_on_replacement(&prepared);

        let config = Arc::clone(&self.config);
        self.commit(vec![prepared], config).map_err(|error| error.refused)?;
        self.report_serving(&name, &note);
        Ok(())
    }

    /// Returns what the log says in addition about a generation that serves for another reason than
    /// a new file.
    fn note_on_replacement(&self, prepared: &PreparedGeneration) -> String {
        let replaced = self.slots.get(&prepared.name).and_then(PluginSlot::number);
        match (prepared.purpose, replaced) {
            (Purpose::RollBackByOperator, Some(replaced)) => {
                format!(", rolled back by command from generation {replaced}")
            }
            (Purpose::StartAgain, Some(replaced)) => {
                format!(" with the content of generation {replaced}, which was stopped")
            }
            _ => String::new(),
        }
    }

    /// Has prepared generations serve with `config`, all with one swap.
    ///
    /// # Errors
    ///
    /// The prepared generations are retired, and everything serves as before: what was stopped is
    /// started again, as far as it starts.
    pub(super) fn commit(
        &mut self,
        mut prepared: Vec<PreparedGeneration>,
        config: Arc<Config>,
    ) -> Result<(), CommitError> {
        let images: Vec<_> = prepared.iter().map(|new| self.replaced_image(new)).collect();

        // The gate opens when this is dropped, whatever happens: by then the table is published
        // in which the calls at the gate find their method.
        let pairs = self.transfers(&prepared);
        let held = HeldCalls::of(&pairs, &prepared);
        let ready = self.make_ready(&mut prepared, pairs, held.as_ref(), &config);
        if let Err(error) = ready {
            self.publish(None);
            for new in prepared {
                if let PreparedStart::Started(generation) = new.start {
                    self.retire(generation);
                }
            }
            return Err(error);
        }

        self.warn_about_discarded_states(&prepared);
        self.config = config;
        let mut replaced = Vec::new();
        for (new, image) in prepared.into_iter().zip(images) {
            let PreparedStart::Started(generation) = new.start else { continue };
            let content = match new.purpose.keeps_replaced_content() {
                true => ReplacedContent::Keep(image),
                false => ReplacedContent::Discard,
            };
            let slot = self.slots.entry(new.name).or_default();
            replaced.extend(slot.serve(generation, new.file, content));
        }
        self.publish(None);
        replaced.into_iter().for_each(|previous| self.retire(previous));
        Ok(())
    }

    /// Checks that a commit may still begin.
    fn check_commit(&self, prepared: &[PreparedGeneration]) -> Result<(), CommitError> {
        let Some(first) = prepared.first() else { return Ok(()) };
        self.check_not_ending().map_err(|refused| CommitError { plugin: first.name.clone(), refused })
    }

    /// Transfers states, and starts what is not started yet. Afterwards every prepared generation
    /// is started and has the state that it takes.
    fn make_ready(
        &mut self,
        prepared: &mut [PreparedGeneration],
        pairs: Vec<TransferPair>,
        held: Option<&HeldCalls>,
        config: &Config,
    ) -> Result<(), CommitError> {
        self.check_commit(prepared)?;
        if let Some(held) = held {
            self.hold(held)?;
        }
        self.transfer_states(pairs, config)?;
        for new in prepared.iter() {
            let imported = new.generation().map_or(Ok(()), |new| self.import_saved(new, config));
            imported.map_err(|refused| CommitError { plugin: new.name.clone(), refused })?;
        }
        check_publish(prepared)?;

        match held {
            Some(held) => self.replace_stopped(prepared, held, config),
            None => Ok(()),
        }
    }

    /// Imports the state that the plugin exported before it was stopped, if the generation accepts
    /// one.
    pub(super) fn import_saved(&self, new: &Arc<Generation>, config: &Config) -> Result<(), LoadError> {
        let slot = self.slots.get(&*new.identity.plugin);
        let saved = slot.and_then(PluginSlot::stopped).and_then(|stopped| stopped.state.as_ref());
        match saved.filter(|_| new.state_schema.is_some()) {
            Some(state) => import(new, state, config, &self.shutdown),
            None => Ok(()),
        }
    }

    /// Returns the content that `new` replaces, if it can be rolled back to. Without a descriptor
    /// for it, it cannot. The content of a plugin that is stopped is kept with its slot.
    fn replaced_image(&self, new: &PreparedGeneration) -> Option<Box<KeptImage>> {
        let slot = self.slots.get(&new.name)?;
        let is_kept = new.purpose.keeps_replaced_content() && !slot.is_restart(new.generation()?);
        let previous = slot.generation().filter(|_| is_kept)?;
        self.starter.image(previous)?.ok().map(Box::new)
    }

    /// Returns the generations between which state is transferred.
    fn transfers(&self, prepared: &[PreparedGeneration]) -> Vec<TransferPair> {
        let mut pairs = Vec::new();
        for new in prepared.iter().filter_map(PreparedGeneration::generation) {
            let plugin = new.identity.plugin.to_string();
            let Some(previous) = self.slots.get(&plugin).and_then(PluginSlot::generation) else { continue };
            if previous.state_schema.is_none() || new.state_schema.is_none() {
                continue;
            }
            pairs.push(TransferPair { plugin, previous: Arc::clone(previous), new: Arc::clone(new) });
        }
        pairs
    }

    /// Logs which of the generations that are about to be replaced have a state that their
    /// successors do not accept.
    fn warn_about_discarded_states(&self, prepared: &[PreparedGeneration]) {
        let new = prepared.iter().filter_map(PreparedGeneration::generation);
        for new in new.filter(|new| new.state_schema.is_none()) {
            let name = &*new.identity.plugin;
            let slot = self.slots.get(name).filter(|slot| slot.has_state());
            let Some(old) = slot.and_then(PluginSlot::number) else { continue };

            let generation = new.identity.number;
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

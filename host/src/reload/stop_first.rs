//! Replaces stop-first plugins: the previous generation stops before its successor starts.
//!
//! ```text
//!   serving
//!      | hold the calls, wait for those in flight, export the state
//!      |    `-- a call does not end: serving, as before
//!      v
//!   stopped ---- start, self-test, import the state ----> serving: the new content
//!      |    <--------- failed ---------'
//!      |
//!      |-------- start, import the state ---------------> serving: the previous content
//!      |    <--------- failed ---------'
//!      v
//!   unavailable: `start_retry` tries again
//! ```
//!
//! The code of the previous generation is closed later, on a thread that retires it: only its
//! threads and its instance can hold what the successor needs.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::hold_limit::HoldLimit;
use super::owner::PluginOwner;
use super::plugin_slot::{PluginSlot, ReplacedContent};
use super::state_transfer::{CommitError, HeldCalls, TransferError, export, wait_for_calls};
use super::transaction::{Candidate, PreparedGeneration, PreparedStart, Purpose};
use crate::config::Config;
use crate::loader::{KeptImage, LoadError, LoadErrorReason};
use crate::plugin::{ExportedState, Generation, GenerationId, RetirementOutcome};
use crate::routing::CallHold;
use crate::shutdown::Shutdown;

/// How often the references to a generation are counted that is to be stopped.
const POLL_INTERVAL: Duration = Duration::from_micros(100);

/// The content and the state of a generation that is about to be stopped.
type KeptOfGeneration = (Box<KeptImage>, Option<Arc<ExportedState>>);

impl PluginOwner {
    /// Stops the previous generations of the prepared contents that start after that, and starts
    /// these contents. Their calls are `held`.
    ///
    /// Each step holds calls for at most `plugins.state_transfer`; see [`HoldLimit`].
    ///
    /// # Errors
    ///
    /// The first content that could not be started. The previous contents were started again.
    pub(super) fn replace_stopped(
        &mut self,
        prepared: &mut [PreparedGeneration],
        held: &HeldCalls,
        config: &Config,
    ) -> Result<(), CommitError> {
        let plugins: Vec<_> = held.plugins().stopping.iter().cloned().collect();
        if plugins.is_empty() {
            return Ok(());
        }

        let generations = self.take_out(&plugins, held, config)?;
        for new in &*prepared {
            let slot = self.slots.get_mut(&new.name).and_then(PluginSlot::stopped_mut);
            if let Some(stopped) = slot.filter(|_| new.purpose == Purpose::RollBackAfterProbation) {
                // If it has to serve again, its next failures are to roll it back.
                stopped.is_on_probation = true;
            }
        }

        let limit = HoldLimit::new(
            &self.dispatcher,
            self.table(CallHold::Over(held.plugins())),
            &held.plugins().gate,
            config.plugins.state_transfer,
            plugins.join(", "),
        );
        for generation in generations {
            limit.run(|| self.stop(generation));
        }

        for index in 0..prepared.len() {
            if let Err(refused) = self.start_after_stop(&mut prepared[index], &limit, config) {
                let plugin = prepared[index].name.clone();
                self.start_previous(&plugins, prepared, &limit);
                return Err(CommitError { plugin, refused });
            }
        }
        Ok(())
    }

    /// Ends the service of the generations that are to be stopped, once their calls have ended, and
    /// returns them.
    ///
    /// # Errors
    ///
    /// The calls of one of them have not ended, or it did not export its state. All of them serve
    /// again.
    fn take_out(
        &mut self,
        plugins: &[String],
        held: &HeldCalls,
        config: &Config,
    ) -> Result<Vec<Generation>, CommitError> {
        let mut kept = Vec::new();
        for plugin in plugins {
            let failed = |refused| CommitError { plugin: plugin.clone(), refused };
            kept.push(self.keep_for_start(plugin, config).map_err(failed)?);
        }

        let mut shared = Vec::new();
        for (plugin, (image, state)) in plugins.iter().zip(kept) {
            shared.extend(self.slots.get_mut(plugin).and_then(|slot| slot.stop(image, state)));
        }
        let is_unused = self.publish(Some(held.plugins()));
        let owned = if is_unused {
            own_all(shared, config, &self.shutdown)
        } else {
            Err((shared, TransferError::IoThreadBlocked))
        };

        owned.map_err(|(shared, error)| {
            for generation in shared {
                if let Some(slot) = self.slots.get_mut(&*generation.identity.plugin) {
                    slot.resume(generation);
                }
            }
            CommitError { plugin: plugins.first().cloned().unwrap_or_default(), refused: error.into() }
        })
    }

    /// Waits until no call of the plugin is left, and returns its content and its state.
    ///
    /// `async` calls may wait for something that happens seldom. Many plugins end such calls when
    /// they export their state, so these are waited for once more after that.
    fn keep_for_start(&self, plugin: &str, config: &Config) -> Result<KeptOfGeneration, LoadError> {
        let no_plugin =
            || LoadError::new(LoadErrorReason::NoSuchPlugin, "the plugin does not serve any more");
        let generation = self.slots.get(plugin).and_then(PluginSlot::generation).ok_or_else(no_plugin)?;
        let image = self.starter.image(generation).ok_or_else(no_plugin)??;

        wait_for_calls(generation, config, &self.shutdown)?;
        let idle = self.wait_for_references(generation, config);
        let Some(schema) = generation.state_schema else {
            idle?;
            return Ok((Box::new(image), None));
        };

        let bytes = export(generation, config, &self.shutdown)?;
        if idle.is_err() {
            self.wait_for_references(generation, config)?;
        }
        Ok((Box::new(image), Some(Arc::new(ExportedState { schema, bytes }))))
    }

    /// Waits until nothing refers to a generation but its slot and the routing table. Each call
    /// that left its I/O thread refers to its generation.
    fn wait_for_references(
        &self,
        generation: &Arc<Generation>,
        config: &Config,
    ) -> Result<(), TransferError> {
        let known = 1 + self.dispatcher.table.load().references_to(generation);
        let deadline = Instant::now() + config.plugins.state_transfer;

        loop {
            let count = Arc::strong_count(generation).saturating_sub(known);
            if count == 0 {
                return Ok(());
            }
            if self.shutdown.has_begun() {
                return Err(TransferError::HostEnds);
            }
            if Instant::now() >= deadline {
                return Err(TransferError::calls_in_flight(count, config));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Stops a generation on this thread. Its code is closed on another one.
    fn stop(&mut self, generation: Generation) {
        let GenerationId { plugin, number, .. } = generation.identity.clone();
        tracing::info!(
            plugin = &*plugin,
            generation = number,
            "plugin {plugin}: generation {number} stops before its successor starts"
        );
        self.slots.entry(plugin.to_string()).or_default().draining.push(number);

        match self.retirement.stop(generation) {
            Ok(stopped) => self.retirement.close(stopped),
            // It may still hold its resource. The start of the successor shows that.
            Err(reason) => {
                self.retired(&plugin, number, &RetirementOutcome::Retained(reason));
            }
        }
    }

    /// Stops a generation that was started and must not serve.
    fn stop_unused(&mut self, generation: Arc<Generation>) {
        match Arc::try_unwrap(generation) {
            Ok(generation) => self.stop(generation),
            // The thread of an import that did not return uses it.
            Err(generation) => self.retire(generation),
        }
    }

    /// Starts a prepared content, if it is not started yet.
    fn start_after_stop(
        &mut self,
        new: &mut PreparedGeneration,
        limit: &HoldLimit,
        config: &Config,
    ) -> Result<(), LoadError> {
        let PreparedStart::AfterStop(staged) = &mut new.start else { return Ok(()) };
        let Some(staged) = staged.take() else { return Ok(()) };

        let candidate = Candidate { staged: *staged, file: new.file.clone(), purpose: new.purpose };
        new.start = PreparedStart::Started(self.start_with_state(candidate, limit, config)?);
        Ok(())
    }

    /// Starts a candidate and imports the state that its plugin has exported.
    fn start_with_state(
        &mut self,
        candidate: Candidate,
        limit: &HoldLimit,
        config: &Config,
    ) -> Result<Arc<Generation>, LoadError> {
        let own_config = self.with_decisions(config, [&candidate]);
        let numbered = self.number(candidate, config);
        let starter = Arc::clone(&self.starter);
        let started = limit.run(|| numbered.start(&*starter, &own_config));
        let PreparedStart::Started(generation) = self.started(started)?.start else {
            return Err(LoadError::new(LoadErrorReason::StartFailed, "the plugin was not started"));
        };

        match limit.run(|| self.import_saved(&generation, config)) {
            Ok(()) => Ok(generation),
            Err(refused) => {
                limit.run(|| self.stop_unused(generation));
                Err(refused)
            }
        }
    }

    /// Starts the previous contents of the plugins again, with the configuration in effect.
    fn start_previous(&mut self, plugins: &[String], prepared: &mut [PreparedGeneration], limit: &HoldLimit) {
        for new in prepared.iter_mut().filter(|new| plugins.contains(&new.name)) {
            let start = std::mem::replace(&mut new.start, PreparedStart::AfterStop(None));
            if let PreparedStart::Started(generation) = start {
                limit.run(|| self.stop_unused(generation));
            }
        }

        let config = Arc::clone(&self.config);
        for plugin in plugins {
            match self.start_previous_of(plugin, limit, &config) {
                Ok(()) => self.report_serving(plugin, ": the previous content, started again"),
                Err(failure) => self.start_later(plugin, failure),
            }
        }
    }

    fn start_previous_of(
        &mut self,
        plugin: &str,
        limit: &HoldLimit,
        config: &Config,
    ) -> Result<(), LoadError> {
        let candidate = self.stopped_content(plugin)?;
        let file = candidate.file.clone();
        let generation = self.start_with_state(candidate, limit, config)?;

        let slot = self.slots.entry(plugin.to_owned()).or_default();
        slot.serve(generation, file, ReplacedContent::Keep(None));
        Ok(())
    }
}

/// Waits until the generations are referred to by nothing else.
///
/// # Errors
///
/// The generations, and why one of them is still in use.
fn own_all(
    shared: Vec<Arc<Generation>>,
    config: &Config,
    shutdown: &Shutdown,
) -> Result<Vec<Generation>, (Vec<Arc<Generation>>, TransferError)> {
    let deadline = Instant::now() + config.plugins.state_transfer;
    let mut owned = Vec::new();
    let mut left = shared.into_iter();

    while let Some(generation) = left.next() {
        match own(generation, deadline, shutdown) {
            Ok(generation) => owned.push(generation),
            Err(generation) => {
                let count = Arc::strong_count(&generation) - 1;
                let error = match shutdown.has_begun() {
                    true => TransferError::HostEnds,
                    false => TransferError::calls_in_flight(count, config),
                };
                let shared = owned.into_iter().map(Arc::new).chain([generation]).chain(left).collect();
                return Err((shared, error));
            }
        }
    }
    Ok(owned)
}

fn own(
    mut generation: Arc<Generation>,
    deadline: Instant,
    shutdown: &Shutdown,
) -> Result<Generation, Arc<Generation>> {
    loop {
        generation = match Arc::try_unwrap(generation) {
            Ok(generation) => return Ok(generation),
            Err(shared) if Instant::now() >= deadline || shutdown.has_begun() => return Err(shared),
            Err(shared) => shared,
        };
        thread::sleep(POLL_INTERVAL);
    }
}

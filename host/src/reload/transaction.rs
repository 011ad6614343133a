//! The change of generations as a transaction: prepared, then committed by one swap, or not at all.
//!
//! 1. **Prepare**: the names are free, there may be one more generation, the probe has run it, it is loaded and
//!    started. The generation that serves notices nothing.
//! 2. **Commit**: where state goes over, new calls are held, those that run are waited for, the state is given and
//!    taken. Then one swap of the routes, and the generation before retires.
//!
//! Whatever fails before the swap leaves everything as it was.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jackfield_plugin_api::abi::Instance;
use jackfield_plugin_api::abi::keys::are_left;
use jackfield_plugin_api::manifest::DeclaredMethod;

use super::command::{ReloadCommand, RetainedGeneration};
use super::owner::PluginOwner;
use super::plugin_slot::MOST_DRAINING;
use crate::config::Config;
use crate::crash_record::LifecyclePhase;
use crate::failpoint;
use crate::loader::{LoadError, LoadErrorReason, StagedPlugin, VerifiedSignature};
use crate::plugin::{Generation, GenerationLoadError, JoinedRunError, Probation, run_joined};
use crate::routing::{HeldPlugins, StateTransferGate};

/// How often running calls are looked at while the state waits for them.
const LOOK: Duration = Duration::from_micros(100);

/// Keys for thread-local values that must be left for one more generation: far more than it takes, because who needs
/// one and finds none ends the process.
const KEYS_SPARED: usize = 64;

/// A generation that is started and serves nobody yet.
pub(super) struct PreparedGeneration {
    pub(super) name: String,
    /// The file that it comes from; `None` when it is content that was kept.
    pub(super) file: Option<OsString>,
    pub(super) generation: Arc<Generation>,
    /// Whether the content that it replaces may be come back to.
    pub(super) keep_before: bool,
}

/// A commit that was given up, for the sake of this plugin.
pub(super) struct CommitError {
    pub(super) plugin: String,
    pub(super) refused: LoadError,
}

impl PluginOwner {
    /// Makes a generation ready to serve.
    ///
    /// # Errors
    /// Why it will not serve; nothing has changed.
    pub(super) fn prepare(
        &mut self,
        staged: StagedPlugin,
        file: Option<OsString>,
        config: &Config,
        on_probation: bool,
    ) -> Result<PreparedGeneration, LoadError> {
        let name = staged.inspection.name.clone();
        failpoint::pass("names")?;
        self.check_names(&name, file.as_ref(), &staged.inspection.manifest.methods)?;
        self.check_signature(&name, file.is_some(), staged.inspection.signed, config)?;
        failpoint::pass("room")?;
        self.check_room(&name, config)?;
        failpoint::pass("probe")?;
        let settings =
            config.plugin.get(&name).map_or_else(|| "{}".to_owned(), |own| own.settings.to_string());
        self.prober.probe(&staged, settings.as_bytes(), config.plugins.probe)?;
        let probation = on_probation.then(|| self.probation(&name, config)).flatten();
        let generation = match self.nursery.start(staged, config, probation, config.plugins.probe) {
            Ok(generation) => Arc::new(generation),
            Err(GenerationLoadError { error, retained }) => {
                if let Some(reason) = retained {
                    let reason = reason.to_string();
                    let generation = self.nursery.next_number() - 1;
                    tracing::warn!(plugin = name, generation, reason, "refused code stays in the process");
                    self.dispatcher.metrics.counters.generations_retained.add(1);
                    self.slots
                        .entry(name)
                        .or_default()
                        .retained
                        .push(RetainedGeneration { generation, reason });
                }
                return Err(error);
            }
        };
        if let Err(planted) = failpoint::pass("started") {
            self.discard(generation);
            return Err(planted);
        }
        Ok(PreparedGeneration { name, file, generation, keep_before: true })
    }

    /// One name, one plugin; one method, one plugin: who has it keeps it.
    fn check_names(
        &self,
        name: &str,
        file: Option<&OsString>,
        methods: &[DeclaredMethod],
    ) -> Result<(), LoadError> {
        if self.own.contains(name) {
            return Err(LoadError::new(
                LoadErrorReason::NameTaken,
                format!("the program has a plugin named {name:?}"),
            ));
        }
        let slot = self.slots.get(name).filter(|slot| slot.serving.is_some());
        if let Some(other) =
            slot.and_then(|slot| slot.file.as_ref()).filter(|other| file.is_some_and(|file| file != *other))
        {
            let other = other.display();
            return Err(LoadError::new(
                LoadErrorReason::NameTaken,
                format!("the file {other} is the plugin {name:?} already"),
            ));
        }
        for other in self.serving().filter(|other| *other.identity.plugin != *name) {
            let taken =
                methods.iter().find(|method| other.methods.iter().any(|have| have.name == method.name));
            if let Some(method) = taken {
                let detail =
                    format!("the method {:?} belongs to the plugin {:?}", method.name, other.identity.plugin);
                return Err(LoadError::new(LoadErrorReason::MethodTaken, detail));
            }
        }
        Ok(())
    }

    /// Whether a file may be loaded by who signed it, and when: what is not trusted any more does not start once more,
    /// and what is older than what serves comes in only as an operator's rollback.
    fn check_signature(
        &self,
        name: &str,
        is_file: bool,
        signed: Option<VerifiedSignature>,
        config: &Config,
    ) -> Result<(), LoadError> {
        let keys = &config.plugins.trusted_keys;
        if keys.is_empty() {
            return Ok(());
        }
        let Some(signed) = signed else {
            return Err(LoadError::new(LoadErrorReason::Unsigned, "it was loaded when no key was trusted"));
        };
        if keys.iter().all(|key| key.id != signed.key) {
            let detail = format!("it is signed with the key {}, which is trusted no more", signed.key);
            return Err(LoadError::new(LoadErrorReason::UnknownKey, detail));
        }
        let served = self.slots.get(name).and_then(|slot| slot.signed_at).unwrap_or(0);
        if is_file && signed.at < served {
            let detail = format!(
                "it was signed at {}, before the one that serves or served last ({served}); sign it anew, if it is meant",
                signed.at
            );
            return Err(LoadError::new(LoadErrorReason::OlderThanServing, detail));
        }
        Ok(())
    }

    /// Whether there may be one more generation.
    fn check_room(&self, name: &str, config: &Config) -> Result<(), LoadError> {
        let draining = self.slots.get(name).map_or(0, |slot| slot.draining.len());
        if draining >= MOST_DRAINING {
            let detail =
                format!("{draining} generations of it still answer their last requests; it is tried again");
            return Err(LoadError::new(LoadErrorReason::TooManyDraining, detail));
        }
        let retained: usize = self.slots.values().map(|slot| slot.retained.len()).sum();
        if retained >= config.plugins.retained {
            let detail = format!(
                "{retained} generations could not be unloaded, as many as plugins.retained allows; restart the host"
            );
            return Err(LoadError::new(LoadErrorReason::TooManyRetained, detail));
        }
        if !are_left(KEYS_SPARED) {
            let detail = format!(
                "less than {KEYS_SPARED} keys for thread-local values are left in the process; restart the host"
            );
            return Err(LoadError::new(LoadErrorReason::NoThreadKeys, detail));
        }
        Ok(())
    }

    fn probation(&self, name: &str, config: &Config) -> Option<Probation> {
        let limits = config.plugins.probation;
        // Without content to go back to there is nothing to find out.
        self.slots.get(name)?.serving.as_ref()?;
        let (orders, plugin, generation) = (self.orders.clone(), name.to_owned(), self.nursery.next_number());
        let tell = Box::new(move |sentence| {
            orders.send(ReloadCommand::Judged { plugin: plugin.clone(), generation, sentence });
        });
        (limits.calls > 0).then(|| Probation::new(limits, tell))
    }

    /// Lets prepared generations serve, all with one swap.
    ///
    /// # Errors
    /// What is prepared is ended, and everything serves as before.
    pub(super) fn commit(
        &mut self,
        prepared: Vec<PreparedGeneration>,
        config: Arc<Config>,
    ) -> Result<(), CommitError> {
        // Without a descriptor for what served before there is no way back.
        let kept = prepared.iter().map(|new| {
            let slot = self.slots.get(&new.name)?;
            let before =
                slot.serving.as_ref().filter(|_| new.keep_before && !slot.is_restart(&new.generation))?;
            before.kept_image()?.ok()
        });
        let kept: Vec<_> = kept.collect();
        let handing_over: Vec<_> = prepared.iter().filter(|new| self.hands_over(new)).collect();
        let held = (!handing_over.is_empty()).then(|| HeldPlugins {
            plugins: handing_over.iter().map(|new| new.name.clone()).collect(),
            gate: Arc::default(),
        });
        // Whatever happens, who waits is let through at the end.
        let _opens = held.as_ref().map(|held| GateGuard(Arc::clone(&held.gate)));
        let handed_over = held.as_ref().map_or(Ok(()), |held| self.hand_over(&handing_over, held, &config));
        if let Err(given_up) = handed_over.and_then(|()| may_publish(&prepared)) {
            self.publish(None);
            prepared.into_iter().for_each(|new| self.discard(new.generation));
            return Err(given_up);
        }
        self.config = config;
        let mut replaced = Vec::new();
        for (new, kept) in prepared.into_iter().zip(kept) {
            let slot = self.slots.entry(new.name).or_default();
            replaced.extend(slot.replace(new.generation, new.keep_before, kept));
            slot.file = new.file.or(slot.file.take());
        }
        self.publish(None);
        replaced.into_iter().for_each(|before| self.retire(before));
        Ok(())
    }

    fn hands_over(&self, new: &PreparedGeneration) -> bool {
        let before = self.slots.get(&new.name).and_then(|slot| slot.serving.as_ref());
        match before.map(|before| before.state_schema) {
            Some(Some(_)) if new.generation.state_schema.is_none() => {
                tracing::warn!(
                    plugin = new.name,
                    "it takes no state: what the generation before knew is lost"
                );
                false
            }
            Some(state) => state.is_some(),
            None => false,
        }
    }

    /// Carries the state of each of these plugins over, while their calls are held.
    fn hand_over(
        &self,
        handing_over: &[&PreparedGeneration],
        held: &HeldPlugins,
        config: &Config,
    ) -> Result<(), CommitError> {
        if !self.publish(Some(held)) {
            // An `inline` method that was found in the table before may still change the state.
            let detail = "an inline method holds up a thread that serves connections";
            return Err(CommitError {
                plugin: held.plugins.first().cloned().unwrap_or_default(),
                refused: LoadError::new(LoadErrorReason::HandOverBusy, detail),
            });
        }
        for new in handing_over {
            let Some(before) = self.slots.get(&new.name).and_then(|slot| slot.serving.as_ref()) else {
                continue;
            };
            self.hand_over_one(before, &new.generation, config.plugins.hand_over)
                .map_err(|refused| CommitError { plugin: new.name.clone(), refused })?;
        }
        Ok(())
    }

    fn hand_over_one(
        &self,
        before: &Arc<Generation>,
        after: &Arc<Generation>,
        limit: Duration,
    ) -> Result<(), LoadError> {
        failpoint::pass("hold")?;
        let until = Instant::now() + limit;
        // Those on I/O threads are over: the table that they were found in is held by none of them any more.
        while before.direct_calls() > 0 {
            if Instant::now() >= until {
                let running = before.direct_calls();
                let detail = format!(
                    "{running} calls have not ended within plugins.hand_over; the state cannot be taken from under them"
                );
                return Err(LoadError::new(LoadErrorReason::HandOverBusy, detail));
            }
            std::thread::sleep(LOOK);
        }
        failpoint::pass("held")?;
        let schema = before.state_schema.unwrap_or(0);
        let giver = Arc::clone(before);
        let given = run_joined("hand-over", before.crash_record(), limit, move || {
            giver.run_phase(LifecyclePhase::HandOver, Instance::hand_over)
        });
        let state = settle(given, LoadErrorReason::HandOverFailed)?;
        failpoint::pass("hand-over")?;
        let taker = Arc::clone(after);
        let taken = run_joined("take-over", after.crash_record(), limit, move || {
            taker.run_phase(LifecyclePhase::TakeOver, |instance| instance.take_over(schema, &state))
        });
        settle(taken, LoadErrorReason::TakeOverFailed)?;
        failpoint::pass("take-over")
    }
}

fn may_publish(prepared: &[PreparedGeneration]) -> Result<(), CommitError> {
    let given_up = |refused| CommitError {
        plugin: prepared.first().map(|new| new.name.clone()).unwrap_or_default(),
        refused,
    };
    failpoint::pass("publish").map_err(given_up)
}

/// Lets everybody through when it goes.
struct GateGuard(Arc<StateTransferGate>);

impl Drop for GateGuard {
    fn drop(&mut self) {
        self.0.open();
    }
}

fn settle<T, E: std::fmt::Display>(
    done: Result<Result<T, E>, JoinedRunError>,
    reason: LoadErrorReason,
) -> Result<T, LoadError> {
    match done {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(LoadError::new(reason, error)),
        Err(undone) => Err(LoadError::new(reason, undone)),
    }
}

/// The plugins whose settings or threads differ between two configurations.
pub(super) fn changed_plugins(before: &Config, after: &Config) -> BTreeSet<String> {
    let all = before.plugin.keys().chain(after.plugin.keys());
    let own = |config: &Config, name: &String| {
        let own = config.plugin.get(name).cloned().unwrap_or_default();
        (own.threads, own.spare_threads, own.breaker, own.queue, own.settings)
    };
    all.filter(|name| own(before, name) != own(after, name)).cloned().collect()
}

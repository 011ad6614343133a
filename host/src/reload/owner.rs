//! All plugins of a host, and what is done about each change: one owner, one thing at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use super::CommandSender;
use super::command::{ReloadCommand, ReloadResult};
use super::directory_scan::{DirectoryScan, FileChange, ScanResult, is_early};
use super::plugin_slot::PluginSlot;
use super::refused_file::{is_of_the_moment, is_passing, nothing};
use super::retire::RetirementThreads;
use super::transaction::PreparedGeneration;
use crate::config::Config;
use crate::crash_record::Quarantined;
use crate::failpoint;
use crate::loader::{LoadError, LoadErrorReason, Prober, StagedPlugin, plugin_name};
use crate::metrics::ReloadOutcome;
use crate::plugin::{BuiltInPlugin, Generation, GenerationFactory, GenerationId, IoThreadReplacer};
use crate::routing::{Dispatcher, HeldPlugins, RoutePermits, RoutingTable, TableBuilder};

/// The plugins of one host.
pub(crate) struct PluginOwner {
    pub(super) config: Arc<Config>,
    pub(super) prober: Prober,
    pub(super) nursery: GenerationFactory,
    pub(super) dispatcher: Arc<Dispatcher>,
    /// The names of the plugins that are part of the program.
    pub(super) own: BTreeSet<String>,
    pub(super) slots: BTreeMap<String, PluginSlot>,
    pub(super) orders: CommandSender,
    pub(super) permits: RoutePermits,
    locals: Vec<Arc<Generation>>,
    pub(super) sightings: DirectoryScan,
    pub(super) retirer: RetirementThreads,
    /// Files that were refused for the sake of a name that another plugin has: tried again when one has gone.
    taken: BTreeSet<OsString>,
}

impl PluginOwner {
    pub(crate) fn new(
        config: Config,
        prober: Prober,
        nursery: GenerationFactory,
        dispatcher: &Arc<Dispatcher>,
        orders: &CommandSender,
        io: Arc<dyn IoThreadReplacer>,
    ) -> Self {
        let mut permits = RoutePermits::default();
        permits.update(&config.routes);
        Self {
            sightings: DirectoryScan::new(config.plugins.directory.clone()),
            config: Arc::new(config),
            prober,
            nursery,
            dispatcher: Arc::clone(dispatcher),
            own: BTreeSet::new(),
            slots: BTreeMap::new(),
            orders: orders.clone(),
            permits,
            locals: Vec::new(),
            retirer: RetirementThreads::new(orders.clone(), io),
            taken: BTreeSet::new(),
        }
    }

    /// Adds a plugin that is part of the program.
    ///
    /// # Errors
    /// Its threads could not be started.
    pub(crate) fn add_local(&mut self, local: BuiltInPlugin) -> std::io::Result<Arc<Generation>> {
        let generation = Arc::new(self.nursery.start_built_in(local, &self.config)?);
        self.own.insert(generation.identity.plugin.to_string());
        self.locals.push(Arc::clone(&generation));
        Ok(generation)
    }

    /// Loads what is in the directory now. A file that cannot be loaded is an error in the log, and the others serve.
    pub(crate) fn load_all(&mut self) {
        self.sightings.open();
        let look = self.sightings.look(&[], true);
        self.act(look);
        self.publish(None);
        self.dispatcher.table.load().warn_about_dead_routes(&self.config.routes);
    }

    pub(super) fn locals(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.locals.iter()
    }

    pub(super) fn serving(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.locals.iter().chain(self.slots.values().filter_map(|slot| slot.serving.as_ref()))
    }

    /// Whether the directory is looked at when nobody asks for it.
    pub(super) fn watches(&self) -> bool {
        self.config.plugins.watch
    }

    /// The directory to watch, if there is one, and which one of those that its path has led to.
    pub(super) fn watched(&self) -> Option<(&Path, u64)> {
        self.sightings.directory().filter(|_| self.watches())?;
        Some((self.sightings.path(), self.sightings.opened()))
    }

    /// Lets requests find what serves now; `false` when a thread may still use the table before.
    pub(super) fn publish(&self, held: Option<&HeldPlugins>) -> bool {
        // Operators are served by methods of the program alone, and nobody else by those.
        let serving = self.serving().filter(|generation| *generation.identity.plugin != *super::ADMIN);
        let builder = TableBuilder {
            config: &self.config,
            built_in: &self.own,
            permits: &self.permits,
            held,
            method_names: &self.dispatcher.metrics.method_names,
        };
        let table = builder.build(serving.cloned().collect());
        let published = self.dispatcher.publish(&Arc::new(table));
        self.tell_numbers();
        published
    }

    /// Looks at the directory; `true` when it is to be looked at again soon.
    pub(super) fn look(&mut self, whole: &[OsString], all: bool) -> bool {
        let look = self.sightings.look(whole, all);
        self.act(look)
    }

    /// Makes sure that the directory is the one that its path leads to.
    pub(super) fn open_directory(&mut self) {
        self.sightings.open();
    }

    fn act(&mut self, look: ScanResult) -> bool {
        let mut again = look.unsettled;
        for change in look.changes {
            match change {
                FileChange::Gone(file) => self.remove(&file),
                FileChange::Refused(file, refused) => {
                    self.sightings.refuse(&file, None, refused.clone());
                    self.note_refusal(&file, refused);
                }
                FileChange::Read(file) => {
                    again |= self.load(&file, false).is_some_and(|v| is_of_the_moment(&v));
                    again |= self.sightings.is_to_be_read(&file);
                }
            }
        }
        again
    }

    /// Loads a file, if its content is another one than before or `anyway`; `None` when there is nothing to do.
    pub(super) fn load(&mut self, file: &OsString, anyway: bool) -> Option<ReloadResult> {
        let stamp = self.sightings.directory().and_then(|directory| directory.stamp(file).ok());
        let staged = failpoint::pass("stage").and_then(|()| match self.sightings.directory() {
            Some(directory) => directory.stage(file, &self.config.plugins.trusted_keys),
            None => Err(LoadError::new(LoadErrorReason::NotFound, "the plugin directory is not there")),
        });
        let staged = match staged {
            Ok(staged) => staged,
            Err(refused) if !anyway && (is_passing(refused.reason) || is_early(refused.reason, stamp)) => {
                // A copy under way: nothing is known of its content yet, and nothing is said of it.
                tracing::debug!(file = %file.display(), "to be read once more: {refused}");
                self.sightings.read_again(file);
                return Some(ReloadResult { refused: Some(refused), ..nothing("") });
            }
            Err(refused) => {
                if refused.reason.is_of_the_moment() {
                    self.sightings.try_again(file);
                } else {
                    self.sightings.refuse(file, stamp, refused.clone());
                }
                return Some(self.note_refusal(file, refused));
            }
        };
        let (stamp, hash) = (staged.stamp, staged.inspection.hash);
        // Touched, or written anew with the same content.
        let is_known = self.sightings.content(file) == Some(hash);
        self.sightings.settle(file, stamp, hash);
        if !anyway && (is_known || self.is_decided(file, &hash.to_string())) {
            return None;
        }
        self.taken.remove(file);
        let name = staged.inspection.name.clone();
        let allowed = self.check_deaths(&hash.to_string(), anyway);
        Some(match allowed.and_then(|()| self.replace(staged, Some(file.clone()))) {
            Ok(()) => self.verdict(&name, None),
            Err(refused) => {
                if refused.reason == LoadErrorReason::HandOverBusy {
                    // Calls are held while it is tried: at most a fifth of the time.
                    self.sightings.try_again_after(file, self.config.plugins.hand_over * 4);
                } else if refused.reason.is_of_the_moment() {
                    self.sightings.try_again(file);
                } else if matches!(refused.reason, LoadErrorReason::NameTaken | LoadErrorReason::MethodTaken)
                {
                    self.taken.insert(file.clone());
                }
                self.note_refusal(file, refused)
            }
        })
    }

    /// Whether the file has come back to what serves, or to what was gone back from: what was wrong with it in the
    /// meantime is over.
    fn is_decided(&mut self, file: &OsString, hash: &str) -> bool {
        let slot = self.slots.values_mut().find(|slot| slot.file.as_ref() == Some(file));
        slot.is_some_and(|slot| slot.is_decided(hash))
    }

    /// Whether the host may run this content once more, after it died of it. By hand it may.
    fn check_deaths(&self, hash: &str, by_hand: bool) -> Result<(), LoadError> {
        let crash_record = &self.dispatcher.crash_record;
        let Some(Quarantined { plugin, deaths, method, .. }) = crash_record.left_out(hash) else {
            return Ok(());
        };
        if by_hand {
            crash_record.pardon(hash);
            tracing::warn!(plugin, hash, deaths, "let in again by hand, though the host died while it ran");
            return Ok(());
        }
        let window = crash_record.limits().window;
        let detail = format!(
            "the host died {deaths} times within {window:?} while it ran, the last time in {method}; it is loaded again \
             when its file changes, or by `jackfield plugin reload {plugin}`"
        );
        Err(LoadError::new(LoadErrorReason::TooManyDeaths, detail))
    }

    fn replace(&mut self, staged: StagedPlugin, file: Option<OsString>) -> Result<(), LoadError> {
        let config = Arc::clone(&self.config);
        let new = self.prepare(staged, file, &config, true)?;
        self.serve(new)
    }

    pub(super) fn serve(&mut self, new: PreparedGeneration) -> Result<(), LoadError> {
        let (name, generation) = (new.name.clone(), Arc::clone(&new.generation));
        let config = Arc::clone(&self.config);
        self.commit(vec![new], config).map_err(|given_up| given_up.refused)?;
        self.tell_of(&name, &generation);
        Ok(())
    }

    pub(super) fn tell_of(&mut self, name: &str, generation: &Generation) {
        let GenerationId { number, hash, version, build_id, .. } = &generation.identity;
        let (short, methods) = (&hash[..hash.len().min(12)], generation.methods.len());
        let build_id = build_id.as_deref().unwrap_or("none");
        tracing::info!(
            plugin = name,
            generation = number,
            version,
            hash = short,
            build_id,
            methods,
            "loaded"
        );
        self.dispatcher.metrics.counters.plugins_loaded.add(1);
        self.dispatcher.metrics.plugins.count_reload(name, ReloadOutcome::Loaded);
        self.try_taken_again();
    }

    /// Names may have become free.
    fn try_taken_again(&mut self) {
        for file in std::mem::take(&mut self.taken) {
            self.sightings.try_again(&file);
        }
    }

    fn remove(&mut self, file: &OsString) {
        self.taken.remove(file);
        let Some((name, slot)) = self.slots.iter_mut().find(|(_, slot)| slot.file.as_ref() == Some(file))
        else {
            // One that never served from it; what generations of an earlier one left is still to be counted.
            let slot = plugin_name(file).and_then(|name| self.slots.get_mut(&name));
            if let Some(slot) = slot.filter(|slot| slot.file.is_none()) {
                slot.refused = None;
            }
            self.slots.retain(|_, slot| !slot.is_blank() || slot.refused.is_some());
            return;
        };
        let removed = slot.serving.take();
        (slot.removed, slot.file, slot.refused, slot.before) = (true, None, None, None);
        if let Some(removed) = removed {
            let generation = removed.identity.number;
            tracing::info!(plugin = name, generation, "removed: its file has gone");
            self.publish(None);
            self.retire(removed);
        }
        self.try_taken_again();
    }

    pub(super) fn retire(&mut self, generation: Arc<Generation>) {
        let GenerationId { plugin, number, .. } = &generation.identity;
        self.slots.entry(plugin.to_string()).or_default().draining.push(*number);
        self.retirer.begin(generation);
    }

    /// Ends a generation that never served.
    pub(super) fn discard(&mut self, generation: Arc<Generation>) {
        self.retire(generation);
    }

    /// Ends every generation, by then.
    pub(crate) fn retire_all(mut self, orders: &Receiver<ReloadCommand>, until: Instant) {
        self.retirer.until().set(until);
        self.dispatcher.publish(&Arc::new(RoutingTable::empty()));
        self.dispatcher.admin_table.store(Arc::new(RoutingTable::empty()));
        for generation in std::mem::take(&mut self.locals) {
            self.retire(generation);
        }
        let serving: Vec<_> = self.slots.values_mut().filter_map(|slot| slot.serving.take()).collect();
        serving.into_iter().for_each(|generation| self.retire(generation));
        // A little later than they give up by themselves.
        let last = until + super::LOOK;
        while self.slots.values().any(|slot| !slot.draining.is_empty()) {
            match orders.recv_timeout(last.saturating_duration_since(Instant::now())) {
                Ok(ReloadCommand::Retired { plugin, generation, how }) => {
                    self.retired(&plugin, generation, &how);
                }
                // Nothing else is changed any more; who asked finds nobody there.
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

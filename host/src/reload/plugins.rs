//! All plugins of a host, and what is done about each change: one owner, one thing at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use super::failpoint;
use super::order::{Order, Verdict};
use super::retire::Retirer;
use super::sighting::{Change, Look, Sightings};
use super::slot::Slot;
use super::transaction::{GivenUp, Prepared, changed_plugins};
use super::{Orders, restart};
use crate::config::Config;
use crate::dispatch::{Dispatcher, Held, RoutePermits, Table};
use crate::load::{Prober, Reason, Refused, Staged, plugin_name};
use crate::plugin::{Generation, Identity, LocalPlugin, Nursery, Retired, Sentence, Turnover};

/// The plugins of one host.
pub(crate) struct Plugins {
    pub(super) config: Arc<Config>,
    pub(super) prober: Prober,
    pub(super) nursery: Nursery,
    pub(super) dispatcher: Arc<Dispatcher>,
    /// The names of the plugins that are part of the program.
    pub(super) own: BTreeSet<String>,
    pub(super) slots: BTreeMap<String, Slot>,
    pub(super) orders: Orders,
    permits: RoutePermits,
    locals: Vec<Arc<Generation>>,
    sightings: Sightings,
    retirer: Retirer,
    /// Files that were refused for the sake of a name that another plugin has: tried again when one has gone.
    taken: BTreeSet<OsString>,
}

impl Plugins {
    pub(crate) fn new(
        config: Config,
        prober: Prober,
        nursery: Nursery,
        dispatcher: &Arc<Dispatcher>,
        orders: &Orders,
        io: Arc<dyn Turnover>,
    ) -> Self {
        let mut permits = RoutePermits::default();
        permits.update(&config.routes);
        Self {
            sightings: Sightings::new(config.plugins.directory.clone()),
            config: Arc::new(config),
            prober,
            nursery,
            dispatcher: Arc::clone(dispatcher),
            own: BTreeSet::new(),
            slots: BTreeMap::new(),
            orders: orders.clone(),
            permits,
            locals: Vec::new(),
            retirer: Retirer::new(orders.clone(), io),
            taken: BTreeSet::new(),
        }
    }

    /// Adds a plugin that is part of the program.
    ///
    /// # Errors
    /// Its threads could not be started.
    pub(crate) fn add_local(&mut self, local: LocalPlugin) -> std::io::Result<Arc<Generation>> {
        let generation = Arc::new(self.nursery.local(local, &self.config)?);
        self.own.insert(generation.identity.plugin.to_string());
        self.locals.push(Arc::clone(&generation));
        Ok(generation)
    }

    /// Loads what is in the directory now. A file that cannot be loaded is an error in the log, and the others serve.
    pub(crate) fn load_all(&mut self) {
        self.sightings.open();
        let look = self.sightings.look(&[], true);
        self.act(look);
        self.publish(None).warn_of(&self.config.routes);
    }

    pub(super) fn serving(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.locals.iter().chain(self.slots.values().filter_map(|slot| slot.serving.as_ref()))
    }

    /// The directory to watch, if it is to be watched.
    pub(super) fn watched(&self) -> Option<&Path> {
        self.config.plugins.watch.then(|| self.sightings.path())
    }

    /// Lets requests find what serves now.
    pub(super) fn publish(&self, held: Option<&Held>) -> Arc<Table> {
        // Operators are served by methods of the program alone, and nobody else by those.
        let serving = self.serving().filter(|generation| *generation.identity.plugin != *super::ADMIN);
        let table = Table::build(&self.config, serving.cloned().collect(), &self.own, &self.permits, held);
        let table = Arc::new(table);
        self.dispatcher.publish(&table);
        table
    }

    /// Looks at the directory; `true` when it is to be looked at again soon.
    pub(super) fn look(&mut self, whole: &[OsString], all: bool) -> bool {
        let look = self.sightings.look(whole, all);
        self.act(look)
    }

    /// Makes sure that the directory is the one that its path leads to; `true` when it is another one.
    pub(super) fn open_directory(&mut self) -> bool {
        self.sightings.open()
    }

    fn act(&mut self, look: Look) -> bool {
        let mut again = look.unsettled;
        for change in look.changes {
            match change {
                Change::Gone(file) => self.remove(&file),
                Change::Refused(file, refused) => {
                    self.sightings.refuse(&file, refused.clone());
                    self.note_refusal(&file, refused);
                }
                Change::Read(file) => again |= self.load(&file, false).is_some_and(|v| is_of_the_moment(&v)),
            }
        }
        again
    }

    /// Loads a file, if its content is another one than before or `anyway`; `None` when there is nothing to do.
    fn load(&mut self, file: &OsString, anyway: bool) -> Option<Verdict> {
        let staged = failpoint::pass("stage").and_then(|()| match self.sightings.directory() {
            Some(directory) => directory.stage(file),
            None => Err(Refused::new(Reason::NotFound, "the plugin directory is not there")),
        });
        let staged = match staged {
            Ok(staged) => staged,
            Err(refused) => {
                if refused.reason.is_of_the_moment() {
                    self.sightings.try_again(file);
                } else {
                    self.sightings.refuse(file, refused.clone());
                }
                return Some(self.note_refusal(file, refused));
            }
        };
        let (stamp, hash) = (staged.stamp, staged.inspection.hash);
        if !anyway && self.sightings.content(file) == Some(hash) {
            // Touched, or written anew with the same content.
            self.sightings.settle(file, stamp, hash);
            return None;
        }
        self.sightings.settle(file, stamp, hash);
        self.taken.remove(file);
        let name = staged.inspection.name.clone();
        Some(match self.replace(staged, Some(file.clone())) {
            Ok(()) => self.verdict(&name, None),
            Err(refused) => {
                if refused.reason.is_of_the_moment() {
                    self.sightings.try_again(file);
                } else if matches!(refused.reason, Reason::NameTaken | Reason::MethodTaken) {
                    self.taken.insert(file.clone());
                }
                self.note_refusal(file, refused)
            }
        })
    }

    fn replace(&mut self, staged: Staged, file: Option<OsString>) -> Result<(), Refused> {
        let config = Arc::clone(&self.config);
        let new = self.prepare(staged, file, &config, true)?;
        self.serve(new)
    }

    fn serve(&mut self, new: Prepared) -> Result<(), Refused> {
        let (name, generation) = (new.name.clone(), Arc::clone(&new.generation));
        let config = Arc::clone(&self.config);
        self.commit(vec![new], config).map_err(|given_up| given_up.refused)?;
        self.tell_of(&name, &generation);
        Ok(())
    }

    fn tell_of(&mut self, name: &str, generation: &Generation) {
        let Identity { number, hash, version, build_id, .. } = &generation.identity;
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
        self.dispatcher.counters.plugins_loaded.add(1);
        self.try_taken_again();
    }

    /// Names may have become free.
    fn try_taken_again(&mut self) {
        for file in std::mem::take(&mut self.taken) {
            self.sightings.try_again(&file);
        }
    }

    /// Logs, counts and keeps a refusal; says what serves instead.
    fn note_refusal(&mut self, file: &OsString, refused: Refused) -> Verdict {
        let name = plugin_name(file);
        let shown = name.clone().unwrap_or_else(|| file.display().to_string());
        // A copy under way, a generation that still drains: it is tried again, and told of when it lasts.
        let Some(slot) = name.as_ref().and_then(|name| {
            let owned = self.slots.get(name).and_then(|slot| slot.file.as_ref());
            let is_theirs = owned.is_none_or(|owner| owner == file);
            is_theirs.then(|| self.slots.entry(name.clone()).or_default())
        }) else {
            tell_refusal(&shown, file, &refused);
            self.dispatcher.counters.plugins_refused.add(1);
            return Verdict { refused: Some(refused), ..nothing(&shown) };
        };
        if slot.refused.as_ref() != Some(&refused) {
            tell_refusal(&shown, file, &refused);
            self.dispatcher.counters.plugins_refused.add(1);
            slot.refused = Some(refused.clone());
        }
        self.verdict(&shown, Some(refused))
    }

    fn verdict(&self, name: &str, refused: Option<Refused>) -> Verdict {
        let serving = self.slots.get(name).and_then(|slot| slot.serving.as_ref());
        let identity = serving.map(|serving| &serving.identity);
        Verdict {
            plugin: name.to_owned(),
            outcome: if refused.is_some() { "refused" } else { "published" },
            generation: identity.map(|identity| identity.number),
            hash: identity.map(|identity| identity.hash.clone()),
            build_id: identity.and_then(|identity| identity.build_id.clone()),
            refused,
        }
    }

    fn remove(&mut self, file: &OsString) {
        self.taken.remove(file);
        let Some((name, slot)) = self.slots.iter_mut().find(|(_, slot)| slot.file.as_ref() == Some(file))
        else {
            self.slots
                .retain(|name, slot| slot.serving.is_some() || plugin_name(file).as_ref() != Some(name));
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
        let Identity { plugin, number, .. } = &generation.identity;
        self.slots.entry(plugin.to_string()).or_default().draining.push(*number);
        self.retirer.begin(generation);
    }

    /// Ends a generation that never served.
    pub(super) fn discard(&mut self, generation: Arc<Generation>) {
        self.retire(generation);
    }

    /// Does what is ordered; `true` when the directory is to be looked at again soon.
    pub(super) fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::Look(whole) => return self.look(&whole, false),
            Order::LookAtAll => {
                for file in self.sightings.files().cloned().collect::<Vec<_>>() {
                    let serves =
                        self.slots.values().any(|s| s.serving.is_some() && s.file.as_ref() == Some(&file));
                    if !serves {
                        self.sightings.try_again(&file);
                    }
                }
                self.open_directory();
                return self.look(&[], true);
            }
            // Whoever asked may have gone: then nobody is told.
            Order::Reload(name, reply) => drop(reply.send(self.reload(name.as_deref()))),
            Order::Rollback(name, reply) => drop(reply.send(self.roll_back(&name))),
            Order::List(reply) => {
                drop(reply.send(self.slots.iter().map(|(name, slot)| slot.row(name)).collect()));
            }
            Order::Judged { plugin, generation, sentence } => self.judged(&plugin, generation, sentence),
            Order::Retired { plugin, generation, how } => return self.retired(&plugin, generation, &how),
            Order::Configure(config, reply) => drop(reply.send(self.configure(config))),
            Order::Stop(_) => {}
        }
        false
    }

    fn reload(&mut self, name: Option<&str>) -> Vec<Verdict> {
        self.open_directory();
        let listed = self.sightings.directory().map_or_else(|| Ok(Vec::new()), |directory| directory.list());
        let files: Vec<_> = listed.unwrap_or_default().into_iter().collect();
        let is_meant = |file: &OsString| name.is_none_or(|name| plugin_name(file).as_deref() == Some(name));
        let meant: Vec<_> = files.into_iter().filter(is_meant).collect();
        if let (Some(name), true) = (name, meant.is_empty()) {
            let detail = format!("there is no file of a plugin {name:?} in the plugin directory");
            return vec![self.verdict(name, Some(Refused::new(Reason::NoSuchPlugin, detail)))];
        }
        meant.iter().filter_map(|file| self.load(file, true)).collect()
    }

    fn roll_back(&mut self, name: &str) -> Verdict {
        let Some(slot) = self.slots.get(name).filter(|slot| slot.serving.is_some()) else {
            let refused = Refused::new(Reason::NoSuchPlugin, format!("no plugin {name:?} serves"));
            return self.verdict(name, Some(refused));
        };
        let Some(before) = &slot.before else {
            let detail =
                format!("no content of the plugin {name:?} served before, or it has been gone back to");
            return self.verdict(name, Some(Refused::new(Reason::NothingToRollBack, detail)));
        };
        let rolled_back = before.again().and_then(|staged| self.put_back(staged, true));
        match rolled_back {
            Ok(()) => tracing::info!(plugin = name, "rolled back by hand"),
            Err(refused) => {
                tracing::error!(plugin = name, reason = refused.reason.code(), "not rolled back: {refused}");
                return self.verdict(name, Some(refused));
            }
        }
        self.verdict(name, None)
    }

    fn put_back(&mut self, staged: Staged, keep_before: bool) -> Result<(), Refused> {
        let config = Arc::clone(&self.config);
        let mut new = self.prepare(staged, None, &config, false)?;
        new.keep_before = keep_before;
        self.serve(new)
    }

    fn judged(&mut self, plugin: &str, generation: u64, sentence: Sentence) {
        let Some(slot) = self.slots.get_mut(plugin) else { return };
        if slot.serving.as_ref().is_none_or(|serving| serving.identity.number != generation) {
            // It was replaced in the meantime.
            return;
        }
        let Sentence::Failed(why) = sentence else {
            tracing::info!(plugin, generation, "its probation is over");
            return;
        };
        let Some(before) = slot.before.take() else {
            tracing::error!(plugin, generation, "{why}, and there is nothing to go back to");
            return;
        };
        tracing::error!(plugin, generation, "{why}: the content before comes back");
        match self.put_back(before, false) {
            Ok(()) => self.dispatcher.counters.plugins_rolled_back.add(1),
            Err(refused) => {
                let reason = refused.reason.code();
                tracing::error!(plugin, generation, reason, "not rolled back, it serves on: {refused}");
            }
        }
    }

    fn retired(&mut self, plugin: &str, generation: u64, how: &Retired) -> bool {
        let counters = &self.dispatcher.counters;
        match how {
            Retired::Unloaded => {
                counters.generations_unloaded.add(1);
                tracing::info!(plugin, generation, "unloaded");
            }
            Retired::Retained(reason) => {
                counters.generations_retained.add(1);
                tracing::warn!(plugin, generation, reason, "retained: its code stays in the process");
            }
        }
        let Some(slot) = self.slots.get_mut(plugin) else { return false };
        slot.ended(generation, how);
        // One that was refused for those that drained may be loaded now.
        slot.refused.as_ref().is_some_and(|refused| refused.reason == Reason::TooManyDraining)
    }

    /// Changes to another configuration, with everything that hangs on it, or not at all.
    fn configure(&mut self, config: Arc<Config>) -> Result<(), Vec<String>> {
        let mut prepared = Vec::new();
        let mut faults = Vec::new();
        for name in changed_plugins(&self.config, &config) {
            let serving = self.slots.get(&name).and_then(|slot| slot.serving.as_ref());
            let Some(staged) = serving.and_then(|serving| serving.staged_again()) else { continue };
            match staged.and_then(|staged| self.prepare(staged, None, &config, true)) {
                Ok(new) => prepared.push(new),
                Err(refused) => faults.push(format!("plugin.{name}: {refused}")),
            }
        }
        if !faults.is_empty() {
            prepared.into_iter().for_each(|new| self.discard(new.generation));
            return Err(faults);
        }
        let (limits, timeouts) = (config.limits.clone(), config.timeouts.clone());
        restart::tell(&self.config, &config);
        let new: Vec<_> =
            prepared.iter().map(|new| (new.name.clone(), Arc::clone(&new.generation))).collect();
        // Before the table that goes with them, which is built of them; permits of routes that are gone are kept by
        // the calls that hold them.
        self.permits.update(&config.routes);
        if let Err(GivenUp { plugin, refused }) = self.commit(prepared, config) {
            self.permits.update(&self.config.routes);
            return Err(vec![format!("plugin.{plugin}: {refused}")]);
        }
        self.dispatcher.set_rules(limits, timeouts);
        for (name, generation) in new {
            self.tell_of(&name, &generation);
        }
        Ok(())
    }

    /// Ends every generation, by then.
    pub(super) fn retire_all(mut self, orders: &Receiver<Order>, until: Instant) {
        self.retirer.until().set(until);
        self.dispatcher.publish(&Arc::new(Table::empty()));
        self.dispatcher.admin.store(Arc::new(Table::empty()));
        for generation in std::mem::take(&mut self.locals) {
            self.retire(generation);
        }
        let serving: Vec<_> = self.slots.values_mut().filter_map(|slot| slot.serving.take()).collect();
        serving.into_iter().for_each(|generation| self.retire(generation));
        // A little later than they give up by themselves.
        let last = until + super::LOOK;
        while self.slots.values().any(|slot| !slot.draining.is_empty()) {
            match orders.recv_timeout(last.saturating_duration_since(Instant::now())) {
                Ok(Order::Retired { plugin, generation, how }) => {
                    self.retired(&plugin, generation, &how);
                }
                // Nothing else is changed any more; who asked finds nobody there.
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

fn is_of_the_moment(verdict: &Verdict) -> bool {
    verdict.refused.as_ref().is_some_and(|refused| refused.reason.is_of_the_moment())
}

fn nothing(plugin: &str) -> Verdict {
    Verdict {
        plugin: plugin.to_owned(),
        outcome: "refused",
        generation: None,
        hash: None,
        build_id: None,
        refused: None,
    }
}

fn tell_refusal(plugin: &str, file: &OsString, refused: &Refused) {
    let (file, reason) = (file.display(), refused.reason.code());
    tracing::error!(plugin, %file, reason, "not loaded: {refused}");
}

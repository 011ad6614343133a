//! The plugin owner: the state that every reload command works on.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::command::CommandSender;
use super::directory_scan::{DirectoryScan, ScanTime};
use super::generation_starter::{GenerationStarter, ProbingStarter};
use super::plugin_slot::PluginSlot;
use super::retirement_threads::RetirementThreads;
use super::shortage_retry::ShortageRetries;
use crate::admin::ADMIN;
use crate::config::Config;
use crate::decisions::DecisionStore;
use crate::loader::{LoadError, Prober};
use crate::log::printable;
use crate::metrics::ReloadOutcome;
use crate::plugin::{BuiltInPlugin, Generation, GenerationFactory, GenerationId, IoThreadReplacer};
use crate::plugin_events::PluginEvent;
use crate::routing::{
    CallHold, Dispatcher, HeldPlugins, RoutePermits, RoutingTable, TableBuilder, UnavailablePlugin,
};
use crate::shutdown::Shutdown;

/// The plugins of one host.
pub(crate) struct PluginOwner {
    pub(super) config: Arc<Config>,
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) commands: CommandSender,

    /// Reads the time; unit tests replace it.
    pub(super) clock: Box<dyn Fn() -> ScanTime + Send>,
    pub(super) starter: Arc<dyn GenerationStarter>,
    pub(super) scan: DirectoryScan,

    /// The contents that were rolled back and do not serve again.
    pub(super) decisions: DecisionStore,
    pub(super) retirement: RetirementThreads,

    /// Asked before each step of a reload.
    pub(super) shutdown: Shutdown,

    /// The generations of built-in plugins. They are never replaced.
    pub(super) built_in: Vec<Arc<Generation>>,

    /// The names of built-in plugins; no file may use them.
    pub(super) built_in_names: BTreeSet<String>,

    /// The plugins that have, or had, files.
    pub(super) slots: BTreeMap<String, PluginSlot>,

    /// The permits of limited routes, which outlive routing tables.
    pub(super) permits: RoutePermits,

    /// Files that were refused because another plugin has their name or one of their methods. They
    /// are loaded again when a name may have become free.
    pub(super) name_conflicts: BTreeSet<OsString>,

    /// Files that were refused because the system had run out of something.
    pub(super) shortages: ShortageRetries,
}

impl PluginOwner {
    /// Returns an owner without plugins. `io` replaces the I/O threads before code is closed that
    /// they may have run.
    pub(crate) fn new(
        config: Config,
        prober: Prober,
        factory: GenerationFactory,
        dispatcher: &Arc<Dispatcher>,
        commands: &CommandSender,
        io: Arc<dyn IoThreadReplacer>,
        shutdown: &Shutdown,
    ) -> Self {
        let starter = Arc::new(ProbingStarter::new(prober, factory, shutdown.clone()));
        let scan = DirectoryScan::new(config.plugins.directory.clone());
        let decisions = DecisionStore::open(config.plugins.state.as_deref());
        let owner = Self::with_parts(config, starter, scan, decisions, dispatcher, commands, io);
        Self { shutdown: shutdown.clone(), ..owner }
    }

    /// As [`PluginOwner::new`], with another way to start generations, to scan for files and to
    /// keep decisions.
    pub(super) fn with_parts(
        config: Config,
        starter: Arc<dyn GenerationStarter>,
        scan: DirectoryScan,
        decisions: DecisionStore,
        dispatcher: &Arc<Dispatcher>,
        commands: &CommandSender,
        io: Arc<dyn IoThreadReplacer>,
    ) -> Self {
        let mut permits = RoutePermits::default();
        permits.update(&config.routes);

        Self {
            config: Arc::new(config),
            dispatcher: Arc::clone(dispatcher),
            commands: commands.clone(),
            clock: Box::new(ScanTime::now),
            starter,
            scan,
            decisions,
            retirement: RetirementThreads::new(commands.clone(), io),
            shutdown: Shutdown::default(),
            built_in: Vec::new(),
            built_in_names: BTreeSet::new(),
            slots: BTreeMap::new(),
            permits,
            name_conflicts: BTreeSet::new(),
            shortages: ShortageRetries::default(),
        }
    }

    /// Starts a built-in plugin.
    ///
    /// # Errors
    ///
    /// Its threads could not be started.
    pub(crate) fn add_built_in(&mut self, plugin: BuiltInPlugin) -> io::Result<Arc<Generation>> {
        let generation = Arc::new(self.starter.start_built_in(plugin, &self.config)?);
        self.built_in_names.insert(generation.identity.plugin.to_string());
        self.built_in.push(Arc::clone(&generation));
        Ok(generation)
    }

    pub(super) fn now(&self) -> ScanTime {
        (self.clock)()
    }

    /// Checks, before a step of a reload, that the host does not end.
    ///
    /// # Errors
    ///
    /// The host ends. The refusal is neither logged nor counted, because no plugin is at fault.
    pub(super) fn check_not_ending(&self) -> Result<(), LoadError> {
        if self.shutdown.has_begun() { Err(LoadError::host_ends()) } else { Ok(()) }
    }

    /// Returns the generations that serve, built-in ones included.
    pub(super) fn serving(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.built_in.iter().chain(self.slots.values().filter_map(PluginSlot::generation))
    }

    /// Returns whether the directory is scanned without a command.
    pub(super) fn is_watching(&self) -> bool {
        self.config.plugins.watch
    }

    /// Returns the directory to watch, if there is one, and the number that identifies it.
    pub(super) fn watched_directory(&self) -> Option<(&Path, u64)> {
        self.scan.directory().filter(|_| self.is_watching())?;
        Some((self.scan.path(), self.scan.opened_directories()))
    }

    /// Routes requests to what serves now. Calls of the plugins in `held` wait at its gate.
    ///
    /// Returns `false` if a thread may still use the previous table.
    pub(super) fn publish(&self, held: Option<&HeldPlugins>) -> bool {
        let table = self.table(held.map_or(CallHold::None, CallHold::AtGate));
        let is_published = self.dispatcher.publish(&Arc::new(table));
        self.report_counts();
        is_published
    }

    /// Returns the routing table for what serves now.
    pub(super) fn table(&self, hold: CallHold<'_>) -> RoutingTable {
        // The admin socket has a table of its own, and no other socket reaches these methods.
        let routed = self.serving().filter(|generation| *generation.identity.plugin != *ADMIN);
        let builder = TableBuilder {
            config: &self.config,
            built_in: &self.built_in_names,
            permits: &self.permits,
            hold,
            method_names: &self.dispatcher.metrics.method_names,
        };
        builder.build(routed.cloned().collect(), self.unavailable(hold))
    }

    /// Publishes the methods of refused contents, if they are not those of the last table.
    pub(super) fn publish_refusals(&self) {
        let is_published = *self.dispatcher.table.load().unavailable() == *self.unavailable(CallHold::None);
        if !is_published {
            self.publish(None);
        }
    }

    /// Returns the contents that were stopped or refused and whose methods are known.
    fn unavailable(&self, hold: CallHold<'_>) -> Vec<UnavailablePlugin> {
        let is_waited_for = matches!(hold, CallHold::AtGate(_));
        let slots = self.slots.iter();
        slots.flat_map(|(name, slot)| slot.unavailable(name, is_waited_for)).collect()
    }

    /// As [`PluginOwner::report_loaded`], for the generation of the plugin that serves.
    pub(super) fn report_serving(&mut self, name: &str, note: &str) {
        if let Some(generation) = self.slots.get(name).and_then(PluginSlot::generation).cloned() {
            self.report_loaded(name, &generation, note);
        }
    }

    /// Logs and counts a generation that serves from now on. The message ends with `note`.
    pub(super) fn report_loaded(&mut self, name: &str, generation: &Generation, note: &str) {
        let GenerationId { number, version, build_id, .. } = &generation.identity;
        let short_hash = generation.identity.short_hash();
        let shown_version = printable(version);
        let place = self.place_of(name, &generation.identity.hash);

        tracing::info!(
            plugin = name,
            generation = number,
            version,
            hash = short_hash,
            build_id = build_id.as_deref().unwrap_or("none"),
            methods = generation.methods.len(),
            "plugin {name}: generation {number} ({shown_version}, {short_hash}) now serves{place}{note}"
        );
        self.dispatcher.events.publish(&PluginEvent::Loaded {
            plugin: name.to_owned(),
            generation: *number,
            version: version.clone(),
            hash: generation.identity.hash.clone(),
        });
        self.dispatcher.metrics.counters.plugins_loaded.add(1);
        self.dispatcher.metrics.plugins.count_reload(name, ReloadOutcome::Loaded);
        self.retry_name_conflicts();
    }

    /// Marks the files that were refused because of another plugin's names, so that the next scan
    /// loads them.
    pub(super) fn retry_name_conflicts(&mut self) {
        for file in std::mem::take(&mut self.name_conflicts) {
            self.scan.files.retry(&file);
        }
    }
}

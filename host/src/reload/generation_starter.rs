//! Turns staged plugin files into generations: the steps of a reload that run plugin code.

use std::io;

use crate::config::{Config, Isolation, ReplacePolicy};
use crate::failpoint;
use crate::loader::{ContractCache, KeptImage, LoadError, ProbeDepth, Prober, StagedPlugin};
use crate::plugin::{BuiltInPlugin, Generation, GenerationFactory, GenerationLoadError, Probation};
use crate::shutdown::Shutdown;

/// Probes and starts plugins, several at a time. Unit tests replace it, because a real start needs
/// a probe process and a shared library.
pub(super) trait GenerationStarter: Send + Sync {
    /// Loads, starts, self-tests and stops the plugin in a separate process, where it also
    /// describes its methods. A stop-first plugin is only loaded and described there. A plugin that
    /// is to run in a worker process is not probed otherwise: its start does the same. Blocks for
    /// at most `plugins.probe`.
    ///
    /// # Errors
    ///
    /// The plugin failed there, the probe process could not run, or the host ends.
    fn probe(&self, staged: &StagedPlugin, config: &Config) -> Result<(), LoadError>;

    /// Loads and starts the plugin in this process or in workers, as the generation `number`, which
    /// [`GenerationStarter::reserve_number`] returned. It is self-tested as well, unless the
    /// probe has done that. Blocks for at most `plugins.probe`; for as long once more if the first
    /// worker hangs or crashes while it describes its methods.
    ///
    /// # Errors
    ///
    /// The plugin failed, or the host ends; its code is unloaded again if that is safe.
    fn start(
        &self,
        staged: StagedPlugin,
        number: u64,
        config: &Config,
        probation: Option<Probation>,
    ) -> Result<Generation, GenerationLoadError>;

    /// Starts a built-in plugin.
    ///
    /// # Errors
    ///
    /// Its threads could not be started.
    fn start_built_in(&self, plugin: BuiltInPlugin, config: &Config) -> io::Result<Generation>;

    /// Returns the number for one generation.
    fn reserve_number(&self) -> u64;

    /// Returns the content of a generation, to be staged again; `None` for a built-in plugin.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left for it.
    fn image(&self, generation: &Generation) -> Option<Result<KeptImage, LoadError>> {
        generation.kept_image()
    }
}

/// Probes plugins in processes of this program, and loads them into this one or into workers.
pub(super) struct ProbingStarter {
    prober: Prober,
    factory: GenerationFactory,

    /// The contracts of the contents in use.
    contracts: ContractCache,

    /// Ends running probes, and keeps further ones from beginning.
    shutdown: Shutdown,
}

impl ProbingStarter {
    pub(super) fn new(prober: Prober, factory: GenerationFactory, shutdown: Shutdown) -> Self {
        Self { prober, factory, contracts: ContractCache::default(), shutdown }
    }
}

impl GenerationStarter for ProbingStarter {
    fn probe(&self, staged: &StagedPlugin, config: &Config) -> Result<(), LoadError> {
        failpoint::pass("probe")?;
        let name = &staged.inspection.name;
        let own = config.plugin.get(name);
        let isolation = own.map(|own| own.isolation).unwrap_or_default();
        let depth = match (config.replace_policy(name), isolation) {
            // The worker is its own probe: where it is started and tested, it serves.
            (ReplacePolicy::StartFirst, Isolation::Worker) => return Ok(()),
            (ReplacePolicy::StartFirst, Isolation::InProcess) => ProbeDepth::Start,
            (ReplacePolicy::StopFirst, _) => ProbeDepth::Code,
        };
        let settings = own.map_or_else(|| "{}".to_owned(), |own| own.settings.to_string());
        let is_cancelled = || self.shutdown.has_begun();
        let prober = self.prober.for_isolation(isolation);
        self.contracts.recall(staged.inspection.hash, &staged.contract);
        prober.probe_and_describe_unless(
            &is_cancelled,
            depth,
            staged,
            settings.as_bytes(),
            config.plugins.probe,
        )?;
        self.contracts.remember(staged.inspection.hash, &staged.contract);
        Ok(())
    }

    fn start(
        &self,
        staged: StagedPlugin,
        number: u64,
        config: &Config,
        probation: Option<Probation>,
    ) -> Result<Generation, GenerationLoadError> {
        if self.shutdown.has_begun() {
            return Err(LoadError::host_ends().into());
        }
        let (hash, contract) = (staged.inspection.hash, staged.contract.clone());
        self.contracts.recall(hash, &contract);
        let limit = config.plugins.probe;
        let started = self.factory.start(staged, number, config, probation, limit, &self.shutdown)?;
        self.contracts.remember(hash, &contract);
        Ok(started)
    }

    fn start_built_in(&self, plugin: BuiltInPlugin, config: &Config) -> io::Result<Generation> {
        self.factory.start_built_in(plugin, config)
    }

    fn reserve_number(&self) -> u64 {
        self.factory.reserve_number()
    }
}

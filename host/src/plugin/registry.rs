//! Every plugin the host knows: those it loaded from the directory, those of the program, and those that failed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jackfield_plugin_api::manifest::DeclaredMethod;

use super::generation::{Generation, Identity, Retired, Until};
use super::local::LocalPlugin;
use super::nursery::Nursery;
use crate::config::Config;
use crate::load::{Directory, Prober, Reason, Refused, plugin_name};

/// How long a plugin may take to be opened, started and stopped once in the probe's process.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// The plugins of one host.
pub(crate) struct Registry {
    nursery: Nursery,
    serving: BTreeMap<String, Arc<Generation>>,
    /// Names whose files could not be loaded, with the reason.
    refused: BTreeMap<String, Refused>,
}

impl Registry {
    pub(crate) fn new(nursery: Nursery) -> Self {
        Self { nursery, serving: BTreeMap::new(), refused: BTreeMap::new() }
    }

    /// The generations that serve, by plugin name.
    pub(crate) fn serving(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.serving.values()
    }

    /// Adds a plugin that is part of the program.
    ///
    /// # Errors
    /// Its threads could not be started.
    pub(crate) fn add_local(&mut self, local: LocalPlugin, config: &Config) -> std::io::Result<()> {
        let name = local.name.clone();
        let generation = self.nursery.local(local, config)?;
        self.serving.insert(name, Arc::new(generation));
        Ok(())
    }

    /// Loads every `*.so` of the configured directory, in the order of their names. What cannot be loaded is logged
    /// with its reason and left out; the others serve. A directory that is not there holds no plugins.
    pub(crate) fn load_directory(&mut self, config: &Config, prober: &Prober) {
        let path = &config.plugins.directory;
        let directory = match Directory::open(path) {
            Ok(directory) => directory,
            Err(refused) if refused.reason == Reason::NotFound => {
                tracing::warn!(directory = %path.display(), "there is no such directory: no plugin is loaded");
                return;
            }
            Err(refused) => {
                tracing::error!(directory = %path.display(), reason = refused.reason.code(), "no plugins: {refused}");
                return;
            }
        };
        let files = match directory.list() {
            Ok(files) => files,
            Err(refused) => {
                tracing::error!(directory = %path.display(), reason = refused.reason.code(), "no plugins: {refused}");
                return;
            }
        };
        for file in files {
            let Some(name) = plugin_name(&file) else {
                tracing::error!(file = %file.display(), "left out: a plugin's name is 1 to 64 letters, digits, _ and -");
                continue;
            };
            match self.load(&name, &file, &directory, config, prober) {
                Ok(generation) => {
                    let Identity { number, hash, version, .. } = &generation.identity;
                    let methods = generation.methods.len();
                    let short = &hash[..hash.len().min(12)];
                    tracing::info!(
                        plugin = name,
                        generation = number,
                        version,
                        hash = short,
                        methods,
                        "loaded"
                    );
                    self.serving.insert(name, generation);
                }
                Err(refused) => {
                    let file = file.display();
                    tracing::error!(plugin = name, %file, reason = refused.reason.code(), "not loaded: {refused}");
                    self.refused.insert(name, refused);
                }
            }
        }
    }

    fn load(
        &mut self,
        name: &str,
        file: &OsString,
        directory: &Directory,
        config: &Config,
        prober: &Prober,
    ) -> Result<Arc<Generation>, Refused> {
        let staged = directory.stage(file)?;
        self.refuse_taken_names(name, &staged.inspection.manifest.methods)?;
        let plugin_config = config.plugin.get(name).cloned().unwrap_or_default();
        let settings = plugin_config.settings.to_string();
        prober.probe(&staged, settings.as_bytes(), PROBE_LIMIT)?;
        Ok(Arc::new(self.nursery.loaded(staged.load()?, config)?))
    }

    /// One name, one plugin; one method, one plugin: the first in the order of file names has it.
    fn refuse_taken_names(&self, name: &str, methods: &[DeclaredMethod]) -> Result<(), Refused> {
        if self.serving.contains_key(name) {
            return Err(Refused::new(Reason::NameTaken, format!("another plugin is named {name:?} already")));
        }
        for method in methods {
            let owner =
                self.serving.values().find(|other| other.methods.iter().any(|m| m.name == method.name));
            if let Some(owner) = owner {
                let detail =
                    format!("the method {:?} belongs to the plugin {:?}", method.name, owner.identity.plugin);
                return Err(Refused::new(Reason::MethodTaken, detail));
            }
        }
        Ok(())
    }

    /// Ends every generation, each within the time until `until`.
    pub(crate) fn retire_all(self, limit: Instant) {
        let until = Until::default();
        until.set(limit);
        for (name, generation) in self.serving {
            let number = generation.identity.number;
            match Generation::retire(generation, &until) {
                Retired::Unloaded => tracing::debug!(plugin = name, generation = number, "unloaded"),
                Retired::Retained(reason) => {
                    tracing::warn!(
                        plugin = name,
                        generation = number,
                        reason,
                        "still in the process at its end"
                    );
                }
            }
        }
    }
}

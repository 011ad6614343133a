//! Where generations are made: numbered, given their services, started.

use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use jackfield_plugin_api::abi::{HostCell, Instance};
use jackfield_plugin_api::manifest::DeclaredMethod;

use super::executor::Executor;
use super::generation::{Generation, Identity, Parts};
use super::local::LocalPlugin;
use super::services::{Calls, HostServices};
use crate::config::{Config, PluginConfig};
use crate::load::{Closed, Loaded, Reason, Refused};

/// How long the async thread of a plugin that did not start may take to end: it has nothing to do.
const NOTHING_TO_DO: Duration = Duration::from_secs(1);

/// Makes generations and counts them.
pub(crate) struct Nursery {
    next: u64,
    calls: Weak<dyn Calls>,
}

impl Nursery {
    /// `calls` carries calls from plugin to plugin.
    pub(crate) fn new(calls: Weak<dyn Calls>) -> Self {
        Self { next: 1, calls }
    }

    /// Starts a plugin of the program's own.
    ///
    /// # Errors
    /// Its threads could not be started.
    pub(crate) fn local(&mut self, local: LocalPlugin, config: &Config) -> io::Result<Generation> {
        let LocalPlugin { name, methods, make } = local;
        let settings = config.plugin.get(&name).cloned().unwrap_or_default();
        let identity = self.identify(&name, env!("CARGO_PKG_VERSION"));
        let (executor, cell) = self.services(&identity);
        let instance = make(&cell);
        Generation::new(parts(identity, methods, instance, executor, &settings, config.limits.frame))
    }

    /// Starts an instance of loaded code.
    ///
    /// # Errors
    /// What the plugin said; its code is closed again.
    pub(crate) fn loaded(&mut self, loaded: Loaded, config: &Config) -> Result<Generation, Refused> {
        let inspection = loaded.inspection();
        let name = inspection.name.clone();
        let own = config.plugin.get(&name).cloned().unwrap_or_default();
        let mut identity = self.identify(&name, &inspection.manifest.version);
        identity.hash = inspection.hash.to_string();
        identity.build_id.clone_from(&inspection.build_id);
        let methods = inspection.manifest.methods.clone();
        let (executor, cell) = self.services(&identity);
        match Instance::start(&loaded.root, &cell, own.settings.to_string().as_bytes()) {
            Ok(instance) => {
                let mut parts = parts(identity, methods, instance, executor, &own, config.limits.frame);
                parts.loaded = Some(loaded);
                Generation::new(parts).map_err(|error| {
                    Refused::new(Reason::NoResources, format!("its threads could not be started: {error}"))
                })
            }
            Err(failure) => {
                executor.join(Instant::now() + NOTHING_TO_DO);
                drop(cell);
                if let Closed::Retained(reason) = loaded.close() {
                    tracing::warn!(
                        plugin = name,
                        reason,
                        "a plugin that did not start is still in the process"
                    );
                }
                Err(failure.into())
            }
        }
    }

    fn identify(&mut self, name: &str, version: &str) -> Identity {
        let number = self.next;
        self.next += 1;
        Identity {
            plugin: name.into(),
            number,
            hash: String::new(),
            build_id: None,
            version: version.to_owned(),
        }
    }

    fn services(&self, identity: &Identity) -> (Arc<Executor>, Arc<HostCell>) {
        let Identity { plugin, number, .. } = identity;
        let executor = Arc::new(Executor::new(plugin));
        let services =
            HostServices::new(Arc::clone(plugin), *number, Arc::clone(&executor), self.calls.clone());
        (executor, HostCell::new(Arc::new(services)))
    }
}

fn parts(
    identity: Identity,
    methods: Vec<DeclaredMethod>,
    instance: Instance,
    executor: Arc<Executor>,
    config: &PluginConfig,
    frame: u32,
) -> Parts {
    Parts {
        identity,
        methods,
        instance,
        executor,
        loaded: None,
        threads: config.threads,
        queue: config.queue,
        reply_limit: usize::try_from(frame).unwrap_or(usize::MAX),
    }
}

//! Where generations are made: numbered, given their services, started.

use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{HostCell, Instance};
use jackfield_plugin_api::manifest::DeclaredMethod;

use super::async_executor::AsyncExecutor;
use super::blocking_pool::BlockingPool;
use super::built_in::BuiltInPlugin;
use super::generation::{Generation, GenerationId, GenerationParts};
use super::host_services::{HostServices, NestedCaller};
use super::joined_thread::{JoinedRunError, aside};
use super::probation::Probation;
use crate::config::{Config, PluginConfig};
use crate::crash_record::{CrashRecord, GenerationNames, LifecyclePhase, RegisteredGeneration, running};
use crate::failpoint;
use crate::loader::{CloseOutcome, LoadError, LoadErrorReason, LoadedLibrary, StagedPlugin};

/// How long the async thread of a plugin that did not start may take to end: it has nothing to do.
const NOTHING_TO_DO: Duration = Duration::from_secs(1);

/// Makes generations and counts them.
pub(crate) struct GenerationFactory {
    next: u64,
    calls: Weak<dyn NestedCaller>,
    crash_record: Arc<CrashRecord>,
}

/// A generation that was not made.
#[derive(Debug)]
pub(crate) struct GenerationStartError {
    pub(crate) refused: LoadError,
    /// Why its code is still in the process, if it is.
    pub(crate) retained: Option<String>,
}

impl From<LoadError> for GenerationStartError {
    fn from(refused: LoadError) -> Self {
        Self { refused, retained: None }
    }
}

impl GenerationFactory {
    /// `calls` carries calls from plugin to plugin; what runs is told to `crash_record`.
    pub(crate) fn new(calls: Weak<dyn NestedCaller>, crash_record: Arc<CrashRecord>) -> Self {
        Self { next: 1, calls, crash_record }
    }

    /// The record knows this generation's names from now on.
    fn know(&self, identity: &GenerationId, methods: &[DeclaredMethod]) -> RegisteredGeneration {
        let names = GenerationNames {
            plugin: identity.plugin.to_string(),
            hash: identity.hash.clone(),
            methods: methods.iter().map(|method| method.name.clone()).collect(),
        };
        self.crash_record.know(identity.number, names)
    }

    /// The number that the next generation will have.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// Starts a plugin of the program's own.
    ///
    /// # Errors
    /// Its threads could not be started.
    pub(crate) fn local(&mut self, local: BuiltInPlugin, config: &Config) -> io::Result<Generation> {
        let BuiltInPlugin { name, methods, make } = local;
        let settings = config.plugin.get(&name).cloned().unwrap_or_default();
        let identity = self.identify(&name, env!("CARGO_PKG_VERSION"));
        let workers = start_workers(&self.crash_record, &identity, &methods, &settings)?;
        let (executor, cell) = self.services(&identity);
        let instance = make(&cell);
        let known = self.know(&identity, &methods);
        Ok(Generation::new(parts(
            identity,
            methods,
            known,
            instance,
            executor,
            workers,
            &settings,
            config.limits.frame,
        )))
    }

    /// Opens staged code and starts an instance of it, within `limit`. Blocks.
    ///
    /// # Errors
    /// What the loader or the plugin said; its code is closed again, if it can be.
    pub(crate) fn hatch(
        &mut self,
        staged: StagedPlugin,
        config: &Config,
        probation: Option<Probation>,
        limit: Duration,
    ) -> Result<Generation, GenerationStartError> {
        let inspection = staged.inspection.clone();
        let name = inspection.name;
        let own = config.plugin.get(&name).cloned().unwrap_or_default();
        let mut identity = self.identify(&name, &inspection.manifest.version);
        identity.hash = inspection.hash.to_string();
        identity.build_id = inspection.build_id;
        failpoint::pass("threads")?;
        let methods = inspection.manifest.methods;
        // Before the code: with no thread to be had, there is nothing to close.
        let workers = start_workers(&self.crash_record, &identity, &methods, &own).map_err(|error| {
            LoadError::new(
                LoadErrorReason::NoResources,
                format_args!("its threads could not be started: {error}"),
            )
        })?;
        let (executor, cell) = self.services(&identity);
        let (settings, host) = (own.settings.to_string(), Arc::clone(&cell));
        let known = self.know(&identity, &methods);
        let what = LifecyclePhase::Start.of(identity.number);
        let started = aside("start", &self.crash_record, limit, move || {
            failpoint::pass("load")?;
            let loaded = running(what, None, || staged.load())?;
            let instance = failpoint::pass("start").and_then(|()| {
                let start = || Instance::start(&loaded.root, &host, settings.as_bytes());
                running(what, None, start).map_err(LoadError::from)
            });
            drop(host);
            Ok::<_, LoadError>((loaded, instance))
        });
        let (refused, loaded, retained) = match started {
            Ok(Ok((loaded, Ok(instance)))) => {
                let mut parts =
                    parts(identity, methods, known, instance, executor, workers, &own, config.limits.frame);
                (parts.loaded, parts.probation) = (Some(loaded), probation);
                return Ok(Generation::new(parts));
            }
            Ok(Ok((loaded, Err(refused)))) => (refused, Some(loaded), None),
            Ok(Err(refused)) => (refused, None, None),
            Err(undone @ JoinedRunError::TimedOut(_)) => {
                let why = "its start has not ended".to_owned();
                // It may yet be what the process dies of.
                std::mem::forget(known);
                (LoadError::new(LoadErrorReason::StartTimedOut, undone), None, Some(why))
            }
            Err(undone) => (LoadError::new(LoadErrorReason::NoResources, undone), None, None),
        };
        drop(cell);
        Err(GenerationStartError { refused, retained: close(&executor, workers, loaded).or(retained) })
    }

    fn identify(&mut self, name: &str, version: &str) -> GenerationId {
        let number = self.next;
        self.next += 1;
        GenerationId {
            plugin: name.into(),
            number,
            hash: String::new(),
            build_id: None,
            version: version.to_owned(),
        }
    }

    fn services(&self, identity: &GenerationId) -> (Arc<AsyncExecutor>, Arc<HostCell>) {
        let GenerationId { plugin, number, .. } = identity;
        let executor = Arc::new(AsyncExecutor::new(identity, &self.crash_record));
        let services =
            HostServices::new(Arc::clone(plugin), *number, Arc::clone(&executor), self.calls.clone());
        (executor, HostCell::new(Arc::new(services)))
    }
}

/// The threads of `blocking` methods, if there can be such methods.
fn start_workers(
    crash_record: &Arc<CrashRecord>,
    identity: &GenerationId,
    methods: &[DeclaredMethod],
    config: &PluginConfig,
) -> io::Result<Option<BlockingPool>> {
    // Also for `inline` methods: one that takes too long is moved there, and then there are threads.
    let all_async = methods.iter().all(|method| method.run == Run::Async);
    let blocking = methods.iter().any(|method| method.run == Run::Blocking);
    let threads = if blocking { config.threads } else { 0 };
    let start = || BlockingPool::start(identity, crash_record, threads, config.spare_threads, config.queue);
    (!all_async).then(start).transpose()
}

/// Closes what was made for an instance that did not start; the reason when its code stays.
fn close(
    executor: &AsyncExecutor,
    workers: Option<BlockingPool>,
    loaded: Option<LoadedLibrary>,
) -> Option<String> {
    let soon = Instant::now() + NOTHING_TO_DO;
    let running = executor.join(soon) + workers.map_or(0, |workers| workers.join(soon));
    let loaded = loaded?;
    if running > 0 {
        std::mem::forget(loaded);
        return Some("a thread of it has not ended".to_owned());
    }
    match loaded.close() {
        CloseOutcome::Unloaded => None,
        CloseOutcome::Retained(reason) => Some(reason),
    }
}

#[expect(clippy::too_many_arguments, reason = "a generation's parts, put together once")]
fn parts(
    identity: GenerationId,
    methods: Vec<DeclaredMethod>,
    known: RegisteredGeneration,
    instance: Instance,
    executor: Arc<AsyncExecutor>,
    workers: Option<BlockingPool>,
    config: &PluginConfig,
    frame: u32,
) -> GenerationParts {
    GenerationParts {
        identity,
        methods,
        known,
        instance,
        executor,
        workers,
        loaded: None,
        threads: config.threads,
        breaker: config.breaker,
        reply_limit: usize::try_from(frame).unwrap_or(usize::MAX),
        probation: None,
    }
}

//! The factory of generations: numbers them, starts their threads and their instance.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{HostCell, Instance};
use jackfield_plugin_api::manifest::DeclaredMethod;

use super::async_executor::AsyncExecutor;
use super::blocking_pool::BlockingPool;
use super::built_in::BuiltInPlugin;
use super::generation::{Generation, GenerationExecutor, GenerationId, GenerationParts};
use super::host_services::{HostServices, NestedCaller};
use super::plugin_thread::{JoinedRunError, ThreadSpawner, run_joined_unless};
use super::probation::Probation;
use super::retirement::RetentionReason;
use crate::config::{Config, PluginConfig, ReplacePolicy};
use crate::crash_record::{CrashRecord, GenerationNames, LifecyclePhase, run_recorded};
use crate::failpoint;
use crate::loader::{CloseOutcome, LoadError, LoadErrorReason, LoadPermit, LoadedLibrary, StagedPlugin};
use crate::shutdown::Shutdown;
use crate::system_failure::WithRemedy;

/// Time that the threads of an instance that did not start have to end. They have no work.
const JOIN_LIMIT: Duration = Duration::from_secs(1);

/// Makes generations and numbers them. Several threads may start generations at a time.
pub(crate) struct GenerationFactory {
    next: AtomicU64,
    nested_caller: Weak<dyn NestedCaller>,
    crash_record: Arc<CrashRecord>,
}

/// Why a generation was not started, and whether that left code in the process.
#[derive(Debug)]
pub(crate) struct GenerationLoadError {
    pub(crate) error: LoadError,

    /// Why the code of the generation is still in the process, if it is.
    pub(crate) retained: Option<RetentionReason>,
}

impl From<LoadError> for GenerationLoadError {
    fn from(error: LoadError) -> Self {
        Self { error, retained: None }
    }
}

/// A loaded library, and the result of starting an instance of it.
type StartedInstance = (LoadedLibrary, Result<Instance, LoadError>);

impl GenerationFactory {
    /// Creates a factory. The generations call methods of other plugins through `nested_caller`,
    /// and their code is recorded in `crash_record` while it runs.
    pub(crate) fn new(nested_caller: Weak<dyn NestedCaller>, crash_record: Arc<CrashRecord>) -> Self {
        Self { next: AtomicU64::new(1), nested_caller, crash_record }
    }

    /// Returns a number that no other generation has.
    pub(crate) fn reserve_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts a built-in plugin.
    ///
    /// # Errors
    ///
    /// The system cannot start its threads.
    pub(crate) fn start_built_in(&self, plugin: BuiltInPlugin, config: &Config) -> io::Result<Generation> {
        let BuiltInPlugin { name, methods, make_instance } = plugin;
        let identity = identify(self.reserve_number(), &name, env!("CARGO_PKG_VERSION"));
        let own = config.plugin.get(&name).cloned().unwrap_or_default();

        let (parts, host) = self.prepare(identity, methods, &own, config)?;
        let instance = make_instance(&host);
        Ok(Generation::new(parts, instance))
    }

    /// Loads the code of a staged plugin and starts an instance of it, as the generation `number`.
    /// An instance of a stop-first plugin is self-tested, because the probe has not started it.
    /// Blocks for at most `limit` after other plugins were opened, or until the shutdown gives the
    /// step up.
    ///
    /// # Errors
    ///
    /// Why the loader or the plugin refused. The code is closed again if it can be.
    pub(crate) fn start(
        &self,
        staged: StagedPlugin,
        number: u64,
        config: &Config,
        probation: Option<Probation>,
        limit: Duration,
        shutdown: &Shutdown,
    ) -> Result<Generation, GenerationLoadError> {
        let inspection = staged.inspection.clone();
        let own = config.plugin.get(&inspection.name).cloned().unwrap_or_default();
        let mut identity = identify(number, &inspection.name, &inspection.manifest.version);
        identity.hash = inspection.hash.to_string();
        identity.build_id = inspection.build_id;
        let permit = LoadPermit::wait(limit, &|| shutdown.has_begun())?;
        failpoint::pass("threads")?;

        // The threads come before the code: without threads, there is no code to close.
        let prepared = self.prepare(identity, inspection.manifest.methods, &own, config);
        let (parts, host) = prepared.map_err(|error| {
            let detail = format_args!("cannot start its threads: {}", WithRemedy(&error));
            LoadError::new(LoadErrorReason::NoResources, detail)
        })?;

        let settings = own.settings.to_string();
        let is_untested = own.replace == ReplacePolicy::StopFirst;
        let gives_up = || shutdown.gives_steps_up();
        let started = run_joined_unless(&gives_up, "start", &self.crash_record, limit, move || {
            let (library, instance) = start_instance(staged, permit, number, &host, settings.as_bytes())?;
            let tested = match instance {
                Ok(instance) if is_untested => test_instance(instance, number),
                started => started,
            };
            Ok((library, tested))
        });
        match started {
            Ok(Ok((library, Ok(instance)))) => {
                Ok(Generation::new(parts, instance).with_library(library, probation))
            }
            Ok(Ok((library, Err(error)))) => Err(abandon(parts, Some(library), error)),
            Ok(Err(error)) => Err(abandon(parts, None, error)),
            Err(error) => Err(abandon_start(parts, error)),
        }
    }

    /// Starts the threads of a generation and registers it in the crash record. Returns these parts
    /// and the host services for its instance.
    fn prepare(
        &self,
        identity: GenerationId,
        methods: Vec<DeclaredMethod>,
        own: &PluginConfig,
        config: &Config,
    ) -> io::Result<(GenerationParts, Arc<HostCell>)> {
        let spawner = || ThreadSpawner {
            plugin: Arc::clone(&identity.plugin),
            generation: identity.number,
            crash_record: Arc::clone(&self.crash_record),
        };
        let blocking_pool = start_blocking_pool(spawner(), &methods, own)?;
        let async_executor = Arc::new(AsyncExecutor::new(spawner(), own.spare_threads));
        if methods.iter().any(|method| method.run == Run::Async) {
            // A failure is logged, and the first call tries again.
            let _ = async_executor.ensure_thread();
        }

        let names = GenerationNames {
            plugin: identity.plugin.to_string(),
            hash: identity.hash.clone(),
            methods: methods.iter().map(|method| method.name.clone()).collect(),
        };
        let registration = self.crash_record.register(identity.number, names);

        let services = HostServices {
            plugin: Arc::clone(&identity.plugin),
            generation: identity.number,
            crash_record: Arc::clone(&self.crash_record),
            async_executor: Arc::clone(&async_executor),
            nested_caller: self.nested_caller.clone(),
        };
        let parts = GenerationParts {
            identity,
            methods,
            registration,
            async_executor,
            blocking_pool,
            blocking_threads: own.threads,
            breaker: own.breaker,
            reply_limit: usize::try_from(config.limits.frame).unwrap_or(usize::MAX),
        };
        Ok((parts, HostCell::new(Arc::new(services))))
    }
}

fn identify(number: u64, name: &str, version: &str) -> GenerationId {
    GenerationId {
        plugin: name.into(),
        number,
        hash: String::new(),
        build_id: None,
        version: version.to_owned(),
    }
}

/// Starts the pool for `blocking` methods, if there can be such methods.
fn start_blocking_pool(
    spawner: ThreadSpawner,
    methods: &[DeclaredMethod],
    config: &PluginConfig,
) -> io::Result<Option<BlockingPool<Generation>>> {
    // An `inline` method may be demoted to a `blocking` one. The pool gets its threads then.
    if methods.iter().all(|method| method.run == Run::Async) {
        return Ok(None);
    }
    let has_blocking_methods = methods.iter().any(|method| method.run == Run::Blocking);
    let threads = if has_blocking_methods { config.threads } else { 0 };
    BlockingPool::start(spawner, threads, config.spare_threads, config.queue).map(Some)
}

/// Loads the code and starts an instance, on the joined thread. A library that was loaded is
/// returned in any case, so that it can be closed on another thread.
fn start_instance(
    staged: StagedPlugin,
    permit: LoadPermit,
    generation: u64,
    host: &Arc<HostCell>,
    settings: &[u8],
) -> Result<StartedInstance, LoadError> {
    let code = LifecyclePhase::Start.in_generation(generation);
    failpoint::pass("load")?;
    let library = run_recorded(code, None, || staged.load())?;
    drop(permit);

    let instance = failpoint::pass("start").and_then(|()| {
        let start = || Instance::start(&library.root, host, settings);
        run_recorded(code, None, start).map_err(LoadError::from)
    });
    Ok((library, instance))
}

/// Runs the self-test of an instance on the joined thread that started it. An instance that fails
/// is stopped.
fn test_instance(instance: Instance, generation: u64) -> Result<Instance, LoadError> {
    let code = LifecyclePhase::Start.in_generation(generation);
    let Err(failure) = run_recorded(code, None, || instance.self_test()) else { return Ok(instance) };

    // A panic of `stop` changes nothing: the instance is freed, and the plugin is refused.
    let _ = run_recorded(LifecyclePhase::Stop.in_generation(generation), None, || instance.stop());
    Err(LoadError::self_test_failed(&failure))
}

/// Ends what was prepared for an instance that did not start, and closes its code.
fn abandon(parts: GenerationParts, library: Option<LoadedLibrary>, error: LoadError) -> GenerationLoadError {
    let running = join_threads(&parts.async_executor, parts.blocking_pool);

    let retained = library.and_then(|library| {
        if running > 0 {
            std::mem::forget(library);
            return Some(RetentionReason::StartThreadRunning);
        }
        match library.close() {
            CloseOutcome::Unloaded => None,
            CloseOutcome::Retained(reason) => Some(RetentionReason::NotClosed(reason)),
        }
    });
    GenerationLoadError { error, retained }
}

/// Ends what was prepared for an instance whose start has not returned a result, or whose thread
/// has not ended.
fn abandon_start(parts: GenerationParts, error: JoinedRunError) -> GenerationLoadError {
    join_threads(&parts.async_executor, parts.blocking_pool);

    let (reason, retained) = match error {
        JoinedRunError::TimedOut(_) => (LoadErrorReason::StartTimedOut, RetentionReason::StartNotDone),
        JoinedRunError::GivenUp => (LoadErrorReason::HostEnds, RetentionReason::StartNotDone),
        JoinedRunError::ThreadRunning(_) => {
            (LoadErrorReason::StartTimedOut, RetentionReason::StartThreadRunning)
        }
        JoinedRunError::NoThread(_) | JoinedRunError::Ended => {
            return LoadError::new(LoadErrorReason::NoResources, error).into();
        }
    };
    // The thread continues, so it may still crash the process: the crash record keeps its names.
    std::mem::forget(parts.registration);
    GenerationLoadError { error: LoadError::new(reason, error), retained: Some(retained) }
}

/// Returns the number of threads that have not ended.
fn join_threads(
    async_executor: &GenerationExecutor,
    blocking_pool: Option<BlockingPool<Generation>>,
) -> usize {
    let until = Instant::now() + JOIN_LIMIT;
    async_executor.join(until) + blocking_pool.map_or(0, |pool| pool.join(until))
}

//! Starts generations that run in this process: their threads, then their code and their instance.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jackfield_plugin_api::abi::{HostCell, Instance};
use jackfield_plugin_api::manifest::DeclaredMethod;

use super::built_in::BuiltInPlugin;
use super::generation::{Generation, GenerationId};
use super::host_services::HostServices;
use super::in_process::{InProcess, PluginThreads};
use super::nested_caller::NestedCaller;
use super::plugin_thread::{JoinedRunError, ThreadSpawner, run_joined_unless};
use super::retirement::RetentionReason;
use crate::config::{PluginConfig, ReplacePolicy};
use crate::crash_record::{CrashRecord, LifecyclePhase, RegisteredGeneration, run_recorded};
use crate::failpoint;
use crate::loader::{CloseOutcome, LoadError, LoadErrorReason, LoadPermit, LoadedLibrary, StagedPlugin};
use crate::shutdown::Shutdown;
use crate::system_failure::WithRemedy;

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

/// A started instance with its threads, and its entry in the crash record.
pub(super) type StartedHere = (InProcess<Generation>, RegisteredGeneration);

/// A loaded library, and the result of starting an instance of it.
type StartedInstance = (LoadedLibrary, Result<Instance, LoadError>);

/// The threads of an instance that is about to be started, and its entry in the crash record.
struct PreparedInstance {
    threads: PluginThreads<Generation>,
    registration: RegisteredGeneration,
}

/// Starts plugins in this process.
pub(super) struct InProcessStarter {
    pub(super) nested_caller: Weak<dyn NestedCaller>,
    pub(super) crash_record: Arc<CrashRecord>,
}

impl InProcessStarter {
    /// Starts a built-in plugin.
    ///
    /// # Errors
    ///
    /// The system cannot start its threads.
    pub(super) fn start_built_in(
        &self,
        plugin: BuiltInPlugin,
        identity: &GenerationId,
        config: &PluginConfig,
    ) -> io::Result<StartedHere> {
        let (prepared, host) = self.prepare(identity, &plugin.methods, config)?;
        let instance = (plugin.make_instance)(&host);
        Ok((InProcess::new(prepared.threads, instance, None), prepared.registration))
    }

    /// Loads the code of a staged plugin and starts an instance of it. An instance of a stop-first
    /// plugin is self-tested, because the probe has not started it.
    ///
    /// Blocks for at most `limit` after other plugins were opened, or until the shutdown gives the
    /// step up.
    ///
    /// # Errors
    ///
    /// Why the loader or the plugin refused. The code is closed again if it can be.
    pub(super) fn start(
        &self,
        staged: StagedPlugin,
        identity: &GenerationId,
        config: &PluginConfig,
        limit: Duration,
        shutdown: &Shutdown,
    ) -> Result<StartedHere, GenerationLoadError> {
        let permit = LoadPermit::wait(limit, &|| shutdown.has_begun())?;
        failpoint::pass("threads")?;

        // The threads come before the code: without threads, there is no code to close.
        let prepared = self.prepare(identity, &staged.inspection.manifest.methods, config);
        let (prepared, host) = prepared.map_err(|error| {
            let detail = format_args!("cannot start its threads: {}", WithRemedy(&error));
            LoadError::new(LoadErrorReason::NoResources, detail)
        })?;

        let number = identity.number;
        let settings = config.settings.to_string();
        let is_untested = config.replace == ReplacePolicy::StopFirst;
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
                Ok((InProcess::new(prepared.threads, instance, Some(library)), prepared.registration))
            }
            Ok(Ok((library, Err(error)))) => Err(abandon(prepared, Some(library), error)),
            Ok(Err(error)) => Err(abandon(prepared, None, error)),
            Err(error) => Err(abandon_start(prepared, error)),
        }
    }

    /// Starts the threads of a generation and registers it in the crash record. Returns these parts
    /// and the host services for its instance.
    fn prepare(
        &self,
        identity: &GenerationId,
        methods: &[DeclaredMethod],
        config: &PluginConfig,
    ) -> io::Result<(PreparedInstance, Arc<HostCell>)> {
        let spawner = || ThreadSpawner {
            plugin: Arc::clone(&identity.plugin),
            generation: identity.number,
            crash_record: Arc::clone(&self.crash_record),
        };
        let threads = PluginThreads::start(spawner, methods, config)?;
        let registration = identity.register(methods, &self.crash_record);

        let services = HostServices {
            plugin: Arc::clone(&identity.plugin),
            generation: identity.number,
            crash_record: Arc::clone(&self.crash_record),
            async_executor: Arc::clone(&threads.async_executor),
            nested_caller: self.nested_caller.clone(),
        };
        Ok((PreparedInstance { threads, registration }, HostCell::new(Arc::new(services))))
    }
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
    Err(LoadError::new(LoadErrorReason::SelfTestFailed, format_args!("self_test failed: {failure}")))
}

/// Ends what was prepared for an instance that did not start, and closes its code.
fn abandon(
    prepared: PreparedInstance,
    library: Option<LoadedLibrary>,
    error: LoadError,
) -> GenerationLoadError {
    let running = prepared.threads.join_unused();

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
fn abandon_start(prepared: PreparedInstance, error: JoinedRunError) -> GenerationLoadError {
    prepared.threads.join_unused();

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
    std::mem::forget(prepared.registration);
    GenerationLoadError { error: LoadError::new(reason, error), retained: Some(retained) }
}

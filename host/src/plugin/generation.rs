//! A generation: one loaded copy of one plugin, with its instance, its threads and its state.
//!
//! A call that leaves the I/O thread of its request holds its generation. The last holder does not
//! end it: the thread that retires a generation waits until it is the only holder, and then owns it
//! (`retirement.rs`). How methods run is in `execution.rs`, what their failures lead to in
//! `health.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::Instance;
use jackfield_plugin_api::manifest::DeclaredMethod;

use super::async_executor::AsyncExecutor;
use super::blocking_pool::BlockingPool;
use super::call::{Call, ReplySink};
use super::circuit_breaker::CircuitBreaker;
use super::inline_demotion::InlineDemotion;
use super::inline_polling::InlinePollPolicy;
use super::probation::Probation;
use crate::config::BreakerConfig;
use crate::crash_record::{CrashRecord, LifecyclePhase, RegisteredGeneration, run_recorded};
use crate::loader::{KeptImage, LoadError, LoadedLibrary, VerifiedSignature};
use crate::worker::report::WorkerReport;

/// A call of a generation of this host.
pub(crate) type PluginCall<A = dyn ReplySink> = Call<Generation, A>;

/// The async thread of a generation of this host.
pub(crate) type GenerationExecutor = AsyncExecutor<Generation>;

/// Identifies a generation.
#[derive(Debug, Clone)]
pub(crate) struct GenerationId {
    /// The plugin's name.
    pub(crate) plugin: Arc<str>,

    /// Counts the generations of this process, from 1.
    pub(crate) number: u64,

    /// The hash of the content; empty for a built-in plugin.
    pub(crate) hash: String,

    /// The linker's build id, if the file has one.
    pub(crate) build_id: Option<String>,

    /// The version of the package, from the manifest.
    pub(crate) version: String,
}

impl GenerationId {
    /// Returns the first 12 digits of the hash, as in `plugin list`; empty for a built-in plugin.
    pub(crate) fn short_hash(&self) -> &str {
        self.hash.get(..12).unwrap_or(&self.hash)
    }
}

/// One loaded copy of one plugin.
pub(crate) struct Generation {
    pub(crate) identity: GenerationId,
    pub(crate) methods: Vec<DeclaredMethod>,
    pub(super) instance: Instance,

    /// `None` if all methods are `async`.
    pub(super) blocking_pool: Option<BlockingPool<Self>>,

    /// The number of threads that the pool gets once any method runs as `blocking`.
    pub(super) blocking_threads: usize,

    pub(super) async_executor: Arc<GenerationExecutor>,
    pub(super) breaker: Arc<CircuitBreaker>,
    pub(super) inline_demotion: InlineDemotion,
    pub(super) inline_polling: InlinePollPolicy,

    /// I/O threads that its methods stall at this moment, as far as that was noticed.
    pub(super) stalled_io_threads: AtomicUsize,

    /// Upper bound for a result, in bytes.
    pub(super) reply_limit: usize,

    /// See [`Generation::direct_calls`].
    pub(super) direct_calls: AtomicUsize,

    /// Joined threads of the generation that have not ended.
    pub(super) unended_threads: AtomicUsize,

    /// `None` for built-in plugins, and for plugins that are loaded when the host starts.
    pub(crate) probation: Option<Probation>,

    /// The schema of the state that the instance exports; `None` if it exports none.
    pub(crate) state_schema: Option<u32>,

    /// The code that everything above runs; dropped after it. `None` for a built-in plugin.
    pub(super) library: Option<LoadedLibrary>,

    /// The crash record knows the generation's names as long as its code may run; dropped last.
    pub(super) registration: RegisteredGeneration,
}

/// The parts of a generation that exist before its instance.
pub(super) struct GenerationParts {
    pub(super) identity: GenerationId,
    pub(super) methods: Vec<DeclaredMethod>,
    pub(super) registration: RegisteredGeneration,
    pub(super) async_executor: Arc<GenerationExecutor>,
    pub(super) blocking_pool: Option<BlockingPool<Generation>>,
    pub(super) blocking_threads: usize,
    pub(super) breaker: BreakerConfig,
    pub(super) reply_limit: usize,
}

impl Generation {
    /// Creates a generation without a library and without a probation.
    pub(super) fn new(parts: GenerationParts, instance: Instance) -> Self {
        let methods = parts.methods.len();

        Self {
            identity: parts.identity,
            methods: parts.methods,
            instance,
            blocking_pool: parts.blocking_pool,
            blocking_threads: parts.blocking_threads,
            async_executor: parts.async_executor,
            breaker: Arc::new(CircuitBreaker::new(parts.breaker)),
            inline_demotion: InlineDemotion::new(methods),
            inline_polling: InlinePollPolicy::new(methods),
            stalled_io_threads: AtomicUsize::new(0),
            reply_limit: parts.reply_limit,
            direct_calls: AtomicUsize::new(0),
            unended_threads: AtomicUsize::new(0),
            probation: None,
            state_schema: None,
            library: None,
            registration: parts.registration,
        }
    }

    /// Adds the library whose code the instance runs, and the probation if there is one.
    pub(super) fn with_library(self, library: LoadedLibrary, probation: Option<Probation>) -> Self {
        let state_schema = library.inspection().manifest.state;
        Self { state_schema, library: Some(library), probation, ..self }
    }

    /// Returns the signature of the plugin file, if keys were trusted when the file was loaded.
    pub(crate) fn signature(&self) -> Option<VerifiedSignature> {
        self.library.as_ref().and_then(|library| library.inspection().signed)
    }

    /// Returns the content of the plugin file, for a later rollback; `None` for a built-in plugin.
    pub(crate) fn kept_image(&self) -> Option<Result<KeptImage, LoadError>> {
        self.library.as_ref().map(LoadedLibrary::keep_image)
    }

    /// Returns what is known about the workers that run the plugin; `None` if it runs in the host.
    pub(crate) fn worker_report(&self) -> Option<WorkerReport> {
        None
    }

    /// Runs a lifecycle phase of the instance on this thread, which must be a joined thread.
    pub(crate) fn run_phase<T>(&self, phase: LifecyclePhase, work: impl FnOnce(&Instance) -> T) -> T {
        run_recorded(phase.in_generation(self.identity.number), None, || work(&self.instance))
    }

    /// Records that a joined thread which ran code of the generation has not ended. The code stays
    /// in the process.
    pub(crate) fn record_unended_thread(&self) {
        self.unended_threads.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the crash record in which the generation's threads have slots.
    pub(crate) fn crash_record(&self) -> &CrashRecord {
        self.registration.crash_record()
    }

    /// Returns the number of `inline` and `blocking` calls that wait for a thread or run on one.
    /// Calls that ran directly on the I/O thread of their request are not among them.
    pub(crate) fn direct_calls(&self) -> usize {
        self.direct_calls.load(Ordering::Acquire)
    }

    /// Returns the name of a method by its number.
    pub(crate) fn method_name(&self, method: u32) -> &str {
        self.method(method).map_or("?", |method| &method.name)
    }

    /// Returns how the plugin declared that a method runs, by the method's number.
    pub(crate) fn declared_run(&self, method: u32) -> Option<Run> {
        self.method(method).map(|method| method.run)
    }

    fn method(&self, number: u32) -> Option<&DeclaredMethod> {
        self.methods.get(usize::try_from(number).ok()?)
    }
}

//! A generation: one loaded copy of one plugin, with what runs its code and what is known about its
//! calls.
//!
//! A call that leaves the I/O thread of its request holds its generation. The last holder does not
//! end it: the thread that retires a generation waits until it is the only holder, and then owns it
//! (`retirement.rs`). How methods run is in `execution.rs`, what their failures lead to in
//! `health.rs`. Where they run is in `runtime.rs`: everything else is the same for plugins in this
//! process and in worker processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jackfield_contract::Contract;
use jackfield_plugin_api::Run;
use jackfield_plugin_api::manifest::DeclaredMethod;

use super::async_executor::AsyncExecutor;
use super::call::{Call, ReplySink};
use super::circuit_breaker::CircuitBreaker;
use super::inline_demotion::InlineDemotion;
use super::inline_polling::InlinePollPolicy;
use super::probation::Probation;
use super::runtime::Runtime;
use crate::config::{BreakerConfig, Config};
use crate::crash_record::{CrashRecord, GenerationNames, RegisteredGeneration};
use crate::loader::{Inspection, KeptImage, LoadError, VerifiedSignature};
use crate::trace::SpanExecutor;
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
    /// Returns the identity of a plugin without a file.
    pub(super) fn built_in(number: u64, name: &str) -> Self {
        Self {
            plugin: name.into(),
            number,
            hash: String::new(),
            build_id: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Returns the identity of a plugin that is loaded from a file.
    pub(super) fn of(number: u64, inspection: &Inspection) -> Self {
        Self {
            plugin: inspection.name.as_str().into(),
            number,
            hash: inspection.hash.to_string(),
            build_id: inspection.build_id.clone(),
            version: inspection.manifest.version.clone(),
        }
    }

    /// Registers the names of the generation in the crash record.
    pub(super) fn register(
        &self,
        methods: &[DeclaredMethod],
        crash_record: &Arc<CrashRecord>,
    ) -> RegisteredGeneration {
        let names = GenerationNames {
            plugin: self.plugin.to_string(),
            hash: self.hash.clone(),
            methods: methods.iter().map(|method| method.name.clone()).collect(),
        };
        crash_record.register(self.number, names)
    }

    /// Returns the first 12 digits of the hash, as in `plugin list`; empty for a built-in plugin.
    pub(crate) fn short_hash(&self) -> &str {
        self.hash.get(..12).unwrap_or(&self.hash)
    }
}

/// One loaded copy of one plugin.
pub(crate) struct Generation {
    pub(crate) identity: GenerationId,

    /// The methods by number. In a worker none is `inline`: see
    /// [`Isolation::Worker`](crate::config::Isolation::Worker).
    pub(crate) methods: Vec<DeclaredMethod>,

    /// Runs the code.
    pub(super) runtime: Runtime<Self>,

    pub(super) breaker: Arc<CircuitBreaker>,
    pub(super) inline_demotion: InlineDemotion,
    pub(super) inline_polling: InlinePollPolicy,

    /// I/O threads that its methods stall at this moment, as far as that was noticed.
    pub(super) stalled_io_threads: AtomicUsize,

    /// Whether threads of the embedding program have run its code. They cannot be joined.
    pub(super) ran_on_program_threads: AtomicBool,

    /// Upper bound for a result, in bytes.
    pub(super) reply_limit: usize,

    /// See [`Generation::direct_calls`].
    pub(super) direct_calls: AtomicUsize,

    /// `None` for built-in plugins, and for plugins that are loaded when the host starts.
    pub(crate) probation: Option<Probation>,

    /// The schema of the state that the instance exports; `None` if it exports none.
    pub(crate) state_schema: Option<u32>,

    /// The contract of its methods, as far as it is known.
    pub(crate) contract: Arc<Contract>,

    /// The crash record knows the generation's names as long as its code may run; dropped last.
    pub(super) registration: RegisteredGeneration,
}

/// Returns the upper bound for a result, in bytes.
pub(super) fn reply_limit(config: &Config) -> usize {
    usize::try_from(config.limits.frame).unwrap_or(usize::MAX)
}

/// The parts of a generation that its factory decides.
pub(super) struct GenerationParts {
    pub(super) identity: GenerationId,
    pub(super) methods: Vec<DeclaredMethod>,
    pub(super) registration: RegisteredGeneration,
    pub(super) breaker: BreakerConfig,
    pub(super) reply_limit: usize,
    pub(super) probation: Option<Probation>,
    pub(super) state_schema: Option<u32>,
    pub(super) contract: Arc<Contract>,
}

impl Generation {
    pub(super) fn new(parts: GenerationParts, runtime: Runtime<Self>) -> Self {
        let methods = parts.methods.len();

        Self {
            identity: parts.identity,
            methods: parts.methods,
            runtime,
            breaker: Arc::new(CircuitBreaker::new(parts.breaker)),
            inline_demotion: InlineDemotion::new(methods),
            inline_polling: InlinePollPolicy::new(methods),
            stalled_io_threads: AtomicUsize::new(0),
            ran_on_program_threads: AtomicBool::new(false),
            reply_limit: parts.reply_limit,
            direct_calls: AtomicUsize::new(0),
            probation: parts.probation,
            state_schema: parts.state_schema,
            contract: parts.contract,
            registration: parts.registration,
        }
    }

    /// Returns the signature of the plugin file, if keys were trusted when the file was loaded.
    pub(crate) fn signature(&self) -> Option<VerifiedSignature> {
        self.runtime.signature()
    }

    /// Returns the content of the plugin file, for a later rollback; `None` for a built-in plugin.
    pub(crate) fn kept_image(&self) -> Option<Result<KeptImage, LoadError>> {
        self.runtime.kept_image()
    }

    /// Returns the state of the worker processes; `None` if the plugin runs in this process.
    pub(crate) fn worker_report(&self) -> Option<WorkerReport> {
        self.runtime.worker_report()
    }

    /// Returns what the span of a call says about its generation.
    pub(crate) fn executor(&self) -> SpanExecutor {
        let GenerationId { plugin, number, .. } = &self.identity;
        let is_isolated = self.runtime.in_process().is_none();
        SpanExecutor { plugin: Arc::clone(plugin), generation: *number, is_isolated }
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

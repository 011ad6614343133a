//! The factory of generations: numbers them, and starts them where their configuration says.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use jackfield_contract::Contract;
use jackfield_plugin_api::manifest::DeclaredMethod;

use super::built_in::BuiltInPlugin;
use super::generation::{Generation, GenerationId, GenerationParts, reply_limit};
use super::in_process_start::{GenerationLoadError, InProcessStarter};
use super::nested_caller::NestedCaller;
use super::probation::Probation;
use super::runtime::Runtime;
use super::worker::WorkerProgram;
use super::worker_start::{WorkerStarter, methods_in_worker};
use crate::config::{Config, Isolation};
use crate::crash_record::{CrashRecord, RegisteredGeneration};
use crate::loader::StagedPlugin;
use crate::shutdown::Shutdown;

/// Makes generations and numbers them. Several threads may start generations at a time.
pub(crate) struct GenerationFactory {
    next: AtomicU64,
    in_process: InProcessStarter,
    workers: WorkerStarter,
}

impl GenerationFactory {
    /// Creates a factory. The generations call methods of other plugins through `nested_caller`,
    /// and their code is recorded in `crash_record` while it runs in this process. Workers run
    /// `program`.
    pub(crate) fn new(
        nested_caller: Weak<dyn NestedCaller>,
        crash_record: Arc<CrashRecord>,
        program: WorkerProgram,
    ) -> Self {
        Self {
            next: AtomicU64::new(1),
            workers: WorkerStarter::new(nested_caller.clone(), program),
            in_process: InProcessStarter { nested_caller, crash_record },
        }
    }

    /// Returns a number that no other generation has.
    pub(crate) fn reserve_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts a built-in plugin. It always runs in this process.
    ///
    /// # Errors
    ///
    /// The system cannot start its threads.
    pub(crate) fn start_built_in(&self, plugin: BuiltInPlugin, config: &Config) -> io::Result<Generation> {
        let identity = GenerationId::built_in(self.reserve_number(), &plugin.name);
        let own = config.plugin.get(&plugin.name).cloned().unwrap_or_default();
        let methods = plugin.methods.clone();
        let contract = Some(Arc::new(plugin.contract.clone()));

        let (started, registration) = self.in_process.start_built_in(plugin, &identity, &own)?;
        let parts = parts(identity, methods, registration, contract, config);
        Ok(Generation::new(parts, Runtime::InProcess(started)))
    }

    /// Starts an instance of a staged plugin as the generation `number`: in this process, or in
    /// worker processes. An instance that no probe has started is self-tested. Blocks for at most
    /// `limit` after other plugins were opened, or until the shutdown gives the step up.
    ///
    /// # Errors
    ///
    /// Why the loader or the plugin refused. The code is closed again if it can be, and no worker
    /// process is left.
    pub(crate) fn start(
        &self,
        staged: StagedPlugin,
        number: u64,
        config: &Config,
        probation: Option<Probation>,
        limit: Duration,
        shutdown: &Shutdown,
    ) -> Result<Generation, GenerationLoadError> {
        let identity = GenerationId::of(number, &staged.inspection);
        let own = config.plugin.get(&*identity.plugin).cloned().unwrap_or_default();
        let methods = staged.inspection.manifest.methods.clone();
        let state_schema = staged.inspection.manifest.state;
        let contract = staged.contract.clone();

        let (methods, runtime, registration) = match own.isolation {
            Isolation::InProcess => {
                let started = self.in_process.start(staged, &identity, &own, limit, shutdown);
                let (started, registration) = started?;
                (methods, Runtime::InProcess(started), registration)
            }
            Isolation::Worker => {
                let methods = methods_in_worker(methods);
                let started = self.workers.start(staged, &identity, &methods, config, limit, shutdown)?;
                let registration = identity.register(&methods, &self.in_process.crash_record);
                (methods, Runtime::Worker(started), registration)
            }
        };
        // A worker has described itself by now.
        let parts = parts(identity, methods, registration, contract.get(), config);
        Ok(Generation::new(GenerationParts { probation, state_schema, ..parts }, runtime))
    }
}

/// Returns the parts of a generation without a probation and without a state. A contract that is
/// not known has the names of the methods.
fn parts(
    identity: GenerationId,
    methods: Vec<DeclaredMethod>,
    registration: RegisteredGeneration,
    contract: Option<Arc<Contract>>,
    config: &Config,
) -> GenerationParts {
    let breaker = config.plugin.get(&*identity.plugin).map(|own| own.breaker).unwrap_or_default();
    let names = || Contract::of_names(methods.iter().map(|method| method.name.as_str()));
    let contract = contract.unwrap_or_else(|| Arc::new(names()));
    GenerationParts {
        identity,
        methods,
        registration,
        breaker,
        reply_limit: reply_limit(config),
        probation: None,
        state_schema: None,
        contract,
    }
}

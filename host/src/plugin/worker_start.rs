//! Starts generations that run in worker processes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use jackfield_plugin_api::Run;
use jackfield_plugin_api::manifest::DeclaredMethod;

use super::generation::{Generation, GenerationId, PluginCall, reply_limit};
use super::nested_caller::NestedCaller;
use super::phase_error::PhaseError;
use super::pool_state::SubmitError;
use super::runtime::WorkerRuntime;
use super::worker::{WorkerOptions, WorkerPlugin, WorkerProgram};
use crate::config::Config;
use crate::failpoint;
use crate::loader::{KeptImage, LoadError, StagedPlugin, VerifiedSignature, check_worker_count};
use crate::shutdown::Shutdown;
use crate::sync::lock;
use crate::worker::report::{RestartCounters, WorkerReport};

/// Starts plugins in worker processes.
pub(super) struct WorkerStarter {
    nested_caller: Weak<dyn NestedCaller>,
    program: WorkerProgram,

    /// The restarts of each plugin, across its generations.
    restarts: Mutex<BTreeMap<Arc<str>, Arc<RestartCounters>>>,
}

impl WorkerStarter {
    pub(super) fn new(nested_caller: Weak<dyn NestedCaller>, program: WorkerProgram) -> Self {
        Self { nested_caller, program, restarts: Mutex::default() }
    }

    /// Starts the workers of a staged plugin. Blocks until all have started and tested it, for at
    /// most `limit` (twice as long if the first worker hangs or crashes while it describes its
    /// methods), or until the host ends.
    ///
    /// # Errors
    ///
    /// Why the loader or the plugin refused. No process is left.
    pub(super) fn start(
        &self,
        staged: StagedPlugin,
        identity: &GenerationId,
        methods: &[DeclaredMethod],
        config: &Config,
        limit: Duration,
        shutdown: &Shutdown,
    ) -> Result<Box<dyn WorkerRuntime<Generation>>, LoadError> {
        let own = config.plugin.get(&*identity.plugin).cloned().unwrap_or_default();
        check_worker_count(&identity.plugin, staged.inspection.manifest.state, own.worker.count)?;
        failpoint::pass("start")?;

        let options = WorkerOptions {
            identity: identity.clone(),
            methods: methods.to_vec(),
            config: own,
            reply_limit: reply_limit(config),
            spin: config.io.spin,
            nested_caller: self.nested_caller.clone(),
            program: self.program.clone(),
            restarts: self.restarts_of(&identity.plugin),
        };
        // Nothing of the plugin runs in this process, so the start can be given up at any time.
        let gives_up = || shutdown.has_begun();
        let started = WorkerPlugin::start(staged, options, limit, &gives_up)?;
        Ok(Box::new(started))
    }

    /// Returns the counters of a plugin, which all its generations share.
    fn restarts_of(&self, plugin: &Arc<str>) -> Arc<RestartCounters> {
        Arc::clone(lock(&self.restarts).entry(Arc::clone(plugin)).or_default())
    }
}

/// Returns the methods as they run in a worker, where no I/O thread could run one as `inline`.
pub(super) fn methods_in_worker(mut methods: Vec<DeclaredMethod>) -> Vec<DeclaredMethod> {
    for method in methods.iter_mut().filter(|method| method.run == Run::Inline) {
        method.run = Run::Blocking;
    }
    methods
}

impl WorkerRuntime<Generation> for WorkerPlugin {
    fn submit(
        &self,
        run: Run,
        mut calls: &mut dyn ExactSizeIterator<Item = Arc<PluginCall>>,
    ) -> Result<(), SubmitError> {
        self.submit(run, &mut calls)
    }

    fn overdue_calls(&self) -> usize {
        self.overdue_calls()
    }

    fn is_serving(&self) -> bool {
        self.is_serving()
    }

    fn export_state(&self, limit: Duration, gives_up: &dyn Fn() -> bool) -> Result<Vec<u8>, PhaseError> {
        Ok(self.export_state(limit, gives_up)?)
    }

    fn import_state(
        &self,
        schema: u32,
        state: &[u8],
        limit: Duration,
        gives_up: &dyn Fn() -> bool,
    ) -> Result<(), PhaseError> {
        Ok(self.import_state(schema, state, limit, gives_up)?)
    }

    fn kept_image(&self) -> Result<KeptImage, LoadError> {
        self.kept_image()
    }

    fn signature(&self) -> Option<VerifiedSignature> {
        self.signature()
    }

    fn kill(&self) {
        self.kill();
    }

    fn end(self: Box<Self>, until: Instant) {
        (*self).end(until);
    }

    fn report(&self) -> WorkerReport {
        self.report()
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{NoNestedCaller, no_worker_program};
    use super::*;

    #[test]
    fn turns_inline_methods_into_blocking_ones() {
        let runs = [Run::Inline, Run::Blocking, Run::Async];
        let methods = runs.map(|run| DeclaredMethod { name: format!("{run:?}"), run }).to_vec();
        let runs: Vec<_> = methods_in_worker(methods).iter().map(|method| method.run).collect();
        assert_eq!(runs, [Run::Blocking, Run::Blocking, Run::Async]);
    }

    #[test]
    fn shares_the_restart_counters_of_a_plugin_between_its_generations() {
        let starter = WorkerStarter::new(Weak::<NoNestedCaller>::new(), no_worker_program());
        let [one, again, other] = ["one", "one", "other"].map(|name| starter.restarts_of(&name.into()));
        assert!(Arc::ptr_eq(&one, &again) && !Arc::ptr_eq(&one, &other));
    }
}

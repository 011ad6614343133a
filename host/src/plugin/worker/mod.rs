//! A plugin in worker processes: the end of the host.

#![expect(dead_code, unused_variables, clippy::todo, reason = "being written")]

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use jackfield_plugin_api::Run;
use jackfield_plugin_api::manifest::DeclaredMethod;

use super::generation::{GenerationId, PluginCall};
use super::host_services::NestedCaller;
use super::phase_error::WorkerPhaseError;
use super::pool_state::SubmitError;
use crate::config::PluginConfig;
use crate::loader::{KeptImage, LoadError, Prober, StagedPlugin, VerifiedSignature};
use crate::worker::report::{RestartCounters, WorkerReport};

/// What the workers of a generation are started with.
pub(super) struct WorkerOptions {
    pub(super) identity: GenerationId,
    /// The methods as they run: none is `inline`.
    pub(super) methods: Vec<DeclaredMethod>,
    pub(super) config: PluginConfig,
    pub(super) reply_limit: usize,
    pub(super) nested_caller: Weak<dyn NestedCaller>,
    pub(super) program: WorkerProgram,
    pub(super) restarts: Arc<RestartCounters>,
}

/// The program that is started as a worker, and its environment.
#[derive(Debug, Clone)]
pub(crate) struct WorkerProgram(Prober);

impl WorkerProgram {
    /// Returns the program that also probes plugins: it calls [`enter`](crate::loader::enter) first
    /// in its `main`.
    pub(crate) fn of(prober: &Prober) -> Self {
        Self(prober.clone())
    }

    /// Returns the path of the program.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the variables of the environment that plugins may get.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.variables()
    }
}

/// The workers of one generation.
pub(super) struct WorkerPlugin;

impl WorkerPlugin {
    /// Starts the workers. Blocks until all have started and tested the plugin, for at most `limit`,
    /// or until `gives_up` returns `true`.
    ///
    /// # Errors
    ///
    /// Why the loader or the plugin refused. No process is left.
    pub(super) fn start(
        staged: StagedPlugin,
        options: WorkerOptions,
        limit: Duration,
        gives_up: &dyn Fn() -> bool,
    ) -> Result<Self, LoadError> {
        todo!()
    }

    /// Submits calls, without blocking. All of them run in the way `run`, which is never `Inline`.
    ///
    /// # Errors
    ///
    /// Why the first call that is left in `calls` was not accepted.
    pub(super) fn submit(
        &self,
        run: Run,
        calls: &mut impl ExactSizeIterator<Item = Arc<PluginCall>>,
    ) -> Result<(), SubmitError> {
        todo!()
    }

    /// Returns the number of calls that run past their deadline.
    pub(super) fn overdue_calls(&self) -> usize {
        todo!()
    }

    /// Returns whether a worker takes calls at the moment.
    pub(super) fn is_serving(&self) -> bool {
        todo!()
    }

    /// Exports the state of the only worker. Blocks for at most `limit`.
    pub(super) fn export_state(
        &self,
        limit: Duration,
        gives_up: &dyn Fn() -> bool,
    ) -> Result<Vec<u8>, WorkerPhaseError> {
        todo!()
    }

    /// Imports a state into the only worker. Blocks for at most `limit`.
    pub(super) fn import_state(
        &self,
        schema: u32,
        state: &[u8],
        limit: Duration,
        gives_up: &dyn Fn() -> bool,
    ) -> Result<(), WorkerPhaseError> {
        todo!()
    }

    /// Returns the content of the plugin file, for a later rollback.
    pub(super) fn kept_image(&self) -> Result<KeptImage, LoadError> {
        todo!()
    }

    /// Returns the signature of the plugin file, if keys were trusted when it was staged.
    pub(super) fn signature(&self) -> Option<VerifiedSignature> {
        todo!()
    }

    /// Makes every call that has not ended end now, because the host does not wait any longer: the
    /// workers are killed.
    pub(super) fn kill(&self) {
        todo!()
    }

    /// Stops the instances, and ends the workers before `until`: those that do not end are killed.
    /// No call is left.
    pub(super) fn end(self, until: Instant) {
        todo!()
    }

    pub(super) fn report(&self) -> WorkerReport {
        todo!()
    }
}

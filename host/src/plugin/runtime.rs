//! Where the code of a generation runs: in this process, or in worker processes.
//!
//! [`Generation`](super::Generation) decides between the two once for each operation, so that
//! connections, routing and reload need not know where a plugin runs. Code in this process is
//! called directly, because that is the hot path. Workers are behind a trait, so that they can know
//! the generation whose calls they run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jackfield_plugin_api::Run;

use super::call::{Call, CallTarget};
use super::in_process::{InProcess, RuntimeHealth};
use super::phase_error::PhaseError;
use super::pool_state::SubmitError;
use crate::loader::{KeptImage, LoadError, VerifiedSignature};
use crate::worker::report::WorkerReport;

/// Runs the code of a generation.
#[expect(clippy::large_enum_variant, reason = "a box would cost another load for each call")]
pub(super) enum Runtime<G: CallTarget> {
    InProcess(InProcess<G>),
    Worker(Box<dyn WorkerRuntime<G>>),
}

/// The worker processes of a generation, as the generation uses them.
///
/// Dropping it without [`WorkerRuntime::end`] kills the processes.
pub(super) trait WorkerRuntime<G: CallTarget>: Send + Sync {
    /// Submits calls, without blocking. All of them run in the way `run`, which is never `Inline`.
    ///
    /// # Errors
    ///
    /// Why the first call that is left in `calls` was not accepted.
    fn submit(
        &self,
        run: Run,
        calls: &mut dyn ExactSizeIterator<Item = Arc<Call<G>>>,
    ) -> Result<(), SubmitError>;

    /// Returns the number of `blocking` calls that run past their deadline.
    fn overdue_calls(&self) -> usize;

    /// Returns whether a worker takes calls at the moment.
    fn is_serving(&self) -> bool;

    /// Exports the state of the only worker. Blocks for at most `limit`.
    ///
    /// # Errors
    ///
    /// The plugin refused, the worker ended or did not answer in time, or the host ends.
    fn export_state(&self, limit: Duration, gives_up: &dyn Fn() -> bool) -> Result<Vec<u8>, PhaseError>;

    /// Imports a state into the only worker. Blocks for at most `limit`.
    ///
    /// # Errors
    ///
    /// As [`WorkerRuntime::export_state`].
    fn import_state(
        &self,
        schema: u32,
        state: &[u8],
        limit: Duration,
        gives_up: &dyn Fn() -> bool,
    ) -> Result<(), PhaseError>;

    /// Returns the content of the plugin file, for a later rollback.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    fn kept_image(&self) -> Result<KeptImage, LoadError>;

    /// Returns the signature of the plugin file, if keys were trusted when it was staged.
    fn signature(&self) -> Option<VerifiedSignature>;

    /// Kills the workers, so that every call that has not ended ends now.
    fn kill(&self);

    /// Stops the instances, and ends the workers before `until`: those that do not end are killed.
    /// No call is left.
    fn end(self: Box<Self>, until: Instant);

    /// Returns what operators need to know about the workers.
    fn report(&self) -> WorkerReport;
}

impl<G: CallTarget> Runtime<G> {
    /// Returns the part that runs code in this process, if it does.
    pub(super) fn in_process(&self) -> Option<&InProcess<G>> {
        match self {
            Self::InProcess(own) => Some(own),
            Self::Worker(_) => None,
        }
    }

    /// Returns the signature of the plugin file, if keys were trusted when the file was loaded.
    pub(super) fn signature(&self) -> Option<VerifiedSignature> {
        match self {
            Self::InProcess(own) => own.signature(),
            Self::Worker(worker) => worker.signature(),
        }
    }

    /// Returns the content of the plugin file; `None` for a built-in plugin.
    pub(super) fn kept_image(&self) -> Option<Result<KeptImage, LoadError>> {
        match self {
            Self::InProcess(own) => own.kept_image(),
            Self::Worker(worker) => Some(worker.kept_image()),
        }
    }

    /// Returns the state of the workers; `None` if the code runs in this process.
    pub(super) fn worker_report(&self) -> Option<WorkerReport> {
        match self {
            Self::InProcess(_) => None,
            Self::Worker(worker) => Some(worker.report()),
        }
    }

    /// Returns the number of threads that run `inline` or `blocking` calls past their deadline.
    pub(super) fn lost_direct_calls(&self) -> usize {
        match self {
            Self::InProcess(own) => own.lost_blocking_threads(),
            Self::Worker(worker) => worker.overdue_calls(),
        }
    }

    pub(super) fn health(&self) -> RuntimeHealth {
        match self {
            Self::InProcess(own) => own.health(),
            Self::Worker(worker) => {
                let is_serving = worker.is_serving();
                RuntimeHealth {
                    lost_threads: worker.overdue_calls(),
                    serves_blocking: is_serving,
                    serves_async: is_serving,
                }
            }
        }
    }

    /// Returns why no thread is left that runs calls.
    pub(super) fn reason_without_threads(&self) -> &'static str {
        match self {
            Self::InProcess(own) => own.reason_without_threads(),
            Self::Worker(_) => "no worker process runs at the moment",
        }
    }
}

#[cfg(test)]
mod tests;

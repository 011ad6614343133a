//! The lifecycle phases of a generation that serves: the export and the import of its state.

use std::sync::Arc;
use std::time::Duration;

use jackfield_plugin_api::abi::{Instance, LifecycleError};

use super::exported_state::ExportedState;
use super::generation::Generation;
use super::phase_error::PhaseError;
use super::plugin_thread::{JoinedRunError, run_joined_unless};
use super::runtime::Runtime;
use crate::crash_record::{LifecyclePhase, run_recorded};

impl Generation {
    /// Exports the state. Blocks for at most `limit`, or until `gives_up` returns `true`.
    ///
    /// # Errors
    ///
    /// The plugin failed, or has not returned in time.
    pub(crate) fn export_state(
        self: &Arc<Self>,
        limit: Duration,
        gives_up: &dyn Fn() -> bool,
    ) -> Result<Vec<u8>, PhaseError> {
        match &self.runtime {
            Runtime::InProcess(_) => {
                let phase = (LifecyclePhase::ExportState, "hand-over");
                run_joined_phase(self, phase, limit, gives_up, Instance::export_state)
            }
            Runtime::Worker(worker) => worker.export_state(limit, gives_up),
        }
    }

    /// Imports a state. Blocks for at most `limit`, or until `gives_up` returns `true`.
    ///
    /// # Errors
    ///
    /// The plugin failed, or has not returned in time.
    pub(crate) fn import_state(
        self: &Arc<Self>,
        state: &Arc<ExportedState>,
        limit: Duration,
        gives_up: &dyn Fn() -> bool,
    ) -> Result<(), PhaseError> {
        match &self.runtime {
            Runtime::InProcess(_) => {
                let phase = (LifecyclePhase::ImportState, "take-over");
                let state = Arc::clone(state);
                run_joined_phase(self, phase, limit, gives_up, move |instance| {
                    instance.import_state(state.schema, &state.bytes)
                })
            }
            Runtime::Worker(worker) => worker.import_state(state.schema, &state.bytes, limit, gives_up),
        }
    }
}

/// Runs a phase of an instance in this process on a joined thread, whose name is that of `phase`. A
/// thread that does not end keeps the generation.
fn run_joined_phase<T: Send + 'static>(
    generation: &Arc<Generation>,
    (phase, thread): (LifecyclePhase, &str),
    limit: Duration,
    gives_up: &dyn Fn() -> bool,
    work: impl FnOnce(&Instance) -> Result<T, LifecycleError> + Send + 'static,
) -> Result<T, PhaseError> {
    let holder = Arc::clone(generation);
    let code = phase.in_generation(generation.identity.number);
    let run = run_joined_unless(gives_up, thread, generation.crash_record(), limit, move || {
        match holder.runtime.in_process() {
            Some(own) => run_recorded(code, None, || work(&own.instance)),
            None => Err(LifecycleError::Refused("it runs in a worker process".to_owned())),
        }
    });

    if matches!(run, Err(JoinedRunError::ThreadRunning(_)))
        && let Some(own) = generation.runtime.in_process()
    {
        own.record_unended_thread();
    }
    Ok(run??)
}

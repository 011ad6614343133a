//! The requests of the owner of a generation to its supervisor.

use std::sync::mpsc::SyncSender;
use std::time::Instant;

use super::super::phase_error::WorkerPhaseError;

/// The result of a phase. An export returns the state, an import nothing.
pub(super) type PhaseResult = Result<Vec<u8>, WorkerPhaseError>;

/// A phase of the only worker of a plugin that has state.
pub(super) enum StatePhase {
    Export,
    Import { schema: u32, state: Vec<u8> },
}

/// A request to the supervisor.
pub(super) enum WorkerCommand {
    /// Runs a phase. The result is sent once; nobody may be waiting for it any more.
    Phase { phase: StatePhase, result: SyncSender<PhaseResult> },

    /// Stops the instances and ends the workers, and then the supervisor. Workers that have not
    /// ended by then are killed.
    End { until: Instant },

    /// Ends the workers and then the supervisor at once.
    Kill,
}

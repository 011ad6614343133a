//! Why a lifecycle phase of a running generation failed: the export or the import of its state.

use jackfield_plugin_api::abi::LifecycleError;

use super::awaited_result::NotReceived;
use super::plugin_thread::JoinedRunError;

/// Why a lifecycle phase of a plugin failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PhaseError {
    #[error(transparent)]
    Plugin(#[from] LifecycleError),
    #[error(transparent)]
    Thread(#[from] JoinedRunError),
    #[error(transparent)]
    Worker(#[from] WorkerPhaseError),
}

impl PhaseError {
    /// Returns whether the phase was given up because the host ends.
    pub(crate) fn is_given_up(&self) -> bool {
        matches!(self, Self::Thread(JoinedRunError::GivenUp) | Self::Worker(WorkerPhaseError::GivenUp))
    }
}

/// Why a lifecycle phase failed in a worker. The texts are for operators.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerPhaseError {
    #[error("{0}")]
    Refused(String),
    #[error("the plugin panicked: {0}")]
    Panicked(String),
    #[error("no worker process runs that could do it")]
    NoWorker,
    #[error("the worker process ended: {0}")]
    Ended(String),
    #[error("the worker process did not answer in time")]
    TimedOut,
    #[error("the host ends")]
    GivenUp,
}

impl From<NotReceived> for WorkerPhaseError {
    fn from(why: NotReceived) -> Self {
        match why {
            NotReceived::Ended => Self::NoWorker,
            NotReceived::TimedOut => Self::TimedOut,
            NotReceived::GivenUp => Self::GivenUp,
        }
    }
}

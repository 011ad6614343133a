//! The reasons for which the host ends a worker, or notices its end.

use super::fault::WorkerFault;
use crate::loader::LoadError;

/// Why a worker ends.
#[derive(Debug)]
pub(super) enum EndReason {
    /// It has ended by itself, or closed its channel.
    Ended,

    /// It refused to run the plugin.
    Refused(LoadError),

    /// It sent something that it must not send.
    Fault(WorkerFault),

    /// A call does not end, and no thread is free.
    Stuck,

    /// It has not started in time.
    StartTimedOut,

    /// It has not stopped in time.
    StopTimedOut,

    /// It is not needed any more.
    Unwanted,
}

//! The part of the workers of a generation that other threads share with the supervisor.

use std::sync::{Arc, OnceLock};
use std::thread::{self, ThreadId};

use super::dispatch::Dispatch;
use super::signal::Signal;

/// The calls of the workers, and the signal to their supervisor.
pub(super) struct SharedWorkers {
    pub(super) dispatch: Dispatch,
    pub(super) signal: Arc<Signal>,
    supervisor: OnceLock<ThreadId>,
}

impl SharedWorkers {
    pub(super) fn new(dispatch: Dispatch, signal: Arc<Signal>) -> Self {
        Self { dispatch, signal, supervisor: OnceLock::new() }
    }

    /// Makes this thread the supervisor.
    pub(super) fn supervise(&self) {
        // There is one supervisor, so this is the first call.
        let _ = self.supervisor.set(thread::current().id());
    }

    /// Returns whether this thread is the supervisor.
    pub(super) fn is_supervisor(&self) -> bool {
        self.supervisor.get() == Some(&thread::current().id())
    }
}

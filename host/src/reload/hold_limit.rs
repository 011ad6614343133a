//! The limit for how long calls are held during one step of a replacement.
//!
//! A start may take as long as `plugins.probe`, but calls must not wait for that. When a step
//! exceeds the limit, the calls that wait, and those that follow, are answered PLUGIN_UNAVAILABLE
//! until the replacement has ended. The step itself goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, Builder};
use std::time::Duration;

use crate::log::ShortDuration;
use crate::routing::{Dispatcher, RoutingTable, StateTransferGate};

/// Ends the hold of calls when a step takes too long.
pub(super) struct HoldLimit {
    dispatcher: Arc<Dispatcher>,

    /// The table that answers the held calls.
    over: Arc<RoutingTable>,

    gate: Arc<StateTransferGate>,
    limit: Duration,

    /// The plugins whose calls are held, for the log.
    plugins: String,

    is_over: AtomicBool,
}

impl HoldLimit {
    pub(super) fn new(
        dispatcher: &Arc<Dispatcher>,
        over: RoutingTable,
        gate: &Arc<StateTransferGate>,
        limit: Duration,
        plugins: String,
    ) -> Self {
        Self {
            dispatcher: Arc::clone(dispatcher),
            over: Arc::new(over),
            gate: Arc::clone(gate),
            limit,
            plugins,
            is_over: AtomicBool::new(false),
        }
    }

    /// Runs one step on this thread, and ends the hold if the step takes longer than the limit.
    pub(super) fn run<T>(&self, step: impl FnOnce() -> T) -> T {
        if self.is_over.load(Ordering::Relaxed) {
            return step();
        }

        let (has_ended, end) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let watch = move || {
                if end.recv_timeout(self.limit) == Err(RecvTimeoutError::Timeout) {
                    self.release();
                }
            };
            let watching = Builder::new().name("hold-limit".into()).spawn_scoped(scope, watch);
            if watching.is_err() {
                // Without a thread nothing would bound the wait.
                self.release();
            }

            let result = step();
            drop(has_ended);
            result
        })
    }

    fn release(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        let (plugins, limit) = (&self.plugins, ShortDuration(self.limit));
        tracing::warn!(
            plugin = %plugins,
            "plugin {plugins}: its replacement takes longer than {limit}; its calls are answered PLUGIN_UNAVAILABLE \
             until it serves again"
        );

        // The table first: calls look their method up again when the gate opens.
        self.dispatcher.publish(&self.over);
        self.gate.open();
    }
}

//! Calls that one turn submits together to the threads of their generation.
//!
//! The batch is submitted under one lock and with one notification per waiting thread. Submitting
//! each call separately makes the I/O thread and the threads of the generation compete for the lock
//! of the queue, which costs more than the calls themselves.

use std::sync::Arc;

use super::request_key::RequestKey;
use crate::plugin::PluginCall;

/// Calls per batch. Reading as many requests takes about ten microseconds, as long as waking a
/// thread does.
const CAPACITY: usize = 16;

/// Calls of one generation and one way to run that were started in this turn and not submitted yet.
#[derive(Default)]
pub(super) struct SubmissionBatch {
    pub(super) keys: Vec<RequestKey>,
    pub(super) calls: Vec<Arc<PluginCall>>,
}

impl SubmissionBatch {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Returns whether `call` can be submitted together with the calls of the batch.
    pub(super) fn accepts(&self, call: &PluginCall) -> bool {
        let Some(first) = self.calls.first() else { return true };
        self.calls.len() < CAPACITY
            && Arc::ptr_eq(&first.generation, &call.generation)
            && first.facts.run == call.facts.run
    }

    pub(super) fn push(&mut self, key: RequestKey, call: Arc<PluginCall>) {
        self.keys.push(key);
        self.calls.push(call);
    }
}

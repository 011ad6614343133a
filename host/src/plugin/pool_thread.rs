//! One thread of a blocking pool, as the pool sees it: which call it runs, and until when.

use crate::clock::Time;
use crate::crash_record::{RunningRequest, SlotSampler};

/// The activity of one thread.
#[derive(Default)]
pub(super) struct PoolThread {
    /// The deadline of the call that the thread runs, if it runs one.
    deadline: Option<Time>,

    /// Whether that call has run past its deadline.
    is_lost: bool,

    /// `None` until the thread has been started.
    sampler: Option<SlotSampler>,
}

impl PoolThread {
    /// Sets the reader of the thread's slot in the crash record.
    pub(super) fn set_sampler(&mut self, sampler: Option<SlotSampler>) {
        self.sampler = sampler;
    }

    /// Notes that the thread begins a call.
    pub(super) fn begin_call(&mut self, deadline: Time) {
        self.deadline = Some(deadline);
    }

    /// Notes that the thread has ended its call, and returns whether it had been lost.
    pub(super) fn end_call(&mut self) -> bool {
        self.deadline = None;
        std::mem::take(&mut self.is_lost)
    }

    /// Returns whether the call has run past its deadline since the thread was last lost.
    pub(super) fn is_overdue(&self, now: Time) -> bool {
        !self.is_lost && self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Marks the thread as lost, and returns what it runs, as far as the crash record knows.
    pub(super) fn mark_lost(&mut self) -> Option<RunningRequest> {
        self.is_lost = true;
        self.sampler.as_ref().and_then(SlotSampler::running_request)
    }
}

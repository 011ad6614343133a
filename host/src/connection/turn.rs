//! The values that last for one turn of a connection's task.

use std::task::{Context, Waker};
use std::time::Duration;

use super::outbox;
use super::thread_context::{ThreadContext, TurnBuffers};
use super::turn_quota::TurnQuota;
use crate::clock::Time;
use crate::routing::{ConnectionRules, RequestError};
use crate::trace::Tracer;

/// One turn: the clock, the quota, and the buffers that the thread lends to the connection.
///
/// Whatever is read, counted or permitted once per turn instead of once per request belongs here.
/// The routing table does not: it is loaded after each read, so that a request that was sent after
/// a reload never meets the previous table.
///
/// If a turn panics, its buffers are dropped with it. They may hold bytes and replies of its
/// connection, which must not reach another one.
pub(super) struct Turn<'t> {
    pub(super) thread: &'t ThreadContext,
    /// Limits and time-outs as they were when the turn began.
    pub(super) rules: &'t ConnectionRules,
    /// Set if requests may be recorded.
    pub(super) tracer: Option<&'t Tracer>,
    waker: &'t Waker,
    /// The current time. It is read when the turn begins, after each read, and after each method
    /// that ran on this thread.
    pub(super) now: Time,
    pub(super) quota: TurnQuota,
    /// Replies that were made in this turn, those in the sync queue included.
    pub(super) replies: usize,
    /// Boxed, so that lending them moves one pointer.
    pub(super) buffers: Box<TurnBuffers>,
}

impl<'t> Turn<'t> {
    /// Begins a turn with the buffers of the thread.
    #[inline]
    pub(super) fn begin(thread: &'t ThreadContext, rules: &'t ConnectionRules, waker: &'t Waker) -> Self {
        let buffers = thread.buffers.take().unwrap_or_default();
        let now = Time::now();
        let quota = TurnQuota::new(now);

        let tracer = thread.dispatcher.tracer.get().map(|tracer| &**tracer);
        Self { thread, rules, tracer, waker, now, quota, replies: 0, buffers }
    }

    /// Returns the buffers to the thread.
    pub(super) fn end(mut self) {
        let out = &mut self.buffers.out;
        out.clear();
        // The thread must not keep the memory of one large reply forever.
        out.shrink_to(4 * outbox::HIGH_WATER);

        self.thread.buffers.set(Some(self.buffers));
    }

    /// Returns a context that wakes the connection's task.
    pub(super) fn context(&self) -> Context<'t> {
        Context::from_waker(self.waker)
    }

    /// Returns why a request has no result in time. If the host is ending, it may have cut the time
    /// of the request short; `timeout` is the time that the request really had.
    pub(super) fn deadline_error(&self, timeout: Duration) -> RequestError {
        if self.thread.is_hurrying.get() {
            RequestError::CutShort(timeout)
        } else {
            RequestError::DeadlineExceeded(timeout)
        }
    }
}

//! One thread of a blocking pool, as the pool sees it: which call it runs.

use std::sync::{Arc, Weak};

use super::call::{Call, CallTarget};
use crate::clock::Time;

/// The activity of one thread.
pub(super) struct PoolThread<G: CallTarget> {
    /// The call that the thread runs, if it runs one. It is not kept alive, because its end
    /// releases permits.
    call: Option<Weak<Call<G>>>,

    /// Whether that call has run past its deadline.
    is_lost: bool,
}

impl<G: CallTarget> Default for PoolThread<G> {
    fn default() -> Self {
        Self { call: None, is_lost: false }
    }
}

impl<G: CallTarget> PoolThread<G> {
    /// Notes that the thread begins a call.
    pub(super) fn begin_call(&mut self, call: &Arc<Call<G>>) {
        self.call = Some(Arc::downgrade(call));
    }

    /// Notes that the thread has ended its call, and returns whether it had been lost.
    pub(super) fn end_call(&mut self) -> bool {
        self.call = None;
        std::mem::take(&mut self.is_lost)
    }

    /// Marks the thread as lost and returns its call, if the call has run past its deadline since
    /// the thread was last lost.
    pub(super) fn mark_lost(&mut self, now: Time) -> Option<Arc<Call<G>>> {
        if self.is_lost {
            return None;
        }
        let call = self.call.as_ref()?.upgrade().filter(|call| call.is_overdue(now))?;
        self.is_lost = true;
        Some(call)
    }
}

//! The handle that cancels a call from elsewhere: another thread, another task, a signal.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

/// Cancels the call that it was passed to, see
/// [`Request::cancel_with`](crate::Request::cancel_with).
///
/// A call that has not been sent ends with [`Error::Cancelled`](crate::Error::Cancelled). For a
/// call that has been sent, the host is asked to cancel it, and the call returns the one reply that
/// still comes: its result, or [`Error::Cancelled`](crate::Error::Cancelled). A host that cannot
/// cancel (of protocol 1.1) is not asked; then the call ends as soon as that is known, and the host
/// may execute it to its end.
///
/// Clones cancel the same call. A handle belongs to one call at a time.
#[derive(Clone, Default)]
pub struct CancelHandle {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_cancelled: bool,
    /// The task or the thread of the call.
    waker: Option<Waker>,
}

impl CancelHandle {
    /// Returns a handle that has cancelled nothing yet.
    #[must_use]
    pub fn new() -> CancelHandle {
        CancelHandle::default()
    }

    /// Cancels the call, also if it has not begun yet.
    pub fn cancel(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_cancelled = true;
        let waker = state.waker.take();
        drop(state);

        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns whether [`CancelHandle::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_cancelled
    }

    /// Returns whether the call is cancelled; as long as it is not, registers the waker.
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_cancelled {
            match &mut state.waker {
                Some(known) if known.will_wake(waker) => {}
                known => *known = Some(waker.clone()),
            }
        }
        state.is_cancelled
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").field("is_cancelled", &self.is_cancelled()).finish()
    }
}

//! The gate that holds the calls of a plugin while its state is transferred from one generation to
//! the next. The time limits of the transfer bound the wait; a nested call waits at most until its
//! deadline.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jackfield_plugin_api::abi::{CancelListener, Cancellation};
use slab::Slab;

use crate::sync::lock;

#[derive(Default)]
struct GateState {
    is_open: bool,
    waiting: Slab<Waker>,
}

/// A gate that is closed when it is created, and is opened once.
#[derive(Default)]
pub(crate) struct StateTransferGate {
    state: Mutex<GateState>,
    opened: Condvar,
}

impl StateTransferGate {
    /// Opens the gate for all callers, present and future.
    pub(crate) fn open(&self) {
        let mut state = lock(&self.state);
        state.is_open = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);

        waiting.into_iter().for_each(|(_, waker)| waker.wake());
        self.opened.notify_all();
    }

    /// Waits on this thread until the gate is open or the waiting call is cancelled, at most for
    /// `timeout`.
    pub(crate) fn wait(self: &Arc<Self>, timeout: Duration, cancelled: &Cancellation) {
        let listener: Weak<Self> = Arc::downgrade(self);
        cancelled.notify(listener);
        let waits = |state: &mut GateState| !state.is_open && !cancelled.ends_nested();
        // The caller looks up the method again in any case.
        let _ = self.opened.wait_timeout_while(lock(&self.state), timeout, waits);
    }
}

impl CancelListener for StateTransferGate {
    /// Lets the threads look whether it is their call that was cancelled.
    fn call_cancelled(&self) {
        // A thread that has looked, and does not wait yet, holds the lock.
        drop(lock(&self.state));
        self.opened.notify_all();
    }
}

/// A future that is ready when a gate is open. It must be polled with a waker of the host.
pub(crate) struct GateOpened {
    gate: Arc<StateTransferGate>,

    /// The index of its waker.
    index: Option<usize>,
}

impl GateOpened {
    pub(crate) fn of(gate: &Arc<StateTransferGate>) -> Self {
        Self { gate: Arc::clone(gate), index: None }
    }
}

impl Future for GateOpened {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let gate = Arc::clone(&self.gate);
        let mut state = lock(&gate.state);
        if state.is_open {
            self.index = None;
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let previous = match self.index {
            Some(index) => Some(std::mem::replace(&mut state.waiting[index], waker)),
            None => {
                self.index = Some(state.waiting.insert(waker));
                None
            }
        };
        drop(state);
        drop(previous);
        Poll::Pending
    }
}

impl Drop for GateOpened {
    fn drop(&mut self) {
        let Some(index) = self.index else { return };
        let mut state = lock(&self.gate.state);
        // Opening the gate has removed all wakers.
        let waker = if state.is_open { None } else { Some(state.waiting.remove(index)) };
        drop(state);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::wake_count::WakeCount;

    const LONG: Duration = Duration::from_secs(3600);

    fn waiting(gate: &StateTransferGate) -> usize {
        lock(&gate.state).waiting.len()
    }

    #[test]
    fn wakes_a_waiting_future_once_it_is_open() {
        let gate = Arc::<StateTransferGate>::default();
        let count = Arc::<WakeCount>::default();
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let mut opened = pin!(GateOpened::of(&gate));
        for _ in 0..2 {
            assert!(opened.as_mut().poll(&mut cx).is_pending());
            assert_eq!(waiting(&gate), 1);
        }

        gate.open();
        assert_eq!(count.get(), 1);
        assert!(opened.as_mut().poll(&mut cx).is_ready());
        assert!(pin!(GateOpened::of(&gate)).poll(&mut cx).is_ready());
    }

    #[test]
    fn removes_the_waker_of_a_dropped_future() {
        let gate = Arc::<StateTransferGate>::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut opened = Box::pin(GateOpened::of(&gate));
        assert!(opened.as_mut().poll(&mut cx).is_pending());
        drop(opened);
        assert_eq!(waiting(&gate), 0);

        let mut opened = Box::pin(GateOpened::of(&gate));
        assert!(opened.as_mut().poll(&mut cx).is_pending());
        gate.open();
        drop(opened);
    }

    #[test]
    fn blocks_a_waiting_thread_until_it_is_open_or_the_time_out_has_passed() {
        let gate = Arc::<StateTransferGate>::default();
        let cancelled = Cancellation::default();
        let started = Instant::now();
        let timeout = Duration::from_millis(20);
        gate.wait(timeout, &cancelled);
        assert!(started.elapsed() >= timeout);

        thread::scope(|scope| {
            let waits = scope.spawn(|| gate.wait(LONG, &cancelled));
            gate.open();
            waits.join().unwrap();
        });
    }

    #[test]
    fn releases_the_thread_of_a_cancelled_call_alone() {
        let gate = Arc::<StateTransferGate>::default();
        let [cancelled, other] = [Cancellation::default(), Cancellation::default()];
        thread::scope(|scope| {
            let waits = scope.spawn(|| gate.wait(LONG, &cancelled));
            let waits_on = scope.spawn(|| gate.wait(LONG, &other));
            cancelled.set();
            waits.join().unwrap();
            assert!(!waits_on.is_finished());
            gate.open();
        });
    }
}

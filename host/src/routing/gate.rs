//! The gate that holds the calls of a plugin while its state is transferred from one generation to
//! the next. The time limits of the transfer bound the wait; a nested call waits at most until its
//! deadline.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

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

    /// Waits on this thread until the gate is open, at most for `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) {
        // The caller looks up the method again in either case.
        let _ = self.opened.wait_timeout_while(lock(&self.state), timeout, |state| !state.is_open);
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
        let gate = StateTransferGate::default();
        let started = Instant::now();
        let timeout = Duration::from_millis(20);
        gate.wait(timeout);
        assert!(started.elapsed() >= timeout);

        thread::scope(|scope| {
            let waits = scope.spawn(|| gate.wait(Duration::from_secs(3600)));
            gate.open();
            waits.join().unwrap();
        });
    }
}

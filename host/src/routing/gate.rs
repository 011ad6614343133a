//! Where calls wait while a plugin's state goes from one generation to the next: milliseconds, and always bounded.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::sync::lock;
use slab::Slab;

#[derive(Default)]
struct GateState {
    open: bool,
    waiting: Slab<Waker>,
}

/// Closed when it is made, opened once.
#[derive(Default)]
pub(crate) struct StateTransferGate {
    state: Mutex<GateState>,
    opened: Condvar,
}

impl StateTransferGate {
    /// Lets everybody through.
    pub(crate) fn open(&self) {
        let mut state = lock(&self.state);
        state.open = true;
        // Woken under the lock: a waker may be a plugin's code, and who gives up waiting must know that it is not
        // running any more.
        state.waiting.drain().for_each(Waker::wake);
        drop(state);
        self.opened.notify_all();
    }

    /// Waits on this thread until it is open, or for `most`.
    pub(crate) fn wait(&self, most: Duration) {
        // Whether it opened or the time has passed, the caller looks anew.
        let _ = self.opened.wait_timeout_while(lock(&self.state), most, |state| !state.open);
    }
}

/// Ready when the gate is open.
pub(crate) struct GateOpened {
    gate: Arc<StateTransferGate>,
    place: Option<usize>,
}

impl GateOpened {
    pub(crate) fn of(gate: &Arc<StateTransferGate>) -> Self {
        Self { gate: Arc::clone(gate), place: None }
    }
}

impl Future for GateOpened {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let gate = Arc::clone(&self.gate);
        let mut state = lock(&gate.state);
        if state.open {
            self.place = None;
            return Poll::Ready(());
        }
        match self.place {
            Some(place) => state.waiting[place].clone_from(cx.waker()),
            None => self.place = Some(state.waiting.insert(cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for GateOpened {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut state = lock(&self.gate.state);
        // When it opened, all places were given up.
        if !state.open {
            state.waiting.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[test]
    fn who_waits_is_let_through_and_who_gives_up_is_forgotten() {
        let gate = Arc::new(StateTransferGate::default());
        let mut cx = Context::from_waker(Waker::noop());
        let mut waits = pin!(GateOpened::of(&gate));
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        {
            let mut gives_up = pin!(GateOpened::of(&gate));
            assert!(gives_up.as_mut().poll(&mut cx).is_pending());
            assert_eq!(lock(&gate.state).waiting.len(), 2);
        }
        assert_eq!(lock(&gate.state).waiting.len(), 1);
        gate.wait(Duration::from_millis(1));
        gate.open();
        gate.wait(Duration::MAX);
        assert!(waits.as_mut().poll(&mut cx).is_ready());
    }
}

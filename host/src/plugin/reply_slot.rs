//! The slot that a nested call waits on for its reply.

use std::sync::{Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use jackfield_plugin_api::Error;
use jackfield_plugin_api::abi::{CallReply, CancelListener};
use jackfield_protocol::Code;

use crate::sync::lock;

#[derive(Default)]
struct SlotState {
    reply: Option<CallReply>,

    /// The code of the error in the reply, also after the reply was taken.
    error: Option<i64>,

    /// Whether the reply has been taken.
    is_taken: bool,

    /// Whether the calling method was cancelled before the reply arrived.
    is_cancelled: bool,

    waker: Option<Waker>,
}

impl SlotState {
    /// Takes the reply, or the error in its place.
    fn take(&mut self) -> Option<CallReply> {
        let reply = self.reply.take();
        self.is_taken |= reply.is_some();
        reply.or_else(|| self.is_cancelled.then(|| Err(cancelled_error())))
    }
}

/// Returns the error that a method gets for a nested call once it was cancelled itself.
pub(crate) fn cancelled_error() -> Error {
    Error::from_wire(Code::Cancelled.as_i64(), "the calling method was cancelled".to_owned(), None)
}

/// A slot for one reply. If the calling method is cancelled, the error CANCELLED takes its place.
#[derive(Default)]
pub(crate) struct ReplySlot {
    state: Mutex<SlotState>,
    filled: Condvar,
}

impl ReplySlot {
    /// Puts the reply into the slot.
    pub(crate) fn fill(&self, reply: CallReply) {
        self.end(|state| {
            state.error = reply.as_ref().err().map(Error::code);
            state.reply = Some(reply);
        });
    }

    /// Ends the wait, unless it has ended.
    fn end(&self, end: impl FnOnce(&mut SlotState)) {
        let mut state = lock(&self.state);
        if state.is_cancelled {
            return;
        }
        end(&mut state);
        let waker = state.waker.take();
        drop(state);

        if let Some(waker) = waker {
            waker.wake();
        }
        self.filled.notify_one();
    }

    /// Takes the reply if it has arrived.
    pub(crate) fn take(&self) -> Option<CallReply> {
        lock(&self.state).take()
    }

    /// Takes the reply if it has arrived. Otherwise `waker`, which must be one of the host, is
    /// woken when it arrives.
    pub(crate) fn poll(&self, waker: &Waker) -> Option<CallReply> {
        let mut state = lock(&self.state);
        let reply = state.take();
        if reply.is_some() {
            return reply;
        }

        let previous = state.waker.replace(waker.clone());
        drop(state);
        drop(previous);
        None
    }

    /// Waits on this thread for the reply, at most for `timeout`, and takes it.
    pub(crate) fn wait(&self, timeout: Duration) -> Option<CallReply> {
        let state = lock(&self.state);
        let waits = |state: &mut SlotState| state.reply.is_none() && !state.is_cancelled;
        let waited = self.filled.wait_timeout_while(state, timeout, waits);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.take()
    }

    /// Returns whether the calling method was cancelled before the reply arrived.
    pub(crate) fn is_cancelled(&self) -> bool {
        lock(&self.state).is_cancelled
    }

    /// Returns the code of the error in the reply; `None` if it is a result, or has not arrived.
    pub(crate) fn error(&self) -> Option<i64> {
        lock(&self.state).error
    }

    /// Gives up waiting, and returns whether the reply has not arrived.
    pub(crate) fn abandon(&self) -> bool {
        let mut state = lock(&self.state);
        let waker = state.waker.take();
        let is_missing = !state.is_taken && state.reply.is_none();
        drop(state);

        drop(waker);
        is_missing
    }
}

impl CancelListener for ReplySlot {
    fn call_cancelled(&self) {
        self.end(|state| state.is_cancelled = !state.is_taken && state.reply.is_none());
    }
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::abi::CallOutput;
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::wake_count::WakeCount;

    #[test]
    fn wakes_the_last_waker_when_the_reply_arrives() {
        let slot = ReplySlot::default();
        let count = Arc::<WakeCount>::default();
        assert!(slot.poll(Waker::noop()).is_none());
        assert!(slot.poll(&Waker::from(Arc::clone(&count))).is_none());

        slot.fill(Ok(CallOutput::json(b"1".to_vec())));
        assert_eq!(count.get(), 1);
        assert_eq!(slot.poll(Waker::noop()).unwrap().unwrap().bytes, b"1");
        assert!(!slot.abandon(), "the reply was taken");
    }

    #[test]
    fn returns_the_reply_to_a_waiting_thread() {
        let slot = ReplySlot::default();
        assert!(slot.wait(Duration::from_millis(1)).is_none());
        thread::scope(|scope| {
            let waits = scope.spawn(|| slot.wait(Duration::from_secs(30)));
            slot.fill(Ok(CallOutput::json(b"2".to_vec())));
            assert_eq!(waits.join().unwrap().unwrap().unwrap().bytes, b"2");
        });
        assert!(!slot.abandon(), "the reply was taken");
    }

    #[test]
    fn ends_the_wait_of_a_cancelled_call_without_the_reply() {
        let slot = ReplySlot::default();
        thread::scope(|scope| {
            let waits = scope.spawn(|| slot.wait(Duration::from_secs(30)));
            slot.call_cancelled();
            let error = waits.join().unwrap().unwrap().unwrap_err();
            assert_eq!(error.code(), Code::Cancelled.as_i64());
        });
        slot.fill(Ok(CallOutput::default()));
        assert!(slot.take().unwrap().is_err() && slot.is_cancelled());
        assert!(slot.abandon(), "the call is to be cancelled");

        let answered = ReplySlot::default();
        answered.fill(Ok(CallOutput::default()));
        answered.call_cancelled();
        assert!(answered.take().unwrap().is_ok() && !answered.is_cancelled());
    }

    #[test]
    fn never_calls_the_waker_after_it_was_abandoned() {
        let slot = ReplySlot::default();
        let count = Arc::<WakeCount>::default();
        assert!(slot.poll(&Waker::from(Arc::clone(&count))).is_none());
        assert!(slot.abandon());

        slot.fill(Ok(CallOutput::default()));
        assert_eq!(count.get(), 0);
        assert!(!slot.abandon(), "the reply has arrived");
    }
}

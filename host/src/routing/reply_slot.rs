//! The slot that a nested call waits on for its reply.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use jackfield_plugin_api::abi::{CallEnd, CallReply};
use jackfield_protocol::ReplyHead;

use super::request_error::RequestError;
use crate::plugin::ReplySink;
use crate::sync::lock;

#[derive(Default)]
struct SlotState {
    reply: Option<CallReply>,

    /// Whether the reply has been taken.
    is_taken: bool,

    waker: Option<Waker>,
}

/// A slot for one reply.
#[derive(Default)]
pub(super) struct ReplySlot {
    state: Mutex<SlotState>,
    filled: Condvar,
}

impl ReplySlot {
    fn fill(&self, reply: CallReply) {
        let mut state = lock(&self.state);
        state.reply = Some(reply);
        let waker = state.waker.take();
        drop(state);

        if let Some(waker) = waker {
            waker.wake();
        }
        self.filled.notify_one();
    }

    /// Takes the reply if it has arrived.
    pub(super) fn take(&self) -> Option<CallReply> {
        let mut state = lock(&self.state);
        let reply = state.reply.take();
        state.is_taken |= reply.is_some();
        reply
    }

    /// Takes the reply if it has arrived. Otherwise `waker`, which must be one of the host, is
    /// woken when it arrives.
    pub(super) fn poll(&self, waker: &Waker) -> Option<CallReply> {
        let mut state = lock(&self.state);
        let reply = state.reply.take();
        if reply.is_some() {
            state.is_taken = true;
            return reply;
        }

        let previous = state.waker.replace(waker.clone());
        drop(state);
        drop(previous);
        None
    }

    /// Waits on this thread for the reply, at most for `timeout`, and takes it.
    pub(super) fn wait(&self, timeout: Duration) -> Option<CallReply> {
        let state = lock(&self.state);
        let waited = self.filled.wait_timeout_while(state, timeout, |state| state.reply.is_none());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let reply = state.reply.take();
        state.is_taken |= reply.is_some();
        reply
    }

    /// Gives up waiting, and returns whether the reply has not arrived.
    pub(super) fn abandon(&self) -> bool {
        let mut state = lock(&self.state);
        let waker = state.waker.take();
        let is_missing = !state.is_taken && state.reply.is_none();
        drop(state);

        drop(waker);
        is_missing
    }
}

/// Puts the result of a call into a slot.
pub(super) struct SlotSink {
    pub(super) slot: Arc<ReplySlot>,

    /// The plugin that is called.
    pub(super) plugin: String,
}

impl ReplySink for SlotSink {
    fn open(&self, _out: &mut Vec<u8>) -> Option<ReplyHead> {
        None
    }

    fn close(&self, _head: Option<ReplyHead>, out: &mut Vec<u8>, end: CallEnd) {
        self.slot.fill(into_reply(end, std::mem::take(out), &self.plugin));
    }
}

/// Returns the reply that the calling plugin gets.
pub(super) fn into_reply(end: CallEnd, out: Vec<u8>, plugin: &str) -> CallReply {
    match end {
        CallEnd::Done => Ok(out),
        CallEnd::Failed { code, message, data } => Err(RequestError::Plugin { code, message, data }.into()),
        CallEnd::Panicked(_) => Err(RequestError::PluginPanicked(plugin.to_owned()).into()),
        CallEnd::Crashed(end) => Err(RequestError::PluginCrashed { plugin: plugin.to_owned(), end }.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use jackfield_plugin_api::abi::ProcessEnd;
    use jackfield_protocol::Code;

    use super::*;
    use crate::wake_count::WakeCount;

    fn sink() -> (Arc<ReplySlot>, SlotSink) {
        let slot = Arc::<ReplySlot>::default();
        (Arc::clone(&slot), SlotSink { slot, plugin: "p".to_owned() })
    }

    #[test]
    fn wakes_the_last_waker_when_the_reply_arrives() {
        let (slot, sink) = sink();
        let count = Arc::<WakeCount>::default();
        assert!(slot.poll(Waker::noop()).is_none());
        assert!(slot.poll(&Waker::from(Arc::clone(&count))).is_none());

        sink.close(None, &mut b"1".to_vec(), CallEnd::Done);
        assert_eq!(count.get(), 1);
        assert_eq!(slot.poll(Waker::noop()).unwrap().unwrap(), b"1");
        assert!(!slot.abandon(), "the reply was taken");
    }

    #[test]
    fn returns_the_reply_to_a_waiting_thread() {
        let (slot, sink) = sink();
        assert!(slot.wait(Duration::from_millis(1)).is_none());
        thread::scope(|scope| {
            let waits = scope.spawn(|| slot.wait(Duration::from_secs(30)));
            sink.close(None, &mut b"2".to_vec(), CallEnd::Done);
            assert_eq!(waits.join().unwrap().unwrap().unwrap(), b"2");
        });
        assert!(!slot.abandon(), "the reply was taken");
    }

    #[test]
    fn never_calls_the_waker_after_it_was_abandoned() {
        let (slot, sink) = sink();
        let count = Arc::<WakeCount>::default();
        assert!(slot.poll(&Waker::from(Arc::clone(&count))).is_none());
        assert!(slot.abandon());

        sink.close(None, &mut Vec::new(), CallEnd::Done);
        assert_eq!(count.get(), 0);
        assert!(!slot.abandon(), "the reply has arrived");
    }

    #[test]
    fn turns_failures_into_the_errors_that_the_wire_has() {
        let failed = CallEnd::Failed { code: 7, message: "no".to_owned(), data: None };
        let error = into_reply(failed, Vec::new(), "p").unwrap_err();
        assert_eq!((error.code(), error.message()), (7, "no"));
        let error = into_reply(CallEnd::Panicked("secret".to_owned()), Vec::new(), "p").unwrap_err();
        assert_eq!(error.message(), "plugin p panicked in this call");
        let crashed = CallEnd::Crashed(ProcessEnd::ExitCode(1));
        let error = into_reply(crashed, Vec::new(), "p").unwrap_err();
        assert_eq!(error.code(), Code::PluginCrashed.as_i64());
    }
}

//! Where one plugin's call waits for another plugin's answer.

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
    /// Whether there was a reply, and somebody took it.
    taken: bool,
    waker: Option<Waker>,
}

/// The place for one answer.
#[derive(Default)]
pub(super) struct ReplySlot {
    state: Mutex<SlotState>,
    filled: Condvar,
}

impl ReplySlot {
    fn fill(&self, reply: CallReply) {
        let mut state = lock(&self.state);
        state.reply = Some(reply);
        // Under the lock: the waker is code of the plugin that asked, which may be unloaded once it has given up.
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        drop(state);
        self.filled.notify_one();
    }

    /// The answer, if it is there; else `waker` is woken when it comes.
    pub(super) fn poll(&self, waker: &Waker) -> Option<CallReply> {
        let mut state = lock(&self.state);
        let reply = state.reply.take();
        match &reply {
            Some(_) => state.taken = true,
            None => state.waker = Some(waker.clone()),
        }
        reply
    }

    /// The answer, if it comes within `most`.
    pub(super) fn wait(&self, most: Duration) -> Option<CallReply> {
        let state = lock(&self.state);
        let waited = self.filled.wait_timeout_while(state, most, |state| state.reply.is_none());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let reply = state.reply.take();
        state.taken |= reply.is_some();
        reply
    }

    /// Nobody waits any more, and no code of who waited runs from here on; `true` when there was no answer yet.
    pub(super) fn give_up(&self) -> bool {
        let mut state = lock(&self.state);
        state.waker = None;
        !state.taken && state.reply.is_none()
    }
}

/// Fills a slot.
pub(super) struct SlotSink {
    pub(super) slot: Arc<ReplySlot>,
    pub(super) plugin: String,
}

impl ReplySink for SlotSink {
    fn open(&self, _out: &mut Vec<u8>) -> Option<ReplyHead> {
        None
    }

    fn close(&self, _head: Option<ReplyHead>, out: &mut Vec<u8>, end: CallEnd) {
        self.slot.fill(read(end, std::mem::take(out), &self.plugin));
    }
}

/// The answer as a plugin gets it.
pub(super) fn read(end: CallEnd, out: Vec<u8>, plugin: &str) -> CallReply {
    match end {
        CallEnd::Done => Ok(out),
        CallEnd::Failed { code, message, data } => Err(RequestError::Plugin { code, message, data }.into()),
        CallEnd::Panicked(_) => Err(RequestError::PluginPanicked(plugin.to_owned()).into()),
    }
}

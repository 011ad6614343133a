//! The calls that a worker has received and not ended: each of them gets exactly one `End`.
//!
//! The method may return, the call may be cancelled before it runs, or it may be dropped with the
//! queue that it is in. Whichever comes first removes the call from the table, and only the removal
//! sends the `End`.

use std::sync::{Arc, Mutex, Weak};

use jackfield_plugin_api::abi::CallEnd;
use jackfield_protocol::ReplyHead;
use rustc_hash::FxHashMap;

use super::super::call::ReplySink;
use super::target::WorkerCall;
use super::worker_channel::WorkerChannel;
use crate::sync::lock;
use crate::worker::message::{CallNumber, MessageEnd, WorkerMessage};
use crate::worker::message_encode::ChannelMessage as _;
use crate::worker::payload_file::DETACHED_MIN;

/// The table of the calls that have not ended.
pub(super) struct ReceivedCalls {
    channel: Arc<WorkerChannel>,

    /// Threads for blocking calls. If more calls are open, some of them wait for a thread.
    threads: usize,

    /// The executors hold the calls. A call is never dropped under this lock, because that removes
    /// it.
    open: Mutex<FxHashMap<CallNumber, Weak<WorkerCall>>>,
}

impl ReceivedCalls {
    pub(super) fn new(channel: Arc<WorkerChannel>, threads: usize) -> Arc<Self> {
        Arc::new(Self { channel, threads, open: Mutex::default() })
    }

    /// Returns the number of calls that have not ended.
    pub(super) fn open(&self) -> usize {
        lock(&self.open).len()
    }

    /// Adds a call before it is submitted. Returns whether no other one has its number.
    pub(super) fn insert(&self, number: CallNumber, call: &Arc<WorkerCall>) -> bool {
        lock(&self.open).insert(number, Arc::downgrade(call)).is_none()
    }

    /// Cancels a call, unless it has ended. If its method was not started, it ends now.
    /// `ends_nested` says whether the calls that its method makes end with it.
    pub(super) fn cancel(&self, number: CallNumber, ends_nested: bool) {
        let call = lock(&self.open).get(&number).and_then(Weak::upgrade);
        if let Some(call) = call {
            if ends_nested {
                call.cancel();
            } else {
                call.abandon();
            }
            if call.never_runs() {
                self.end(number, MessageEnd::Cancelled);
            }
        }
    }

    /// Ends a call, unless it has ended.
    fn end(&self, number: CallNumber, end: MessageEnd<'_>) {
        let mut open = lock(&self.open);
        let removed = open.remove(&number);
        let is_busy = open.len() > self.threads;
        drop(open);
        if removed.is_none() {
            return;
        }

        let message = WorkerMessage::End { call: number, end };
        let is_small = message.tail().len() < DETACHED_MIN;
        // A thread that has the next call already does not wait for the system to send this.
        if is_busy && is_small { self.channel.send_soon(&message) } else { self.channel.send(&message) }
    }
}

/// Sends the end of one call. If it is dropped without one, the call ends as cancelled.
pub(super) struct EndSink {
    number: CallNumber,
    calls: Arc<ReceivedCalls>,
}

impl EndSink {
    pub(super) fn new(number: CallNumber, calls: &Arc<ReceivedCalls>) -> Self {
        Self { number, calls: Arc::clone(calls) }
    }
}

impl ReplySink for EndSink {
    fn open(&self, _out: &mut Vec<u8>) -> Option<ReplyHead> {
        None
    }

    fn close(&self, _head: Option<ReplyHead>, out: &mut Vec<u8>, end: CallEnd) {
        let end = match &end {
            CallEnd::Done => MessageEnd::Done(out),
            CallEnd::DoneBytes => MessageEnd::DoneBytes(out),
            CallEnd::Failed { code, message, data } => {
                MessageEnd::Failed { code: *code, message, data: data.as_deref() }
            }
            CallEnd::Panicked(text) => MessageEnd::Panicked(text),
            // No call across the ABI ends like this.
            CallEnd::Crashed(_) => MessageEnd::Cancelled,
        };
        self.calls.end(self.number, end);
    }
}

impl Drop for EndSink {
    fn drop(&mut self) {
        self.calls.end(self.number, MessageEnd::Cancelled);
    }
}

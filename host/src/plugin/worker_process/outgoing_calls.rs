//! Calls of the plugin to other methods, which the host makes.
//!
//! The host answers each of them at its deadline at the latest. The worker waits a little longer
//! than that, so that the error is that of the host, and then gives up by itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use jackfield_plugin_api::Error;
use jackfield_plugin_api::abi::{
    CallFacts, CallOutput, CallReply, CancelListener as _, Content, OutgoingCall,
};
use rustc_hash::FxHashMap;

use super::super::deadline_error::deadline_error;
use super::super::reply_slot::ReplySlot;
use super::super::waker_relay::WakerRelay;
use super::target::{WorkerExecutor, number_of};
use super::worker_channel::WorkerChannel;
use crate::clock::{Time, nanoseconds};
use crate::sync::lock;
use crate::worker::message::{InvalidMessage, MessageEnd, NestedNumber, WorkerMessage};

/// Time after the deadline of a nested call in which the reply of the host is expected.
const GRACE: Duration = Duration::from_millis(250);

/// The nested calls that wait for their replies.
pub(super) struct OutgoingCalls {
    channel: Arc<WorkerChannel>,
    last: AtomicU64,
    waiting: Mutex<FxHashMap<NestedNumber, Arc<ReplySlot>>>,
}

/// A call that the plugin makes.
pub(super) struct NestedRequest<'a> {
    pub(super) parent: &'a CallFacts<'a>,
    pub(super) call: OutgoingCall<'a>,

    /// Whether the calling thread waits for the reply.
    pub(super) waits: bool,
}

impl OutgoingCalls {
    pub(super) fn new(channel: Arc<WorkerChannel>) -> Arc<Self> {
        Arc::new(Self { channel, last: AtomicU64::new(0), waiting: Mutex::default() })
    }

    /// Returns the number of calls that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        lock(&self.waiting).len()
    }

    /// Sends a call to the host.
    pub(super) fn start(self: &Arc<Self>, request: &NestedRequest<'_>) -> WaitingCall {
        let NestedRequest { parent, call, waits } = *request;
        let OutgoingCall { method, params, content, timeout } = call;
        let began = Time::now();
        let until = timeout.map_or(Time::NEVER, |timeout| began.after(timeout)).min(Time(parent.deadline));
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let slot = Arc::<ReplySlot>::default();
        let waiting = WaitingCall { calls: Arc::clone(self), number, slot, began, until };
        if parent.cancelled.ends_nested() {
            waiting.slot.call_cancelled();
            return waiting;
        }

        lock(&self.waiting).insert(number, Arc::clone(&waiting.slot));
        self.channel.send(&WorkerMessage::Nested {
            nested: number,
            parent: number_of(parent),
            waits,
            timeout: timeout.map_or(0, nanoseconds),
            content,
            method,
            params,
        });
        let listener: Weak<ReplySlot> = Arc::downgrade(&waiting.slot);
        parent.cancelled.notify(listener);
        waiting
    }

    /// Takes the reply of the host. A reply that nothing waits for any more is discarded.
    ///
    /// # Errors
    ///
    /// It is no reply.
    pub(super) fn reply(&self, number: NestedNumber, end: MessageEnd<'_>) -> Result<(), InvalidMessage> {
        let reply = match end {
            MessageEnd::Done(result) => Ok(CallOutput::json(result.to_vec())),
            MessageEnd::DoneBytes(result) => {
                Ok(CallOutput { content: Content::Bytes, bytes: result.to_vec() })
            }
            MessageEnd::Failed { code, message, data } => {
                Err(Error::from_wire(code, message.to_owned(), data.map(str::to_owned)))
            }
            MessageEnd::Panicked(_) | MessageEnd::Cancelled => return Err(InvalidMessage::Value),
        };

        let slot = lock(&self.waiting).remove(&number);
        if let Some(slot) = slot {
            slot.fill(reply);
        }
        Ok(())
    }
}

/// A nested call that waits for its reply. Dropping it cancels the call.
pub(super) struct WaitingCall {
    calls: Arc<OutgoingCalls>,
    number: NestedNumber,
    slot: Arc<ReplySlot>,
    began: Time,
    until: Time,
}

impl WaitingCall {
    fn expire(&self) -> CallReply {
        Err(deadline_error(self.until.since(self.began)))
    }

    /// Returns what the plugin gets. If the calling method is cancelled at its deadline, that is
    /// the error.
    fn ended(&self, reply: CallReply) -> CallReply {
        match reply {
            Err(_) if self.slot.is_cancelled() && Time::now() >= self.until => self.expire(),
            reply => reply,
        }
    }

    /// Waits on this thread for the reply.
    pub(super) fn wait(self) -> CallReply {
        let limit = self.until.after(GRACE).since(Time::now());
        let reply = self.slot.wait(limit);
        reply.map_or_else(|| self.expire(), |reply| self.ended(reply))
    }

    /// Returns a future for the plugin, which is ready when the reply has arrived.
    pub(super) fn into_future(self, timers: &WorkerExecutor, relay: WakerRelay) -> OutgoingCallFuture {
        let deadline = Box::pin(timers.timer(self.until.after(GRACE)));
        OutgoingCallFuture { waiting: self, deadline, relay }
    }
}

impl Drop for WaitingCall {
    fn drop(&mut self) {
        // A waker that is left in the slot is one of the host, and never called after this.
        self.slot.abandon();
        let is_unanswered = lock(&self.calls.waiting).remove(&self.number).is_some();
        if is_unanswered {
            self.calls.channel.send(&WorkerMessage::NestedCancelled(self.number));
        }
    }
}

/// The future of a nested call, polled by the plugin.
pub(super) struct OutgoingCallFuture {
    waiting: WaitingCall,
    deadline: Pin<Box<dyn Future<Output = ()> + Send>>,

    /// Wakes the plugin.
    relay: WakerRelay,
}

impl Future for OutgoingCallFuture {
    type Output = CallReply;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CallReply> {
        let Self { waiting, deadline, relay } = &mut *self;
        if let Some(reply) = waiting.slot.take() {
            return Poll::Ready(waiting.ended(reply));
        }

        relay.poll(cx, |cx| match waiting.slot.poll(cx.waker()) {
            Some(reply) => Poll::Ready(waiting.ended(reply)),
            None => deadline.as_mut().poll(cx).map(|()| waiting.expire()),
        })
    }
}

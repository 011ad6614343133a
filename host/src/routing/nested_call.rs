//! Calls from one plugin to another's methods, through the same routes, deadlines and queues as a client's.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;

use jackfield_plugin_api::abi::{CallFacts, CallReply, ReplyFuture};
use jackfield_plugin_api::{Error, Run};

use super::Dispatcher;
use super::gate::{GateOpened, StateTransferGate};
use super::reply_slot::{ReplySlot, SlotSink, read};
use super::request_error::{ExhaustedResource, RequestError};
use super::table::Requester;
use crate::clock::Time;
use crate::plugin::{GenerationExecutor, NestedCaller, PluginCall};

/// How deep methods may call one another: a circle is cut long before a stack or a queue is full.
const DEEPEST: u32 = 16;

thread_local! {
    static IS_IO_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// This thread serves connections from now on: `inline` methods run on it.
pub(crate) fn mark_io_thread() {
    IS_IO_THREAD.set(true);
}

/// Who runs `inline` methods for threads that are no I/O threads. Code that was run must leave the process one day,
/// so only threads that can be joined may run it: a plugin's own, and the I/O threads, which are replaced for that.
pub(crate) trait InlineRunner: Send + Sync {
    /// Runs it soon; `false` when the host ends.
    fn run_inline(&self, call: Arc<PluginCall>) -> bool;
}

impl From<RequestError> for Error {
    fn from(failure: RequestError) -> Self {
        Error::from_wire(failure.code(), failure.message().into_owned(), failure.data())
    }
}

/// A call under way: its answer will be in the slot.
struct PendingCall {
    slot: Arc<ReplySlot>,
    call: Arc<PluginCall>,
    timeout: Duration,
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if self.slot.give_up() {
            self.call.cancel();
        }
    }
}

enum StartedCall {
    Answered(CallReply),
    Pending(PendingCall),
    /// Its plugin hands its state over: begin once more when this is open.
    Held(Arc<StateTransferGate>),
}

/// What one plugin asks of another.
struct NestedCall<'a> {
    /// The plugin that asks.
    plugin: &'a str,
    parent: &'a CallFacts<'a>,
    method: &'a str,
    params: &'a [u8],
    timeout: Option<Duration>,
    /// Whether its thread waits for the answer.
    waits: bool,
}

impl Dispatcher {
    fn begin_nested(&self, ask: &NestedCall<'_>) -> Result<StartedCall, RequestError> {
        let parent = ask.parent;
        if parent.depth >= DEEPEST {
            return Err(RequestError::TooDeep(DEEPEST));
        }
        let table = self.table.load();
        let target = table.find(ask.method, Requester::Plugin)?;
        // Its own running calls are waited for before the state is handed over, so they do not wait for that; but for
        // `async` ones, which nobody waits for: what they change now would be lost.
        let is_waited_for = *target.generation.identity.plugin == *ask.plugin && parent.run != Run::Async;
        if let Some(gate) = target.held.as_ref().filter(|_| !is_waited_for) {
            if ask.waits && !parent.may_wait() {
                return Err(RequestError::unavailable(&target.generation.identity.plugin));
            }
            return Ok(StartedCall::Held(Arc::clone(gate)));
        }
        let run = target.run();
        if ask.waits && run != Run::Inline && !parent.may_wait() {
            return Err(RequestError::WouldWait(ask.method.to_owned()));
        }
        let now = Time::now();
        let own = ask.timeout.map_or(target.timeout, |timeout| timeout.min(target.timeout));
        let deadline = now.after(own).min(Time(parent.deadline));
        if deadline <= now {
            return Err(RequestError::DeadlineExceeded(own));
        }
        if let Err(retry_after) = target.generation.admit(now) {
            let plugin = target.generation.identity.plugin.to_string();
            return Err(RequestError::PluginUnavailable { plugin, retry_after });
        }
        let permit = match &target.permits {
            Some(permits) => Some(permits.take().ok_or(RequestError::Overloaded(ExhaustedResource::Route))?),
            None => None,
        };
        let facts = CallFacts {
            deadline: deadline.0,
            id: parent.id.to_owned(),
            depth: parent.depth + 1,
            run,
            cancelled: AtomicBool::new(false),
        };
        let plugin = target.generation.identity.plugin.to_string();
        if run == Run::Inline && IS_IO_THREAD.get() {
            let mut out = Vec::new();
            let end = target.generation.run_inline(target.method, &facts, ask.params, &mut out);
            return Ok(StartedCall::Answered(read(end, out, &plugin)));
        }
        let slot = Arc::new(ReplySlot::default());
        let answer = SlotSink { slot: Arc::clone(&slot), plugin };
        let generation = Arc::clone(&target.generation);
        let call: Arc<PluginCall> =
            PluginCall::new(Arc::new(facts), generation, target.method, ask.params, answer, permit);
        self.begin(&call, run)?;
        Ok(StartedCall::Pending(PendingCall { slot, call, timeout: deadline.since(now) }))
    }

    fn begin(&self, call: &Arc<PluginCall>, run: Run) -> Result<(), RequestError> {
        if run == Run::Inline {
            let io = self.inline.get().and_then(std::sync::Weak::upgrade);
            let sent = io.is_some_and(|io| io.run_inline(Arc::clone(call)));
            return if sent { Ok(()) } else { Err(RequestError::GoingAway) };
        }
        let generation = &call.generation;
        let mut once = std::iter::once(Arc::clone(call));
        generation
            .submit(run, &mut once)
            .map_err(|why| RequestError::not_submitted(why, &generation.identity.plugin))
    }
}

/// A plugin's future of another's answer.
struct NestedCallFuture {
    pending: PendingCall,
    deadline: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl NestedCallFuture {
    fn new(pending: PendingCall, timers: &GenerationExecutor) -> Self {
        let deadline = Box::pin(timers.sleep(Time(pending.call.facts.deadline)));
        Self { pending, deadline }
    }
}

impl Future for NestedCallFuture {
    type Output = CallReply;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CallReply> {
        if let Some(reply) = self.pending.slot.poll(cx.waker()) {
            return Poll::Ready(reply);
        }
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(RequestError::DeadlineExceeded(self.pending.timeout).into()));
        }
        Poll::Pending
    }
}

impl NestedCaller for Dispatcher {
    fn call(
        &self,
        plugin: &str,
        parent: &CallFacts<'_>,
        method: &str,
        params: &[u8],
        timeout: Option<Duration>,
        timers: &Arc<GenerationExecutor>,
    ) -> ReplyFuture {
        let gate =
            match self.begin_nested(&NestedCall { plugin, parent, method, params, timeout, waits: false }) {
                Ok(StartedCall::Answered(reply)) => return Box::pin(std::future::ready(reply)),
                Ok(StartedCall::Pending(pending)) => return Box::pin(NestedCallFuture::new(pending, timers)),
                Err(failure) => return Box::pin(std::future::ready(Err(failure.into()))),
                Ok(StartedCall::Held(gate)) => gate,
            };
        // Rare, so that it may cost: everything that was lent is copied for later.
        let (plugin, method, params) = (plugin.to_owned(), method.to_owned(), params.to_owned());
        let (timers, this) = (Arc::clone(timers), self.me.clone());
        let parent = CallFacts {
            deadline: parent.deadline,
            id: parent.id.to_owned(),
            depth: parent.depth,
            run: parent.run,
            cancelled: AtomicBool::new(false),
        };
        Box::pin(async move {
            GateOpened::of(&gate).await;
            let this = this.upgrade().ok_or(RequestError::GoingAway)?;
            this.call(&plugin, &parent, &method, &params, timeout, &timers).await
        })
    }

    fn call_wait(
        &self,
        plugin: &str,
        parent: &CallFacts<'_>,
        method: &str,
        params: &[u8],
        timeout: Option<Duration>,
    ) -> CallReply {
        let ask = NestedCall { plugin, parent, method, params, timeout, waits: true };
        let pending = loop {
            match self.begin_nested(&ask)? {
                StartedCall::Answered(reply) => return reply,
                StartedCall::Pending(pending) => break pending,
                StartedCall::Held(gate) => {
                    let left = Time(parent.deadline).since(Time::now());
                    if left.is_zero() {
                        return Err(RequestError::DeadlineExceeded(left).into());
                    }
                    gate.wait(left);
                }
            }
        };
        let reply = pending.slot.wait(pending.timeout);
        reply.unwrap_or_else(|| Err(RequestError::DeadlineExceeded(pending.timeout).into()))
    }
}

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
use super::failure::{Failure, Scarce};
use super::gate::{Gate, Opened};
use super::slot::{Slot, ToSlot, read};
use super::table::Asker;
use crate::clock::Time;
use crate::plugin::{Call, Calls, Executor};

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
pub(crate) trait RunInline: Send + Sync {
    /// Runs it soon; `false` when the host ends.
    fn run_inline(&self, call: Arc<Call>) -> bool;
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Error::from_wire(failure.code(), failure.message().into_owned(), failure.data())
    }
}

/// A call under way: its answer will be in the slot.
struct Pending {
    slot: Arc<Slot>,
    call: Arc<Call>,
    timeout: Duration,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.slot.give_up() {
            self.call.cancel();
        }
    }
}

enum Begun {
    Answered(CallReply),
    Pending(Pending),
    /// Its plugin hands its state over: begin once more when this is open.
    Held(Arc<Gate>),
}

/// What one plugin asks of another.
struct Ask<'a> {
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
    fn begin_nested(&self, ask: &Ask<'_>) -> Result<Begun, Failure> {
        let parent = ask.parent;
        if parent.depth >= DEEPEST {
            return Err(Failure::TooDeep(DEEPEST));
        }
        let table = self.table.load();
        let target = table.find(ask.method, Asker::Plugin)?;
        // Its own running calls are waited for before the state is handed over, so they do not wait for that; but for
        // `async` ones, which nobody waits for: what they change now would be lost.
        let is_waited_for = *target.generation.identity.plugin == *ask.plugin && parent.run != Run::Async;
        if let Some(gate) = target.held.as_ref().filter(|_| !is_waited_for) {
            if ask.waits && !parent.may_wait() {
                return Err(Failure::unavailable(&target.generation.identity.plugin));
            }
            return Ok(Begun::Held(Arc::clone(gate)));
        }
        let run = target.run();
        if ask.waits && run != Run::Inline && !parent.may_wait() {
            return Err(Failure::WouldWait(ask.method.to_owned()));
        }
        let now = Time::now();
        let own = ask.timeout.map_or(target.timeout, |timeout| timeout.min(target.timeout));
        let deadline = now.after(own).min(Time(parent.deadline));
        if deadline <= now {
            return Err(Failure::DeadlineExceeded(own));
        }
        if let Err(retry_after) = target.generation.admit(now) {
            let plugin = target.generation.identity.plugin.to_string();
            return Err(Failure::PluginUnavailable { plugin, retry_after });
        }
        let permit = match &target.permits {
            Some(permits) => Some(permits.take().ok_or(Failure::Overloaded(Scarce::Route))?),
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
            let end = target.generation.run_direct(target.method, &facts, ask.params, &mut out);
            return Ok(Begun::Answered(read(end, out, &plugin)));
        }
        let slot = Arc::new(Slot::default());
        let answer = ToSlot { slot: Arc::clone(&slot), plugin };
        let generation = Arc::clone(&target.generation);
        let call: Arc<Call> =
            Call::new(Arc::new(facts), generation, target.method, ask.params, answer, permit);
        self.begin(&call, run)?;
        Ok(Begun::Pending(Pending { slot, call, timeout: deadline.since(now) }))
    }

    fn begin(&self, call: &Arc<Call>, run: Run) -> Result<(), Failure> {
        if run == Run::Inline {
            let io = self.inline.get().and_then(std::sync::Weak::upgrade);
            let sent = io.is_some_and(|io| io.run_inline(Arc::clone(call)));
            return if sent { Ok(()) } else { Err(Failure::GoingAway) };
        }
        let generation = &call.generation;
        let mut once = std::iter::once(Arc::clone(call));
        generation.submit(run, &mut once).map_err(|why| Failure::not_taken(why, &generation.identity.plugin))
    }
}

/// A plugin's future of another's answer.
struct Waiting {
    pending: Pending,
    deadline: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Waiting {
    fn new(pending: Pending, timers: &Executor) -> Self {
        let deadline = Box::pin(timers.sleep(Time(pending.call.facts.deadline)));
        Self { pending, deadline }
    }
}

impl Future for Waiting {
    type Output = CallReply;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CallReply> {
        if let Some(reply) = self.pending.slot.poll(cx.waker()) {
            return Poll::Ready(reply);
        }
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Failure::DeadlineExceeded(self.pending.timeout).into()));
        }
        Poll::Pending
    }
}

impl Calls for Dispatcher {
    fn call(
        &self,
        plugin: &str,
        parent: &CallFacts<'_>,
        method: &str,
        params: &[u8],
        timeout: Option<Duration>,
        timers: &Arc<Executor>,
    ) -> ReplyFuture {
        let gate = match self.begin_nested(&Ask { plugin, parent, method, params, timeout, waits: false }) {
            Ok(Begun::Answered(reply)) => return Box::pin(std::future::ready(reply)),
            Ok(Begun::Pending(pending)) => return Box::pin(Waiting::new(pending, timers)),
            Err(failure) => return Box::pin(std::future::ready(Err(failure.into()))),
            Ok(Begun::Held(gate)) => gate,
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
            Opened::of(&gate).await;
            let this = this.upgrade().ok_or(Failure::GoingAway)?;
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
        let ask = Ask { plugin, parent, method, params, timeout, waits: true };
        let pending = loop {
            match self.begin_nested(&ask)? {
                Begun::Answered(reply) => return reply,
                Begun::Pending(pending) => break pending,
                Begun::Held(gate) => {
                    let left = Time(parent.deadline).since(Time::now());
                    if left.is_zero() {
                        return Err(Failure::DeadlineExceeded(left).into());
                    }
                    gate.wait(left);
                }
            }
        };
        let reply = pending.slot.wait(pending.timeout);
        reply.unwrap_or_else(|| Err(Failure::DeadlineExceeded(pending.timeout).into()))
    }
}

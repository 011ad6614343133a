//! Calls from one plugin to another's methods, through the same routes, deadlines and queues as a client's.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use jackfield_plugin_api::abi::{CallEnd, CallFacts, CallReply, ReplyFuture};
use jackfield_plugin_api::{Error, Run};
use jackfield_protocol::ReplyHead;

use super::Dispatcher;
use super::failure::Failure;
use super::table::Target;
use crate::clock::Time;
use crate::plugin::{Answer, Call, Calls, Executor};

/// How deep methods may call one another: a circle is cut long before a stack or a queue is full.
const DEEPEST: u32 = 16;

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Error::from_wire(failure.code(), failure.message().into_owned(), failure.data())
    }
}

/// Where a plugin waits for another's answer.
#[derive(Default)]
struct Slot {
    reply: Mutex<Option<CallReply>>,
    filled: Condvar,
    waker: AtomicWaker,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<CallReply>> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fills a slot.
struct ToSlot {
    slot: Arc<Slot>,
    plugin: String,
}

impl Answer for ToSlot {
    fn open(&self, _out: &mut Vec<u8>) -> Option<ReplyHead> {
        None
    }

    fn close(&self, _head: Option<ReplyHead>, out: Vec<u8>, end: CallEnd) {
        *self.slot.lock() = Some(read(end, out, &self.plugin));
        self.slot.filled.notify_one();
        self.slot.waker.wake();
    }
}

fn read(end: CallEnd, out: Vec<u8>, plugin: &str) -> CallReply {
    match end {
        CallEnd::Done => Ok(out),
        CallEnd::Failed { code, message, data } => Err(Failure::Plugin { code, message, data }.into()),
        CallEnd::Panicked(_) => Err(Failure::PluginPanicked(plugin.to_owned()).into()),
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
        if self.slot.lock().is_none() {
            self.call.cancel();
        }
    }
}

enum Begun {
    Answered(CallReply),
    Pending(Pending),
}

impl Dispatcher {
    fn begin_nested(
        &self,
        parent: &CallFacts<'_>,
        method: &str,
        params: &[u8],
        timeout: Option<Duration>,
        waits: bool,
    ) -> Result<Begun, Failure> {
        if parent.depth >= DEEPEST {
            return Err(Failure::TooDeep(DEEPEST));
        }
        let target: Target = self.table.load().find(method)?.clone();
        if waits && target.run != Run::Inline && !parent.may_wait {
            return Err(Failure::WouldWait(method.to_owned()));
        }
        let now = Time::now();
        let own = timeout.map_or(target.timeout, |timeout| timeout.min(target.timeout));
        let deadline = now.after(own).min(Time(parent.deadline));
        if deadline <= now {
            return Err(Failure::DeadlineExceeded(own));
        }
        let permit = match &target.permits {
            Some(permits) => {
                Some(permits.take().ok_or(Failure::Overloaded("the route is at its max_in_flight"))?)
            }
            None => None,
        };
        let facts = CallFacts {
            deadline: deadline.0,
            id: parent.id.to_owned(),
            depth: parent.depth + 1,
            may_wait: target.run == Run::Blocking,
            cancelled: AtomicBool::new(false),
        };
        let plugin = target.generation.identity.plugin.to_string();
        if target.run == Run::Inline {
            let mut out = Vec::new();
            let end = target.generation.run_direct(target.method, &facts, params, &mut out);
            return Ok(Begun::Answered(read(end, out, &plugin)));
        }
        let slot = Arc::new(Slot::default());
        let answer = Box::new(ToSlot { slot: Arc::clone(&slot), plugin });
        let call = Call::new(facts, Arc::clone(&target.generation), target.method, params, answer, permit);
        target
            .generation
            .submit(Arc::clone(&call), target.run)
            .map_err(|_| Failure::Overloaded("the plugin's queue is full"))?;
        Ok(Begun::Pending(Pending { slot, call, timeout: deadline.since(now) }))
    }
}

/// A plugin's future of another's answer.
struct Waiting {
    pending: Pending,
    deadline: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Waiting {
    type Output = CallReply;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CallReply> {
        self.pending.slot.waker.register(cx.waker());
        let reply = taken(&mut self.pending.slot.lock());
        if let Some(reply) = reply {
            return Poll::Ready(reply);
        }
        if self.deadline.as_mut().poll(cx).is_ready() {
            self.pending.call.cancel();
            return Poll::Ready(Err(Failure::DeadlineExceeded(self.pending.timeout).into()));
        }
        Poll::Pending
    }
}

/// Takes the answer and leaves a mark that there was one, so that dropping the wait cancels nothing.
fn taken(reply: &mut Option<CallReply>) -> Option<CallReply> {
    reply.as_mut().map(|reply| std::mem::replace(reply, Ok(Vec::new())))
}

impl Calls for Dispatcher {
    fn call(
        &self,
        parent: &CallFacts<'_>,
        method: &str,
        params: &[u8],
        timeout: Option<Duration>,
        timers: &Arc<Executor>,
    ) -> ReplyFuture {
        match self.begin_nested(parent, method, params, timeout, false) {
            Ok(Begun::Answered(reply)) => Box::pin(std::future::ready(reply)),
            Ok(Begun::Pending(pending)) => {
                let deadline = Box::pin(timers.sleep(Time(pending.call.facts.deadline)));
                Box::pin(Waiting { pending, deadline })
            }
            Err(failure) => Box::pin(std::future::ready(Err(failure.into()))),
        }
    }

    fn call_wait(
        &self,
        parent: &CallFacts<'_>,
        method: &str,
        params: &[u8],
        timeout: Option<Duration>,
    ) -> CallReply {
        let pending = match self.begin_nested(parent, method, params, timeout, true)? {
            Begun::Answered(reply) => return reply,
            Begun::Pending(pending) => pending,
        };
        let (mut reply, _) = pending
            .slot
            .filled
            .wait_timeout_while(pending.slot.lock(), pending.timeout, |reply| reply.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        let answered = taken(&mut reply);
        drop(reply);
        answered.unwrap_or_else(|| Err(Failure::DeadlineExceeded(pending.timeout).into()))
    }
}

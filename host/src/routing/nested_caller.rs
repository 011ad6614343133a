//! How a plugin waits for the reply to a nested call: with a future that it polls, on a thread, or
//! in a worker process, for which the host polls.

use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jackfield_plugin_api::abi::{CallReply, ReplyFuture};

use super::dispatcher::Dispatcher;
use super::exhausted_resource::ExhaustedResource;
use super::gate::{GateOpened, StateTransferGate};
use super::nested_call::{HeldCall, PendingCall, StartedCall};
use super::request_error::RequestError;
use crate::clock::Time;
use crate::plugin::{GenerationExecutor, NestedCall, NestedCaller, NestedReply, WakerRelay};

/// The future of a nested call, polled by the calling plugin.
struct NestedCallFuture {
    pending: PendingCall,
    deadline: Pin<Box<dyn Future<Output = ()> + Send>>,

    /// Wakes the calling plugin.
    relay: WakerRelay,
}

impl NestedCallFuture {
    fn new(pending: PendingCall, timers: &GenerationExecutor, relay: WakerRelay) -> Self {
        let deadline = Box::pin(timers.timer(pending.deadline()));
        Self { pending, deadline, relay }
    }
}

impl Future for NestedCallFuture {
    type Output = CallReply;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CallReply> {
        let Self { pending, deadline, relay } = &mut *self;
        // A reply that is there needs no waker, and cloning one of a plugin is not cheap.
        if let Some(reply) = pending.take() {
            return Poll::Ready(reply);
        }

        relay.poll(cx, |cx| {
            if let Some(reply) = pending.poll(cx.waker()) {
                return Poll::Ready(reply);
            }
            deadline.as_mut().poll(cx).map(|()| pending.expire())
        })
    }
}

/// A nested call of a worker.
///
/// ```text
///   Held ── the gate is open, started ──► Pending ── reply, deadline ──► ready
///    └───────── deadline, refused ─────────────────────────────────────────▲
/// ```
enum WorkerCall {
    Held {
        call: Box<HeldCall>,
        opened: GateOpened,
        dispatcher: Weak<Dispatcher>,
    },
    Pending(PendingCall),

    /// `None` after the reply was taken.
    Ready(Option<CallReply>),
}

impl WorkerCall {
    /// Starts `nested`, or waits for the gate before it.
    fn start(dispatcher: &Dispatcher, nested: &NestedCall<'_>) -> Self {
        match dispatcher.start_nested(nested) {
            Ok(StartedCall::Answered(reply)) => Self::Ready(Some(reply)),
            Ok(StartedCall::Pending(pending)) => Self::Pending(pending),
            Ok(StartedCall::Held(gate)) => Self::Held {
                call: Box::new(HeldCall::of(nested)),
                opened: GateOpened::of(&gate),
                dispatcher: dispatcher.weak_self.clone(),
            },
            Err(error) => Self::Ready(Some(Err(error.into()))),
        }
    }
}

impl NestedReply for WorkerCall {
    fn poll(&mut self, waker: &Waker) -> Poll<CallReply> {
        loop {
            *self = match self {
                Self::Held { call, opened, dispatcher } => {
                    let mut cx = Context::from_waker(waker);
                    let is_open = Pin::new(opened).poll(&mut cx).is_ready();
                    match dispatcher.upgrade() {
                        Some(dispatcher) if is_open => Self::start(&dispatcher, &call.as_nested()),
                        None => Self::Ready(Some(Err(RequestError::GoingAway.into()))),
                        Some(_) if Time::now() >= call.deadline() => {
                            Self::Ready(Some(Err(RequestError::DeadlineExceeded(Duration::ZERO).into())))
                        }
                        Some(_) => return Poll::Pending,
                    }
                }
                Self::Pending(pending) => match pending.poll(waker) {
                    Some(reply) => Self::Ready(Some(reply)),
                    None if Time::now() >= pending.deadline() => Self::Ready(Some(pending.expire())),
                    None => return Poll::Pending,
                },
                Self::Ready(reply) => return reply.take().map_or(Poll::Pending, Poll::Ready),
            };
        }
    }

    fn deadline(&self) -> Time {
        match self {
            Self::Held { call, .. } => call.deadline(),
            Self::Pending(pending) => pending.deadline(),
            Self::Ready(_) => Time::now(),
        }
    }
}

impl Dispatcher {
    /// Starts a call when `gate` is open.
    fn call_once_open(
        &self,
        gate: &Arc<StateTransferGate>,
        relay: WakerRelay,
        nested: &NestedCall<'_>,
        timers: &Arc<GenerationExecutor>,
    ) -> ReplyFuture {
        let held = HeldCall::of(nested);
        let timers = Arc::clone(timers);
        let weak_self = self.weak_self.clone();

        let mut opened = GateOpened::of(gate);
        Box::pin(async move {
            poll_fn(|cx| relay.poll(cx, |cx| Pin::new(&mut opened).poll(cx))).await;
            drop(relay);
            let dispatcher = weak_self.upgrade().ok_or(RequestError::GoingAway)?;
            dispatcher.call(&held.as_nested(), &timers).await
        })
    }
}

impl NestedCaller for Dispatcher {
    fn call(&self, nested: &NestedCall<'_>, timers: &Arc<GenerationExecutor>) -> ReplyFuture {
        let failed = |error: RequestError| -> ReplyFuture { Box::pin(ready(Err(error.into()))) };
        // Without the calling plugin's async thread, nothing could wake it.
        let no_thread = RequestError::Overloaded(ExhaustedResource::Queue);

        match self.start_nested(nested) {
            Ok(StartedCall::Answered(reply)) => Box::pin(ready(reply)),
            Ok(StartedCall::Pending(pending)) => match timers.relay() {
                Some(relay) => Box::pin(NestedCallFuture::new(pending, timers, relay)),
                None => failed(no_thread),
            },
            Ok(StartedCall::Held(gate)) => match timers.relay() {
                Some(relay) => self.call_once_open(&gate, relay, nested, timers),
                None => failed(no_thread),
            },
            Err(error) => failed(error),
        }
    }

    fn call_wait(&self, nested: &NestedCall<'_>) -> CallReply {
        let pending = loop {
            match self.start_nested(nested)? {
                StartedCall::Answered(reply) => return reply,
                StartedCall::Pending(pending) => break pending,
                StartedCall::Held(gate) => {
                    let left = Time(nested.parent.deadline).since(Time::now());
                    if left.is_zero() {
                        return Err(RequestError::DeadlineExceeded(left).into());
                    }
                    gate.wait(left, &nested.parent.cancelled);
                }
            }
        };

        pending.wait()
    }

    fn call_for_worker(&self, nested: &NestedCall<'_>) -> Box<dyn NestedReply> {
        Box::new(WorkerCall::start(self, nested))
    }
}

#[cfg(test)]
mod tests;

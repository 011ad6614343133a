//! The start of a call from one plugin to a method of another, through the same routes, deadlines
//! and queues as the requests of a client. How the caller waits for the reply is in
//! `nested_caller.rs`.

use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use jackfield_plugin_api::abi::{CallFacts, CallReply, Cancellation, Content, OutgoingCall};
use jackfield_plugin_api::{Error, Run};

use super::dispatcher::Dispatcher;
use super::exhausted_resource::ExhaustedResource;
use super::gate::StateTransferGate;
use super::inline_runner::is_io_thread;
use super::nested_span::NestedSpan;
use super::reply_slot::{SlotSink, into_reply};
use super::request_error::RequestError;
use super::table::{Found, HeldTarget, Requester, RouteTarget};
use crate::clock::Time;
use crate::plugin::{CallPermits, Caller, NestedCall, PluginCall, ReplySlot, cancelled_error};

/// Upper bound for the depth of nested calls. It ends a cycle long before a stack or a queue is
/// full.
const MAX_DEPTH: u32 = 16;

/// A nested call that waits for its reply. Dropping it cancels the call.
pub(super) struct PendingCall {
    slot: Arc<ReplySlot>,
    call: Arc<PluginCall>,
    timeout: Duration,

    /// `None` if the call is not recorded.
    span: Option<NestedSpan>,
}

impl PendingCall {
    /// Returns a call of the program, whose span is recorded with its other accounts.
    pub(super) fn new(slot: Arc<ReplySlot>, call: Arc<PluginCall>, timeout: Duration) -> Self {
        Self { slot, call, timeout, span: None }
    }

    pub(super) fn call(&self) -> &PluginCall {
        &self.call
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Takes the reply if it has arrived.
    pub(super) fn take(&self) -> Option<CallReply> {
        self.slot.take().map(|reply| self.ended(reply))
    }

    /// Takes the reply if it has arrived. Otherwise `waker` is woken when it arrives.
    pub(super) fn poll(&self, waker: &Waker) -> Option<CallReply> {
        self.slot.poll(waker).map(|reply| self.ended(reply))
    }

    /// Waits on this thread for the reply.
    pub(super) fn wait(&self) -> CallReply {
        self.wait_for_slot().map_or_else(|| self.expire(), |reply| self.ended(reply))
    }

    /// Waits on this thread until the slot is filled, the call is cancelled, or the deadline has
    /// passed, which returns `None`.
    pub(super) fn wait_for_slot(&self) -> Option<CallReply> {
        self.slot.wait(self.timeout)
    }

    /// Ends a call of the program at its deadline, as that of a request.
    pub(super) fn expire_at_depth_0(&self) {
        if self.call.facts.is_deadline_of_client() {
            self.call.cancel_early();
        } else {
            self.call.generation.record_timeout(self.call.decided_trial());
            self.call.cancel();
        }
    }

    /// Returns what the caller gets. If it is cancelled at its deadline, that is also the deadline
    /// of this call, and the error does not depend on which of them is noticed first.
    fn ended(&self, reply: CallReply) -> CallReply {
        match reply {
            Err(_) if self.slot.is_cancelled() && Time::now() >= self.deadline() => self.expire(),
            reply => reply,
        }
    }

    /// Returns the error that the caller gets at the deadline. A trial call of a circuit breaker
    /// that is late for the host has failed; one that is late for its caller alone is undecided.
    pub(super) fn expire(&self) -> CallReply {
        if !self.call.facts.is_deadline_of_client()
            && let Some(trial) = self.call.decided_trial()
        {
            self.call.generation.record_timeout(Some(trial));
        }
        Err(RequestError::DeadlineExceeded(self.timeout).into())
    }

    pub(super) fn deadline(&self) -> Time {
        Time(self.call.facts.deadline)
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        let is_missing = self.slot.abandon();
        if is_missing {
            self.call.cancel_early();
        }
        if let Some(span) = self.span.take() {
            span.end(&self.call, (!is_missing).then(|| self.slot.error()));
        }
    }
}

pub(super) enum StartedCall {
    Answered(CallReply),
    Pending(PendingCall),

    /// The called plugin is being replaced: start again when this gate is open.
    Held(Arc<StateTransferGate>),
}

/// A call that is started when a gate opens. State transfers are rare, so it does not matter that
/// everything borrowed is copied.
pub(super) struct HeldCall {
    plugin: Arc<str>,
    parent: CallFacts<'static>,
    method: String,
    params: Vec<u8>,
    content: Content,
    timeout: Option<Duration>,
    is_waiting: bool,
}

impl HeldCall {
    pub(super) fn of(nested: &NestedCall<'_>) -> Self {
        let NestedCall { plugin, parent, call, is_waiting } = *nested;
        let parent = CallFacts {
            deadline: parent.deadline,
            host_deadline: parent.host_deadline,
            id: parent.id.to_owned(),
            depth: parent.depth,
            run: parent.run,
            trial: None,
            cancelled: Cancellation::default(),
            content: parent.content,
            caller: parent.caller.to_shared(),
            context: parent.context.clone(),
        };
        let (method, params) = (call.method.to_owned(), call.params.to_owned());
        let (content, timeout) = (call.content, call.timeout);
        Self { plugin: Arc::clone(plugin), parent, method, params, content, timeout, is_waiting }
    }

    pub(super) fn as_nested(&self) -> NestedCall<'_> {
        let Self { plugin, parent, method, params, content, timeout, is_waiting } = self;
        let call = OutgoingCall { method, params, content: *content, timeout: *timeout };
        NestedCall { plugin, parent, call, is_waiting: *is_waiting }
    }

    /// Returns the deadline of the caller.
    pub(super) fn deadline(&self) -> Time {
        Time(self.parent.deadline)
    }
}

/// Returns where the call goes although its plugin is being replaced; `None` if it must wait.
///
/// A replacement waits for the running calls of its plugin, so their nested calls must not wait for
/// the replacement. If the previous generation is not stopped, it does not wait for `async` calls,
/// whose changes would be lost now.
fn target_in<'t>(nested: &NestedCall<'_>, held: &'t HeldTarget) -> Option<&'t RouteTarget> {
    let is_own_plugin = *held.plugin == **nested.plugin;
    let is_awaited = is_own_plugin && (held.awaits_async || nested.parent.run != Run::Async);
    held.previous.as_ref().filter(|_| is_awaited)
}

/// The deadlines of a nested call.
struct NestedDeadlines {
    /// That of the caller, or an earlier one.
    effective: Time,
    /// That of the caller by the limits of the host, or an earlier one by the route.
    of_host: Time,
}

impl NestedDeadlines {
    /// # Errors
    ///
    /// The caller has no time left.
    fn of(nested: &NestedCall<'_>, target: &RouteTarget, now: Time) -> Result<Self, RequestError> {
        let timeout = nested.call.timeout.map_or(target.timeout, |timeout| timeout.min(target.timeout));
        let effective = now.after(timeout).min(Time(nested.parent.deadline));
        if effective <= now {
            return Err(RequestError::DeadlineExceeded(timeout));
        }
        let of_host = now.after(target.timeout).min(Time(nested.parent.host_deadline));
        Ok(Self { effective, of_host })
    }
}

/// Returns the error for a call of a method that was cancelled itself.
fn refused(parent: &CallFacts<'_>) -> CallReply {
    if Time::now().0 >= parent.deadline {
        return Err(RequestError::DeadlineExceeded(Duration::ZERO).into());
    }
    Err(cancelled_error())
}

/// Admits a call to its generation and its route.
pub(super) fn admit(target: &RouteTarget, now: Time) -> Result<CallPermits, RequestError> {
    let trial = target.generation.admit(now).map_err(|retry_after| {
        RequestError::unavailable_for(&target.generation.identity.plugin, retry_after)
    })?;
    let route = match &target.permits {
        Some(permits) => Some(permits.take().ok_or(RequestError::Overloaded(ExhaustedResource::Route))?),
        None => None,
    };
    Ok(CallPermits::new(route, trial))
}

impl Dispatcher {
    /// Starts a call.
    ///
    /// # Errors
    ///
    /// Why it was not accepted.
    pub(super) fn start_nested(&self, nested: &NestedCall<'_>) -> Result<StartedCall, RequestError> {
        self.try_start_nested(nested).inspect_err(|error| self.record_refused(nested, error))
    }

    fn try_start_nested(&self, nested: &NestedCall<'_>) -> Result<StartedCall, RequestError> {
        let parent = nested.parent;
        if parent.depth >= MAX_DEPTH {
            return Err(RequestError::TooDeep(MAX_DEPTH));
        }
        if parent.cancelled.ends_nested() {
            return Ok(StartedCall::Answered(refused(parent)));
        }

        let table = self.table.load();
        let target = match table.find(nested.call.method, Requester::Plugin)? {
            Found::Open(target) => target,
            Found::Held(held) => match target_in(nested, held) {
                Some(target) => target,
                None if nested.is_waiting && !parent.may_wait() => {
                    return Err(RequestError::unavailable(&held.plugin));
                }
                None => return Ok(StartedCall::Held(Arc::clone(&held.gate))),
            },
        };
        let run = target.run();
        if nested.is_waiting && run != Run::Inline && !parent.may_wait() {
            return Err(RequestError::WouldWait(nested.call.method.to_owned()));
        }

        let now = Time::now();
        let deadlines = NestedDeadlines::of(nested, target, now)?;
        let permits = admit(target, now)?;
        let facts = CallFacts {
            deadline: deadlines.effective.0,
            host_deadline: deadlines.of_host.0,
            id: parent.id.to_owned(),
            depth: parent.depth + 1,
            run,
            trial: permits.trial_number(),
            cancelled: Cancellation::default(),
            content: nested.call.content,
            caller: parent.caller.to_shared(),
            context: self.nested_context(parent),
        };
        let plugin = target.generation.identity.plugin.to_string();
        if run == Run::Inline && is_io_thread() {
            let mut out = Vec::new();
            let end = target.generation.run_inline(target.method, &facts, nested.call.params, &mut out);
            let reply = into_reply(end, out, &plugin);
            let error = reply.as_ref().err().map(Error::code);
            self.record_nested(&facts, &target.generation, target.method, now, error);
            return Ok(StartedCall::Answered(reply));
        }

        let span = self.begin_nested_span(&facts, now);
        let slot = Arc::new(ReplySlot::default());
        let sink = SlotSink { slot: Arc::clone(&slot), plugin };
        let generation = Arc::clone(&target.generation);
        let caller = Caller::Plugin(Arc::clone(nested.plugin));
        let call: Arc<PluginCall> = PluginCall::new(
            Arc::new(facts),
            generation,
            target.method,
            nested.call.params,
            sink,
            permits,
            caller,
        );
        self.submit_nested(&call, run)?;
        let listener: Weak<ReplySlot> = Arc::downgrade(&slot);
        parent.cancelled.notify(listener);
        let timeout = deadlines.effective.since(now);
        Ok(StartedCall::Pending(PendingCall { slot, call, timeout, span }))
    }

    fn submit_nested(&self, call: &Arc<PluginCall>, run: Run) -> Result<(), RequestError> {
        if run == Run::Inline {
            let runner = self.inline_runner.get().and_then(Weak::upgrade);
            let is_accepted = runner.is_some_and(|runner| runner.run_inline(Arc::clone(call)));
            return if is_accepted { Ok(()) } else { Err(RequestError::GoingAway) };
        }
        let generation = &call.generation;
        generation
            .submit(run, &mut std::iter::once(Arc::clone(call)))
            .map_err(|error| RequestError::not_submitted(error, &generation.identity.plugin))
    }
}

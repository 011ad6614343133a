//! A call that leaves the I/O thread of its request: it waits for a thread of its generation, or
//! runs on one.
//!
//! Three parties share it. The connection may cancel it, an executor runs it, and its [`ReplySink`]
//! takes the result. It holds its generation, so that a generation is not retired before its calls
//! have ended.
//!
//! ```text
//!    Waiting ────── claim ─────► Running ──┬─ cancel ───► Cancelled
//!       │                                  └─ abandon ──► Abandoned
//!    cancel, abandon, or the deadline
//!    passed before the claim
//!       └─────────► Over
//! ```
//!
//! A call that ends without being cancelled stays `Running`; nothing asks for its state any more.
//! A method may continue to run although its call was cancelled or abandoned. It is supervised by
//! the deadline of the host nevertheless. Its nested calls are cancelled with it, unless only the
//! connection of its client has ended.
//!
//! This file and the executors do not know the generation. They use it through [`CallTarget`].

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{CallEnd, CallFacts, PluginFuture};
use jackfield_protocol::ReplyHead;

use super::caller::Caller;
use super::circuit_breaker::TrialPermit;
use crate::clock::Time;
use crate::crash_record::RunningCode;
use crate::limits::Permit;

/// Takes the result of a call: exactly once, or never if the call was cancelled first.
pub(crate) trait ReplySink: Send + Sync + 'static {
    /// Writes what precedes a result, if anything.
    fn open(&self, out: &mut Vec<u8>) -> Option<ReplyHead>;

    /// Takes the end of the call. After `Done`, the result follows what `open` wrote. The sink may
    /// leave any bytes in `out`; the caller discards them.
    fn close(&self, head: Option<ReplyHead>, out: &mut Vec<u8>, end: CallEnd);
}

/// The operations of a generation that calls and executors need.
pub(crate) trait CallTarget: Send + Sync + 'static {
    /// Returns the entry that the crash record has while the method runs.
    fn running_code(&self, method: u32, facts: &CallFacts<'_>) -> RunningCode;

    /// Returns the upper bound for a result, in bytes.
    fn reply_limit(&self) -> usize;

    /// Runs an `inline` or `blocking` method to its end on this thread.
    fn run(&self, method: u32, facts: &CallFacts<'_>, params: &[u8], out: &mut Vec<u8>) -> CallEnd;

    /// Starts an `async` method on this thread and returns its future.
    ///
    /// # Errors
    ///
    /// The end of the call, if it ended before there was a future.
    fn start_future(
        &self,
        method: u32,
        facts: &Arc<CallFacts<'static>>,
        params: &[u8],
    ) -> Result<PluginFuture, CallEnd>;

    /// Records the first poll of an `async` method, and the time since its future was started.
    fn record_first_poll(&self, method: u32, is_ready: bool, length: Duration);

    /// Returns the name of a method.
    fn method_name(&self, method: u32) -> &str;

    /// Records that a call whose caller has gone runs past its deadline.
    fn record_abandoned_timeout(&self, facts: &CallFacts<'_>);

    /// Records the end of an `async` call.
    fn record_end(&self, method: u32, facts: &CallFacts<'_>, end: &CallEnd);

    /// Counts a call that waits for a thread or runs on one, `async` calls excepted.
    fn add_direct_call(&self);

    /// Ends what [`CallTarget::add_direct_call`] counted.
    fn remove_direct_call(&self);
}

/// The permits that a call holds until its method has ended, not only until the reply.
#[derive(Default)]
pub(crate) struct CallPermits {
    /// `None` if its route has no limit.
    _route: Option<Permit>,

    /// `None` if it is no trial call of the circuit breaker.
    trial: Option<TrialPermit>,
}

impl CallPermits {
    pub(crate) fn new(route: Option<Permit>, trial: Option<TrialPermit>) -> Self {
        Self { _route: route, trial }
    }

    /// Returns the number of the trial, for the facts of the call.
    pub(crate) fn trial_number(&self) -> Option<NonZeroU64> {
        self.trial.as_ref().map(TrialPermit::number)
    }
}

/// Bytes of capacity that a thread's output buffer keeps for the next call.
const KEPT_CAPACITY: usize = 64 * 1024;

/// The state of a call; see the diagram above.
#[repr(u8)]
enum CallState {
    Waiting,
    Running,

    /// It will not run.
    Over,

    /// It has run, and its result is not wanted.
    Cancelled,

    /// As `Cancelled`, and before the deadline of the host: the caller has gone, has cancelled the
    /// call, or waited less long.
    Abandoned,
}

/// A call of generation type `G`. The sink is a part of it, so that a call is one allocation.
pub(crate) struct Call<G: CallTarget, A: ?Sized = dyn ReplySink> {
    pub(crate) facts: Arc<CallFacts<'static>>,
    pub(crate) generation: Arc<G>,
    pub(crate) method: u32,
    pub(crate) params: Box<[u8]>,

    pub(super) caller: Caller,
    permits: CallPermits,

    state: AtomicU8,

    /// When the call started, in nanoseconds of the clock; 0 before that.
    started_at: AtomicU64,

    /// Wakes the task of an `async` call, so that it notices the cancellation.
    task: OnceLock<Waker>,

    pub(super) sink: A,
}

impl<G: CallTarget, A: ReplySink> Call<G, A> {
    /// Creates a call that waits to be submitted.
    pub(crate) fn new(
        facts: Arc<CallFacts<'static>>,
        generation: Arc<G>,
        method: u32,
        params: &[u8],
        sink: A,
        permits: CallPermits,
        caller: Caller,
    ) -> Arc<Self> {
        if facts.run != Run::Async {
            generation.add_direct_call();
        }

        Arc::new(Self {
            facts,
            generation,
            method,
            params: params.into(),
            caller,
            permits,
            state: AtomicU8::new(CallState::Waiting as u8),
            started_at: AtomicU64::new(0),
            task: OnceLock::new(),
            sink,
        })
    }
}

impl<G: CallTarget> Call<G> {
    /// Runs an `inline` or `blocking` method to its end on this thread and reports the result,
    /// unless the call is over already.
    pub(crate) fn claim_and_run(&self) {
        if self.claim() {
            self.run(&mut Vec::new());
        }
    }

    /// Runs a call that was claimed. `out` is the buffer of this thread.
    pub(super) fn run(&self, out: &mut Vec<u8>) {
        let head = self.sink.open(out);
        let end = self.generation.run(self.method, &self.facts, &self.params, out);
        self.sink.close(head, out, end);
        out.clear();
        out.shrink_to(KEPT_CAPACITY);
    }

    /// Takes the right to run the call, and returns whether that succeeded: not if the call was
    /// cancelled, or waited past its deadline.
    pub(super) fn claim(&self) -> bool {
        let now = Time::now();
        if now.0 >= self.facts.deadline {
            self.end(CallState::Cancelled);
            return false;
        }
        self.mark_started(now);
        let (waiting, running) = (CallState::Waiting as u8, CallState::Running as u8);
        self.state.compare_exchange(waiting, running, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Sets the time at which the call started.
    pub(crate) fn mark_started(&self, now: Time) {
        self.started_at.store(now.0, Ordering::Relaxed);
    }

    /// Returns the time at which the call started; `None` if it has not.
    pub(crate) fn started_at(&self) -> Option<Time> {
        Some(Time(self.started_at.load(Ordering::Relaxed))).filter(|started| started.0 > 0)
    }

    /// Cancels the call, because nothing waits for its result any more. A waiting call never
    /// starts, the future of an `async` call is dropped, and the result of any other call is
    /// discarded.
    pub(crate) fn cancel(&self) {
        self.cancel_as(CallState::Cancelled);
    }

    /// Cancels the call before the deadline of the host, because its caller has cancelled it or
    /// waited less long. The plugin is not at fault, unless the method runs past that deadline.
    pub(crate) fn cancel_early(&self) {
        self.cancel_as(CallState::Abandoned);
    }

    /// Cancels the call as [`Call::cancel_early`] does, because the connection of its client has
    /// ended. A method that runs may still call others to complete its work.
    pub(crate) fn abandon(&self) {
        self.end(CallState::Abandoned);
        self.facts.cancelled.abandon();
        self.wake();
    }

    fn cancel_as(&self, state: CallState) {
        // The state comes first: a task that is woken by the end of a nested call must find it.
        self.end(state);
        self.facts.cancelled.set();
        self.wake();
    }

    /// Wakes the task of an `async` call, so that it notices its end.
    fn wake(&self) {
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }

    /// Ends the call: in `state` if it has run, else as `Over`. Only the first end counts. A call
    /// that has not run, or whose end is not the plugin's fault, decides no trial of the circuit
    /// breaker: the next call is the trial.
    fn end(&self, state: CallState) {
        const WAITING: u8 = CallState::Waiting as u8;
        const RUNNING: u8 = CallState::Running as u8;
        let is_undecided = matches!(state, CallState::Abandoned);
        let state = state as u8;
        let next = |current| match current {
            WAITING => Some(CallState::Over as u8),
            RUNNING => Some(state),
            _ => None,
        };

        let previous = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        if (previous == Ok(WAITING) || (previous == Ok(RUNNING) && is_undecided))
            && let Some(trial) = &self.permits.trial
        {
            trial.release();
        }
    }

    /// Returns the trial of the circuit breaker that the call decides; `None` if it has not
    /// started.
    pub(crate) fn decided_trial(&self) -> Option<NonZeroU64> {
        self.facts.trial.filter(|_| self.started_at().is_some())
    }

    /// Returns whether the call was cancelled, or waited past its deadline.
    pub(super) fn is_over(&self) -> bool {
        self.state.load(Ordering::Acquire) >= CallState::Over as u8
    }

    /// Returns whether the call was over before it was claimed, so that its method never runs.
    pub(super) fn never_runs(&self) -> bool {
        self.state.load(Ordering::Acquire) == CallState::Over as u8
    }

    /// Returns whether nobody waits for the method although it runs, and the deadline of the host
    /// had not passed then.
    pub(super) fn is_abandoned(&self) -> bool {
        self.state.load(Ordering::Acquire) == CallState::Abandoned as u8
    }

    /// Returns whether the method was started and the deadline of the host has passed.
    pub(super) fn is_overdue(&self, now: Time) -> bool {
        let state = self.state.load(Ordering::Acquire);
        let was_claimed = state != CallState::Waiting as u8 && state != CallState::Over as u8;
        was_claimed && now.0 >= self.facts.host_deadline
    }

    /// Sets the waker that [`Call::cancel`] uses.
    pub(super) fn wake_on_cancel(&self, task: Waker) {
        // A call becomes a task once, so a second waker would wake the same task.
        let _ = self.task.set(task);
        // The call may have been cancelled since it was submitted.
        if self.is_over()
            && let Some(task) = self.task.get()
        {
            task.wake_by_ref();
        }
    }
}

impl<G: CallTarget, A: ?Sized> Drop for Call<G, A> {
    fn drop(&mut self) {
        if self.facts.run != Run::Async {
            self.generation.remove_direct_call();
        }
    }
}

#[cfg(test)]
mod tests;

//! How the methods of a generation run: the interface that connections and nested calls use.
//!
//! A caller asks [`Generation::effective_run`] how a method runs at the moment, and then uses one
//! of four entries. It does not learn where the method runs beyond that.
//!
//! - [`Generation::run_inline`] runs an `inline` method and returns its end.
//! - [`Generation::poll_first`] starts an `async` method, if [`Generation::allows_inline_polling`],
//!   and returns its end or a [`SuspendedCall`].
//! - [`Generation::resume`] continues a suspended call. Its end is reported to its sink.
//! - [`Generation::submit`] is for every other call. Its end is reported to its sink.
//!
//! `run_inline` and `poll_first` occupy the calling thread, so only I/O threads and threads of
//! plugins may use them. `submit` and `resume` never block; they fail at once if the queue is full
//! or no thread is left. Results that are reported to a sink come from another thread, exactly once
//! per call that was accepted and not cancelled. A generation in a worker process has no `inline`
//! methods and allows no inline polling, so it is only asked to `submit`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::Duration;

use jackfield_plugin_api::abi::{CallEnd, CallFacts, PluginFuture};
use jackfield_plugin_api::{INTERNAL_ERROR, Run, is_reserved};

use super::call::CallTarget;
use super::failure_log::FailureLog;
use super::generation::{Generation, PluginCall};
use super::pool_state::SubmitError;
use super::runtime::Runtime;
use crate::clock::Time;
use crate::crash_record::{RunningCode, run_recorded};

/// A call that was started by [`Generation::poll_first`] and has not ended. Only
/// [`Generation::resume`] continues it.
pub(crate) struct SuspendedCall(PluginFuture);

impl Generation {
    /// Runs a method to its end on this thread, and returns how it ended. After `Done`, the result
    /// is appended to `out`.
    pub(crate) fn run_inline(
        &self,
        method: u32,
        facts: &CallFacts<'_>,
        params: &[u8],
        out: &mut Vec<u8>,
    ) -> CallEnd {
        let Runtime::InProcess(own) = &self.runtime else { return not_in_process() };
        let end = run_recorded(self.running_code(method, facts), facts.id.known(), || {
            own.instance.call(method, facts, params, out, self.reply_limit)
        });
        self.record_end(method, facts, &end);
        end
    }

    /// Runs a method as [`Generation::run_inline`] does, on a thread of the embedding program.
    pub(crate) fn run_on_program_thread(
        &self,
        method: u32,
        facts: &CallFacts<'_>,
        params: &[u8],
        out: &mut Vec<u8>,
    ) -> CallEnd {
        if !self.ran_on_program_threads.load(Ordering::Relaxed) {
            // The caller holds the generation, so that its retirement sees this.
            self.ran_on_program_threads.store(true, Ordering::Release);
        }
        self.run_inline(method, facts, params, out)
    }

    /// Starts an `async` method and polls its future once on this thread. After `Done`, the result
    /// is appended to `out`.
    ///
    /// # Errors
    ///
    /// The suspended call, if the future is not ready. Nothing wakes it, so it must be passed to
    /// [`Generation::resume`] at once.
    pub(crate) fn poll_first(
        &self,
        method: u32,
        facts: &Arc<CallFacts<'static>>,
        params: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<CallEnd, SuspendedCall> {
        let Runtime::InProcess(own) = &self.runtime else { return Ok(not_in_process()) };
        let end = run_recorded(self.running_code(method, facts), facts.id.known(), || {
            let mut future = match own.instance.begin(method, facts, params) {
                Ok(future) => future,
                Err(end) => return Ok(end),
            };
            match future.poll(Waker::noop(), out, self.reply_limit) {
                Poll::Ready(end) => Ok(end),
                Poll::Pending => Err(SuspendedCall(future)),
            }
        })?;
        self.record_end(method, facts, &end);
        Ok(end)
    }

    /// Continues a call that [`Generation::poll_first`] has started, on the generation's async
    /// thread.
    ///
    /// # Errors
    ///
    /// There is no such thread. The call has been dropped.
    pub(crate) fn resume(&self, call: &Arc<PluginCall>, suspended: SuspendedCall) -> Result<(), SubmitError> {
        match &self.runtime {
            Runtime::InProcess(own) => own.resume(call, suspended.0),
            // No call of a worker is ever suspended here.
            Runtime::Worker(_) => Err(SubmitError::ThreadsLost),
        }
    }

    /// Logs why a call of a method failed.
    pub(crate) fn log_failure(&self, method: u32, facts: &CallFacts<'_>, detail: &str) {
        self.failure_log().log_failure(detail, self.method_name(method), Some(facts.id.text()));
    }

    fn failure_log(&self) -> FailureLog<'_> {
        FailureLog { plugin: &self.identity.plugin, generation: self.identity.number }
    }

    /// Submits calls to what runs their methods. All of them must run in the way `run`.
    ///
    /// # Errors
    ///
    /// Why the first call that is left in `calls` was not accepted.
    pub(crate) fn submit(
        &self,
        run: Run,
        calls: &mut impl ExactSizeIterator<Item = Arc<PluginCall>>,
    ) -> Result<(), SubmitError> {
        match &self.runtime {
            Runtime::InProcess(own) => own.submit(run, calls),
            Runtime::Worker(worker) => worker.submit(run, calls),
        }
    }
}

impl CallTarget for Generation {
    fn running_code(&self, method: u32, _facts: &CallFacts<'_>) -> RunningCode {
        RunningCode::new(self.identity.number, method)
    }

    fn reply_limit(&self) -> usize {
        self.reply_limit
    }

    fn run(&self, method: u32, facts: &CallFacts<'_>, params: &[u8], out: &mut Vec<u8>) -> CallEnd {
        self.run_inline(method, facts, params, out)
    }

    fn start_future(
        &self,
        method: u32,
        facts: &Arc<CallFacts<'static>>,
        params: &[u8],
    ) -> Result<PluginFuture, CallEnd> {
        let Runtime::InProcess(own) = &self.runtime else { return Err(not_in_process()) };
        own.instance.begin(method, facts, params).inspect_err(|end| self.record_end(method, facts, end))
    }

    fn record_first_poll(&self, method: u32, is_ready: bool, length: Duration) {
        Generation::record_first_poll(self, method, is_ready, length);
    }

    fn method_name(&self, method: u32) -> &str {
        Generation::method_name(self, method)
    }

    fn record_abandoned_timeout(&self, facts: &CallFacts<'_>) {
        // The time-out of a nested call is the choice of its caller, and says little about the
        // method.
        if facts.depth == 0 {
            self.count_timeout(facts.trial);
        }
    }

    /// Counts the end for the probation and the circuit breaker, unless the call was cancelled, and
    /// logs a panic.
    fn record_end(&self, method: u32, facts: &CallFacts<'_>, end: &CallEnd) {
        if !is_cancelled(facts) {
            if let Some(probation) = &self.probation {
                probation.count(end);
            }
            let is_late = facts.trial.is_some() && Time::now().0 > facts.host_deadline;
            let has_failed = matches!(end, CallEnd::Panicked(_) | CallEnd::Crashed(_));
            self.count_for_breaker(is_late || has_failed, facts.trial);
        }

        match end {
            CallEnd::Panicked(text) => {
                self.failure_log().log_panic_at_end((method, self.method_name(method)), facts, text);
            }
            // The plugin API replaces such a code itself, and logs that.
            CallEnd::Failed { code, message, .. } if is_reserved(*code) => {
                let detail =
                    format!("{message} (the code {code} is reserved, so the reply has {INTERNAL_ERROR})");
                self.log_failure(method, facts, &detail);
            }
            // The end of a worker process is logged once, and not for each of its calls.
            CallEnd::Failed { .. } | CallEnd::Done | CallEnd::DoneBytes | CallEnd::Crashed(_) => {}
        }
    }

    fn add_direct_call(&self) {
        self.direct_calls.fetch_add(1, Ordering::AcqRel);
    }

    fn remove_direct_call(&self) {
        self.direct_calls.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Returns whether nobody waits for a call any more. A method that notices this, or whose nested
/// calls end with it, may well fail: that says nothing about the plugin.
fn is_cancelled(facts: &CallFacts<'_>) -> bool {
    // The deadline of a client may pass a moment before its connection notices.
    facts.cancelled.is_set() || (facts.is_deadline_of_client() && Time::now().0 >= facts.deadline)
}

/// Returns the end of a call that was to run in this process although its plugin does not. No
/// caller asks for that: see the module documentation.
#[cold]
fn not_in_process() -> CallEnd {
    let message = "the plugin does not run in the host".to_owned();
    CallEnd::Failed { code: INTERNAL_ERROR, message, data: None }
}

#[cfg(test)]
mod tests;

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
//! per call that was accepted and not cancelled. A generation that does not run in this process
//! would offer `submit` alone: it would have no `inline` methods and would not allow inline
//! polling.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::Duration;

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{CallEnd, CallFacts, PluginFuture};

use super::call::CallTarget;
use super::generation::{Generation, GenerationId, PluginCall};
use super::pool_state::SubmitError;
use crate::crash_record::{RunningCode, running};
use crate::log::printable;

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
        let end = running(self.running_code(method), facts.id.known(), || {
            self.instance.call(method, facts, params, out, self.reply_limit)
        });
        self.record_end(method, facts, &end);
        end
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
        let end = running(self.running_code(method), facts.id.known(), || {
            let mut future = match self.instance.begin(method, facts, params) {
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
        if self.async_executor.resume(call, suspended.0) { Ok(()) } else { Err(SubmitError::QueueFull) }
    }

    /// Submits calls to the threads that run their methods. All of them must run in the way `run`.
    ///
    /// # Errors
    ///
    /// Why the first call that is left in `calls` was not accepted.
    pub(crate) fn submit(
        &self,
        run: Run,
        calls: &mut impl ExactSizeIterator<Item = Arc<PluginCall>>,
    ) -> Result<(), SubmitError> {
        match (run, &self.blocking_pool) {
            (Run::Async, _) if self.async_executor.submit(calls) => Ok(()),
            (Run::Async, _) => Err(SubmitError::QueueFull),
            (_, Some(pool)) => pool.submit(calls),
            // Only a generation with nothing but `async` methods has no pool.
            (_, None) => Err(SubmitError::QueueFull),
        }
    }
}

impl CallTarget for Generation {
    fn running_code(&self, method: u32) -> RunningCode {
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
        self.instance.begin(method, facts, params).inspect_err(|end| self.record_end(method, facts, end))
    }

    fn record_first_poll(&self, method: u32, is_ready: bool, length: Duration) {
        Generation::record_first_poll(self, method, is_ready, length);
    }

    /// Counts the end for the probation and the circuit breaker, and logs a panic.
    fn record_end(&self, method: u32, facts: &CallFacts<'_>, end: &CallEnd) {
        if let Some(probation) = &self.probation {
            probation.count(end);
        }
        self.count_for_breaker(matches!(end, CallEnd::Panicked(_)));

        if let CallEnd::Panicked(text) = end {
            let GenerationId { plugin, number, .. } = &self.identity;
            tracing::error!(
                id = &*printable(facts.id.text()),
                method = self.method_name(method),
                plugin = &**plugin,
                generation = number,
                "a method panicked: {}",
                printable(text)
            );
        }
    }

    fn add_direct_call(&self) {
        self.direct_calls.fetch_add(1, Ordering::AcqRel);
    }

    fn remove_direct_call(&self) {
        self.direct_calls.fetch_sub(1, Ordering::AcqRel);
    }
}

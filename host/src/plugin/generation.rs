//! A generation: one loaded copy of one plugin, with its instance, its threads, and an end that is accounted for.
//!
//! A request that leaves its connection's thread holds its generation, so the last holder decides nothing: who
//! retires a generation waits until it is the only one, and then owns it (`end.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{CallEnd, CallFacts, Instance, PluginFuture};
use jackfield_plugin_api::manifest::DeclaredMethod;

use super::async_executor::AsyncExecutor;
use super::blocking_pool::{BlockingPool, SubmitError};
use super::call::PluginCall;
use super::circuit_breaker::CircuitBreaker;
use super::inline_demotion::InlineDemotion;
use super::inline_polling::InlinePollPolicy;
use super::probation::Probation;
use crate::crash_record::{CrashRecord, LifecyclePhase, RegisteredGeneration, RunningCode, running};
use crate::loader::{KeptImage, LoadError, LoadedLibrary, VerifiedSignature};
use crate::log::printable;

/// What tells one generation from another.
#[derive(Debug, Clone)]
pub(crate) struct GenerationId {
    /// The plugin's name.
    pub(crate) plugin: Arc<str>,
    /// Counts the generations of this process, from 1.
    pub(crate) number: u64,
    /// The content's hash; empty for methods that are part of the program.
    pub(crate) hash: String,
    /// The linker's build id, if it gave one.
    pub(crate) build_id: Option<String>,
    /// The package's version, as the manifest says.
    pub(crate) version: String,
}

/// One loaded copy of one plugin.
pub(crate) struct Generation {
    pub(crate) identity: GenerationId,
    pub(crate) methods: Vec<DeclaredMethod>,
    pub(super) instance: Instance,
    pub(super) workers: Option<BlockingPool>,
    /// Threads for its `blocking` methods, once it has any.
    pub(super) threads: usize,
    pub(super) breaker: CircuitBreaker,
    pub(super) slow: InlineDemotion,
    pub(super) prompt: InlinePollPolicy,
    /// I/O threads that its `inline` methods hold up just now, as far as that was noticed.
    pub(super) holding: AtomicUsize,
    pub(super) executor: Arc<AsyncExecutor>,
    reply_limit: usize,
    /// Calls of `inline` and `blocking` methods that wait for a thread, or run on one of the generation's own.
    direct: AtomicUsize,
    /// `None` for methods that are part of the program, and for what is loaded at the start.
    pub(crate) probation: Option<Probation>,
    /// The layout of the state that the instance can hand over.
    pub(crate) state: Option<u32>,
    /// Dropped last but one: the code that everything above runs. `None` for methods that are part of the program.
    pub(super) loaded: Option<LoadedLibrary>,
    /// The record knows its names for as long as its code may run.
    pub(super) known: RegisteredGeneration,
}

/// What a generation is made of.
pub(crate) struct GenerationParts {
    pub(crate) identity: GenerationId,
    pub(crate) methods: Vec<DeclaredMethod>,
    pub(crate) instance: Instance,
    pub(crate) executor: Arc<AsyncExecutor>,
    pub(crate) loaded: Option<LoadedLibrary>,
    pub(crate) known: RegisteredGeneration,
    /// The threads of `blocking` methods, if there are any.
    pub(super) workers: Option<BlockingPool>,
    /// So many of them, once there are any.
    pub(crate) threads: usize,
    pub(crate) breaker: crate::config::BreakerConfig,
    /// Bytes that a result may have.
    pub(crate) reply_limit: usize,
    pub(crate) probation: Option<Probation>,
}

impl Generation {
    pub(crate) fn new(parts: GenerationParts) -> Self {
        let methods = parts.methods.len();
        Self {
            identity: parts.identity,
            methods: parts.methods,
            instance: parts.instance,
            workers: parts.workers,
            threads: parts.threads,
            breaker: CircuitBreaker::new(parts.breaker),
            slow: InlineDemotion::of(methods),
            prompt: InlinePollPolicy::of(methods),
            holding: AtomicUsize::new(0),
            executor: parts.executor,
            reply_limit: parts.reply_limit,
            direct: AtomicUsize::new(0),
            probation: parts.probation,
            state: parts.loaded.as_ref().and_then(|loaded| loaded.inspection().manifest.state),
            loaded: parts.loaded,
            known: parts.known,
        }
    }

    /// Who signed its file, where keys were trusted when it was loaded.
    pub(crate) fn signed(&self) -> Option<VerifiedSignature> {
        self.loaded.as_ref().and_then(|loaded| loaded.inspection().signed)
    }

    /// Runs an `inline` or `blocking` method on this thread.
    pub(crate) fn run_direct(
        &self,
        method: u32,
        facts: &CallFacts<'_>,
        params: &[u8],
        out: &mut Vec<u8>,
    ) -> CallEnd {
        let end = running(self.what(method), facts.id.known(), || {
            self.instance.call(method, facts, params, out, self.reply_limit)
        });
        self.seen(end, method, facts)
    }

    /// Begins an `async` method and polls its future once, on this thread. A future that is not ready is woken by
    /// nobody until it is polled elsewhere, which must be at once.
    pub(crate) fn run_first(
        &self,
        method: u32,
        facts: &Arc<CallFacts<'static>>,
        params: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<CallEnd, PluginFuture> {
        let end = running(self.what(method), facts.id.known(), || {
            let mut future = match self.instance.begin(method, facts, params) {
                Ok(future) => future,
                Err(end) => return Ok(end),
            };
            match future.poll(Waker::noop(), out, self.reply_limit) {
                Poll::Ready(end) => Ok(end),
                Poll::Pending => Err(future),
            }
        })?;
        Ok(self.seen(end, method, facts))
    }

    /// One of its methods, for the record.
    pub(super) fn what(&self, method: u32) -> RunningCode {
        RunningCode::new(self.identity.number, method)
    }

    pub(super) fn begin(
        &self,
        method: u32,
        facts: &Arc<CallFacts<'static>>,
        params: &[u8],
    ) -> Result<PluginFuture, CallEnd> {
        self.instance.begin(method, facts, params).map_err(|end| self.seen(end, method, facts))
    }

    pub(super) fn reply_limit(&self) -> usize {
        self.reply_limit
    }

    /// A call that will run on a thread of the generation's own.
    pub(super) fn direct_began(&self) {
        self.direct.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn direct_ended(&self) {
        self.direct.fetch_sub(1, Ordering::AcqRel);
    }

    /// Calls of `inline` and `blocking` methods that wait or run, but for those on I/O threads.
    pub(crate) fn direct_calls(&self) -> usize {
        self.direct.load(Ordering::Acquire)
    }

    /// The file's content, to come back to it; `None` for methods that are part of the program.
    pub(crate) fn kept(&self) -> Option<Result<KeptImage, LoadError>> {
        self.loaded.as_ref().map(LoadedLibrary::kept)
    }

    /// Asks something of the instance beside its methods.
    pub(crate) fn ask<T>(&self, errand: LifecyclePhase, what: impl FnOnce(&Instance) -> T) -> T {
        running(errand.of(self.identity.number), None, || what(&self.instance))
    }

    /// The record in which its threads have seats.
    pub(crate) fn crash_record(&self) -> &CrashRecord {
        self.known.crash_record()
    }

    /// A panic is logged where the generation is known.
    pub(super) fn seen(&self, end: CallEnd, method: u32, facts: &CallFacts<'_>) -> CallEnd {
        if let Some(probation) = &self.probation {
            probation.count(&end);
        }
        self.judge(matches!(end, CallEnd::Panicked(_)));
        if let CallEnd::Panicked(text) = &end {
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
        end
    }

    /// The name of a method by its number.
    pub(crate) fn method_name(&self, method: u32) -> &str {
        self.method(method).map_or("?", |method| &method.name)
    }

    /// The way that a method was declared to run, by its number.
    pub(crate) fn declared(&self, method: u32) -> Option<Run> {
        self.method(method).map(|method| method.run)
    }

    fn method(&self, number: u32) -> Option<&DeclaredMethod> {
        self.methods.get(usize::try_from(number).ok()?)
    }

    /// Puts calls on the way that their methods run.
    ///
    /// # Errors
    /// Why the first that is left in `calls` was not taken.
    pub(crate) fn submit(
        &self,
        run: Run,
        calls: &mut impl ExactSizeIterator<Item = Arc<PluginCall>>,
    ) -> Result<(), SubmitError> {
        match (run, &self.workers) {
            (Run::Async, _) if self.executor.submit(calls) => Ok(()),
            (Run::Async, _) => Err(SubmitError::Full),
            (_, Some(workers)) => workers.submit(calls),
            // An inline method is run by who has it in hand; that it is submitted is a fault of the host's.
            (_, None) => Err(SubmitError::Full),
        }
    }

    /// Has a call whose future was begun by [`Generation::run_first`] go on on the generation's thread.
    pub(crate) fn go_on(&self, call: &Arc<PluginCall>, future: PluginFuture) -> Result<(), SubmitError> {
        if self.executor.go_on(call, future) { Ok(()) } else { Err(SubmitError::Full) }
    }
}

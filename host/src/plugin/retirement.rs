//! The retirement of a generation: wait for its calls, join its threads, stop its instance, close
//! its code.
//!
//! Each step must be complete before the next one is sound. If a step does not complete in time,
//! the rest is leaked on purpose: code that something may still run stays in the process. Code in
//! worker processes never stays: they are killed if they do not end.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::Instance;

use super::failure_log::was_panic_logged;
use super::generation::{Generation, GenerationId};
use super::in_process::InProcess;
use super::plugin_thread::{JoinedRunError, run_joined};
use super::runtime::Runtime;
use crate::crash_record::{CrashRecord, LifecyclePhase, RegisteredGeneration, run_recorded};
use crate::loader::{CloseOutcome, LoadedLibrary};
use crate::log::{Counted, printable};

/// Time that threads without work and an instance have to end, unless the host itself ends.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Interval at which a retiring generation checks whether its calls have ended: well below the 100
/// ms that a drain may take.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The instant by which every retirement must end. It is set when the host itself ends.
#[derive(Clone, Default)]
pub(crate) struct EndDeadline(Arc<OnceLock<Instant>>);

impl EndDeadline {
    /// Sets the deadline, for retirements that are under way as well. Only the first call counts.
    pub(crate) fn set(&self, until: Instant) {
        let _ = self.0.set(until);
    }

    fn has_passed(&self) -> bool {
        self.0.get().is_some_and(|until| Instant::now() >= *until)
    }

    /// Returns the deadline for one step that ends without waiting for calls.
    fn of_step(&self) -> Instant {
        self.0.get().copied().unwrap_or_else(|| Instant::now() + END_LIMIT)
    }
}

/// How a generation ended.
#[derive(Debug)]
pub(crate) enum RetirementOutcome {
    /// Its code has left the process, or was not in it: the plugin was built-in, or ran in workers.
    Unloaded,

    /// Its code stays in the process.
    Retained(RetentionReason),
}

/// Why the code of a generation stays in the process.
#[derive(Debug)]
pub(crate) enum RetentionReason {
    /// This many calls of the generation have not ended.
    CallsRunning(usize),

    /// This many threads of the generation have not ended.
    ThreadsRunning(usize),

    /// This many I/O threads that may have run its code have not ended.
    IoThreadsRunning(usize),

    /// The `stop` of the instance did not return.
    StopNotDone(JoinedRunError),

    /// The `start` of the instance did not return.
    StartNotDone,

    /// A thread of an instance that did not start has not ended.
    StartThreadRunning,

    /// The system cannot start a thread to retire it on.
    NoRetirementThread(io::Error),

    /// The loader did not close the code, for this reason.
    NotClosed(String),
}

impl fmt::Display for RetentionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CallsRunning(count) => write!(f, "{} did not end", Counted(*count, "call")),
            Self::ThreadsRunning(count) => {
                write!(f, "{} of the plugin did not end", Counted(*count, "thread"))
            }
            Self::IoThreadsRunning(count) => {
                write!(f, "{} that may run its code did not end", Counted(*count, "I/O thread"))
            }
            Self::StopNotDone(error) => write!(f, "stop failed: {error}"),
            Self::StartNotDone => f.write_str("start did not return"),
            Self::StartThreadRunning => f.write_str("a thread of the plugin did not end"),
            Self::NoRetirementThread(error) => {
                write!(f, "cannot start a thread for its retirement: {error}")
            }
            Self::NotClosed(reason) => f.write_str(reason),
        }
    }
}

/// Replaces the I/O threads. They run `inline` methods, so code that they may have run can only be
/// closed after they have ended.
pub(crate) trait IoThreadReplacer: Send + Sync {
    /// Starts new I/O threads and waits until all threads that existed at the call have ended.
    /// Returns the number of those that did not end before `until`. Blocks.
    fn replace_all(&self, until: Instant) -> usize;
}

impl Generation {
    /// Waits until nothing else holds the generation, and then ends it. Blocks.
    ///
    /// As long as `deadline` is not set, its calls may take as long as they need.
    pub(crate) fn retire(
        generation: Arc<Self>,
        deadline: &EndDeadline,
        io_threads: &dyn IoThreadReplacer,
    ) -> RetirementOutcome {
        let generation = match wait_until_unshared(generation, deadline) {
            Ok(generation) => generation,
            Err(Unowned::Retained(reason)) => return RetirementOutcome::Retained(reason),
            Err(Unowned::Killed) => return RetirementOutcome::Unloaded,
        };

        match generation.stop_now(deadline) {
            Ok(stopped) => stopped.close(deadline, io_threads),
            Err(reason) => RetirementOutcome::Retained(reason),
        }
    }

    /// Ends what runs the code of a generation without calls: its threads and its instance, or its
    /// worker processes. Blocks.
    ///
    /// Everything that the instance held is released when this returns `Ok`; its code may still be
    /// in the process.
    ///
    /// # Errors
    ///
    /// A thread did not end, or the instance did not stop. The code stays in the process.
    pub(crate) fn stop_now(self, deadline: &EndDeadline) -> Result<StoppedGeneration, RetentionReason> {
        let Self { identity, methods, runtime, inline_polling, registration, ran_on_program_threads, .. } =
            self;

        let library = match runtime {
            Runtime::InProcess(own) => match own.end(&identity, registration.crash_record(), deadline) {
                Ok(library) => library,
                Err(reason) => {
                    std::mem::forget(registration);
                    return Err(reason);
                }
            },
            Runtime::Worker(worker) => {
                worker.end(deadline.of_step());
                None
            }
        };

        // Asked only now, because the threads that were just joined record the polls.
        let has_inline_methods = methods.iter().any(|method| method.run == Run::Inline);
        let ran_on_io_threads = has_inline_methods || inline_polling.has_ever_allowed();
        let ran_on_program_threads = ran_on_program_threads.into_inner();
        Ok(StoppedGeneration { identity, ran_on_io_threads, ran_on_program_threads, library, registration })
    }
}

impl InProcess<Generation> {
    /// Joins the threads and stops the instance. Returns the library, if there is one.
    ///
    /// # Errors
    ///
    /// A thread did not end, or the instance did not stop. The library is leaked.
    fn end(
        self,
        identity: &GenerationId,
        crash_record: &CrashRecord,
        deadline: &EndDeadline,
    ) -> Result<Option<LoadedLibrary>, RetentionReason> {
        let Self { instance, threads, unended_threads, library } = self;
        let unended = unended_threads.into_inner();

        let step = deadline.of_step();
        let running = unended + threads.blocking_pool.map_or(0, |pool| pool.join(step));
        if running > 0 {
            std::mem::forget((instance, library));
            let running = running + threads.async_executor.join(deadline.of_step());
            return Err(RetentionReason::ThreadsRunning(running));
        }

        let limit = deadline.of_step().saturating_duration_since(Instant::now());
        if let Err(error) = stop(instance, identity, crash_record, limit) {
            std::mem::forget(library);
            return Err(RetentionReason::StopNotDone(error));
        }

        // After `stop`, which may wait for a thread of the plugin: the async thread wakes it when
        // its sleep or its nested call has ended.
        let running = threads.async_executor.join(deadline.of_step());
        if running > 0 {
            std::mem::forget(library);
            return Err(RetentionReason::ThreadsRunning(running));
        }
        Ok(library)
    }
}

/// A generation without threads and without an instance. Only its code is left.
pub(crate) struct StoppedGeneration {
    pub(crate) identity: GenerationId,

    /// Whether I/O threads may have run its code.
    ran_on_io_threads: bool,

    /// Whether threads of the embedding program have run it. They may live on.
    ran_on_program_threads: bool,

    /// `None` for a plugin that was built-in, or ran in workers.
    library: Option<LoadedLibrary>,
    registration: RegisteredGeneration,
}

impl StoppedGeneration {
    /// Returns the crash record that has the names of the generation.
    pub(crate) fn crash_record(&self) -> &CrashRecord {
        self.registration.crash_record()
    }

    /// Closes the code. Blocks until no I/O thread is left that may have run it.
    pub(crate) fn close(
        self,
        deadline: &EndDeadline,
        io_threads: &dyn IoThreadReplacer,
    ) -> RetirementOutcome {
        let Self { identity, ran_on_io_threads, ran_on_program_threads, library, registration } = self;
        let Some(library) = library else { return RetirementOutcome::Unloaded };

        if ran_on_io_threads {
            let running = io_threads.replace_all(deadline.of_step());
            if running > 0 {
                std::mem::forget((library, registration));
                return RetirementOutcome::Retained(RetentionReason::IoThreadsRunning(running));
            }
        }
        let closing = LifecyclePhase::Close.in_generation(identity.number);
        let close = || if ran_on_program_threads { library.close_beside_threads() } else { library.close() };
        match run_recorded(closing, None, close) {
            CloseOutcome::Unloaded => RetirementOutcome::Unloaded,
            CloseOutcome::Retained(reason) => RetirementOutcome::Retained(RetentionReason::NotClosed(reason)),
        }
    }
}

/// Waits until `generation` is the only reference. If calls still hold the generation at the
/// deadline and its code is in this process, it is leaked: its code is running, or will be called
/// by those holders. Worker processes are killed instead, which ends their calls.
fn wait_until_unshared(
    mut generation: Arc<Generation>,
    deadline: &EndDeadline,
) -> Result<Generation, Unowned> {
    let mut killed_at = None;
    loop {
        generation = match Arc::try_unwrap(generation) {
            Ok(generation) => return Ok(generation),
            Err(shared) => shared,
        };

        if deadline.has_passed() {
            match (&generation.runtime, killed_at) {
                (Runtime::InProcess(_), _) => {
                    let calls = Arc::strong_count(&generation) - 1;
                    std::mem::forget(generation);
                    return Err(Unowned::Retained(RetentionReason::CallsRunning(calls)));
                }
                (Runtime::Worker(worker), None) => {
                    worker.kill();
                    killed_at = Some(Instant::now());
                }
                // A caller that still holds the generation does not end. It is the last to drop it.
                (Runtime::Worker(_), Some(killed_at)) if killed_at.elapsed() >= END_LIMIT => {
                    return Err(Unowned::Killed);
                }
                (Runtime::Worker(_), Some(_)) => {}
            }
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// The end of a generation that others still hold.
enum Unowned {
    Retained(RetentionReason),

    /// Its worker processes were killed.
    Killed,
}

/// Stops an instance on a joined thread, so that everything that `stop` leaves in thread-local
/// values is dropped with the thread.
fn stop(
    instance: Instance,
    identity: &GenerationId,
    crash_record: &CrashRecord,
    limit: Duration,
) -> Result<(), JoinedRunError> {
    let GenerationId { plugin, number, .. } = identity;
    let code = LifecyclePhase::Stop.in_generation(*number);

    let panic = run_joined("stop", crash_record, limit, move || {
        let stopped = run_recorded(code, None, || instance.stop());
        stopped.err().filter(|text| !was_panic_logged(code, text))
    })?;
    if let Some(text) = panic {
        let (plugin, text) = (&**plugin, printable(&text));
        tracing::error!(
            plugin,
            generation = number,
            "plugin {plugin}: generation {number} panicked in stop: {text}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;

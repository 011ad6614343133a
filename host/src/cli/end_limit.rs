//! The hard limit for the end of the process.
//!
//! Each wait of a host that ends has a limit. Code of a plugin can still keep the process: `exit`
//! runs the handlers that the plugin has registered with `atexit`, and takes the lock of the
//! dynamic loader, which other code of the plugin may hold for ever. When the limit has passed, a
//! thread therefore calls `_exit`, which runs no handler and takes no lock.
//!
//! ```text
//! unset ──(first signal)──► host must end ──(host ended)──► exit handlers must end ──► exit
//!                                 │                                  │
//!                                 └───────── limit passed ───────────┴──────────────► _exit
//! ```
//!
//! Only the program does this. The library is embedded in programs that do not end with their host.
#![allow(unsafe_code, reason = "only `_exit` ends a process whose exit handlers or threads are blocked")]

use std::fs;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jackfield::log::ShortDuration;

use super::exit_code::TIMED_OUT;

/// Time for the handlers of `exit` after the host has ended.
const EXIT_LIMIT: Duration = Duration::from_secs(1);

/// The step of the shutdown that has to end in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndStep {
    /// The host ends, after this signal.
    Host(&'static str),
    /// The process runs the handlers of `exit`, and will end with this exit code.
    ExitHandlers(u8),
}

/// A step of the shutdown, and its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StepLimit {
    step: EndStep,
    limit: Duration,
    until: Instant,
}

impl StepLimit {
    /// Logs that the step did not end, and returns the exit code of the process.
    fn report(self) -> u8 {
        let limit = ShortDuration(self.limit);
        match self.step {
            EndStep::Host(signal) => {
                tracing::error!(
                    threads = threads(),
                    "the host did not end within {limit} after {signal}; \
                     the process ends now with exit code {TIMED_OUT}, please report this"
                );
                TIMED_OUT
            }
            EndStep::ExitHandlers(code) => {
                tracing::warn!(
                    "exit handlers of plugins did not return within {limit}; the process ends without them"
                );
                code
            }
        }
    }
}

/// Returns the threads of this process, and in which function of the kernel each of them waits.
fn threads() -> String {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let described = tasks.map(|task| {
        let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        format!("{} ({})", read("comm").trim(), read("wchan"))
    });
    described.collect::<Vec<_>>().join(", ")
}

#[derive(Default)]
struct SharedLimit {
    step: Mutex<Option<StepLimit>>,
    changed: Condvar,
}

impl SharedLimit {
    fn lock(&self) -> MutexGuard<'_, Option<StepLimit>> {
        // A step is always consistent.
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the limit of a step has passed.
    fn wait_until_passed(&self) -> StepLimit {
        let mut step = self.lock();
        loop {
            step = match *step {
                None => self.changed.wait(step).unwrap_or_else(PoisonError::into_inner),
                Some(passed) if Instant::now() >= passed.until => return passed,
                Some(StepLimit { until, .. }) => {
                    let left = until.saturating_duration_since(Instant::now());
                    self.changed.wait_timeout(step, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Ends the process when the limit of a step has passed. There is no limit until one is set.
pub(super) struct EndLimit(Arc<SharedLimit>);

impl EndLimit {
    /// Starts the thread. It must be called before any code of a plugin runs: a thread cannot start
    /// while a plugin holds the lock of the dynamic loader.
    ///
    /// # Errors
    ///
    /// The system cannot start another thread.
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::<SharedLimit>::default();
        let waiting = Arc::clone(&shared);

        thread::Builder::new().name("end-limit".into()).spawn(move || {
            jackfield::touch_thread_locals();
            let code = waiting.wait_until_passed().report();
            // SAFETY: `_exit` has no preconditions, and no code of this process runs after it.
            unsafe { libc::_exit(code.into()) }
        })?;
        Ok(Self(shared))
    }

    /// Sets that the host must end within `limit` after `signal`. An earlier deadline stays.
    pub(super) fn set_for_host(&self, limit: Duration, signal: &'static str) {
        let new = StepLimit { step: EndStep::Host(signal), limit, until: Instant::now() + limit };
        let mut step = self.0.lock();
        if step.is_none_or(|earlier| new.until < earlier.until) {
            *step = Some(new);
            self.0.changed.notify_one();
        }
    }

    /// Sets that the process must end soon, because `main` is about to return `code`.
    pub(super) fn set_for_exit(&self, code: u8) {
        let step = EndStep::ExitHandlers(code);
        *self.0.lock() = Some(StepLimit { step, limit: EXIT_LIMIT, until: Instant::now() + EXIT_LIMIT });
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_earlier_deadline_of_the_host() {
        let limit = EndLimit(Arc::default());
        let step = || limit.0.lock().unwrap();

        limit.set_for_host(Duration::from_secs(60), "SIGTERM");
        limit.set_for_host(Duration::from_secs(3600), "SIGINT");
        assert_eq!(step().step, EndStep::Host("SIGTERM"));

        limit.set_for_host(Duration::from_secs(1), "SIGINT");
        assert_eq!(step().step, EndStep::Host("SIGINT"));
        limit.set_for_exit(3);
        assert_eq!(step().step, EndStep::ExitHandlers(3));
    }

    #[test]
    fn waits_for_the_limit_that_was_set_last() {
        let shared = Arc::<SharedLimit>::default();
        let limit = EndLimit(Arc::clone(&shared));
        limit.set_for_host(Duration::from_secs(3600), "SIGTERM");

        let waits = thread::spawn(move || shared.wait_until_passed());
        limit.set_for_host(Duration::ZERO, "SIGINT");
        assert_eq!(waits.join().unwrap().step, EndStep::Host("SIGINT"));
    }

    #[test]
    fn lists_the_threads_of_the_process() {
        let (end, waits) = std::sync::mpsc::channel::<()>();
        let thread = thread::Builder::new().name("listed".into()).spawn(move || {
            let _ = waits.recv();
        });
        // A thread names itself when it starts.
        while !threads().contains("listed (") {
            thread::yield_now();
        }
        drop(end);
        thread.unwrap().join().unwrap();
    }

    #[test]
    fn reports_the_exit_code_of_the_step() {
        let passed = |step| StepLimit { step, limit: Duration::ZERO, until: Instant::now() };
        assert_eq!(passed(EndStep::Host("SIGTERM")).report(), TIMED_OUT);
        assert_eq!(passed(EndStep::ExitHandlers(0)).report(), 0);
    }
}

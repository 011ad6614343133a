//! The health of a generation: how its failures and its slow methods affect whether and how its
//! methods run.

use std::num::NonZeroU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jackfield_plugin_api::Run;
use jackfield_plugin_api::manifest::DeclaredMethod;

use super::circuit_breaker::{BreakerChange, TrialPermit};
use super::generation::{Generation, GenerationId};
use super::in_process::{InProcess, RuntimeHealth};
use crate::clock::Time;
use crate::log::{Counted, ShortDuration};
use crate::system_failure::WithRemedy;

/// The health of a generation at one moment.
#[derive(Debug, Clone)]
pub(crate) struct GenerationHealth {
    /// Whether its calls are admitted, and none stalls an I/O thread.
    pub(crate) is_healthy: bool,

    /// Threads that run calls past their deadline.
    pub(crate) lost_threads: usize,

    /// I/O threads that its methods stall at this moment.
    pub(crate) stalled_io_threads: usize,

    /// Methods that were declared `inline` and run as `blocking`.
    pub(crate) demoted_methods: Vec<String>,
}

impl Generation {
    /// Records that a call was answered DEADLINE_EXCEEDED. `trial` is the trial of the circuit
    /// breaker that it decides, if it is a trial call and has run.
    pub(crate) fn record_timeout(&self, trial: Option<NonZeroU64>) {
        self.count_timeout(trial);
        // The supervisor of worker processes watches their deadlines itself.
        if let Some(own) = self.runtime.in_process() {
            own.replace_lost_blocking();
        }
    }

    /// Counts a time-out for the probation and the circuit breaker.
    pub(super) fn count_timeout(&self, trial: Option<NonZeroU64>) {
        if let Some(probation) = &self.probation {
            probation.count_timeout();
        }
        self.count_for_breaker(true, trial);
    }

    /// Finds the threads of this process that run calls past their deadline, replaces and reports
    /// them. To be called periodically: nobody may wait for a call any more.
    pub(crate) fn supervise_calls(&self) {
        if let Some(own) = self.runtime.in_process() {
            own.replace_lost();
        }
    }

    /// Returns the number of `inline` and `blocking` calls that wait for a thread or run on one,
    /// except those that run past their deadline.
    pub(crate) fn unfinished_calls(&self) -> usize {
        self.direct_calls().saturating_sub(self.runtime.lost_direct_calls())
    }

    /// Admits one call, and returns its permit if it is the trial call of the circuit breaker.
    ///
    /// # Errors
    ///
    /// The time until the next call can be admitted, if the circuit breaker rejects this one.
    pub(crate) fn admit(&self, now: Time) -> Result<Option<TrialPermit>, Duration> {
        self.breaker.admit(now)
    }

    /// Counts the end of a call for the circuit breaker, and logs when the breaker opens or closes.
    pub(super) fn count_for_breaker(&self, failed: bool, trial: Option<NonZeroU64>) {
        if let Some(change) = self.breaker.count(failed, trial) {
            self.log_breaker_change(change);
        }
    }

    #[cold]
    fn log_breaker_change(&self, change: BreakerChange) {
        let GenerationId { plugin, number: generation, .. } = &self.identity;
        let plugin = &**plugin;

        match change {
            BreakerChange::Opened { open, failures, window } => {
                let (open, window) = (ShortDuration(open), ShortDuration(window));
                tracing::error!(
                    plugin,
                    generation,
                    "plugin {plugin}: circuit breaker opened for {open}: {} in {window}",
                    Counted(failures, "failure")
                );
            }
            BreakerChange::Reopened(open) => {
                let open = ShortDuration(open);
                tracing::error!(
                    plugin,
                    generation,
                    "plugin {plugin}: circuit breaker opened again for {open}: the trial call failed"
                );
            }
            BreakerChange::Closed => {
                tracing::info!(
                    plugin,
                    generation,
                    "plugin {plugin}: circuit breaker closed: the trial call succeeded"
                );
            }
        }
    }

    /// Returns how a method that was declared as `declared` runs at the moment.
    pub(crate) fn effective_run(&self, method: u32, declared: Run) -> Run {
        if declared == Run::Inline && self.inline_demotion.is_demoted(method) {
            Run::Blocking
        } else {
            declared
        }
    }

    /// Returns whether an I/O thread may poll this `async` method first.
    pub(crate) fn allows_inline_polling(&self, method: u32) -> bool {
        self.inline_polling.allows(method)
    }

    /// Records the first poll of an `async` method, and the time since its future was started.
    pub(crate) fn record_first_poll(&self, method: u32, is_ready: bool, length: Duration) {
        self.inline_polling.record_poll(method, is_ready, length);
    }

    /// Records that an `inline` method has occupied an I/O thread for longer than
    /// `timeouts.inline`. The method is demoted if that happens repeatedly.
    #[cold]
    pub(crate) fn record_inline_overrun(&self, method: u32, length: Duration) {
        let GenerationId { plugin, number, .. } = &self.identity;
        let plugin = &**plugin;
        let name = self.method_name(method);

        let length = ShortDuration(length);

        if !self.inline_demotion.record_overrun(method, Time::now()) {
            tracing::warn!(
                plugin,
                generation = number,
                method = name,
                "plugin {plugin}: {name} is inline but ran {length}, longer than timeouts.inline; \
                 declare the method blocking or async if this repeats"
            );
            return;
        }
        if self.demote(method) {
            tracing::error!(
                plugin,
                generation = number,
                method = name,
                "plugin {plugin}: {name} now runs on the plugin's own threads: as an inline method it \
                 blocked I/O threads repeatedly, {length} the last time"
            );
        }
    }

    /// Makes a method run on the generation's own threads alone from now on. Returns `false` if
    /// nothing changes, because it does so already or cannot.
    pub(crate) fn demote(&self, method: u32) -> bool {
        match self.declared_run(method) {
            Some(Run::Inline) => self.demote_inline(method),
            Some(Run::Async) => self.inline_polling.forbid(method),
            Some(Run::Blocking) | None => false,
        }
    }

    fn demote_inline(&self, method: u32) -> bool {
        if self.inline_demotion.is_demoted(method) {
            return false;
        }
        let started = self.runtime.in_process().and_then(InProcess::ensure_blocking_threads);
        let Some(started) = started else { return false };

        if let Err(error) = started {
            let GenerationId { plugin, number, .. } = &self.identity;
            let plugin = &**plugin;
            let method = self.method_name(method);
            let error = WithRemedy(&error);
            tracing::error!(
                plugin,
                generation = number,
                method,
                %error,
                "plugin {plugin}: cannot start threads for {method}: {error}; \
                 the method stays inline and blocks I/O threads"
            );
            return false;
        }
        self.inline_demotion.demote(method);
        true
    }

    /// Notes that one of its methods has begun to stall an I/O thread.
    pub(crate) fn begin_stall(&self) {
        self.stalled_io_threads.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a stall which [`Generation::begin_stall`] noted has ended.
    pub(crate) fn end_stall(&self) {
        self.stalled_io_threads.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns why clients should use another host; `None` if the generation is healthy.
    pub(crate) fn unhealthy_reason(&self) -> Option<&'static str> {
        if !self.breaker.is_closed() {
            return Some("the circuit breaker is open because too many calls failed");
        }

        let health = self.health();
        if health.is_healthy {
            None
        } else if health.stalled_io_threads > 0 {
            Some("a method blocks an I/O thread")
        } else {
            Some(self.runtime.reason_without_threads())
        }
    }

    /// Returns what operators need to know: lost threads, stalls, demoted methods.
    pub(crate) fn health(&self) -> GenerationHealth {
        let RuntimeHealth { lost_threads, serves_blocking, serves_async } = self.runtime.health();
        let is_blocking = |(number, method): (u32, &DeclaredMethod)| {
            self.effective_run(number, method.run) == Run::Blocking
        };
        let needs_threads = (0..).zip(&self.methods).any(is_blocking);
        let stalled_io_threads = self.stalled_io_threads.load(Ordering::Relaxed);
        let demoted = (0..).zip(&self.methods).filter(|(number, _)| self.inline_demotion.is_demoted(*number));

        GenerationHealth {
            is_healthy: self.breaker.is_closed()
                && (serves_blocking || !needs_threads)
                && serves_async
                && stalled_io_threads == 0,
            lost_threads,
            stalled_io_threads,
            demoted_methods: demoted.map(|(_, method)| method.name.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::{Error, Methods};

    use super::super::BuiltInPlugin;
    use super::super::test_support::start_built_in;
    use super::*;
    use crate::config::Config;

    const INLINE: u32 = 0;
    const ASYNC: u32 = 1;

    struct Nothing;

    impl Nothing {
        fn inline(&self) -> Result<(), Error> {
            Ok(())
        }

        async fn asynchronous(self: std::sync::Arc<Self>) -> Result<(), Error> {
            Ok(())
        }
    }

    fn generation() -> std::sync::Arc<Generation> {
        let methods =
            Methods::new().inline("t.inline", Nothing::inline).asynchronous("t.async", Nothing::asynchronous);
        start_built_in(BuiltInPlugin::new("t", Nothing, methods), &Config::default())
    }

    #[test]
    fn demotes_an_inline_method_that_overruns_repeatedly() {
        let generation = generation();
        let length = Duration::from_secs(1);
        assert_eq!(generation.effective_run(INLINE, Run::Inline), Run::Inline);
        (0..3).for_each(|_| generation.record_inline_overrun(INLINE, length));

        assert_eq!(generation.effective_run(INLINE, Run::Inline), Run::Blocking);
        assert_eq!(generation.effective_run(ASYNC, Run::Async), Run::Async);
        assert!(!generation.demote(INLINE));
        let health = generation.health();
        assert_eq!((health.demoted_methods, health.is_healthy), (vec!["t.inline".to_owned()], true));
    }

    #[test]
    fn forbids_inline_polling_of_a_demoted_async_method() {
        let generation = generation();
        (0..64).for_each(|_| generation.record_first_poll(ASYNC, true, Duration::ZERO));
        assert!(generation.allows_inline_polling(ASYNC));
        assert!(generation.demote(ASYNC) && !generation.demote(ASYNC));
        assert!(!generation.allows_inline_polling(ASYNC));
        assert!(!generation.demote(7));
    }

    #[test]
    fn is_unhealthy_while_it_stalls_an_io_thread() {
        let generation = generation();
        generation.begin_stall();
        assert!(!generation.health().is_healthy && generation.unhealthy_reason().is_some());
        generation.end_stall();
        assert!(generation.health().is_healthy && generation.unhealthy_reason().is_none());
    }

    #[test]
    fn is_unhealthy_while_its_circuit_breaker_is_open() {
        let generation = generation();
        let failures = Config::default().plugin.get("t").cloned().unwrap_or_default().breaker.failures;
        (0..failures).for_each(|_| generation.record_timeout(None));
        assert!(generation.admit(Time::now()).is_err());
        assert!(!generation.health().is_healthy && generation.unhealthy_reason().is_some());
    }
}

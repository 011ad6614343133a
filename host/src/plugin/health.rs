//! Whether a generation is asked at all, and how its methods run: what its failures and its slowness lead to.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jackfield_plugin_api::Run;

use super::blocking_pool::BlockingPool;
use super::circuit_breaker::BreakerChange;
use super::generation::{Generation, GenerationId};
use crate::clock::Time;

/// How a generation is.
#[derive(Debug, Clone)]
pub(crate) struct GenerationHealth {
    /// Whether its calls are begun at all, and none holds up a thread that serves connections.
    pub(crate) is_well: bool,
    /// Threads that run calls which should have ended.
    pub(crate) lost_threads: usize,
    /// I/O threads that its `inline` methods hold up just now.
    pub(crate) held_threads: usize,
    /// Methods that were declared `inline` and run as `blocking`.
    pub(crate) moved: Vec<String>,
}

impl Generation {
    /// A call of it was answered DEADLINE_EXCEEDED.
    pub(crate) fn timed_out(&self) {
        if let Some(probation) = &self.probation {
            probation.count_timeout();
        }
        self.judge(true);
        if let Some(workers) = &self.workers {
            workers.look_for_lost();
        }
    }

    /// Whether a call of it may begin; else how long it is until one may.
    pub(crate) fn admit(&self, now: Time) -> Result<(), Duration> {
        self.breaker.admit(now)
    }

    pub(super) fn judge(&self, failed: bool) {
        let GenerationId { plugin, number, .. } = &self.identity;
        match self.breaker.count(failed) {
            None => {}
            Some(BreakerChange::Opened(length)) => {
                tracing::error!(
                    plugin = &**plugin,
                    generation = number,
                    "it fails too often: refused for {length:?}"
                );
            }
            Some(BreakerChange::Closed) => {
                tracing::info!(
                    plugin = &**plugin,
                    generation = number,
                    "it answers again: no longer refused"
                );
            }
        }
    }

    /// The way that a method declared as `run` runs now.
    pub(crate) fn way(&self, method: u32, run: Run) -> Run {
        if run == Run::Inline && self.slow.is_moved(method) { Run::Blocking } else { run }
    }

    /// Whether an I/O thread may begin this `async` method.
    pub(crate) fn is_prompt(&self, method: u32) -> bool {
        self.prompt.is(method)
    }

    /// A future of an `async` method was made and polled for the first time.
    pub(crate) fn first_polled(&self, method: u32, is_ready: bool, length: Duration) {
        self.prompt.polled(method, is_ready, length);
    }

    /// An `inline` method has held an I/O thread for longer than it may. Done again and again, it is moved to the
    /// blocking threads.
    #[cold]
    pub(crate) fn held_up(&self, method: u32, length: Duration) {
        let GenerationId { plugin, number, .. } = &self.identity;
        let (plugin, name) = (&**plugin, self.method_name(method));
        if !self.slow.strike(method, Time::now()) {
            tracing::warn!(
                plugin,
                generation = number,
                method = name,
                "inline, and held an I/O thread for {length:?}"
            );
            return;
        }
        if let Some(elsewhere) = self.moves(method) {
            tracing::error!(
                plugin,
                generation = number,
                method = name,
                "inline, and held I/O threads again and again, {length:?} just now: {elsewhere} from now on"
            );
        }
    }

    /// Has a method run on the generation's own threads from now on: how; `None` when it does already, or cannot.
    pub(crate) fn moves(&self, method: u32) -> Option<&'static str> {
        match self.declared(method)? {
            Run::Inline => self.becomes_blocking(method).then_some("it is blocking"),
            Run::Async => {
                self.prompt.never(method).then_some("it is polled on its plugin's own thread alone")
            }
            Run::Blocking => None,
        }
    }

    fn becomes_blocking(&self, method: u32) -> bool {
        if self.slow.is_moved(method) {
            return false;
        }
        let GenerationId { plugin, number, .. } = &self.identity;
        match self.workers.as_ref().map(|workers| workers.want(self.threads)) {
            Some(Ok(())) => {
                self.slow.moved(method);
                true
            }
            Some(Err(error)) => {
                let (plugin, method) = (&**plugin, self.method_name(method));
                tracing::error!(plugin, generation = number, method, %error, "no threads for a slow inline method");
                false
            }
            None => false,
        }
    }

    /// One of its `inline` methods begins to hold up an I/O thread, or has ended that.
    pub(crate) fn holds(&self, begins: bool) {
        if begins {
            self.holding.fetch_add(1, Ordering::Relaxed);
        } else {
            self.holding.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Why its calls are not begun, if they are not.
    pub(crate) fn unwell(&self) -> Option<&'static str> {
        if !self.breaker.is_closed() {
            return Some("it fails too often and is refused for a while");
        }
        (!self.health().is_well).then_some("all of its threads are lost to calls that do not end")
    }

    /// What an operator must know of it: lost threads, whether it is refused, methods that were moved.
    pub(crate) fn health(&self) -> GenerationHealth {
        let (lost_threads, has_threads) = self.workers.as_ref().map_or((0, true), BlockingPool::lost);
        let blocks =
            (0..).zip(&self.methods).any(|(number, method)| self.way(number, method.run) == Run::Blocking);
        let held_threads = self.holding.load(Ordering::Relaxed);
        let moved = (0..).zip(&self.methods).filter(|(number, _)| self.slow.is_moved(*number));
        GenerationHealth {
            is_well: self.breaker.is_closed() && (has_threads || !blocks) && held_threads == 0,
            lost_threads,
            held_threads,
            moved: moved.map(|(_, method)| method.name.clone()).collect(),
        }
    }
}

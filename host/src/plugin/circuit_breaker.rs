//! The circuit breaker of a generation: after too many failures, calls are rejected at once for a
//! while; then one trial call decides whether they are admitted again.
//!
//! ```text
//!          a failure              too many failures
//! Quiet ──────────────► Counting ───────────────────► Open ◄─────────────┐
//!   ▲                    │    ▲                        │                  │ the trial call
//!   │                    └────┘                        │ open time over   │ failed, or was
//!   │             a failure after the window:          ▼                  │ released
//!   │             counting starts again             HalfOpen ─────────────┘
//!   └──────────────────────────────────────────────────┘
//!                 the trial call succeeded
//! ```
//!
//! `Quiet` and `Counting` are closed: calls are admitted. While `Quiet`, nothing is counted, so
//! that a healthy plugin pays one load per call.
//!
//! In `HalfOpen`, only the outcome of the trial call changes the state: calls that were in flight
//! when the breaker opened give no new information. A trial call that is rejected, expires or is
//! cancelled before it has an outcome drops its [`TrialPermit`], and the next call is the trial. A
//! trial call that runs for longer than [`TRIAL_LIMIT`] is replaced by another one.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::Time;
use crate::config::BreakerConfig;
use crate::sync::lock;

/// The state of a breaker; see the diagram above.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BreakerState {
    Quiet,
    Counting,
    Open,
    HalfOpen,
}

/// Time that a trial call may take. The time-out of its route may be much longer.
const TRIAL_LIMIT: Duration = Duration::from_secs(30);

/// Upper bound for the open time, which doubles with each failed trial call.
const MAX_OPEN: Duration = Duration::from_secs(30);

/// The change of state that an outcome caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreakerChange {
    /// The breaker opened for this time, after failures within the window.
    Opened {
        open: Duration,
        failures: u32,
        window: Duration,
    },

    /// The breaker opened for this time once more, because the trial call failed.
    Reopened(Duration),

    Closed,
}

/// The circuit breaker of one generation.
pub(super) struct CircuitBreaker {
    limits: BreakerConfig,

    /// A [`BreakerState`]. Changed only under the lock.
    state: AtomicU8,

    /// The end of the window, of the open time, or of the trial call.
    until: AtomicU64,

    /// Calls within the window.
    calls: AtomicU32,

    history: Mutex<History>,
}

#[derive(Default)]
struct History {
    /// Failures within the window.
    failures: u32,

    /// The last open time; zero if the breaker has not opened since it was last closed.
    open: Duration,

    /// The number of the last trial.
    trial: Option<NonZeroU64>,
}

/// The right to be the trial call. If it is released or dropped before the trial is decided, the
/// next call is the trial.
pub(crate) struct TrialPermit {
    breaker: Arc<CircuitBreaker>,
    number: NonZeroU64,
}

impl TrialPermit {
    /// Returns the number of the trial, by which the outcome of the call is recognised.
    pub(crate) fn number(&self) -> NonZeroU64 {
        self.number
    }

    /// Returns the right, because the call will not run. Only the first release has an effect.
    pub(super) fn release(&self) {
        self.breaker.release(self.number);
    }
}

impl Drop for TrialPermit {
    fn drop(&mut self) {
        self.release();
    }
}

impl CircuitBreaker {
    pub(super) fn new(limits: BreakerConfig) -> Self {
        Self {
            limits,
            state: AtomicU8::new(BreakerState::Quiet as u8),
            until: AtomicU64::new(0),
            calls: AtomicU32::new(0),
            history: Mutex::default(),
        }
    }

    fn state(&self) -> BreakerState {
        const QUIET: u8 = BreakerState::Quiet as u8;
        const COUNTING: u8 = BreakerState::Counting as u8;
        const OPEN: u8 = BreakerState::Open as u8;

        match self.state.load(Ordering::Relaxed) {
            QUIET => BreakerState::Quiet,
            COUNTING => BreakerState::Counting,
            OPEN => BreakerState::Open,
            _ => BreakerState::HalfOpen,
        }
    }

    /// Enters a state that ends at `until`. The caller holds the lock.
    fn enter(&self, state: BreakerState, until: Time) {
        self.until.store(until.0, Ordering::Relaxed);
        self.state.store(state as u8, Ordering::Relaxed);
    }

    fn until(&self) -> Time {
        Time(self.until.load(Ordering::Relaxed))
    }

    /// Admits one call, and returns its permit if it is the trial call. Costs one load while the
    /// breaker is closed.
    ///
    /// # Errors
    ///
    /// The time until the next call can be admitted.
    pub(super) fn admit(self: &Arc<Self>, now: Time) -> Result<Option<TrialPermit>, Duration> {
        if self.is_closed() { Ok(None) } else { self.admit_trial(now) }
    }

    #[cold]
    fn admit_trial(self: &Arc<Self>, now: Time) -> Result<Option<TrialPermit>, Duration> {
        let mut history = lock(&self.history);
        if self.is_closed() {
            // Closed by another thread in the meantime.
            return Ok(None);
        }
        let until = self.until();
        if until > now {
            return Err(until.since(now));
        }

        let number = history.trial.map_or(NonZeroU64::MIN, |last| last.saturating_add(1));
        history.trial = Some(number);
        self.enter(BreakerState::HalfOpen, now.after(TRIAL_LIMIT));
        Ok(Some(TrialPermit { breaker: Arc::clone(self), number }))
    }

    /// Ends a trial that has no outcome: the next call is admitted as another trial.
    fn release(&self, trial: NonZeroU64) {
        let history = lock(&self.history);
        if self.state() == BreakerState::HalfOpen && history.trial == Some(trial) {
            self.enter(BreakerState::Open, Time(0));
        }
    }

    /// Returns whether calls are admitted without a trial.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state(), BreakerState::Quiet | BreakerState::Counting)
    }

    /// Counts the outcome of a call. `trial` is the number of its permit, if it is a trial call.
    /// Costs one load while nothing fails.
    pub(super) fn count(&self, failed: bool, trial: Option<NonZeroU64>) -> Option<BreakerChange> {
        match self.state() {
            BreakerState::Quiet if !failed => None,
            BreakerState::Counting if !failed => {
                self.calls.fetch_add(1, Ordering::Relaxed);
                None
            }
            // Calls that were in flight when the breaker opened give no new information.
            BreakerState::Open => None,
            _ => self.judge(failed, trial, Time::now()),
        }
    }

    #[cold]
    fn judge(&self, failed: bool, trial: Option<NonZeroU64>, now: Time) -> Option<BreakerChange> {
        if self.limits.failures == 0 {
            return None;
        }

        let mut history = lock(&self.history);
        match self.state() {
            BreakerState::HalfOpen if trial != history.trial => None,
            BreakerState::HalfOpen if failed => Some(BreakerChange::Reopened(self.open(&mut history, now))),
            BreakerState::HalfOpen => {
                *history = History { trial: history.trial, ..History::default() };
                self.enter(BreakerState::Quiet, Time(0));
                Some(BreakerChange::Closed)
            }
            BreakerState::Quiet | BreakerState::Counting if failed => self.count_failure(&mut history, now),
            _ => None,
        }
    }

    fn count_failure(&self, history: &mut History, now: Time) -> Option<BreakerChange> {
        let is_in_window = self.state() == BreakerState::Counting && now < self.until();
        if !is_in_window {
            history.failures = 0;
            self.calls.store(0, Ordering::Relaxed);
            self.enter(BreakerState::Counting, now.after(self.limits.window));
        }

        history.failures += 1;
        let calls = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        // Half of the calls of the window must fail: a plugin that answers most calls is worth
        // calling.
        let is_majority = history.failures.saturating_mul(2) >= calls;
        let opens = history.failures >= self.limits.failures && is_majority;
        let failures = history.failures;
        let window = self.limits.window;
        opens.then(|| BreakerChange::Opened { open: self.open(history, now), failures, window })
    }

    /// Opens the breaker, and returns for how long.
    fn open(&self, history: &mut History, now: Time) -> Duration {
        let doubled = (history.open * 2).min(MAX_OPEN);
        history.open = if history.open.is_zero() { self.limits.open } else { doubled };
        self.enter(BreakerState::Open, now.after(history.open));
        history.open
    }
}

#[cfg(test)]
mod tests;

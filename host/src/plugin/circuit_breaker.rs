//! The circuit breaker of a generation: after too many failures, calls are rejected at once for a
//! while; then one trial call decides whether they are admitted again.
//!
//! ```text
//!          a failure              too many failures
//! Quiet ──────────────► Counting ───────────────────► Open ◄─────────────┐
//!   ▲                    │    ▲                        │                  │
//!   │                    └────┘                        │ open time over   │ the trial
//!   │             a failure after the window:          ▼                  │ call failed
//!   │             counting starts again             HalfOpen ─────────────┘
//!   └──────────────────────────────────────────────────┘
//!                 the trial call succeeded
//! ```
//!
//! `Quiet` and `Counting` are closed: calls are admitted. While `Quiet`, nothing is counted, so
//! that a healthy plugin pays one load per call. In `HalfOpen`, a trial call without an outcome is
//! replaced by another one after [`TRIAL_LIMIT`].

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
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

/// Time that a trial call may go without an outcome, for example because its client has gone.
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

    /// Admits one call. Costs one load while the breaker is closed.
    ///
    /// # Errors
    ///
    /// The time until the next call can be admitted.
    pub(super) fn admit(&self, now: Time) -> Result<(), Duration> {
        if self.is_closed() { Ok(()) } else { self.admit_trial(now) }
    }

    #[cold]
    fn admit_trial(&self, now: Time) -> Result<(), Duration> {
        let _history = lock(&self.history);
        if self.is_closed() {
            // Closed by another thread in the meantime.
            return Ok(());
        }
        let until = self.until();
        if until > now {
            return Err(until.since(now));
        }
        self.enter(BreakerState::HalfOpen, now.after(TRIAL_LIMIT));
        Ok(())
    }

    /// Returns whether calls are admitted without a trial.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state(), BreakerState::Quiet | BreakerState::Counting)
    }

    /// Counts the outcome of a call. Costs one load while nothing fails.
    pub(super) fn count(&self, failed: bool) -> Option<BreakerChange> {
        match self.state() {
            BreakerState::Quiet if !failed => None,
            BreakerState::Counting if !failed => {
                self.calls.fetch_add(1, Ordering::Relaxed);
                None
            }
            // Calls that were in flight when the breaker opened give no new information.
            BreakerState::Open => None,
            _ => self.judge(failed, Time::now()),
        }
    }

    #[cold]
    fn judge(&self, failed: bool, now: Time) -> Option<BreakerChange> {
        if self.limits.failures == 0 {
            return None;
        }

        let mut history = lock(&self.history);
        match self.state() {
            BreakerState::HalfOpen if failed => Some(BreakerChange::Reopened(self.open(&mut history, now))),
            BreakerState::HalfOpen => {
                *history = History::default();
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
mod tests {
    use super::*;

    const LIMITS: BreakerConfig =
        BreakerConfig { failures: 3, window: Duration::from_secs(10), open: Duration::from_secs(1) };

    const OPENED: BreakerChange =
        BreakerChange::Opened { open: LIMITS.open, failures: LIMITS.failures, window: LIMITS.window };

    fn opened() -> CircuitBreaker {
        let breaker = CircuitBreaker::new(LIMITS);
        assert_eq!([breaker.count(true), breaker.count(true)], [None, None]);
        assert_eq!(breaker.count(true), Some(OPENED));
        breaker
    }

    /// A breaker that has admitted a trial call, and the time of that.
    fn half_open() -> (CircuitBreaker, Time) {
        let breaker = opened();
        let now = Time::now().after(LIMITS.open);
        assert_eq!(breaker.admit(now), Ok(()));
        (breaker, now)
    }

    #[test]
    fn opens_when_enough_calls_fail() {
        let breaker = opened();
        assert!(!breaker.is_closed());
        let wait = breaker.admit(Time::now()).unwrap_err();
        assert!(wait <= LIMITS.open && !wait.is_zero());
    }

    #[test]
    fn stays_closed_while_most_calls_succeed() {
        let breaker = CircuitBreaker::new(LIMITS);
        for _ in 0..100 {
            let changes = [true, false, false].map(|failed| breaker.count(failed));
            assert_eq!(changes, [None; 3]);
        }
        assert!(breaker.is_closed());
    }

    #[test]
    fn forgets_failures_when_the_window_has_ended() {
        let breaker = CircuitBreaker::new(LIMITS);
        let start = Time::now();
        assert_eq!([breaker.judge(true, start), breaker.judge(true, start)], [None, None]);
        let later = start.after(LIMITS.window);
        assert_eq!([breaker.judge(true, later), breaker.judge(true, later)], [None, None]);
        assert_eq!(breaker.judge(true, later), Some(OPENED));
    }

    #[test]
    fn ignores_calls_that_were_in_flight_when_it_opened() {
        let breaker = opened();
        assert_eq!([breaker.count(true), breaker.count(false)], [None, None]);
        assert!(!breaker.is_closed());
    }

    #[test]
    fn admits_one_trial_call_after_the_open_time() {
        let (breaker, now) = half_open();
        assert!(breaker.admit(now).is_err(), "a second call was admitted");
    }

    #[test]
    fn closes_when_the_trial_call_succeeds() {
        let (breaker, now) = half_open();
        assert_eq!(breaker.count(false), Some(BreakerChange::Closed));
        assert_eq!(breaker.admit(now), Ok(()));
        assert!(breaker.is_closed());
    }

    #[test]
    fn doubles_the_open_time_when_the_trial_call_fails() {
        let (breaker, mut now) = half_open();
        let mut open = LIMITS.open;
        for _ in 0..10 {
            open = (open * 2).min(MAX_OPEN);
            assert_eq!(breaker.judge(true, now), Some(BreakerChange::Reopened(open)));
            assert_eq!(breaker.admit(now), Err(open));
            now = now.after(open);
            assert_eq!(breaker.admit(now), Ok(()));
        }
        assert_eq!(open, MAX_OPEN);
    }

    #[test]
    fn starts_with_the_configured_open_time_after_it_was_closed() {
        let (breaker, now) = half_open();
        assert_eq!(breaker.judge(true, now), Some(BreakerChange::Reopened(LIMITS.open * 2)));
        let now = now.after(LIMITS.open * 2);
        assert_eq!(breaker.admit(now), Ok(()));
        assert_eq!(breaker.judge(false, now), Some(BreakerChange::Closed));
        let changes = [now; 3].map(|now| breaker.judge(true, now));
        assert_eq!(changes, [None, None, Some(OPENED)]);
    }

    #[test]
    fn admits_another_trial_call_if_the_first_has_no_outcome() {
        let (breaker, now) = half_open();
        assert!(breaker.admit(now).is_err());
        assert_eq!(breaker.admit(now.after(TRIAL_LIMIT)), Ok(()));
    }

    #[test]
    fn never_opens_without_a_limit() {
        let breaker = CircuitBreaker::new(BreakerConfig { failures: 0, ..LIMITS });
        assert!((0..1000).all(|_| breaker.count(true).is_none()));
        assert!(breaker.is_closed());
    }
}

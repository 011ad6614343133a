//! A plugin that fails again and again is asked no more for a while: fail fast, then try one call, then go on.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Time, nanoseconds};
use crate::config::BreakerConfig;
use crate::sync::lock;

/// Nothing has failed lately: nothing is counted.
const QUIET: u8 = 0;
/// Something failed: calls and failures are counted until the window ends.
const COUNTING: u8 = 1;
/// No call gets through.
const OPEN: u8 = 2;
/// One call got through, and decides.
const PROBING: u8 = 3;

/// How long a probe may go without an outcome: its client may have gone.
const PROBE_MAX: Duration = Duration::from_secs(30);
/// The longest that a breaker stays open at a time: each probe that fails doubles it up to here.
const OPEN_MAX: Duration = Duration::from_secs(30);

/// What an outcome changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreakerChange {
    /// It opened, for so long.
    Opened(Duration),
    /// It closed.
    Closed,
}

/// The breaker of one generation.
pub(crate) struct CircuitBreaker {
    limits: BreakerConfig,
    state: AtomicU8,
    /// The end of the window, of the open time, or of the probe.
    until: AtomicU64,
    calls: AtomicU32,
    /// Failures of the window, and how long it was open last. Changed under the lock alone.
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    failures: u32,
    open: Duration,
}

impl CircuitBreaker {
    pub(super) fn new(limits: BreakerConfig) -> Self {
        Self {
            limits,
            state: AtomicU8::new(QUIET),
            until: AtomicU64::new(0),
            calls: AtomicU32::new(0),
            book: Mutex::default(),
        }
    }

    /// Whether a call may go ahead; else how long it is until one may. One load while all is well.
    pub(super) fn admit(&self, now: Time) -> Result<(), Duration> {
        match self.state.load(Ordering::Relaxed) {
            QUIET | COUNTING => Ok(()),
            _ => self.admit_one(now),
        }
    }

    #[cold]
    fn admit_one(&self, now: Time) -> Result<(), Duration> {
        let _book = lock(&self.book);
        let until = Time(self.until.load(Ordering::Relaxed));
        match self.state.load(Ordering::Relaxed) {
            OPEN | PROBING if until > now => Err(until.since(now)),
            // The open time is over, or the probe never came to an outcome.
            OPEN | PROBING => {
                self.until.store(now.after(PROBE_MAX).0, Ordering::Relaxed);
                self.state.store(PROBING, Ordering::Relaxed);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether it lets calls through.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state.load(Ordering::Relaxed), QUIET | COUNTING)
    }

    /// Counts an outcome. One load while all is well.
    pub(super) fn count(&self, failed: bool) -> Option<BreakerChange> {
        match self.state.load(Ordering::Relaxed) {
            QUIET if !failed => None,
            COUNTING if !failed => {
                self.calls.fetch_add(1, Ordering::Relaxed);
                None
            }
            // What was under way when it opened says nothing new.
            OPEN => None,
            _ => self.judge(failed, Time::now()),
        }
    }

    #[cold]
    fn judge(&self, failed: bool, now: Time) -> Option<BreakerChange> {
        if self.limits.failures == 0 {
            return None;
        }
        let mut book = lock(&self.book);
        match self.state.load(Ordering::Relaxed) {
            PROBING if failed => Some(self.open(&mut book, now)),
            PROBING => {
                *book = Book::default();
                self.state.store(QUIET, Ordering::Relaxed);
                Some(BreakerChange::Closed)
            }
            QUIET | COUNTING if failed => {
                let in_window = self.state.load(Ordering::Relaxed) == COUNTING
                    && now < Time(self.until.load(Ordering::Relaxed));
                if !in_window {
                    book.failures = 0;
                    self.calls.store(0, Ordering::Relaxed);
                    self.until.store(now.after(self.limits.window).0, Ordering::Relaxed);
                    self.state.store(COUNTING, Ordering::Relaxed);
                }
                book.failures += 1;
                let calls = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
                // Half of the calls of the window: a plugin that serves most of them is worth asking.
                let too_many =
                    book.failures >= self.limits.failures && book.failures.saturating_mul(2) >= calls;
                too_many.then(|| self.open(&mut book, now))
            }
            _ => None,
        }
    }

    fn open(&self, book: &mut Book, now: Time) -> BreakerChange {
        book.open = if book.open.is_zero() { self.limits.open } else { (book.open * 2).min(OPEN_MAX) };
        self.until.store(now.0.saturating_add(nanoseconds(book.open)), Ordering::Relaxed);
        self.state.store(OPEN, Ordering::Relaxed);
        BreakerChange::Opened(book.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BreakerConfig =
        BreakerConfig { failures: 3, window: Duration::from_secs(10), open: Duration::from_secs(1) };

    fn opened() -> CircuitBreaker {
        let breaker = CircuitBreaker::new(LIMITS);
        assert_eq!([breaker.count(true), breaker.count(true)], [None, None]);
        assert_eq!(breaker.count(true), Some(BreakerChange::Opened(LIMITS.open)));
        breaker
    }

    #[test]
    fn it_opens_when_half_of_the_calls_fail_and_not_before() {
        opened();
        let breaker = CircuitBreaker::new(LIMITS);
        for _ in 0..100 {
            let outcomes = [breaker.count(true), breaker.count(false), breaker.count(false)];
            assert_eq!(outcomes, [None; 3]);
        }
        assert!(breaker.is_closed());
    }

    #[test]
    fn open_it_lets_one_call_through_when_its_time_is_over() {
        let breaker = opened();
        let now = Time::now();
        assert!(breaker.admit(now).is_err());
        let later = now.after(LIMITS.open);
        assert_eq!(breaker.admit(later), Ok(()));
        assert!(breaker.admit(later).is_err(), "one is on its way");
        assert_eq!(breaker.count(false), Some(BreakerChange::Closed));
        assert_eq!(breaker.admit(later), Ok(()));
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_longer_and_one_without_an_outcome_is_given_up() {
        let breaker = opened();
        let later = Time::now().after(LIMITS.open);
        assert_eq!(breaker.admit(later), Ok(()));
        assert_eq!(breaker.count(true), Some(BreakerChange::Opened(LIMITS.open * 2)));
        let later = later.after(LIMITS.open * 3);
        assert_eq!(breaker.admit(later), Ok(()));
        assert!(breaker.admit(later).is_err());
        assert_eq!(breaker.admit(later.after(PROBE_MAX)), Ok(()));
    }

    #[test]
    fn with_no_limit_it_never_opens() {
        let breaker = CircuitBreaker::new(BreakerConfig { failures: 0, ..LIMITS });
        assert!((0..1000).all(|_| breaker.count(true).is_none()));
    }
}

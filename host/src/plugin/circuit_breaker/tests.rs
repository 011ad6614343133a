//! Tests of the circuit breaker.

use super::*;

const LIMITS: BreakerConfig =
    BreakerConfig { failures: 3, window: Duration::from_secs(10), open: Duration::from_secs(1) };

const OPENED: BreakerChange =
    BreakerChange::Opened { open: LIMITS.open, failures: LIMITS.failures, window: LIMITS.window };

fn breaker(limits: BreakerConfig) -> Arc<CircuitBreaker> {
    Arc::new(CircuitBreaker::new(limits))
}

fn opened() -> Arc<CircuitBreaker> {
    let breaker = breaker(LIMITS);
    assert_eq!([breaker.count(true, None), breaker.count(true, None)], [None, None]);
    assert_eq!(breaker.count(true, None), Some(OPENED));
    breaker
}

fn admit_trial(breaker: &Arc<CircuitBreaker>, now: Time) -> TrialPermit {
    breaker.admit(now).unwrap().expect("the call is the trial")
}

/// A breaker that has admitted a trial call, the time of that, and the permit of the call.
fn half_open() -> (Arc<CircuitBreaker>, Time, TrialPermit) {
    let breaker = opened();
    let now = Time::now().after(LIMITS.open);
    let trial = admit_trial(&breaker, now);
    (breaker, now, trial)
}

#[test]
fn opens_when_enough_calls_fail() {
    let breaker = opened();
    assert!(!breaker.is_closed());
    let wait = breaker.admit(Time::now()).err().unwrap();
    assert!(wait <= LIMITS.open && !wait.is_zero());
}

#[test]
fn stays_closed_while_most_calls_succeed() {
    let breaker = breaker(LIMITS);
    for _ in 0..100 {
        let changes = [true, false, false].map(|failed| breaker.count(failed, None));
        assert_eq!(changes, [None; 3]);
    }
    assert!(breaker.is_closed());
}

#[test]
fn forgets_failures_when_the_window_has_ended() {
    let breaker = breaker(LIMITS);
    let fail = |now| breaker.judge(true, None, now);
    let start = Time::now();
    assert_eq!([fail(start), fail(start)], [None, None]);
    let later = start.after(LIMITS.window);
    assert_eq!([fail(later), fail(later)], [None, None]);
    assert_eq!(fail(later), Some(OPENED));
}

#[test]
fn ignores_calls_that_were_in_flight_when_it_opened() {
    let breaker = opened();
    assert_eq!([breaker.count(true, None), breaker.count(false, None)], [None, None]);
    assert!(!breaker.is_closed());

    let (breaker, now, _trial) = half_open();
    assert_eq!([breaker.count(true, None), breaker.count(false, None)], [None, None]);
    assert!(!breaker.is_closed() && breaker.admit(now).is_err(), "the trial is not decided");
}

#[test]
fn admits_one_trial_call_after_the_open_time() {
    let (breaker, now, _trial) = half_open();
    assert!(breaker.admit(now).is_err(), "a second call was admitted");
}

#[test]
fn admits_the_next_call_as_the_trial_if_the_first_is_released_or_dropped() {
    let (breaker, now, first) = half_open();
    first.release();
    let second = admit_trial(&breaker, now);
    drop(first);
    assert!(breaker.admit(now).is_err(), "the first call released the second one");

    drop(second);
    let third = admit_trial(&breaker, now);
    assert_eq!(breaker.count(false, Some(third.number())), Some(BreakerChange::Closed));
    drop(third);
    assert!(breaker.is_closed());
}

#[test]
fn closes_when_the_trial_call_succeeds() {
    let (breaker, now, trial) = half_open();
    assert_eq!(breaker.count(false, Some(trial.number())), Some(BreakerChange::Closed));
    assert!(breaker.admit(now).is_ok_and(|trial| trial.is_none()));
    assert!(breaker.is_closed());
}

#[test]
fn doubles_the_open_time_when_the_trial_call_fails() {
    let (breaker, mut now, mut trial) = half_open();
    let mut open = LIMITS.open;
    for _ in 0..10 {
        open = (open * 2).min(MAX_OPEN);
        let change = breaker.judge(true, Some(trial.number()), now);
        assert_eq!(change, Some(BreakerChange::Reopened(open)));
        assert_eq!(breaker.admit(now).err(), Some(open));
        now = now.after(open);
        trial = admit_trial(&breaker, now);
    }
    assert_eq!(open, MAX_OPEN);
}

#[test]
fn starts_with_the_configured_open_time_after_it_was_closed() {
    let (breaker, now, trial) = half_open();
    let change = breaker.judge(true, Some(trial.number()), now);
    assert_eq!(change, Some(BreakerChange::Reopened(LIMITS.open * 2)));
    let now = now.after(LIMITS.open * 2);
    let trial = admit_trial(&breaker, now);
    assert_eq!(breaker.judge(false, Some(trial.number()), now), Some(BreakerChange::Closed));
    let changes = [now; 3].map(|now| breaker.judge(true, None, now));
    assert_eq!(changes, [None, None, Some(OPENED)]);
}

#[test]
fn lets_another_trial_call_decide_if_the_first_takes_too_long() {
    let (breaker, now, first) = half_open();
    assert!(breaker.admit(now).is_err());
    let second = admit_trial(&breaker, now.after(TRIAL_LIMIT));

    assert_eq!(breaker.count(true, Some(first.number())), None);
    assert_eq!(breaker.count(false, Some(second.number())), Some(BreakerChange::Closed));
}

#[test]
fn never_opens_without_a_limit() {
    let breaker = breaker(BreakerConfig { failures: 0, ..LIMITS });
    assert!((0..1000).all(|_| breaker.count(true, None).is_none()));
    assert!(breaker.is_closed());
}

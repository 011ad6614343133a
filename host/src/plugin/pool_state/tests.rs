//! Tests of the bookkeeping of a blocking pool.

use std::time::Duration;

use super::super::test_support::{FakeTarget, fake_call};
use super::*;

fn calls(count: usize, deadline: Time) -> Vec<Arc<Call<FakeTarget>>> {
    let target = FakeTarget::doing_nothing();
    (0..count).map(|_| fake_call(&target, deadline, b"").0).collect()
}

fn state(capacity: usize, threads: usize) -> PoolState<FakeTarget> {
    let mut state = PoolState::new(capacity);
    state.want(threads);
    for _ in 0..threads {
        state.add_thread();
    }
    state
}

fn run_next(state: &mut PoolState<FakeTarget>, number: usize) -> Arc<Call<FakeTarget>> {
    match state.next_step(number) {
        NextStep::Run(call) => call,
        NextStep::Wait | NextStep::End => panic!("there is no call to run"),
    }
}

#[test]
fn accepts_calls_up_to_the_capacity_and_leaves_the_others() {
    let mut state = state(2, 1);
    let mut all = calls(3, Time::NEVER).into_iter();
    assert_eq!(state.enqueue(&mut all), Err(SubmitError::QueueFull));
    assert_eq!((all.len(), state.queue.len()), (1, 2));
}

#[test]
fn hands_out_calls_in_the_order_of_submission() {
    let mut state = state(3, 1);
    let all = calls(3, Time::NEVER);
    state.enqueue(&mut all.clone().into_iter()).unwrap();
    assert!(all.iter().all(|call| Arc::ptr_eq(call, &run_next(&mut state, 0))));
    assert!(matches!(state.next_step(0), NextStep::Wait));
}

#[test]
fn replaces_cancelled_calls_in_a_full_queue_once_per_tick() {
    let mut state = state(2, 1);
    let old = calls(2, Time::NEVER);
    state.enqueue(&mut old.clone().into_iter()).unwrap();
    old[0].cancel();

    state.swept = Time::now();
    state.sweep(state.swept);
    assert_eq!(state.queue.len(), 2);
    state.sweep(state.swept.after(TICK));
    assert_eq!(state.queue.len(), 1);
    assert!(Arc::ptr_eq(&old[1], &run_next(&mut state, 0)));
}

#[test]
fn notifies_each_waiting_thread_once() {
    let mut state = state(9, 2);
    state.begin_wait();
    state.begin_wait();
    state.enqueue(&mut calls(1, Time::NEVER).into_iter()).unwrap();
    assert_eq!([state.take_notifications(), state.take_notifications()], [1, 0]);
    state.enqueue(&mut calls(5, Time::NEVER).into_iter()).unwrap();
    assert_eq!([state.take_notifications(), state.take_notifications()], [1, 0]);
    state.end_wait();
    assert_eq!(state.take_notifications(), 0, "the thread that woke up is busy");
}

#[test]
fn rejects_calls_when_every_thread_is_lost() {
    let mut state = state(9, 1);
    let deadline = Time::now().after(Duration::from_secs(3600));
    state.enqueue(&mut calls(1, deadline).into_iter()).unwrap();
    let call = run_next(&mut state, 0);
    assert!(state.mark_lost(deadline).is_none(), "the call has not started");
    assert!(call.claim());
    assert!(state.mark_lost(Time(deadline.0 - 1)).is_none());
    assert!(state.mark_lost(deadline).is_some_and(|found| Arc::ptr_eq(&found, &call)));
    assert!(state.mark_lost(deadline).is_none(), "it was found already");

    assert!(!state.has_threads());
    assert_eq!(state.enqueue(&mut calls(1, deadline).into_iter()), Err(SubmitError::ThreadsLost));
    assert!(state.may_replace(1) && !state.may_replace(0));
}

#[test]
fn ends_the_superfluous_thread_after_a_lost_one_has_returned() {
    let mut state = state(9, 1);
    let deadline = Time::now().after(Duration::from_secs(3600));
    state.enqueue(&mut calls(1, deadline).into_iter()).unwrap();
    let call = run_next(&mut state, 0);
    assert!(call.claim() && state.mark_lost(deadline).is_some());
    let replacement = state.add_thread();
    assert!(matches!(state.next_step(replacement), NextStep::Wait));

    assert!(state.end_call(0), "the thread was not lost");
    assert!(matches!(state.next_step(0), NextStep::End));
    assert!(matches!(state.next_step(replacement), NextStep::Wait));
    assert_eq!((state.lost(), state.needs_thread()), (0, false));
}

#[test]
fn discards_the_queue_and_ends_its_threads_when_closed() {
    let mut state = state(9, 1);
    state.enqueue(&mut calls(3, Time::NEVER).into_iter()).unwrap();
    state.close();
    assert!(matches!(state.next_step(0), NextStep::End));
}

//! Tests of the supervision of overdue calls.

use super::*;

const GRACE: Duration = Duration::from_secs(1);

/// An instant in milliseconds.
fn at(milliseconds: u64) -> Time {
    Time(milliseconds * 1_000_000)
}

/// Sends calls with the numbers from 0 at time 0, with these deadlines in milliseconds.
fn watch(threads: usize, run: Run, deadlines: &[u64]) -> OverdueWatch {
    let mut watch = OverdueWatch::new(threads, GRACE);
    for (call, deadline) in (0..).zip(deadlines) {
        watch.call_sent(at(0), call, run, at(*deadline));
    }
    watch
}

/// Checks whenever the watch wants to, until this time, and returns the first action and when.
fn run_until(watch: &mut OverdueWatch, from: u64, until: u64) -> Option<(OverdueAction, u64)> {
    let mut now = at(from);
    while now <= at(until) {
        let action = watch.check(now);
        if action != OverdueAction::None {
            return Some((action, now.0 / 1_000_000));
        }
        let next = watch.next_check(now);
        assert!(next > now, "it would check without end");
        now = next;
    }
    None
}

#[test]
fn kills_a_worker_whose_only_thread_is_stuck() {
    let mut watch = watch(1, Run::Blocking, &[500]);
    assert_eq!(run_until(&mut watch, 0, 9_000), Some((OverdueAction::Kill, 1_500)));
    assert_eq!(watch.overdue_blocking(), 1);
}

#[test]
fn does_nothing_if_the_call_ends_within_the_grace_period() {
    let mut watch = watch(1, Run::Blocking, &[500]);
    assert_eq!(run_until(&mut watch, 0, 1_499), None);

    watch.call_ended(at(1_499), 0, Run::Blocking, at(500));

    assert_eq!(watch.overdue_blocking(), 0);
    assert_eq!(watch.check(at(1_500)), OverdueAction::None);
    assert_eq!(watch.next_check(at(1_500)), Time::NEVER);
}

#[test]
fn kills_a_worker_without_a_free_thread_although_one_call_has_time_left() {
    let mut watch = watch(2, Run::Blocking, &[500, 60_000]);
    assert_eq!(run_until(&mut watch, 0, 9_000), Some((OverdueAction::Kill, 1_500)));
}

#[test]
fn replaces_a_worker_with_a_stuck_and_a_free_thread() {
    let mut watch = watch(2, Run::Blocking, &[500]);
    assert_eq!(run_until(&mut watch, 0, 9_000), Some((OverdueAction::Replace, 1_500)));
    assert_eq!(watch.check(at(1_501)), OverdueAction::Replace, "it is repeated until the drain begins");
    assert_eq!(watch.next_check(at(1_501)), Time::NEVER);
}

#[test]
fn kills_a_draining_worker_when_only_stuck_calls_are_left() {
    let mut watch = watch(4, Run::Blocking, &[500, 4_000, 5_000]);
    assert_eq!(run_until(&mut watch, 0, 9_000), Some((OverdueAction::Replace, 1_500)));
    watch.begin_drain();
    assert_eq!(run_until(&mut watch, 1_500, 3_000), None);

    watch.call_ended(at(3_000), 1, Run::Blocking, at(4_000));
    assert_eq!(watch.check(at(3_000)), OverdueAction::None, "one call is left");
    watch.call_ended(at(3_100), 2, Run::Blocking, at(5_000));

    assert_eq!(watch.check(at(3_100)), OverdueAction::Kill);
}

#[test]
fn kills_a_draining_worker_when_its_last_call_is_stuck_too() {
    let mut watch = watch(4, Run::Blocking, &[500, 4_000]);
    watch.begin_drain();
    assert_eq!(run_until(&mut watch, 0, 60_000), Some((OverdueAction::Kill, 5_000)));
}

#[test]
fn never_kills_a_draining_worker_without_calls() {
    let mut watch = watch(1, Run::Blocking, &[]);
    watch.begin_drain();
    assert_eq!(run_until(&mut watch, 0, 60_000), None);
}

#[test]
fn kills_a_draining_worker_whose_last_free_thread_is_taken() {
    let mut watch = watch(2, Run::Blocking, &[500, 700]);
    watch.begin_drain();
    assert_eq!(run_until(&mut watch, 0, 9_000), Some((OverdueAction::Kill, 1_500)));
}

#[test]
fn does_not_kill_while_other_threads_end_calls() {
    let mut watch = watch(2, Run::Blocking, &[500, 60_000]);
    let mut actions = Vec::new();
    for call in 1..40 {
        let now = at(call * 100);
        watch.call_ended(now, call, Run::Blocking, at(60_000));
        watch.call_sent(now, call + 1, Run::Blocking, at(60_000));
        actions.push(watch.check(now));
    }
    assert!(!actions.contains(&OverdueAction::Kill));
    assert_eq!(actions.iter().position(|action| *action == OverdueAction::Replace), Some(14));

    // From now on, nothing ends.
    assert_eq!(watch.next_check(at(3_900)), at(4_900));
    assert_eq!(watch.check(at(4_900)), OverdueAction::Kill);
}

#[test]
fn begins_the_grace_period_when_the_last_thread_is_taken() {
    let mut watch = watch(2, Run::Blocking, &[500]);
    assert_eq!(watch.check(at(500)), OverdueAction::None);
    watch.call_sent(at(1_200), 1, Run::Blocking, at(60_000));

    assert_eq!(watch.check(at(1_500)), OverdueAction::Replace);
    assert_eq!(watch.next_check(at(1_500)), at(2_200));
    assert_eq!(watch.check(at(2_200)), OverdueAction::Kill);
}

#[test]
fn counts_calls_that_were_sent_ahead_as_taking_no_thread_of_their_own() {
    // Thread 1 ends its calls, and takes the one that was sent ahead.
    let mut watch = watch(2, Run::Blocking, &[500, 60_000, 60_000]);
    watch.call_ended(at(1_000), 1, Run::Blocking, at(60_000));
    assert_eq!(run_until(&mut watch, 1_000, 1_999), None);
    watch.call_ended(at(1_999), 2, Run::Blocking, at(60_000));
    assert_eq!(run_until(&mut watch, 1_999, 9_000), Some((OverdueAction::Replace, 2_000)));
}

#[test]
fn kills_a_worker_whose_async_thread_is_stuck() {
    let mut watch = watch(8, Run::Async, &[500, 60_000]);
    assert_eq!(run_until(&mut watch, 0, 9_000), Some((OverdueAction::Kill, 1_500)));
}

#[test]
fn does_nothing_about_async_calls_that_end_at_their_deadline() {
    let mut watch = watch(1, Run::Async, &[500, 600]);
    assert_eq!(run_until(&mut watch, 0, 700), None);
    assert_eq!((watch.overdue_blocking(), watch.take_noticed()), (0, vec![0, 1]));
    for (call, deadline) in [(0, 500), (1, 600)] {
        watch.call_ended(at(700), call, Run::Async, at(deadline));
    }
    assert_eq!(run_until(&mut watch, 700, 9_000), None);
}

#[test]
fn begins_the_grace_period_late_if_the_host_was_stopped() {
    let mut watch = watch(1, Run::Blocking, &[500]);
    assert_eq!(watch.check(at(30_000)), OverdueAction::None);
    assert_eq!(run_until(&mut watch, 30_000, 60_000), Some((OverdueAction::Kill, 31_000)));
}

#[test]
fn forgets_calls_in_any_order() {
    let mut watch = watch(9, Run::Blocking, &[100, 200, 300, 400]);
    watch.check(at(350));
    assert_eq!(watch.overdue_blocking(), 3);

    for (call, deadline) in [(1, 200), (0, 100), (3, 400), (2, 300), (2, 300), (77, 5)] {
        watch.call_ended(at(360), call, Run::Blocking, at(deadline));
    }

    assert_eq!(watch.overdue_blocking(), 0);
    assert!(watch.blocking.noticed.is_empty());
    assert_eq!(watch.next_check(at(360)), Time::NEVER);
}

#[test]
fn keeps_no_calls_that_have_ended_between_others() {
    let mut watch = watch(9, Run::Blocking, &[100]);
    for call in 1..1000 {
        let now = at(100 + call);
        watch.call_sent(now, call, Run::Blocking, now);
        watch.check(now);
        // The first call and the last one are still open.
        watch.call_ended(now, call - 1, Run::Blocking, at(99 + call));
        if call == 1 {
            watch.call_sent(now, 5000, Run::Blocking, now);
            watch.check(now);
        }
    }
    assert_eq!(watch.overdue_blocking(), 2);
    assert!(watch.blocking.noticed.len() <= 20, "{}", watch.blocking.noticed.len());
}

#[test]
fn knows_no_end_of_calls_without_a_deadline() {
    let mut watch = OverdueWatch::new(1, GRACE);
    watch.call_sent(at(0), 0, Run::Blocking, Time::NEVER);
    assert_eq!(watch.check(at(9_000)), OverdueAction::None);
    assert_eq!(watch.next_check(at(9_000)), Time::NEVER);
}

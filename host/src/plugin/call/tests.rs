//! Tests of the states of a call.

use std::sync::Weak;
use std::sync::atomic::AtomicBool;

use jackfield_plugin_api::abi::CancelListener;

use super::super::test_support::{FakeTarget, call_facts, call_with, fake_call, fake_trial_call};
use super::*;

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn claims_a_call_once() {
    let (call, _) = fake_call(&FakeTarget::doing_nothing(), Time::NEVER, b"");
    assert!(call.started_at().is_none());
    assert!(call.claim() && !call.claim());
    assert!(call.started_at().is_some() && !call.is_over());
}

#[test]
fn does_not_run_a_call_that_waited_past_its_deadline() {
    let (call, ends) = fake_call(&FakeTarget::doing_nothing(), Time(1), b"");
    call.claim_and_run();
    assert!(call.is_over() && call.started_at().is_none());
    assert!(ends.try_recv().is_err());
}

#[test]
fn does_not_run_a_call_that_was_cancelled_while_it_waited() {
    let (call, ends) = fake_call(&FakeTarget::doing_nothing(), Time::NEVER, b"");
    call.cancel();
    call.claim_and_run();
    assert!(call.is_over() && call.facts.cancelled.is_set());
    assert!(ends.try_recv().is_err());
}

#[test]
fn releases_the_trial_of_the_circuit_breaker_if_it_never_starts() {
    let (breaker, cancelled) = fake_trial_call(Time::NEVER);
    assert!(breaker.admit(Time::now()).is_err());
    cancelled.cancel();
    let next = breaker.admit(Time::now());
    assert!(next.is_ok_and(|trial| trial.is_some()) && cancelled.decided_trial().is_none());

    let (breaker, expired) = fake_trial_call(Time(1));
    assert!(!expired.claim());
    assert!(breaker.admit(Time::now()).is_ok_and(|trial| trial.is_some()));
}

#[test]
fn keeps_the_trial_of_the_circuit_breaker_while_it_runs() {
    let (breaker, call) = fake_trial_call(Time::NEVER);
    assert!(call.claim());
    call.cancel();
    assert!(breaker.admit(Time::now()).is_err() && call.decided_trial() == call.facts.trial);

    drop(call);
    assert!(breaker.admit(Time::now()).is_ok_and(|trial| trial.is_some()));
}

#[test]
fn decides_no_trial_of_the_circuit_breaker_once_it_is_abandoned() {
    let (breaker, call) = fake_trial_call(Time::NEVER);
    assert!(call.claim());
    call.abandon();
    let next = breaker.admit(Time::now()).unwrap().unwrap();

    // Its outcome says nothing any more.
    assert!(breaker.count(false, call.facts.trial).is_none() && !breaker.is_closed());
    drop(call);
    assert!(breaker.count(false, Some(next.number())).is_some() && breaker.is_closed());
}

#[test]
fn starts_before_the_deadline_of_its_client_and_is_overdue_after_that_of_the_host() {
    let now = Time::now();
    let [past, client, host] = [Time(1), now.after(LONG), now.after(2 * LONG)];
    let call = |deadline: Time| {
        let facts = CallFacts { deadline: deadline.0, ..call_facts(Run::Blocking, host) };
        call_with(&FakeTarget::doing_nothing(), 0, facts, b"").0
    };
    assert!(!call(past).claim());
    let running = call(client);
    assert!(running.claim() && !running.is_overdue(client) && running.is_overdue(host));
}

#[test]
fn cancels_what_its_method_waits_for() {
    struct Waits(Arc<Call<FakeTarget>>, AtomicBool);
    impl CancelListener for Waits {
        fn call_cancelled(&self) {
            self.1.store(self.0.is_over(), Ordering::Relaxed);
        }
    }

    // If only the connection of the client has ended, the method can complete its work.
    let ends = [(Call::cancel as fn(&Call<_>), true), (Call::cancel_early, true), (Call::abandon, false)];
    for (end, ends_wait) in ends {
        let (call, _) = fake_call(&FakeTarget::doing_nothing(), Time::NEVER, b"");
        assert!(call.claim());
        let waits = Arc::new(Waits(Arc::clone(&call), AtomicBool::new(false)));
        let listener: Weak<Waits> = Arc::downgrade(&waits);
        call.facts.cancelled.notify(listener);
        end(&call);
        assert_eq!(waits.1.load(Ordering::Relaxed), ends_wait, "it is over when the wait ends");
        assert!(call.facts.cancelled.is_set(), "the method can see it");
    }
}

#[test]
fn is_overdue_from_its_deadline_on_once_it_has_started() {
    let deadline = Time::now().after(Duration::from_secs(3600));
    let before = Time(deadline.0 - 1);
    for end in [Call::cancel, Call::abandon] {
        let (waiting, _) = fake_call(&FakeTarget::doing_nothing(), deadline, b"");
        assert!(!waiting.is_overdue(deadline));
        end(&waiting);
        assert!(!waiting.is_overdue(deadline) && !waiting.is_abandoned());

        let (running, _) = fake_call(&FakeTarget::doing_nothing(), deadline, b"");
        assert!(running.claim() && !running.is_overdue(before) && running.is_overdue(deadline));
        end(&running);
        assert!(running.is_over() && !running.is_overdue(before) && running.is_overdue(deadline));
    }
}

#[test]
fn is_abandoned_only_if_its_caller_has_gone_while_it_ran() {
    let (call, _) = fake_call(&FakeTarget::doing_nothing(), Time::NEVER, b"");
    assert!(call.claim() && !call.is_abandoned());
    call.abandon();
    assert!(call.is_abandoned() && call.facts.cancelled.is_set());

    let (answered, _) = fake_call(&FakeTarget::doing_nothing(), Time::NEVER, b"");
    assert!(answered.claim());
    answered.cancel();
    answered.abandon();
    assert!(!answered.is_abandoned(), "its deadline was noticed already");
}

#[test]
fn counts_a_direct_call_from_its_creation_until_it_is_dropped() {
    let target = FakeTarget::doing_nothing();
    let (call, ends) = fake_call(&target, Time::NEVER, b"params");
    assert_eq!(target.direct_calls(), 1);
    call.claim_and_run();
    assert_eq!(ends.try_recv(), Ok((b"params".to_vec(), CallEnd::Done)));
    drop(call);
    assert_eq!(target.direct_calls(), 0);
}

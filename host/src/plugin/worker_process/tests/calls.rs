//! How calls run and end.

use super::*;

#[test]
fn runs_all_kinds_of_methods_and_ends_each_call_once() {
    let mut host = TestHost::start(2);
    let calls = [BLOCKING, ASYNC, INLINE].repeat(20);
    let messages: Vec<_> = (1..)
        .zip(&calls)
        .map(|(number, method)| HostMessage::Call(call_message(number, *method, "41", Time::NEVER)))
        .collect();
    host.send(&messages);

    let mut expected: Vec<_> = (1..=calls.len()).map(|number| format!("{number}: done 42")).collect();
    expected.sort();
    assert_eq!(host.next_sorted(calls.len()), expected);
    host.stop();
}

#[test]
fn reports_errors_panics_and_results_that_are_too_large() {
    let mut host = TestHost::start(1);
    host.call(1, PANICS, "null");
    assert_eq!(host.next(), "1: panicked planned");
    host.call(2, REPEATS, "499");
    assert_eq!(host.next(), format!("2: done \"{}\"", "id".repeat(499)));
    host.call(3, REPEATS, "500");
    // The detail goes to the log, as of any internal error.
    let logged = host.next();
    assert!(logged.starts_with("log 1 of 3: ") && logged.contains("1000 bytes"), "{logged}");
    let failed = host.next();
    assert!(failed.starts_with("3: failed -32603 the result does not fit in a frame of 1000"), "{failed}");
    host.stop();
}

#[test]
fn logs_for_the_call_that_runs_on_the_thread_up_to_the_level() {
    let mut host = TestHost::start(1);
    host.call(9, FAILS, "null");
    assert_eq!(host.next(), "log 2 of 9: about to fail");
    assert_eq!(host.next(), "9: failed 7 no Some(\"[1]\")");
    host.stop();
}

#[test]
fn ends_a_cancelled_call_at_once_if_it_waits_and_when_it_returns_if_it_runs() {
    let mut host = TestHost::start(1);
    host.call(1, WAITS, "null");
    host.wait_for_start();
    host.call(2, BLOCKING, "1");
    host.send(&[
        HostMessage::Cancel { call: 2, ends_nested: true },
        HostMessage::Cancel { call: 2, ends_nested: true },
        HostMessage::Cancel { call: 99, ends_nested: true },
    ]);
    assert_eq!(host.next(), "2: cancelled");

    host.send(&[HostMessage::Cancel { call: 1, ends_nested: true }]);
    // A call that was sent after the cancellation is behind it in the channel.
    host.call(3, ASYNC, "1");
    assert_eq!(host.next(), "3: done 2");
    host.resume.send(()).unwrap();
    assert_eq!(host.next(), "1: done true");
    host.stop();
}

#[test]
fn drops_the_future_of_a_cancelled_call() {
    let mut host = TestHost::start(1);
    host.call(1, NEVER, "null");
    host.wait_for_start();
    host.send(&[HostMessage::Cancel { call: 1, ends_nested: true }]);
    assert_eq!(host.next(), "1: cancelled");
    host.stop();
}

#[test]
fn does_not_run_calls_that_were_cancelled_or_are_past_their_deadlines() {
    let mut host = TestHost::start(1);
    let past = |call, method| HostMessage::Call(call_message(call, method, "null", Time(1)));
    // The cancellation is read together with its call.
    host.send(&[
        HostMessage::Call(call_message(1, WAITS, "null", Time::NEVER)),
        HostMessage::Cancel { call: 1, ends_nested: true },
        past(2, WAITS),
        past(3, NEVER),
    ]);
    assert_eq!(host.next_sorted(3), ["1: cancelled", "2: cancelled", "3: cancelled"]);
    assert!(host.has_started.try_recv().is_err());
    host.stop();
}

#[test]
fn passes_opaque_bytes_on_as_what_they_are() {
    let mut host = TestHost::start(1);
    let message = call_message(1, CALLS_WITH_BYTES, "", Time::NEVER);
    host.send(&[HostMessage::Call(CallMessage { content: Content::Bytes, params: &[0xff, 0], ..message })]);
    assert_eq!(host.next(), "nested 1 of 1: other.m [255, 0], waits: true");
    host.send(&[HostMessage::Reply { nested: 1, end: MessageEnd::DoneBytes(&[1, 0xfe]) }]);
    assert_eq!(host.next(), "1: done [1, 254]");

    // An empty result is not the JSON of nothing.
    host.send(&[HostMessage::Call(CallMessage { call: 2, content: Content::Bytes, ..message })]);
    assert_eq!(host.next(), "nested 2 of 2: other.m [], waits: true");
    host.send(&[HostMessage::Reply { nested: 2, end: MessageEnd::DoneBytes(b"") }]);
    assert_eq!(host.next(), "2: done []");
    host.stop();
}

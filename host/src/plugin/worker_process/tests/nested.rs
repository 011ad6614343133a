//! Calls that the plugin makes.

use super::*;

#[test]
fn makes_nested_calls_while_every_thread_of_the_plugin_waits_for_one() {
    let mut host = TestHost::start(2);
    for call in [1, 2] {
        host.call(call, CALLS_AND_WAITS, &call.to_string());
    }
    let mut nested = host.next_sorted(2);
    // Each thread has its own number, in any order.
    let first = nested.iter().position(|text| text.ends_with("other.m 1, waits: true")).unwrap();
    nested.swap(0, first);
    let number = |text: &str| text.split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(nested[0], format!("nested {} of 1: other.m 1, waits: true", number(&nested[0])));

    // The async thread calls, too, and its reply arrives first.
    host.call(3, CALLS, "3");
    assert_eq!(host.next(), "nested 3 of 3: other.m 3, waits: false");
    host.send(&[done(3, "30")]);
    assert_eq!(host.next(), "3: done 30");

    let failed = MessageEnd::Failed { code: -32002, message: "full", data: Some("{\"a\":1}") };
    host.send(&[
        HostMessage::Reply { nested: number(&nested[1]), end: failed },
        done(number(&nested[0]), "10"),
        done(99, "0"),
    ]);
    let mut ends: Vec<_> = (0..3).map(|_| host.next()).collect();
    ends.sort();
    assert_eq!(ends[0], "1: done 10");
    assert_eq!(ends[1], "2: failed -32603 a called method failed: full (-32002) Some(\"{\\\"a\\\":1}\")");
    assert!(ends[2].starts_with("log 1 of 2: "), "{ends:?}");
    host.stop();
}

#[test]
fn gives_up_a_nested_call_after_the_deadline_of_its_caller() {
    let mut host = TestHost::start(1);
    for (call, method) in [(1, CALLS_AND_WAITS), (2, CALLS)] {
        let deadline = Time::now().after(Duration::from_millis(200));
        host.send(&[HostMessage::Call(call_message(call, method, "1", deadline))]);
        assert!(host.next().starts_with(&format!("nested {call} of {call}: ")));

        let messages = host.next_sorted(3);
        let failed =
            format!("{call}: failed -32603 a called method failed: the request had no result within");
        assert!(messages[0].starts_with(&failed), "{messages:?}");
        assert_eq!(messages[1], format!("NestedCancelled({call})"));
    }
    host.stop();
}

#[test]
fn cancels_a_nested_call_that_nothing_waits_for_any_more() {
    let mut host = TestHost::start(1);
    host.call(1, DROPS_A_CALL, "null");
    assert_eq!(host.next(), "nested 1 of 1: other.m 1, waits: false");
    assert_eq!(host.next(), "NestedCancelled(1)");
    assert_eq!(host.next(), "1: done null");

    host.call(2, CALLS, "1");
    assert_eq!(host.next(), "nested 2 of 2: other.m 1, waits: false");
    host.send(&[HostMessage::Cancel { call: 2, ends_nested: true }, done(1, "1")]);
    // The cancellation may arrive during the poll that made the nested call. Then the method gets
    // the error of that call and returns it, before it could be dropped.
    let [end, nested] = host.next_sorted(2).try_into().unwrap();
    let returned = "2: failed -32800 the calling method was cancelled None";
    assert!(["2: cancelled", returned].contains(&&*end), "{end}");
    assert_eq!(nested, "NestedCancelled(2)");
    host.stop();
}

#[test]
fn stops_waiting_for_a_nested_call_when_the_waiting_call_is_cancelled() {
    let mut host = TestHost::start(1);
    host.call(1, CALLS_AND_WAITS, "1");
    assert_eq!(host.next(), "nested 1 of 1: other.m 1, waits: true");

    host.send(&[HostMessage::Cancel { call: 1, ends_nested: true }]);
    let failed = "1: failed -32800 the calling method was cancelled None";
    assert_eq!(host.next_sorted(2), [failed, "NestedCancelled(1)"]);

    // The thread is free, and the late reply is discarded.
    host.send(&[done(1, "10")]);
    host.call(2, BLOCKING, "1");
    assert_eq!(host.next(), "2: done 2");
    host.stop();
}

#[test]
fn ends_with_the_deadline_if_the_waiting_call_is_cancelled_then() {
    let mut host = TestHost::start(1);
    let deadline = Time::now().after(Duration::from_millis(50));
    host.send(&[HostMessage::Call(call_message(1, CALLS_AND_WAITS, "1", deadline))]);
    assert_eq!(host.next(), "nested 1 of 1: other.m 1, waits: true");
    while Time::now() < deadline {
        thread::yield_now();
    }

    host.send(&[HostMessage::Cancel { call: 1, ends_nested: true }]);
    let messages = host.next_sorted(3);
    let failed = "1: failed -32603 a called method failed: the request had no result within";
    assert!(messages[0].starts_with(failed), "{messages:?}");
    host.stop();
}

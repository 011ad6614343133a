//! Tests of time-outs, cancellation, counters and limits of calls.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};
use std::task::{Context as TaskContext, Waker};
use std::thread;
use std::time::Duration;

use jackfield_protocol::Code;
use serde_json::Value;

use super::{CallOptions, LIMIT, block_on, config, host_code, start, wait_until};
use crate::config::{Pattern, Route};
use crate::sync::lock;
use crate::wake_count::WakeCount;

#[test]
fn ends_a_call_at_the_earlier_of_both_time_outs() {
    let mut limited = config();
    let mut route = Route::to(Pattern::Exact("own.wait".into()), "own");
    route.timeout = Some(Duration::from_millis(30));
    limited.routes = vec![route];
    let fixture = start(limited);

    let short = CallOptions::timeout(Duration::from_millis(10));
    let long = CallOptions::timeout(LIMIT);
    for options in [short.clone(), long] {
        let late = block_on(fixture.host.call("own.wait", &(), options.clone()));
        assert_eq!(host_code(late), Code::DeadlineExceeded);
        let late = fixture.host.call_blocking("own.wait", &(), options);
        assert_eq!(host_code(late), Code::DeadlineExceeded);
    }
    let program = Arc::clone(&fixture.program);
    wait_until("every method has noticed", || {
        let [running, cancelled] =
            [&program.running, &program.cancelled].map(|count| count.load(Ordering::SeqCst));
        running == cancelled
    });
    assert_eq!(fixture.count("in_flight"), 0);
    fixture.stop();
}

#[test]
fn cancels_a_call_whose_future_is_dropped() {
    let fixture = start(config());
    let count = Arc::<WakeCount>::default();
    let waker = Waker::from(Arc::clone(&count));
    {
        let mut call = pin!(fixture.host.call::<_, Value>("own.wait", &(), CallOptions::default()));
        assert!(call.as_mut().poll(&mut TaskContext::from_waker(&waker)).is_pending());
        let program = &fixture.program;
        wait_until("the method runs", || program.running.load(Ordering::SeqCst) == 1);
        assert_eq!(fixture.count("in_flight"), 1);
    }

    let program = &fixture.program;
    wait_until("the method has noticed", || program.cancelled.load(Ordering::SeqCst) == 1);
    assert_eq!((fixture.count("in_flight"), count.get()), (0, 0));
    fixture.stop();
}

#[test]
fn counts_calls_as_requests_of_clients() {
    let fixture = start(config());
    for _ in 0..3 {
        assert_eq!(fixture.blocking::<i64>("own.add", (2, 3)).unwrap(), 5);
    }
    assert!(fixture.blocking::<Value>("own.fail", 9).is_err());
    assert!(fixture.blocking::<Value>("own.unknown", ()).is_err());

    let info: Value = fixture.blocking("system.info", ()).unwrap();
    // The last request is this one, which has no result yet.
    let counts = ["requests", "results", "errors"].map(|name| info["counts"][name].as_u64().unwrap());
    assert_eq!(counts, [6, 3, 2], "{info}");
    fixture.stop();
}

#[test]
fn limits_the_requests_in_flight_and_the_calls_of_a_route() {
    let mut limited = config();
    let mut route = Route::to(Pattern::Exact("own.block".into()), "own");
    route.max_in_flight = Some(1);
    limited.routes = vec![route];
    let fixture = start(limited);
    let barrier = Arc::new(Barrier::new(2));
    *lock(&fixture.program.release) = Some(Arc::clone(&barrier));

    thread::scope(|scope| {
        let first = scope.spawn(|| fixture.blocking::<u32>("own.block", ()));
        wait_until("the method runs", || fixture.program.running.load(Ordering::SeqCst) == 1);
        assert_eq!(host_code(fixture.blocking("own.block", ())), Code::Overloaded);
        barrier.wait();
        assert_eq!(first.join().unwrap().unwrap(), 7);
    });
    fixture.stop();
}

#[test]
fn opens_the_circuit_breaker_after_panics() {
    let mut breaking = config();
    breaking.plugin.entry("own".into()).or_default().breaker.failures = 3;
    let fixture = start(breaking);

    for _ in 0..3 {
        assert_eq!(host_code(fixture.blocking("own.panic", ())), Code::PluginPanicked);
    }

    assert_eq!(host_code(fixture.blocking("own.add", (1, 2))), Code::PluginUnavailable);
    fixture.stop();
}

#[test]
fn ends_a_cycle_of_inline_methods_before_the_stack_is_full() {
    let fixture = start(config());
    let error = fixture.blocking::<Value>("own.recurse", 0).unwrap_err();
    assert!(error.to_string().contains("16 deep"), "{error}");
    assert_eq!(fixture.blocking::<i64>("own.add", (2, 3)).unwrap(), 5);
    fixture.stop();
}

#[test]
fn lets_methods_call_others_through_the_program() {
    let fixture = start(config());
    assert_eq!(fixture.blocking::<u32>("own.call", ()).unwrap(), 7);
    fixture.stop();
}

//! Tests of many calls at once, and of calls while the host ends.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};
use std::task::{Context as TaskContext, Poll, Waker};
use std::thread;

use jackfield_protocol::Code;
use serde_json::Value;

use super::{CallOptions, Fixture, block_on, config, host_code, start, wait_until};
use crate::sync::lock;

#[test]
fn serves_many_calls_at_once_from_many_threads() {
    const CALLS: usize = 2_500;
    let mut wide = config();
    wide.plugin.entry("own".into()).or_default().queue = 100_000;
    wide.limits.in_flight = 100_000;
    let fixture = start(wide);

    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let caller = fixture.host.caller();
                let mut calls: Vec<_> = (0..CALLS)
                    .map(|_| Box::pin(caller.call::<_, u32>("own.block", &(), CallOptions::default())))
                    .collect();
                let mut cx = TaskContext::from_waker(Waker::noop());
                // All are in flight before the first is awaited.
                let mut ready = 0;
                calls.retain_mut(|call| match call.as_mut().poll(&mut cx) {
                    Poll::Ready(result) => {
                        assert_eq!(result.unwrap(), 7);
                        ready += 1;
                        false
                    }
                    Poll::Pending => true,
                });
                ready += calls.into_iter().map(|call| assert_eq!(block_on(call).unwrap(), 7)).count();
                assert_eq!(ready, CALLS);
            });
        }
    });

    assert_eq!(fixture.program.running.load(Ordering::SeqCst), 4 * CALLS);
    assert_eq!(fixture.count("in_flight"), 0);
    fixture.stop();
}

#[test]
fn answers_open_calls_before_the_host_ends_and_refuses_later_ones() {
    let fixture = start(config());
    let barrier = Arc::new(Barrier::new(2));
    *lock(&fixture.program.release) = Some(Arc::clone(&barrier));
    let Fixture { host, program } = fixture;
    let caller = host.caller();

    let open = thread::spawn({
        let caller = caller.clone();
        move || caller.call_blocking::<_, u32>("own.block", &(), CallOptions::default())
    });
    wait_until("the method runs", || program.running.load(Ordering::SeqCst) == 1);
    host.begin_stop();
    let late = || caller.call_blocking::<_, Value>("own.add", &(1, 2), CallOptions::default());
    wait_until("the host drains", || late().is_err());
    assert_eq!(host_code(late()), Code::GoingAway);
    barrier.wait();

    assert_eq!(open.join().unwrap().unwrap(), 7);
    block_on(host.stop()).unwrap();
    assert_eq!(host_code(late()), Code::GoingAway);
}

#[test]
fn cuts_open_calls_short_when_the_host_ends_at_once() {
    let fixture = start(config());
    let Fixture { host, program } = fixture;
    let caller = host.caller();
    let open = thread::spawn({
        let caller = caller.clone();
        move || caller.call_blocking::<_, Value>("own.wait", &(), CallOptions::default())
    });
    wait_until("the method runs", || program.running.load(Ordering::SeqCst) == 1);

    host.begin_stop();
    host.cut();

    assert_eq!(host_code(open.join().unwrap()), Code::DeadlineExceeded);
    block_on(host.stop()).unwrap();
}

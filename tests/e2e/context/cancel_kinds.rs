//! Cancellations of methods of each kind, in the host and in workers: what runs notices it, what
//! waits never starts, and no plugin is blamed.

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::hello::{ALL, CANCEL, V1_2, agree, without_block};
use crate::support::peer::{ASYNC_REQUEST, envelope_with, frame};
use crate::support::{HostProcess, Peer, wait_until};

const CANCELLED: i64 = -32800;
/// Calls that run, and calls that wait for a thread.
const CALLS: u32 = 40;

fn cancel(id: &str) -> Vec<u8> {
    frame(V1_2, CANCEL, format!("{{\"id\":\"{id}\"}}"))
}

fn count(peer: &mut Peer, method: &str) -> u32 {
    peer.result(method, &Value::Null).as_u64().and_then(|count| count.try_into().ok()).expect("a count")
}

#[test]
fn reaches_methods_of_each_kind_and_blames_no_plugin() {
    for isolation in ["in-process", "worker"] {
        let config = format!(
            "[plugin.reports_context]\nthreads = 3\nisolation = \"{isolation}\"\nbreaker = {{ failures = 5 }}\n\
             [plugins.probation]\ncalls = 1000000\nfailures = 5\n"
        );
        let host = HostProcess::builder().plugin("reports_context").config(&config).start();
        let (mut peer, mut other) = (host.peer(), host.peer());
        agree(&mut peer, ALL);

        let mut accounting = ReplyAccounting::default();
        let mut send = |numbers: std::ops::Range<u32>, method: &str| {
            for id in numbers.map(|number| number.to_string()) {
                accounting.record_request(&id);
                peer.send_frame(V1_2, ASYNC_REQUEST, envelope_with(&id, method, &Value::Null));
            }
        };
        // One thread stays free for the methods that count: in a worker, all methods share them.
        send(0..2, "cancel.wait");
        send(2..CALLS, "cancel.wait_async");
        wait_until("they run", || count(&mut other, "cancel.begun") == CALLS);
        // One of these begins, and the others wait.
        send(CALLS..2 * CALLS, "cancel.wait");
        wait_until("all are in flight", || host.count("in_flight") == u64::from(2 * CALLS));

        // The waiting calls are cancelled first, so that no thread becomes free for them.
        peer.send((0..2 * CALLS).rev().flat_map(|id| cancel(&id.to_string())).collect::<Vec<_>>());
        for reply in peer.receive_all(2 * CALLS as usize) {
            accounting.record_reply(&without_block(reply));
        }
        assert_eq!(accounting.check(), Ok(()));
        assert_eq!(accounting.count(Some(CANCELLED)), 2 * CALLS as usize);

        wait_until("each running method has noticed", || {
            let noticed = count(&mut other, "cancel.seen") + count(&mut other, "cancel.dropped");
            noticed == count(&mut other, "cancel.begun")
        });
        let begun = count(&mut other, "cancel.begun");
        assert!(begun == CALLS || begun == CALLS + 1, "{isolation}: {begun} have begun");
        // The threads are free, and neither the breaker nor the probation has counted anything.
        assert!(other.result("ctx.remaining_blocking", &Value::Null).is_u64());
        assert_eq!((host.count("cancels"), host.count("plugins_rolled_back")), (u64::from(2 * CALLS), 0));
        assert!(!host.log_contains("circuit breaker"), "{}", host.log());
    }
}

#[test]
fn drops_a_future_that_was_first_polled_inline() {
    let host = HostProcess::with(&["ready_at_once"]);
    let mut peer = host.peer();
    agree(&mut peer, ALL);
    let mut dropped = 0;

    // A method that was ready at once so often is polled on the I/O thread. On a busy machine it
    // may count as slow, so that it is polled elsewhere.
    wait_until("a method is polled inline", || {
        (0..600).for_each(|number| peer.send_async(&number.to_string(), "ready_at_once.run", &json!({})));
        peer.receive_all(600);
        let threads = peer.result("ready_at_once.run", &json!({ "thread_names": true }));

        let wait = envelope_with("long", "ready_at_once.run", &json!({ "wait": 3_600_000 }));
        peer.send([frame(V1_2, ASYNC_REQUEST, wait), cancel("long")].concat());
        without_block(peer.receive()).error(CANCELLED);
        // The future exists if the method was polled before the cancellation was read. Otherwise it
        // never begins.
        let is_inline = threads[0].as_str().is_some_and(|name| name.starts_with("io:"));
        dropped += u32::from(is_inline);
        is_inline
    });
    wait_until("its future is dropped", || count(&mut peer, "ready_at_once.dropped") >= dropped);
    wait_until("nothing is in flight", || host.count("in_flight") == 0);
}

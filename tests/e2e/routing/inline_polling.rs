//! Inline polling: an `async` method that is repeatedly ready at its first poll is polled on the
//! I/O thread. The first call that waits or takes long moves the method back to the async thread of
//! its plugin.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::admin::plugin_row;
use crate::support::peer::{DEADLINE_EXCEEDED, INVALID_PARAMS, PLUGIN_PANICKED, Peer};
use crate::support::program::jackfield;
use crate::support::wait::wait_for;
use crate::support::{HostProcess, wait_until};

/// More calls than any method needs to qualify for inline polling, including one that was
/// disqualified three times.
const CALLS_TO_QUALIFY: usize = 600;

fn call_many(peer: &mut Peer) {
    (0..CALLS_TO_QUALIFY)
        .for_each(|number| peer.send_async(&number.to_string(), "ready_at_once.run", &json!({})));
    peer.receive_all(CALLS_TO_QUALIFY).iter().for_each(|reply| assert_eq!(reply.result(), Value::Null));
}

/// Returns the names of the threads that started and completed a call.
fn threads(peer: &mut Peer, key: &str, length: u64) -> [String; 2] {
    let threads = peer.result("ready_at_once.run", &json!({ "thread_names": true, key: length }));
    let name = |at: usize| threads[at].as_str().expect("a thread's name").to_owned();
    [name(0), name(1)]
}

/// The async thread of `ready_at_once`: thread names have at most 15 bytes.
const ASYNC_THREAD: &str = "ready_at_:async";

fn is_io(name: &str) -> bool {
    name.starts_with("io:")
}

/// Calls the method until it is polled inline. If a busy machine suspends a thread, the method
/// counts as slow, here and in each later call.
#[track_caller]
fn qualify_for_inline_polling(peer: &mut Peer) {
    wait_until("the method is polled inline", || {
        call_many(peer);
        is_io(&threads(peer, "wait", 0)[0])
    });
}

/// Returns the threads of a call that was polled inline.
#[track_caller]
fn polled_inline(peer: &mut Peer, key: &str, length: u64) -> [String; 2] {
    wait_for("a call is polled inline", || {
        qualify_for_inline_polling(peer);
        Some(threads(peer, key, length)).filter(|threads| is_io(&threads[0]))
    })
}

#[test]
fn revokes_inline_polling_when_a_call_waits() {
    let host = HostProcess::with(&["ready_at_once"]);
    let mut peer = host.peer();

    assert_eq!(
        threads(&mut peer, "wait", 0),
        [ASYNC_THREAD, ASYNC_THREAD],
        "a new method is not polled inline"
    );

    for _ in 0..3 {
        assert_eq!(polled_inline(&mut peer, "wait", 5)[1], ASYNC_THREAD);
        assert_eq!(threads(&mut peer, "wait", 0), [ASYNC_THREAD, ASYNC_THREAD]);
    }
}

#[test]
fn revokes_inline_polling_of_slow_methods() {
    let host =
        HostProcess::builder().plugin("ready_at_once").config("[timeouts]\ninline = \"50ms\"\n").start();
    let mut peer = host.peer();

    assert!(is_io(&polled_inline(&mut peer, "block", 15)[1]));
    assert_eq!(threads(&mut peer, "wait", 0), [ASYNC_THREAD, ASYNC_THREAD]);

    // Ten times `timeouts.inline`, plus the interval of the check that detects it.
    assert!(is_io(&polled_inline(&mut peer, "block", 1000)[1]));
    let line = host.wait_for_log("ready_at_once.run (async, plugin ready_at_once) has blocked I/O thread ");
    assert!(line.contains("method=\"ready_at_once.run\""), "{line}");
    host.wait_for_log("it is no longer polled on I/O threads");

    for _ in 0..10 {
        call_many(&mut peer);
        assert_eq!(threads(&mut peer, "wait", 0), [ASYNC_THREAD, ASYNC_THREAD]);
    }
    wait_until("the plugin is healthy again", || plugin_row(&host, "ready_at_once")["state"] == "serving");
}

#[test]
fn answers_each_inline_polled_call_once() {
    let host = HostProcess::builder()
        .plugin("ready_at_once")
        .config(
            "[[route]]\nmethod = \"ready_at_once.run\"\nplugin = \"ready_at_once\"\ntimeout = \"300ms\"\n",
        )
        .start();
    let mut peer = host.peer();

    qualify_for_inline_polling(&mut peer);
    peer.call("ready_at_once.run", &json!({ "thread_names": true, "panic": true })).error(PLUGIN_PANICKED);
    qualify_for_inline_polling(&mut peer);
    peer.call("ready_at_once.run", &json!({ "wait": "not a number" })).error(INVALID_PARAMS);

    // After its deadline the future is dropped on the async thread.
    qualify_for_inline_polling(&mut peer);
    let dropped =
        |peer: &mut Peer| peer.result("ready_at_once.dropped", &Value::Null).as_u64().expect("a number");
    let before = dropped(&mut peer);

    peer.call("ready_at_once.run", &json!({ "wait": 60_000 })).error(DEADLINE_EXCEEDED);
    wait_until("the future is dropped", || dropped(&mut peer) == before + 1);

    // The client disconnects.
    qualify_for_inline_polling(&mut peer);
    let mut leaving = host.peer();
    leaving.send_async("leaving", "ready_at_once.run", &json!({ "wait": 60_000 }));
    wait_until("the request is in flight", || host.count("in_flight") == 1);

    drop(leaving);
    wait_until("the future is dropped", || dropped(&mut peer) == before + 2);

    // The deadline passes on the I/O thread, which does not check the time meanwhile.
    qualify_for_inline_polling(&mut peer);
    peer.call("ready_at_once.run", &json!({ "block": 400 })).error(DEADLINE_EXCEEDED);
    peer.assert_usable();
}

#[test]
fn answers_mixed_calls_and_keeps_sync_ones_in_order() {
    let host = HostProcess::with(&["ready_at_once"]);
    let mut peer = host.peer();
    let mut accounting = ReplyAccounting::default();

    for round in 0..200 {
        if round % 20 == 0 {
            qualify_for_inline_polling(&mut peer);
        }

        let kinds =
            [json!({}), json!({ "wait": 1 }), json!({ "block": 2 }), json!({ "panic": true }), json!({})];
        for (number, params) in kinds.iter().enumerate() {
            let id = format!("{round}-{number}");
            accounting.record_request(&id);
            peer.send_async(&id, "ready_at_once.run", params);
        }

        // Sync requests are answered in order, on whichever threads they run.
        peer.send_sync("ready_at_once.run", &json!({ "wait": 1 }));
        peer.send_sync("ready_at_once.dropped", &Value::Null);
        peer.send_sync("ready_at_once.run", &json!({ "thread_names": true }));

        let mut sync = Vec::new();
        for reply in peer.receive_all(kinds.len() + 3) {
            match reply.id() {
                Some(_) => accounting.record_reply(&reply),
                None => sync.push(reply.result()),
            }
        }
        let [first, second, third] = &sync[..] else { panic!("three sync replies: {sync:?}") };
        assert!(first.is_null() && second.is_u64() && third.is_array(), "{sync:?}");
    }

    assert_eq!(accounting.check(), Ok(()));
    assert_eq!(accounting.count(Some(PLUGIN_PANICKED)), 200);
    wait_until("nothing is in flight", || host.count("in_flight") == 0);
}

#[test]
fn unloads_code_that_was_polled_inline() {
    let host = HostProcess::with(&["ready_at_once"]);
    let mut peer = host.peer();
    let mut polled_inline = 0;

    for _ in 0..5 {
        qualify_for_inline_polling(&mut peer);
        let mut waits = host.peer();
        waits.send_async("waits", "ready_at_once.run", &json!({ "thread_names": true, "wait": 200 }));
        wait_until("the request is in flight", || host.count("in_flight") == 1);

        let reloaded = jackfield(host.directory(), &["plugin", "reload", "ready_at_once"]);
        assert_eq!(reloaded.code, 0, "{reloaded:?}");

        let threads =
            waits.receive_within(Duration::from_secs(20)).expect("no part of a reply").expect("a reply");
        polled_inline += u32::from(is_io(threads.result()[0].as_str().unwrap_or_default()));
        assert_eq!(threads.result()[1], ASYNC_THREAD);

        // No method of a new generation is polled inline yet.
        assert_eq!(self::threads(&mut peer, "wait", 0), [ASYNC_THREAD, ASYNC_THREAD]);
    }

    assert!(
        polled_inline > 0,
        "one call was polled inline and continued elsewhere while its code was replaced"
    );
    wait_until("all previous generations are unloaded", || {
        let row = plugin_row(&host, "ready_at_once");
        (&row["unloaded"], &row["retained"]) == (&json!(5), &json!([]))
    });
}

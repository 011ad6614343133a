//! `async` methods that are ready at once, again and again, are begun on the thread that serves the
//! connection; the first that waits, or takes long, sends its method back to its plugin's own
//! thread, and is answered like any other.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::accounting::ReplyAccounting;
use crate::support::admin::plugin_row;
use crate::support::peer::{DEADLINE_EXCEEDED, INVALID_PARAMS, PLUGIN_PANICKED, Peer};
use crate::support::program::jackfield;
use crate::support::wait::wait_for;
use crate::support::{HostProcess, wait_until};

/// More than it takes to be known as prompt, also by a method that has lost it three times for
/// taking long.
const MANY: usize = 600;

fn ask_many(peer: &mut Peer) {
    (0..MANY).for_each(|number| peer.send_async(&number.to_string(), "prompts.run", &json!({})));
    peer.receive_all(MANY).iter().for_each(|reply| assert_eq!(reply.result(), Value::Null));
}

/// The threads that began and ended a call.
fn threads(peer: &mut Peer, more: &str, length: u64) -> [String; 2] {
    let threads = peer.result("prompts.run", &json!({ "tell": true, more: length }));
    let name = |at: usize| threads[at].as_str().expect("a thread's name").to_owned();
    [name(0), name(1)]
}

const OWN: &str = "prompts:async";

fn is_io(name: &str) -> bool {
    name.starts_with("io:")
}

/// Asks until the method is begun where the connection is served. A thread that a busy machine
/// suspends is taken for a slow method's, here and whenever it is asked.
#[track_caller]
fn earn(peer: &mut Peer) {
    wait_until("the method is prompt", || {
        ask_many(peer);
        is_io(&threads(peer, "wait", 0)[0])
    });
}

/// The threads of a call that was begun where the connection is served.
#[track_caller]
fn begun_there(peer: &mut Peer, more: &str, length: u64) -> [String; 2] {
    wait_for("such a call is begun there", || {
        earn(peer);
        Some(threads(peer, more, length)).filter(|threads| is_io(&threads[0]))
    })
}

#[test]
fn it_is_earned_and_the_first_that_waits_loses_it() {
    let host = HostProcess::with(&["prompts"]);
    let mut peer = host.peer();
    assert_eq!(threads(&mut peer, "wait", 0), [OWN, OWN], "nothing is known of it yet");
    for _ in 0..3 {
        assert_eq!(begun_there(&mut peer, "wait", 5)[1], OWN);
        assert_eq!(threads(&mut peer, "wait", 0), [OWN, OWN]);
    }
}

#[test]
fn one_that_takes_long_there_must_earn_it_longer_and_one_that_holds_the_thread_never_will() {
    let host = HostProcess::builder().plugin("prompts").config("[timeouts]\ninline = \"50ms\"\n").start();
    let mut peer = host.peer();
    assert!(is_io(&begun_there(&mut peer, "block", 15)[1]));
    assert_eq!(threads(&mut peer, "wait", 0), [OWN, OWN]);
    // Ten times as long as `timeouts.inline`, and the look that finds it.
    assert!(is_io(&begun_there(&mut peer, "block", 1000)[1]));
    let told = host.wait_for_log("async, and holds an I/O thread, for ");
    assert!(told.contains("method=\"prompts.run\""), "{told}");
    host.wait_for_log("it is polled on its plugin's own thread alone from now on");
    for _ in 0..10 {
        ask_many(&mut peer);
        assert_eq!(threads(&mut peer, "wait", 0), [OWN, OWN]);
    }
    wait_until("it is well again", || plugin_row(&host, "prompts")["state"] == "serving");
}

#[test]
fn whatever_becomes_of_one_that_was_begun_there_it_is_answered_once() {
    let host = HostProcess::builder()
        .plugin("prompts")
        .config("[[route]]\nmethod = \"prompts.run\"\nplugin = \"prompts\"\ntimeout = \"300ms\"\n")
        .start();
    let mut peer = host.peer();
    earn(&mut peer);
    peer.call("prompts.run", &json!({ "tell": true, "panic": true })).error(PLUGIN_PANICKED);
    earn(&mut peer);
    peer.call("prompts.run", &json!({ "wait": "not a number" })).error(INVALID_PARAMS);
    // Past its deadline: dropped where it went on.
    earn(&mut peer);
    let dropped = |peer: &mut Peer| peer.result("prompts.dropped", &Value::Null).as_u64().expect("a number");
    let before = dropped(&mut peer);
    peer.call("prompts.run", &json!({ "wait": 60_000 })).error(DEADLINE_EXCEEDED);
    wait_until("its future is dropped", || dropped(&mut peer) == before + 1);
    // Its client gone.
    earn(&mut peer);
    let mut gone = host.peer();
    gone.send_async("gone", "prompts.run", &json!({ "wait": 60_000 }));
    wait_until("it is in flight", || host.count("in_flight") == 1);
    drop(gone);
    wait_until("its future is dropped", || dropped(&mut peer) == before + 2);
    // Past its deadline where it was begun: nothing else looked at the clock.
    earn(&mut peer);
    peer.call("prompts.run", &json!({ "block": 400 })).error(DEADLINE_EXCEEDED);
    peer.assert_usable();
}

#[test]
fn mixed_ones_are_all_answered_and_sync_ones_in_order() {
    let host = HostProcess::with(&["prompts"]);
    let mut peer = host.peer();
    let mut accounting = ReplyAccounting::default();
    for round in 0..200 {
        if round % 20 == 0 {
            earn(&mut peer);
        }
        let kinds =
            [json!({}), json!({ "wait": 1 }), json!({ "block": 2 }), json!({ "panic": true }), json!({})];
        for (number, params) in kinds.iter().enumerate() {
            let id = format!("{round}-{number}");
            accounting.record_request(&id);
            peer.send_async(&id, "prompts.run", params);
        }
        // In their turn behind one another, wherever each of them runs.
        peer.send_sync("prompts.run", &json!({ "wait": 1 }));
        peer.send_sync("prompts.dropped", &Value::Null);
        peer.send_sync("prompts.run", &json!({ "tell": true }));
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
fn code_that_ran_there_is_unloaded_like_any_other() {
    let host = HostProcess::with(&["prompts"]);
    let mut peer = host.peer();
    let mut begun_there = 0;
    for _ in 0..5 {
        earn(&mut peer);
        let mut waits = host.peer();
        waits.send_async("waits", "prompts.run", &json!({ "tell": true, "wait": 200 }));
        wait_until("it is in flight", || host.count("in_flight") == 1);
        let reloaded = jackfield(host.directory(), &["plugin", "reload", "prompts"]);
        assert_eq!(reloaded.code, 0, "{reloaded:?}");
        let threads =
            waits.receive_within(Duration::from_secs(20)).expect("no part of a reply").expect("a reply");
        begun_there += u32::from(is_io(threads.result()[0].as_str().unwrap_or_default()));
        assert_eq!(threads.result()[1], OWN);
        // A generation that has just come has earned nothing.
        assert_eq!(self::threads(&mut peer, "wait", 0), [OWN, OWN]);
    }
    assert!(begun_there > 0, "one of them was begun there and went on elsewhere while its code was replaced");
    wait_until("all of them are unloaded", || {
        let row = plugin_row(&host, "prompts");
        (&row["unloaded"], &row["retained"]) == (&json!(5), &json!([]))
    });
}

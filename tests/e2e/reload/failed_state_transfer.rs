//! State that does not go over: what held it serves on, with every update, and is not held for
//! longer than it may be.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, with_image};
use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::{CEILING, HostProcess, Peer, wait_until};

/// Time for the two steps of a hand-over together.
const HAND_OVER: &str = "[plugins]\nwatch = false\nhand_over = \"700ms\"";

/// A host whose counter stands at 3.
fn with_counter(config: &str) -> (HostProcess, Peer) {
    let host = with_image(&Image::of("counter_v1"), config);
    let mut peer = host.peer();
    for count in 1..=3 {
        assert_eq!(peer.result("counter.add", &Value::Null), count);
    }
    (host, peer)
}

/// It was refused, and the counter goes on where it stood.
#[track_caller]
fn assert_goes_on(host: &HostProcess, peer: &mut Peer, reason: &str, words: &str) {
    let mut operator = Operator::of(host);
    let generation = operator.generation();
    let verdict = operator.refused(reason);
    let detail = verdict["refused"]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(words), "{words:?} in {verdict}");
    assert_eq!(verdict["generation"], generation, "{verdict}");
    assert_eq!(peer.result("counter.layout", &Value::Null), 1, "{reason}");
    let before = peer.result("counter.get", &Value::Null).as_u64().expect("a count");
    assert!(before >= 3, "{reason}: {before}");
    assert_eq!(peer.result("counter.add", &Value::Null), before + 1, "{reason}");
    assert_eq!(host.peer().result("counter.add", &Value::Null), before + 2, "{reason}");
}

#[test]
fn a_generation_that_does_not_give_its_state_serves_on() {
    let (host, mut peer) = with_counter(HAND_OVER);
    install(artifacts().library("counter_v2"), &host.path("plugins").join(FILE));
    for (vice, words) in [
        ("refuse", "the fixture keeps its count"),
        ("panic", "the fixture panics in hand_over"),
        ("large", "too large"),
        ("slow", "not done within"),
    ] {
        peer.result("counter.vice", &json!(vice));
        assert_goes_on(&host, &mut peer, "hand-over-failed", words);
    }
    // Without the vice it goes over after all, with everything that was added meanwhile.
    peer.result("counter.vice", &json!(""));
    let count = peer.result("counter.get", &Value::Null);
    Operator::of(&host).published();
    assert_eq!(peer.result("counter.layout", &Value::Null), 2);
    assert_eq!(peer.result("counter.get", &Value::Null), count);
    // Also those that hung for a while came to their end.
    Operator::of(&host).wait_until_unloaded();
}

#[test]
fn a_generation_that_does_not_take_the_state_does_not_serve() {
    let (host, mut peer) = with_counter(HAND_OVER);
    for (vice, words) in [
        ("1", "the fixture takes no count"),
        ("2", "the fixture panics in take_over"),
        ("3", "not done within"),
    ] {
        Image::of("counter_v2").with("TAKE-OVER-", vice).put(&host, FILE);
        assert_goes_on(&host, &mut peer, "take-over-failed", words);
    }
    install(artifacts().library("counter_v2"), &host.path("plugins").join(FILE));
    Operator::of(&host).published();
    assert_eq!(peer.result("counter.get", &Value::Null), 9);
    Operator::of(&host).wait_until_unloaded();
}

#[test]
fn a_call_that_does_not_end_keeps_the_state_where_it_is() {
    let (host, mut peer) = with_counter(HAND_OVER);
    install(artifacts().library("counter_v2"), &host.path("plugins").join(FILE));
    let mut slow = host.peer();
    slow.send_async("slow", "counter.add_slowly", &json!(4000));
    wait_until("it is in flight", || host.count("in_flight") == 1);
    assert_goes_on(&host, &mut peer, "hand-over-busy", "1 calls");
    assert_eq!(slow.receive().result(), 6, "it was counted where it ran");
    Operator::of(&host).published();
    assert_eq!(peer.result("counter.get", &Value::Null), 6);
}

#[test]
fn an_inline_call_that_does_not_end_keeps_the_state_where_it_is() {
    let (host, mut peer) = with_counter("[plugins]\nwatch = false");
    install(artifacts().library("counter_v2"), &host.path("plugins").join(FILE));
    let mut operator = Operator::of(&host);
    // Its thread serves others, too: they wait for it, the operator's reload does not.
    let mut slow = host.peer();
    slow.send_async("slow", "counter.add_and_hold_up", &json!(3000));
    // The operator's connection is on one of the threads as well, and may be answered late.
    let verdict = operator.reload(NAME);
    let added = slow.receive().result();
    assert_eq!(added, 4, "{verdict}");
    if verdict["outcome"] == "refused" {
        assert_eq!(verdict["refused"]["reason"], "hand-over-busy", "{verdict}");
        assert_eq!(peer.result("counter.layout", &Value::Null), 1);
        operator.published();
    }
    // Whoever was first, what the slow one added is there.
    assert_eq!(peer.result("counter.get", &Value::Null), 4, "{verdict}");
}

#[test]
fn a_busy_hand_over_is_tried_again_by_itself_and_does_not_hold_calls_all_the_time() {
    let (host, mut peer) = with_counter("[plugins]\nhand_over = \"500ms\"");
    let mut slow = host.peer();
    slow.send_async("slow", "counter.add_slowly", &json!(5000));
    wait_until("it is in flight", || host.count("in_flight") == 1);
    super::put(&host.path("plugins"), &Image::of("counter_v2").0, FILE);
    Operator::of(&host).wait_until("it is busy", |row| row["refused"]["reason"] == "hand-over-busy");
    // Until the slow one ends, calls are held for a part of the time only.
    let began = Instant::now();
    let mut held = Duration::ZERO;
    while host.count("in_flight") == 1 {
        let asked = Instant::now();
        peer.result("counter.get", &Value::Null);
        held += asked.elapsed().saturating_sub(Duration::from_millis(100));
    }
    let all = began.elapsed();
    assert!(held < all / 2, "held for {held:?} of {all:?}");
    assert_eq!(slow.receive().result(), 4);
    wait_until("the new code serves", || peer.result("counter.layout", &Value::Null) == 2);
    assert!(began.elapsed() < CEILING);
    assert_eq!(peer.result("counter.get", &Value::Null), 4);
}

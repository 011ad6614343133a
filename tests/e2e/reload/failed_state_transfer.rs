//! State transfers that fail: the previous generation continues to serve with all of its state, and
//! calls are held only for the permitted time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, with_image};
use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::{CEILING, HostProcess, Peer, wait_until};

/// Permits 700 ms for export and import together.
const CONFIG: &str = "[plugins]\nwatch = false\nhand_over = \"700ms\"";

/// Starts a host whose counter is at 3.
fn with_counter(config: &str) -> (HostProcess, Peer) {
    let host = with_image(&Image::of("counter_v1"), config);
    let mut peer = host.peer();
    for count in 1..=3 {
        assert_eq!(peer.result("counter.add", &Value::Null), count);
    }
    (host, peer)
}

/// Asserts that a reload is refused and that the counter continues.
#[track_caller]
fn assert_refused_and_counting(host: &HostProcess, peer: &mut Peer, reason: &str, explanation: &str) {
    let mut operator = Operator::connect(host);
    let generation = operator.generation();
    let verdict = operator.reload_refused(reason);

    let detail = verdict["refused"]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(explanation), "{explanation:?} in {verdict}");
    assert_eq!(verdict["generation"], generation, "{verdict}");

    assert_eq!(peer.result("counter.layout", &Value::Null), 1, "{reason}");
    let before = peer.result("counter.get", &Value::Null).as_u64().expect("a count");
    assert!(before >= 3, "{reason}: {before}");
    assert_eq!(peer.result("counter.add", &Value::Null), before + 1, "{reason}");
    assert_eq!(host.peer().result("counter.add", &Value::Null), before + 2, "{reason}");
}

#[test]
fn keeps_serving_if_the_export_fails() {
    let (host, mut peer) = with_counter(CONFIG);
    install(artifacts().library("counter_v2"), &host.path("plugins").join(FILE));

    for (fault, explanation) in [
        ("refuse", "the fixture keeps its count"),
        ("panic", "the fixture panics in hand_over"),
        ("large", "too large"),
        ("slow", "the plugin did not return within"),
    ] {
        peer.result("counter.vice", &json!(fault));
        assert_refused_and_counting(&host, &mut peer, "hand-over-failed", explanation);
    }

    // Without a fault the state is transferred, including everything that was added meanwhile.
    peer.result("counter.vice", &json!(""));
    let count = peer.result("counter.get", &Value::Null);
    Operator::connect(&host).reload_published();
    assert_eq!(peer.result("counter.layout", &Value::Null), 2);
    assert_eq!(peer.result("counter.get", &Value::Null), count);

    // The exports that took too long have ended, too.
    Operator::connect(&host).wait_until_unloaded();
}

#[test]
fn keeps_serving_if_the_import_fails() {
    let (host, mut peer) = with_counter(CONFIG);

    for (fault, explanation) in [
        ("1", "the fixture takes no count"),
        ("2", "the fixture panics in take_over"),
        ("3", "the plugin did not return within"),
    ] {
        Image::of("counter_v2").with("TAKE-OVER-", fault).put(&host, FILE);
        assert_refused_and_counting(&host, &mut peer, "take-over-failed", explanation);
    }

    install(artifacts().library("counter_v2"), &host.path("plugins").join(FILE));
    Operator::connect(&host).reload_published();
    assert_eq!(peer.result("counter.get", &Value::Null), 9);

    Operator::connect(&host).wait_until_unloaded();
}

#[test]
fn refuses_a_state_transfer_during_a_long_call() {
    let (host, mut peer) = with_counter(CONFIG);
    install(artifacts().library("counter_v2"), &host.path("plugins").join(FILE));

    let mut slow = host.peer();
    slow.send_async("slow", "counter.add_slowly", &json!(4000));
    wait_until("the request is in flight", || host.count("in_flight") == 1);

    assert_refused_and_counting(&host, &mut peer, "hand-over-busy", "1 call did not end");
    assert_eq!(slow.receive().result(), 6, "the call was counted by the previous generation");

    Operator::connect(&host).reload_published();
    assert_eq!(peer.result("counter.get", &Value::Null), 6);
}

#[test]
fn preserves_the_result_of_a_long_inline_call() {
    let (host, mut peer) = with_counter("[plugins]\nwatch = false");
    install(artifacts().library("counter_v2"), &host.path("plugins").join(FILE));
    let mut operator = Operator::connect(&host);

    // The other connections of its I/O thread wait for the call. The operator's reload does not.
    let mut slow = host.peer();
    slow.send_async("slow", "counter.add_and_hold_up", &json!(3000));
    // The connection of the operator is on an I/O thread as well, and may be answered late.
    let verdict = operator.reload(NAME);
    let added = slow.receive().result();
    assert_eq!(added, 4, "{verdict}");
    if verdict["outcome"] == "refused" {
        assert_eq!(verdict["refused"]["reason"], "hand-over-busy", "{verdict}");
        assert_eq!(peer.result("counter.layout", &Value::Null), 1);
        operator.reload_published();
    }

    // Whichever was first, the result of the slow call is not lost.
    assert_eq!(peer.result("counter.get", &Value::Null), 4, "{verdict}");
}

#[test]
fn retries_a_busy_state_transfer_and_holds_calls_briefly() {
    let (host, mut peer) = with_counter("[plugins]\nhand_over = \"500ms\"");

    let mut slow = host.peer();
    slow.send_async("slow", "counter.add_slowly", &json!(5000));
    wait_until("the request is in flight", || host.count("in_flight") == 1);

    super::put(&host.path("plugins"), &Image::of("counter_v2").0, FILE);
    Operator::connect(&host).wait_until("the state transfer is refused as busy", |row| {
        row["refused"]["reason"] == "hand-over-busy"
    });

    // Until the slow call ends, calls are held only during a part of the time.
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

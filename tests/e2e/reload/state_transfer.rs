//! State that goes from one generation to the next: nothing of it is lost or seen twice, and who
//! calls meanwhile waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, with_image};
use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::peer::{envelope_with, frame};
use crate::support::{CEILING, HostProcess, Peer, is_soak, wait_until};

/// Reloads while devices report, and in the long run.
const RELOADS: u32 = 300;
const RELOADS_OF_SOAK: u32 = 1000;
/// Devices that report, each by a client of its own.
const DEVICES: usize = 4;

fn reloads() -> u32 {
    if is_soak() { RELOADS_OF_SOAK } else { RELOADS }
}

/// Updates a device for as long as it may; gives back how often. Each update must be the next of
/// its device.
fn report(mut peer: Peer, device: &str, stop: &AtomicBool) -> u64 {
    let mut sequence = 0;
    while !stop.load(Ordering::Relaxed) {
        // Several at once, some of them async: these may overtake each other, but none may be lost.
        let statuses = ["online", "offline", "busy"];
        for status in statuses {
            let update = json!({ "deviceId": device, "status": status });
            peer.send_sync("device.status.update", &update);
        }
        for status in statuses {
            let result = peer.receive().result();
            sequence += 1;
            assert_eq!(
                (&result["sequence"], &result["status"]),
                (&json!(sequence), &json!(status)),
                "{result}"
            );
        }
        let id = format!("{device}-{sequence}");
        let update = json!({ "deviceId": device, "status": "error" });
        peer.send(frame(0x0101, 4, envelope_with(&id, "device.status.update", &update)));
        sequence += 1;
        assert_eq!(peer.receive().result()["sequence"], sequence);
    }
    sequence
}

#[test]
fn no_update_of_a_device_is_lost_or_seen_twice() {
    let host = HostProcess::builder()
        .plugin("device")
        .config("[plugins]\nwatch = false\nhand_over = \"20s\"")
        .start();
    let mut operator = Operator::of(&host);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..DEVICES)
        .map(|number| {
            let (peer, stop, device) = (host.peer(), Arc::clone(&stop), format!("device-{number}"));
            (device.clone(), thread::spawn(move || report(peer, &device, &stop)))
        })
        .collect();
    for _ in 0..reloads() {
        let verdict = operator.reload("device");
        assert_eq!(verdict["outcome"], "published", "{verdict}");
        assert!(clients.iter().all(|(_, client)| !client.is_finished()), "a client gave up");
    }
    stop.store(true, Ordering::Relaxed);
    let mut sequences = BTreeMap::new();
    for (device, client) in clients {
        sequences.insert(device, client.join().expect("every update was the next one"));
    }
    let mut peer = host.peer();
    for (device, sequence) in sequences {
        assert!(sequence > 0, "{device} reported nothing");
        let latest = peer.result("device.status.get", &json!({ "deviceId": device, "history": true }));
        assert_eq!(latest["sequence"], sequence, "{latest}");
        let history = latest["history"].as_array().expect("a history");
        let numbers: Vec<_> = history.iter().map(|update| update["sequence"].as_u64()).collect();
        let wanted: Vec<_> = (sequence.saturating_sub(15).max(1)..=sequence).map(Some).collect();
        assert_eq!(numbers, wanted, "{device}");
    }
    wait_until("nothing drains", || operator.row("device")["draining"] == json!([]));
    let row = operator.row("device");
    assert_eq!((&row["unloaded"], &row["retained"]), (&json!(reloads()), &json!([])), "{row}");
}

#[test]
fn state_goes_up_and_down_between_layouts() {
    let host = with_image(&Image::of("counter_v1"), "[plugins]\nwatch = false");
    let (mut operator, mut peer) = (Operator::of(&host), host.peer());
    let mut count = 0;
    for (fixture, layout) in
        [("counter_v1", 1), ("counter_v2", 2), ("counter_v2", 2), ("counter_v1", 1), ("counter_v2", 2)]
    {
        install(artifacts().library(fixture), &host.path("plugins").join(FILE));
        operator.published();
        assert_eq!(peer.result("counter.layout", &Value::Null), layout);
        count += 1;
        assert_eq!(peer.result("counter.add", &Value::Null), count, "{fixture}");
    }
    // By the way back, too.
    assert_eq!(operator.roll_back(NAME)["outcome"], "published");
    assert_eq!(peer.result("counter.layout", &Value::Null), 1);
    assert_eq!(peer.result("counter.get", &Value::Null), count);
    // One that takes no state is told of, and starts afresh.
    Image::numbered(7).put(&host, FILE);
    operator.published();
    host.wait_for_log("what the generation before knew is lost");
}

/// A counter whose hand-over takes long enough for others to come in the middle of it.
fn with_slow_counter() -> HostProcess {
    let builder =
        HostProcess::builder().plugin("calls").config("[plugins]\nwatch = false\nhand_over = \"20s\"");
    let builder = builder.config("[plugin.calls]\nthreads = 4");
    super::put(&builder.directory().join("plugins"), &Image::of("counter_v1").0, FILE);
    let host = builder.start();
    host.peer().result("counter.vice", &json!("pause"));
    host
}

#[test]
fn calls_that_come_during_a_hand_over_are_held_and_answered_by_the_new_code() {
    let host = with_slow_counter();
    let mut operator = Operator::of(&host);
    let mut first = host.peer();
    assert_eq!(first.result("counter.add", &Value::Null), 1);
    // A call that runs keeps the hand-over waiting, and is in the state that goes over.
    first.send_async("runs", "counter.add_slowly", &json!(500));
    wait_until("it is in flight", || host.count("in_flight") == 1);
    install(artifacts().library("counter_v2"), &host.path("plugins").join(FILE));
    operator.0.send_sync("admin.plugin.reload", &json!({ "name": NAME }));
    // Clients of all kinds come in meanwhile, and other plugins' calls.
    let mut clients: Vec<Peer> = (0..6).map(|_| host.peer()).collect();
    let mut asked = 0;
    let mut results = Vec::new();
    let (mut held, begun) = (false, Instant::now());
    while !held {
        assert!(begun.elapsed() < CEILING, "it does not come: {}", host.log());
        for (number, client) in clients.iter_mut().enumerate() {
            match number % 3 {
                0 => client.send_sync("counter.add", &Value::Null),
                1 => client.send_sync("calls.wait", &json!({ "method": "counter.add" })),
                _ => client.send_sync("calls.chain", &json!({ "method": "counter.add" })),
            }
            asked += 1;
        }
        for client in &mut clients {
            let result = client.receive().result();
            results.push(result.as_u64().expect("a count"));
        }
        held = clients[0].result("counter.layout", &Value::Null) == 2;
    }
    assert_eq!(operator.0.receive().result()[0]["outcome"], "published");
    results.push(first.receive().result().as_u64().expect("a count"));
    results.sort_unstable();
    let wanted: Vec<u64> = (2..2 + asked + 1).collect();
    assert_eq!(results, wanted, "each count was given once, by the old code or the new one");
    // A pipeline of one connection stays in its order across it.
    let mut lines = host.peer();
    for _ in 0..50 {
        lines.send_sync("counter.add", &Value::Null);
    }
    operator.published();
    let counts: Vec<_> = lines.receive_all(50).iter().map(|frame| frame.result().as_u64()).collect();
    assert!(counts.is_sorted(), "{counts:?}");
}

#[test]
fn what_an_async_call_does_to_its_own_plugin_during_a_hand_over_is_not_lost() {
    let host = with_slow_counter();
    let mut operator = Operator::of(&host);
    let (mut peer, before) = (host.peer(), host.count("requests"));
    // They end at all moments of the hand-over: before, in the middle of it, after.
    for number in 0..60_u32 {
        peer.send_async(&number.to_string(), "counter.add_later", &json!(300 + number * 25));
    }
    wait_until("they are accepted", || host.count("requests") >= before + 60);
    operator.published();
    let mut counts: Vec<_> = peer.receive_all(60).iter().map(|f| f.result().as_u64().unwrap_or(0)).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=60).collect::<Vec<u64>>());
    assert_eq!(host.peer().result("counter.get", &Value::Null), 60);
}

#[test]
fn who_waits_for_a_device_across_a_reload_is_told_to_ask_again() {
    let host = HostProcess::builder()
        .plugin("device")
        .config("[plugins]\nwatch = false\nhand_over = \"20s\"")
        .start();
    let mut operator = Operator::of(&host);
    let mut waiting = host.peer();
    waiting.send_async("waits", "device.report", &json!({ "deviceId": "a" }));
    wait_until("it is in flight", || host.count("in_flight") == 1);
    assert_eq!(operator.reload("device")["outcome"], "published");
    assert_eq!(waiting.receive().code(), Some(409));
    waiting.send_async("again", "device.report", &json!({ "deviceId": "a" }));
    wait_until("it waits", || host.count("in_flight") == 1);
    let update = json!({ "deviceId": "a", "status": "online" });
    assert_eq!(host.peer().result("device.status.update", &update)["sequence"], 1);
    assert_eq!(waiting.receive().result()["sequence"], 1);
}

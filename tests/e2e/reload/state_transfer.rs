//! State transfers: no state is lost or applied twice, and calls that arrive meanwhile are held.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, with_image};
use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::peer::{envelope_with, frame};
use crate::support::{CEILING, HostProcess, Peer, is_soak, wait_until};

/// Reloads while devices are updated, in a normal run and in a soak run.
const RELOADS: u32 = 300;
const SOAK_RELOADS: u32 = 1000;
/// Devices, each updated by its own client.
const DEVICES: usize = 4;

fn reloads() -> u32 {
    if is_soak() { SOAK_RELOADS } else { RELOADS }
}

/// Updates a device until `is_over` is set and returns the number of updates. The sequence numbers
/// must be consecutive.
fn update_continuously(mut peer: Peer, device: &str, is_over: &AtomicBool) -> u64 {
    let mut sequence = 0;
    while !is_over.load(Ordering::Relaxed) {
        // Several updates at once. Async ones may overtake each other, but none may be lost.
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
fn loses_or_repeats_no_update_of_a_device() {
    let host = HostProcess::builder()
        .plugin("device")
        .config("[plugins]\nwatch = false\nhand_over = \"20s\"")
        .start();
    let mut operator = Operator::connect(&host);

    let is_over = Arc::new(AtomicBool::new(false));

    let clients: Vec<_> = (0..DEVICES)
        .map(|number| {
            let (peer, is_over, device) = (host.peer(), Arc::clone(&is_over), format!("device-{number}"));
            (device.clone(), thread::spawn(move || update_continuously(peer, &device, &is_over)))
        })
        .collect();
    for _ in 0..reloads() {
        let verdict = operator.reload("device");
        assert_eq!(verdict["outcome"], "published", "{verdict}");
        assert!(clients.iter().all(|(_, client)| !client.is_finished()), "a client has failed");
    }

    is_over.store(true, Ordering::Relaxed);
    let mut sequences = BTreeMap::new();
    for (device, client) in clients {
        sequences.insert(device, client.join().expect("the sequence numbers are consecutive"));
    }

    let mut peer = host.peer();
    for (device, sequence) in sequences {
        assert!(sequence > 0, "{device} was not updated");

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
fn transfers_state_between_layouts() {
    let host = with_image(&Image::of("counter_v1"), "[plugins]\nwatch = false");
    let (mut operator, mut peer) = (Operator::connect(&host), host.peer());
    let mut count = 0;

    for (fixture, layout) in
        [("counter_v1", 1), ("counter_v2", 2), ("counter_v2", 2), ("counter_v1", 1), ("counter_v2", 2)]
    {
        install(artifacts().library(fixture), &host.path("plugins").join(FILE));
        operator.reload_published();
        assert_eq!(peer.result("counter.layout", &Value::Null), layout);
        count += 1;
        assert_eq!(peer.result("counter.add", &Value::Null), count, "{fixture}");
    }

    // A rollback transfers the state, too.
    assert_eq!(operator.roll_back(NAME)["outcome"], "published");
    assert_eq!(peer.result("counter.layout", &Value::Null), 1);
    assert_eq!(peer.result("counter.get", &Value::Null), count);

    // If the new code does not import state, the loss is logged.
    Image::numbered(7).put(&host, FILE);

    operator.reload_published();
    host.wait_for_log(" accepts no state; the state of generation ");
}

/// Starts a host with a counter whose export takes long enough for calls to arrive meanwhile.
fn with_slow_counter() -> HostProcess {
    let builder =
        HostProcess::builder().plugin("calls").config("[plugins]\nwatch = false\nhand_over = \"20s\"");
    let builder = builder.config("[plugin.calls]\nthreads = 4");
    super::put(&builder.directory().join("plugins"), &Image::of("counter_v1").0, FILE);
    let host = builder.start();

    host.peer().result("counter.set_fault", &json!("pause"));
    host
}

#[test]
fn holds_calls_during_a_transfer_and_answers_with_the_new_code() {
    let host = with_slow_counter();
    let mut operator = Operator::connect(&host);
    let mut first = host.peer();
    assert_eq!(first.result("counter.add", &Value::Null), 1);

    // A running call delays the transfer, and its effect is part of the transferred state.
    first.send_async("runs", "counter.add_slowly", &json!(500));
    wait_until("the request is in flight", || host.count("in_flight") == 1);
    install(artifacts().library("counter_v2"), &host.path("plugins").join(FILE));
    operator.0.send_sync("admin.plugin.reload", &json!({ "name": NAME }));

    // Clients and other plugins call the plugin meanwhile.
    let mut clients: Vec<Peer> = (0..6).map(|_| host.peer()).collect();
    let mut calls = 0;
    let mut results = Vec::new();
    let (mut is_transferred, begun) = (false, Instant::now());
    while !is_transferred {
        assert!(begun.elapsed() < CEILING, "the new code does not serve: {}", host.log());
        for (number, client) in clients.iter_mut().enumerate() {
            match number % 3 {
                0 => client.send_sync("counter.add", &Value::Null),
                1 => client.send_sync("calls.wait", &json!({ "method": "counter.add" })),
                _ => client.send_sync("calls.chain", &json!({ "method": "counter.add" })),
            }
            calls += 1;
        }

        for client in &mut clients {
            let result = client.receive().result();
            results.push(result.as_u64().expect("a count"));
        }
        is_transferred = clients[0].result("counter.layout", &Value::Null) == 2;
    }

    assert_eq!(operator.0.receive().result()[0]["outcome"], "published");
    results.push(first.receive().result().as_u64().expect("a count"));
    results.sort_unstable();
    let wanted: Vec<u64> = (2..2 + calls + 1).collect();
    assert_eq!(results, wanted, "each count is returned once, by the old or the new code");

    // Pipelined requests of one connection stay in order across a transfer.
    let mut pipelined = host.peer();
    for _ in 0..50 {
        pipelined.send_sync("counter.add", &Value::Null);
    }

    operator.reload_published();
    let counts: Vec<_> = pipelined.receive_all(50).iter().map(|frame| frame.result().as_u64()).collect();
    assert!(counts.is_sorted(), "{counts:?}");
}

#[test]
fn preserves_effects_of_async_calls_during_a_transfer() {
    let host = with_slow_counter();
    let mut operator = Operator::connect(&host);
    let (mut peer, before) = (host.peer(), host.count("requests"));

    // The calls end before, during and after the transfer.
    for number in 0..60_u32 {
        peer.send_async(&number.to_string(), "counter.add_later", &json!(300 + number * 25));
    }

    wait_until("the requests are accepted", || host.count("requests") >= before + 60);
    operator.reload_published();

    let mut counts: Vec<_> = peer.receive_all(60).iter().map(|f| f.result().as_u64().unwrap_or(0)).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=60).collect::<Vec<u64>>());
    assert_eq!(host.peer().result("counter.get", &Value::Null), 60);
}

#[test]
fn ends_a_pending_report_with_a_retryable_error() {
    let host = HostProcess::builder()
        .plugin("device")
        .config("[plugins]\nwatch = false\nhand_over = \"20s\"")
        .start();
    let mut operator = Operator::connect(&host);

    let mut waiting = host.peer();
    waiting.send_async("waits", "device.report", &json!({ "deviceId": "a" }));
    wait_until("the request is in flight", || host.count("in_flight") == 1);

    assert_eq!(operator.reload("device")["outcome"], "published");
    assert_eq!(waiting.receive().code(), Some(409));

    waiting.send_async("again", "device.report", &json!({ "deviceId": "a" }));
    wait_until("the request waits", || host.count("in_flight") == 1);

    // An update before the method was polled is none that it waits for.
    let update = json!({ "deviceId": "a", "status": "online" });
    let mut reply = None;
    wait_until("an update is reported", || {
        host.peer().result("device.status.update", &update);
        reply = waiting.receive_within(Duration::from_millis(100)).ok().flatten();
        reply.is_some()
    });
    assert_eq!(reply.unwrap().result()["status"], "online");
}

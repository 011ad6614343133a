//! The plugins that come with the host, called over a socket: `device`, `journal` and `hello`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::peer::{ASYNC_RESPONSE, DEADLINE_EXCEEDED, INVALID_PARAMS};
use crate::support::{HostProcess, Peer, wait_until};

/// Time to wait for a report before the next update is sent.
const REPORT_INTERVAL: Duration = Duration::from_millis(20);

/// Error codes of `device`.
const UNKNOWN_DEVICE: i64 = 404;
const NOTHING_REPORTED: i64 = 408;
const TOO_MANY_DEVICES: i64 = 507;

/// Two ways to send a request: sync and async.
const WAYS: [fn(&mut Peer, &str, &Value) -> crate::support::Frame; 2] = [
    |peer, method, params| peer.call(method, params),
    |peer, method, params| {
        peer.send_async("0123456789abcdef0123456789abcdef", method, params);
        let reply = peer.receive();
        assert_eq!(reply.kind, ASYNC_RESPONSE);
        assert_eq!(reply.id().as_deref(), Some("0123456789abcdef0123456789abcdef"));
        reply
    },
];

fn update(device: &str, status: &str) -> Value {
    json!({ "deviceId": device, "status": status })
}

#[test]
fn updates_reads_and_lists_devices() {
    let host = HostProcess::with(&["device"]);
    let mut peer = host.peer();

    for (number, ask) in (0u64..).zip(WAYS) {
        let device = format!("dev_{number}");

        ask(&mut peer, "device.status.get", &json!({ "deviceId": device })).error(UNKNOWN_DEVICE);
        let first = ask(&mut peer, "device.status.update", &update(&device, "online")).result();
        assert_eq!(first, json!({ "deviceId": device, "status": "online", "sequence": 1 }));

        let second = ask(&mut peer, "device.status.update", &update(&device, "busy")).result();
        assert_eq!(
            second,
            json!({ "deviceId": device, "status": "busy", "sequence": 2, "previous": "online" })
        );

        let found =
            ask(&mut peer, "device.status.get", &json!({ "deviceId": device, "history": true })).result();
        assert_eq!((&found["status"], &found["sequence"]), (&json!("busy"), &json!(2)));

        let history: Vec<_> =
            found["history"].as_array().into_iter().flatten().map(|update| &update["status"]).collect();
        assert_eq!(history, ["online", "busy"]);

        let listed = ask(&mut peer, "device.list", &json!({ "status": "busy" })).result();
        assert_eq!(listed["total"], number + 1);
        assert_eq!(listed["devices"].as_array().map(Vec::len), usize::try_from(number + 1).ok());
    }

    // The list is paged.
    let page = peer.result("device.list", &json!({ "limit": 1 }));
    assert_eq!(page["devices"][0]["deviceId"], "dev_0");
    let page = peer.result("device.list", &json!({ "limit": 1, "after": "dev_0" }));
    assert_eq!(page["devices"][0]["deviceId"], "dev_1");
}

#[test]
fn rejects_invalid_params_and_names_the_field() {
    let host = HostProcess::with(&["device", "hello", "journal"]);
    let mut peer = host.peer();

    let long = "d".repeat(129);
    let wrong = [
        ("device.status.update", json!({ "deviceId": "d" }), "status"),
        ("device.status.update", json!({ "deviceId": "d", "status": "asleep" }), "status"),
        ("device.status.update", json!({ "deviceId": 7, "status": "online" }), "deviceId"),
        ("device.status.update", json!({ "status": "online" }), "deviceId"),
        ("device.status.update", update("", "online"), "deviceId"),
        ("device.status.update", update("a\nb", "online"), "deviceId"),
        ("device.status.update", update(&long, "online"), "deviceId"),
        ("device.status.get", json!({ "deviceId": "d", "history": "yes" }), "history"),
        ("device.list", json!({ "limit": 0 }), "limit"),
        ("device.list", json!({ "limit": -1 }), "limit"),
        ("device.report", json!({ "deviceId": "d", "withinMs": 0.5 }), "withinMs"),
        ("hello.greet", json!({ "name": null }), "name"),
    ];

    for (method, params, field) in wrong {
        for ask in WAYS {
            let error = ask(&mut peer, method, &params).error(INVALID_PARAMS);
            assert_eq!(error["data"]["field"], field, "{method} {params}: {error}");
            assert!(error["message"].as_str().is_some_and(|text| text.contains(field)), "{error}");
        }
    }
    // Params that are not an object have no field that could be named.
    for params in [json!(1), json!("text"), json!([1, 2])] {
        peer.call("device.status.update", &params).error(INVALID_PARAMS);
    }
    assert_eq!(peer.result("device.list", &json!({}))["total"], 0, "a rejected update changes nothing");
}

#[test]
fn limits_memory_by_its_settings() {
    let config = "[plugin.device.settings]\nhistory = 3\ndevices = 2";
    let host = HostProcess::builder().plugin("device").config(config).start();
    let mut peer = host.peer();

    for status in ["online", "busy", "error", "offline", "online"] {
        peer.result("device.status.update", &update("one", status));
    }

    let found = peer.result("device.status.get", &json!({ "deviceId": "one", "history": true }));
    let sequences: Vec<_> =
        found["history"].as_array().into_iter().flatten().map(|update| &update["sequence"]).collect();
    assert_eq!(sequences, [3, 4, 5]);

    peer.result("device.status.update", &update("two", "online"));
    peer.call("device.status.update", &update("three", "online")).error(TOO_MANY_DEVICES);

    assert_eq!(
        peer.result("device.status.update", &update("one", "busy"))["sequence"],
        6,
        "an update of a known device is accepted"
    );
}

#[test]
fn reports_the_next_update() {
    let config = "[[route]]\nmethod = \"device.report\"\nplugin = \"device\"\ntimeout = \"20s\"";
    let host = HostProcess::builder().plugin("device").config(config).start();
    let mut peer = host.peer();

    // A report covers only later updates.
    peer.result("device.status.update", &update("d", "online"));
    for id in ["first", "second"] {
        peer.send_async(id, "device.report", &json!({ "deviceId": "d" }));
    }

    peer.send_async("other", "device.report", &json!({ "deviceId": "another", "withinMs": 50 }));
    assert_eq!(peer.receive().error(NOTHING_REPORTED)["code"], NOTHING_REPORTED);

    // An async method starts at any time, possibly after an update that was sent after it.
    let mut ids = Vec::new();
    while ids.len() < 2 {
        host.peer().result("device.status.update", &update("d", "busy"));
        if let Some(reply) = peer.receive_within(REPORT_INTERVAL).expect("the connection stays") {
            assert_eq!(reply.result()["status"], "busy");
            assert!(reply.result()["sequence"].as_u64() > Some(1), "{reply:?}");
            ids.push(reply.id());
        }
    }

    ids.sort();
    assert_eq!(ids, [Some("first".to_owned()), Some("second".to_owned())]);

    // A sync request can wait for a report, too. A report whose client disconnects does not stay
    // pending.
    peer.call("device.report", &json!({ "deviceId": "d", "withinMs": 1 })).error(NOTHING_REPORTED);

    let mut leaving = host.peer();
    leaving.send_sync("device.report", &json!({ "deviceId": "d" }));
    wait_until("the request waits", || host.count("in_flight") == 1);
    drop(leaving);
    wait_until("the request is abandoned", || host.count("in_flight") == 0);

    peer.assert_usable();
}

#[test]
fn ends_a_report_at_its_deadline() {
    let config = "[[route]]\nmethod = \"device.report\"\nplugin = \"device\"\ntimeout = \"100ms\"";
    let host = HostProcess::builder().plugin("device").config(config).start();
    let mut peer = host.peer();

    let reply = peer.call("device.report", &json!({ "deviceId": "d" }));
    assert!(matches!(reply.code(), Some(DEADLINE_EXCEEDED)), "{reply:?}");

    // The requested waiting time is longer than the call may take.
    peer.call("device.report", &json!({ "deviceId": "d", "withinMs": 60_000 })).error(DEADLINE_EXCEEDED);
}

#[test]
fn writes_the_journal_to_disk_before_the_reply() {
    let config =
        |directory: &std::path::Path| format!("[plugin.journal.settings]\ndirectory = {directory:?}");
    let builder = HostProcess::builder().plugin("journal");
    let journals = builder.directory().join("journals");
    let mut host = builder.config(&config(&journals)).start();
    let mut peer = host.peer();

    let mut length = 0;
    for ask in WAYS {
        let entry = json!({ "topic": "orders", "entry": { "text": "a\nb", "length": length } });
        let appended = ask(&mut peer, "journal.append", &entry).result();
        let lines = std::fs::read_to_string(journals.join("orders.jsonl")).expect("the journal");
        assert_eq!(appended["length"], lines.len());
        length = lines.len();
    }

    let tail = peer.result("journal.tail", &json!({ "topic": "orders" }));
    assert_eq!(tail[0], json!({ "text": "a\nb", "length": 0 }));
    assert_eq!(tail.as_array().map(Vec::len), Some(2));

    peer.call("journal.tail", &json!({ "topic": "nothing" })).error(404);
    for topic in ["../orders", "/etc/passwd", "", "a/b"] {
        let error = peer.call("journal.append", &json!({ "topic": topic, "entry": 1 })).error(INVALID_PARAMS);
        assert_eq!(error["data"]["field"], "topic");
    }

    drop(peer);
    host.terminate();

    assert_eq!(std::fs::read_to_string(journals.join("orders.jsonl")).expect("the journal").len(), length);

    let next = HostProcess::builder().plugin("journal").config(&config(&journals)).start();
    assert_eq!(next.peer().result("journal.tail", &json!({ "topic": "orders" })), tail);
}

#[test]
fn greets_by_name() {
    let host = HostProcess::with(&["hello"]);
    for ask in WAYS {
        assert_eq!(ask(&mut host.peer(), "hello.greet", &json!({ "name": "Zoë" })).result(), "hello, Zoë");
    }
}

//! The plugin without a host: its replies, its limits, and the waiting of `device.report`.

use std::time::Duration;

use jackfield_plugin_api::testing::Harness;
use serde_json::json;

use super::*;

fn device(settings: serde_json::Value) -> Harness<Device> {
    Harness::start(settings).unwrap()
}

#[test]
fn counts_keeps_and_lists_updates() {
    let device = device(json!({ "history": 2 }));
    for (status, sequence) in [("online", 1), ("busy", 2), ("offline", 3)] {
        let updated =
            device.call("device.status.update", json!({ "deviceId": "d1", "status": status })).unwrap();
        assert_eq!(updated["sequence"], sequence);
    }

    let found = device.call("device.status.get", json!({ "deviceId": "d1", "history": true })).unwrap();
    assert_eq!(found["status"], "offline");
    let sequences: Vec<_> =
        found["history"].as_array().unwrap().iter().map(|u| u["sequence"].clone()).collect();
    assert_eq!(sequences, [2, 3]);

    device.call("device.status.update", json!({ "deviceId": "d2", "status": "online" })).unwrap();
    let listed = device.call("device.list", json!({ "status": "online" })).unwrap();
    assert_eq!((listed["devices"][0]["deviceId"].as_str(), listed["total"].as_u64()), (Some("d2"), Some(2)));
    let page = device.call("device.list", json!({ "after": "d1" })).unwrap();
    assert_eq!(page["devices"].as_array().unwrap().len(), 1);
}

#[test]
fn names_the_field_at_fault() {
    let device = device(json!({}));
    for (params, field) in [
        (json!({}), "deviceId"),
        (json!({ "deviceId": "" , "status": "online" }), "deviceId"),
        (json!({ "deviceId": "d" }), "status"),
        (json!({ "deviceId": "d", "status": "asleep" }), "status"),
        (json!({ "deviceId": 7, "status": "online" }), "deviceId"),
    ] {
        let error = device.call("device.status.update", params).unwrap_err();
        let data: serde_json::Value = serde_json::from_str(error.data_json().unwrap()).unwrap();
        assert_eq!((error.code(), data["field"].as_str()), (-32602, Some(field)));
    }
    assert_eq!(
        device.call("device.status.get", json!({ "deviceId": "?" })).unwrap_err().code(),
        UNKNOWN_DEVICE
    );
}

#[test]
fn refuses_devices_over_the_limit_of_the_settings() {
    let device = device(json!({ "devices": 2 }));
    let update =
        |id: &str| device.call("device.status.update", json!({ "deviceId": id, "status": "online" }));
    update("a").unwrap();
    update("b").unwrap();
    assert_eq!(update("c").unwrap_err().code(), TOO_MANY_DEVICES);
    update("a").unwrap();
}

#[test]
fn waits_for_the_next_update() {
    let device = device(json!({}));
    device.call("device.status.update", json!({ "deviceId": "d", "status": "online" })).unwrap();
    let mut report = device.begin("device.report", json!({ "deviceId": "d" })).unwrap();
    assert!(report.poll().is_none(), "the earlier update does not count");
    device.call("device.status.update", json!({ "deviceId": "d", "status": "busy" })).unwrap();
    let reported = report.finish().unwrap();
    assert_eq!((reported["status"].as_str(), reported["sequence"].as_u64()), (Some("busy"), Some(2)));
}

#[test]
fn stops_waiting_after_its_time_and_leaves_nothing() {
    let device = device(json!({ "devices": 1 }));
    let mut report = device.begin("device.report", json!({ "deviceId": "ghost", "withinMs": 500 })).unwrap();
    assert!(report.poll().is_none());
    device.advance(Duration::from_millis(499));
    assert!(report.poll().is_none());
    device.advance(Duration::from_millis(1));
    assert_eq!(report.poll().unwrap().unwrap_err().code(), NOTHING_REPORTED);
    drop(device.begin("device.report", json!({ "deviceId": "ghost 2" })).unwrap());
    // The devices that only had waiting calls no longer count.
    device.call("device.status.update", json!({ "deviceId": "real", "status": "online" })).unwrap();
}

#[test]
fn names_the_setting_at_fault() {
    for (settings, word) in [(json!({ "history": 0 }), "history"), (json!({ "histroy": 3 }), "histroy")] {
        let refused = Harness::<Device>::start(settings).err().unwrap().to_string();
        assert!(refused.contains(word), "{refused}");
    }
}

#[test]
fn transfers_its_state_within_the_limits_of_the_new_generation() {
    let old = device(json!({ "history": 3 }));
    for status in ["online", "busy", "offline", "error"] {
        old.call("device.status.update", json!({ "deviceId": "d1", "status": status })).unwrap();
    }
    let mut waits = old.begin("device.report", json!({ "deviceId": "d1" })).unwrap();
    assert!(waits.poll().is_none());
    let (schema, state) = old.export_state().unwrap();
    assert_eq!(waits.poll().unwrap().unwrap_err().code(), STATE_EXPORTED);

    let new = device(json!({ "history": 2 }));
    new.import_state(schema, &state).unwrap();
    let found = new.call("device.status.get", json!({ "deviceId": "d1", "history": true })).unwrap();
    assert_eq!((found["sequence"].as_u64(), found["history"].as_array().unwrap().len()), (Some(4), 2));
    let updated = new.call("device.status.update", json!({ "deviceId": "d1", "status": "online" })).unwrap();
    assert_eq!((updated["sequence"].as_u64(), updated["previous"].as_str()), (Some(5), Some("error")));
}

#[test]
fn refuses_a_state_that_does_not_fit_and_serves_on() {
    let old = device(json!({}));
    for id in ["d1", "d2"] {
        old.call("device.status.update", json!({ "deviceId": id, "status": "online" })).unwrap();
    }
    let (schema, state) = old.export_state().unwrap();

    let small = device(json!({ "devices": 1 }));
    assert!(small.import_state(schema, &state).is_err());
    assert!(device(json!({})).import_state(schema + 1, &state).is_err());
    assert!(device(json!({})).import_state(schema, b"{").is_err());

    old.call("device.status.get", json!({ "deviceId": "d2" })).unwrap();
    let mut waits = old.begin("device.report", json!({ "deviceId": "d1" })).unwrap();
    assert!(waits.poll().is_none(), "the old generation serves again");
}

#[test]
fn declares_its_errors_and_shows_calls_that_work() {
    let device = device(json!({}));
    for method in ["device.status.update", "device.status.get", "device.list"] {
        let described = Harness::<Device>::describe(method).unwrap();
        assert!(described.params.is_some() && described.result.is_some(), "{method}");

        for example in &described.examples {
            let mut result = device.call(method, example["params"].clone()).unwrap();
            if let Some(expected) = example.get("result") {
                // The time is that of the call.
                if let Some(at) = result.get_mut("at") {
                    *at = expected["at"].clone();
                }
                assert_eq!(&result, expected, "{method}");
            }
        }
    }

    let errors = |method| Harness::<Device>::describe(method).unwrap().facts["errors"].take();
    assert_eq!(errors("device.status.update")[0]["code"], TOO_MANY_DEVICES);
    assert_eq!(errors("device.status.get")[0]["code"], UNKNOWN_DEVICE);
    assert_eq!(
        errors("device.report"),
        json!([
            { "code": NOTHING_REPORTED, "message": "the device has not reported in time" },
            { "code": STATE_EXPORTED, "message": "the plugin is being replaced; repeat the call" },
        ])
    );
}

#[test]
fn describes_the_limits_of_its_params() {
    let params = |method| Harness::<Device>::describe(method).unwrap().params.unwrap()["properties"].take();

    let id = &params("device.status.update")["deviceId"];
    assert_eq!((&id["minLength"], &id["maxLength"]), (&json!(1), &json!(128)));
    let limit = &params("device.list")["limit"];
    assert_eq!(
        (&limit["minimum"], &limit["maximum"], &limit["default"]),
        (&json!(1), &json!(1000), &json!(100))
    );
    assert_eq!(params("device.report")["withinMs"]["type"], json!(["integer", "null"]));
}

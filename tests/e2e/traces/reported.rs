//! Spans that clients hand over with `system.spans`.

use serde_json::{Value, json};

use super::{CLIENT_SPAN, TRACE_ID};
use crate::support::HostProcess;
use crate::support::collector::{Answer, Collector};
use crate::support::peer::{INVALID_PARAMS, METHOD_NOT_FOUND};

fn span(id: usize) -> Value {
    json!({
        "traceId": TRACE_ID,
        "spanId": format!("{:016x}", id + 1),
        "parentSpanId": CLIENT_SPAN,
        "name": "GET /orders",
        "kind": 2,
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000000000000005",
        "attributes": {"http.route": "/orders", "http.response.status_code": 500, "share": 0.5, "cached": false},
        "error": "no database",
    })
}

fn params(count: usize) -> Value {
    json!({"service": "shop", "spans": (0..count).map(span).collect::<Vec<_>>()})
}

#[test]
fn exports_the_spans_of_a_client() {
    let collector = Collector::start();
    let host = HostProcess::builder().config(&format!("{}spans = true\n", collector.config())).start();

    let reply = host.peer().result("system.spans", &params(3));

    assert_eq!(reply, json!({"accepted": 3, "dropped": 0}));
    let spans = collector.wait_for(3);
    assert_eq!(spans.len(), 3);
    let first = &spans[0];
    assert_eq!(first.resource["service.name"], "shop");
    assert_eq!((first.name.as_str(), first.kind, first.end - first.start), ("GET /orders", 2, 5));
    assert_eq!((first.span_id.as_str(), first.parent_id.as_deref()), ("0000000000000001", Some(CLIENT_SPAN)));
    assert_eq!(first.attributes["http.response.status_code"], 500);
    assert_eq!((&first.attributes["share"], &first.attributes["cached"]), (&json!(0.5), &json!(false)));
    assert_eq!(first.error.as_deref(), Some("no database"));
}

#[test]
fn is_off_unless_the_configuration_enables_it() {
    let collector = Collector::start();
    for config in [collector.config(), "[trace]\nspans = true\n".to_owned()] {
        let host = HostProcess::builder().config(&config).start();
        let mut peer = host.peer();
        peer.call("system.spans", &params(1)).error(METHOD_NOT_FOUND);
        let methods = peer.result("system.methods", &Value::Null);
        assert!(!methods.as_array().unwrap().contains(&json!("system.spans")), "{methods}");
    }
}

#[test]
fn refuses_invalid_spans_as_a_whole() {
    let collector = Collector::start();
    let host = HostProcess::builder().config(&format!("{}spans = true\n", collector.config())).start();
    let mut peer = host.peer();

    let mut invalid = params(2);
    invalid["spans"][1]["traceId"] = json!("zz");
    let large = json!({"service": "shop", "spans": [], "padding": "x".repeat(300_000)});
    for refused in [invalid, params(513), large, json!([]), Value::Null, json!({"service": "shop"})] {
        let error = peer.call("system.spans", &refused).error(INVALID_PARAMS);
        let message = error["message"].as_str().unwrap();
        assert!(message.len() < 400, "{message}");
    }

    assert_eq!(peer.result("system.spans", &params(512)), json!({"accepted": 512, "dropped": 0}));
    assert_eq!(collector.wait_for(512).len(), 512);
}

#[test]
fn drops_and_counts_spans_without_room() {
    let collector = Collector::start();
    collector.set_answer(Answer::Silence);
    let config = format!("{}spans = true\nqueue = 64\n", collector.config());
    let host = HostProcess::builder().config(&config).start();
    let mut peer = host.peer();

    let mut total = (0, 0);
    for _ in 0..4 {
        let reply = peer.result("system.spans", &params(100));
        total.0 += reply["accepted"].as_u64().unwrap();
        total.1 += reply["dropped"].as_u64().unwrap();
    }

    assert_eq!(total.0 + total.1, 400);
    assert!(total.1 > 0, "{total:?}");
    assert_eq!(host.count("spans_dropped_queue_full"), total.1);
}

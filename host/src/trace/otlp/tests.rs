//! The documents, member by member.

use jackfield_plugin_api::abi::{CallerFacts, Credentials};
use serde_json::{Value as Json, json};

use super::super::span::SpanExecutor;
use super::*;

const CLOCK: WallClock = WallClock { offset: 1_700_000_000_000_000_000 };

fn host() -> HostResource {
    HostResource { service: "shop-host".to_owned(), instance: "i".to_owned(), host_name: "h".to_owned() }
}

fn place() -> SpanPlace {
    SpanPlace {
        trace_id: [0xAB; 16],
        span_id: [2; 8],
        parent_id: Some([3; 8]),
        flags: 1,
        state: Some("a=b".into()),
    }
}

fn call() -> CallSpan {
    let credentials = Some(Credentials { uid: 33, gid: 34, pid: 4711 });
    let caller = CallerFacts::new(Origin::Local { listener: "run/a.sock".into(), credentials });
    CallSpan {
        executor: Some(SpanExecutor { plugin: "a".into(), generation: 7, is_isolated: true }),
        begun: Some(Time(2_000)),
        ended: Time(9_500),
        ..CallSpan::new(place(), "a.b", Some("id-1"), caller, Time(1_000))
    }
}

fn written(span: QueuedSpan) -> Json {
    serde_json::from_slice(&document(&host(), &CLOCK, &[span])).unwrap()
}

fn attributes(of: &Json) -> BTreeMap<String, Json> {
    let list = of["attributes"].as_array().unwrap();
    list.iter().map(|one| (one["key"].as_str().unwrap().to_owned(), one["value"].clone())).collect()
}

#[test]
fn writes_the_span_of_a_request() {
    let document = written(QueuedSpan::Call(call()));
    let resource = &document["resourceSpans"][0]["resource"];
    assert_eq!(attributes(resource)["service.name"], json!({"stringValue": "shop-host"}));
    let mut span = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0].clone();

    let attributes = attributes(&span);
    span.as_object_mut().unwrap().remove("attributes");
    let expected = json!({
        "traceId": "ab".repeat(16), "spanId": "02".repeat(8), "parentSpanId": "03".repeat(8),
        "traceState": "a=b", "flags": 0x301, "name": "a.b", "kind": 2,
        "startTimeUnixNano": "1700000000000001000", "endTimeUnixNano": "1700000000000009500",
        "events": [{"timeUnixNano": "1700000000000002000", "name": "run"}],
    });
    assert_eq!(span, expected);
    for (key, value) in [
        ("rpc.system", json!({"stringValue": "jackfield"})),
        ("rpc.method", json!({"stringValue": "a.b"})),
        ("rpc.jsonrpc.request_id", json!({"stringValue": "id-1"})),
        ("jackfield.plugin", json!({"stringValue": "a"})),
        ("jackfield.generation", json!({"intValue": "7"})),
        ("jackfield.isolation", json!({"stringValue": "worker"})),
        ("jackfield.outcome", json!({"stringValue": "ok"})),
        ("jackfield.queued_us", json!({"intValue": "1"})),
        ("jackfield.run_us", json!({"intValue": "7"})),
        ("jackfield.listener", json!({"stringValue": "run/a.sock"})),
        ("jackfield.peer.uid", json!({"intValue": "33"})),
        ("jackfield.peer.pid", json!({"intValue": "4711"})),
    ] {
        assert_eq!(attributes[key], value, "{key}");
    }
    assert_eq!(attributes.len(), 12, "{attributes:?}");
}

#[test]
fn writes_the_status_of_a_call_that_failed_before_it_began() {
    let code = jackfield_protocol::Code::Overloaded;
    let failed = CallSpan {
        begun: None,
        outcome: Outcome::of(code),
        code: Some(code.as_i64()),
        is_nested: true,
        ..call()
    };
    let document = written(QueuedSpan::Call(failed));
    let span = &document["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["status"], json!({"code": 2, "message": "overloaded"}));
    assert_eq!((&span["kind"], &span["flags"], span.get("events")), (&json!(1), &json!(0x101), None));
    let attributes = attributes(span);
    assert_eq!(attributes["rpc.jsonrpc.error_code"], json!({"intValue": "-32002"}));
    assert_eq!(attributes["jackfield.queued_us"], json!({"intValue": "8"}));
    assert!(!attributes.contains_key("jackfield.run_us"));
}

#[test]
fn writes_the_spans_of_each_service_as_a_resource() {
    let reported = |service: &str| {
        QueuedSpan::Reported(ReportedSpan {
            place: SpanPlace { parent_id: None, state: None, ..place() },
            service: service.into(),
            name: "GET /".to_owned(),
            kind: 3,
            start: 5,
            end: 6,
            attributes: vec![
                ("f".to_owned(), AttributeValue::Float(0.5)),
                ("b".to_owned(), AttributeValue::Boolean(true)),
            ],
            error: Some("no".to_owned()),
        })
    };
    let spans = [reported("shop"), QueuedSpan::Call(call()), reported("cart"), reported("shop")];
    let document: Json = serde_json::from_slice(&document(&host(), &CLOCK, &spans)).unwrap();
    let resources = document["resourceSpans"].as_array().unwrap();
    let services: Vec<_> = resources
        .iter()
        .map(|one| {
            let name = attributes(&one["resource"])["service.name"]["stringValue"].clone();
            (name, one["scopeSpans"][0]["spans"].as_array().unwrap().len())
        })
        .collect();
    assert_eq!(services, [(json!("shop-host"), 1), (json!("cart"), 1), (json!("shop"), 2)]);

    let span = &resources[1]["scopeSpans"][0]["spans"][0];
    assert_eq!(
        (&span["kind"], &span["startTimeUnixNano"], &span["flags"]),
        (&json!(3), &json!("5"), &json!(1))
    );
    assert_eq!(attributes(span)["f"], json!({"doubleValue": 0.5}));
    assert_eq!(attributes(span)["b"], json!({"boolValue": true}));
    assert_eq!(span["status"], json!({"code": 2, "message": "no"}));
}

#[test]
fn follows_the_wall_clock_when_it_was_set() {
    let mut clock = WallClock::default();
    clock.refresh();
    let offset = clock.offset;
    assert!(offset > 1_600_000_000_000_000_000);
    clock.refresh();
    assert_eq!(clock.offset, offset, "the error of a reading changes nothing");
    clock.offset -= 10 * CLOCK_STEP;
    clock.refresh();
    assert!(clock.offset.abs_diff(offset) <= 2 * CLOCK_STEP);
}

//! The spans that `system.spans` accepts and refuses.

use serde_json::{Value, json};

use super::*;

fn span() -> Value {
    json!({
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "parentSpanId": "00f067aa0ba902b7",
        "name": "GET /orders",
        "kind": 2,
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000000000000005",
        "attributes": {"text": "ü", "int": -3, "float": 0.5, "bool": true},
        "error": "no",
    })
}

fn params(spans: &[Value]) -> String {
    json!({"service": "shop", "spans": spans}).to_string()
}

/// Returns the fault of a span in which one member is replaced.
#[track_caller]
fn fault(member: &str, value: Value) -> String {
    let mut changed = span();
    changed[member] = value;
    ReportedSpans::parse(&params(&[span(), changed])).unwrap_err().to_string()
}

#[test]
fn reads_spans_with_all_members() {
    let spans = ReportedSpans::parse(&params(&[span()])).unwrap();
    assert_eq!(spans.len(), 1);
    let read = &spans.0[0];
    assert_eq!((&*read.service, read.name.as_str(), read.kind), ("shop", "GET /orders", 2));
    assert_eq!(read.place.parent_id, Some([0, 0xF0, 0x67, 0xAA, 0x0B, 0xA9, 0x02, 0xB7]));
    assert_eq!(read.end - read.start, 5);
    let values: Vec<_> = read.attributes.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    assert!(values.contains(&("text", AttributeValue::Text("ü".to_owned()))), "{values:?}");
    assert!(values.contains(&("int", AttributeValue::Integer(-3))), "{values:?}");
    assert!(values.contains(&("float", AttributeValue::Float(0.5))), "{values:?}");
    assert!(values.contains(&("bool", AttributeValue::Boolean(true))), "{values:?}");
    assert_eq!(read.error.as_deref(), Some("no"));
}

#[test]
fn reads_a_span_with_the_required_members_alone() {
    let mut short = span();
    for member in ["parentSpanId", "kind", "attributes", "error"] {
        short.as_object_mut().unwrap().remove(member);
    }
    short["unknown"] = json!([{"of": "a later client"}]);
    let spans = ReportedSpans::parse(&params(&[short])).unwrap();
    let read = &spans.0[0];
    assert_eq!((read.kind, read.place.parent_id, read.attributes.len()), (1, None, 0));
    assert_eq!(ReportedSpans::parse(&params(&[])).unwrap().len(), 0);
}

#[test]
fn refuses_invalid_members() {
    for (member, invalid) in [
        ("traceId", json!("0af7651916cd43dd8448eb211c80319")),
        ("traceId", json!("0AF7651916CD43DD8448EB211C80319C")),
        ("traceId", json!("0".repeat(32))),
        ("traceId", json!(7)),
        ("spanId", json!("b7ad6b716920333g")),
        ("spanId", Value::Null),
        ("parentSpanId", json!("")),
        ("name", json!("")),
        ("name", json!("n".repeat(257))),
        ("kind", json!(0)),
        ("kind", json!(6)),
        ("kind", json!("SERVER")),
        ("startTimeUnixNano", json!(1)),
        ("startTimeUnixNano", json!("")),
        ("startTimeUnixNano", json!("+1")),
        ("startTimeUnixNano", json!("18446744073709551616")),
        ("endTimeUnixNano", json!("1")),
        ("attributes", json!([])),
        ("attributes", json!({"": 1})),
        ("attributes", json!({"a": null})),
        ("attributes", json!({"a": ["b"]})),
        ("attributes", json!({"a": "x".repeat(1025)})),
        ("attributes", json!({"a": u64::MAX})),
        ("attributes", json!({"k".repeat(129): 1})),
        ("attributes", (0..33).map(|key| (key.to_string(), json!(1))).collect()),
        ("error", json!("")),
        ("error", json!("x".repeat(1025))),
    ] {
        assert!(!fault(member, invalid.clone()).is_empty(), "{member}: {invalid}");
    }

    assert_eq!(fault("kind", json!(9)), "spans[1].kind: it is not from 1 to 5");
    assert!(fault("spanId", json!("x")).starts_with("an id is not 16 hexadecimal digits, or is zero at "));
}

#[test]
fn refuses_attributes_with_one_name() {
    let twice = params(&[span()]).replace("\"text\":", "\"int\":");
    assert!(ReportedSpans::parse(&twice).is_err());
}

#[test]
fn bounds_spans_and_bytes() {
    let mut small = span();
    small["attributes"] = json!({});
    assert_eq!(ReportedSpans::parse(&params(&vec![small.clone(); 512])).unwrap().len(), 512);
    let error = ReportedSpans::parse(&params(&vec![small; 513])).unwrap_err();
    assert!(error.to_string().starts_with("there are more than 512 spans"), "{error}");

    let padded = params(&[span()]) + &" ".repeat(MAX_PARAMS_BYTES);
    assert!(ReportedSpans::parse(&padded).unwrap_err().to_string().contains("262144 bytes"));
    assert!(ReportedSpans::parse(&"[".repeat(100_000)).is_err());
    for invalid in ["", "null", "{}", r#"{"service":"","spans":[]}"#, r#"{"service":"s","spans":{}}"#] {
        assert!(ReportedSpans::parse(invalid).is_err(), "{invalid}");
    }
}

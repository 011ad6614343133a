//! Tests of encoded requests, read back with the protocol crate.

use jackfield_protocol::{ContentType, Decoder, ExtensionBlock, FrameLimit, Request, Step, split_bytes_body};
use serde_json::{Value, json};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(5);
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn encode<P: Serialize + ?Sized>(mode: Mode, method: &str, params: &P) -> Result<RequestFrame, EncodeError> {
    RequestFrame::new(mode, method, &Body::Json(params), &CallContext::default(), TIMEOUT)
}

/// Returns the payload of a frame after its header was checked.
fn payload_of(frame: &RequestFrame, version: Version, kind: Kind) -> &[u8] {
    let mut decoder = Decoder::new(FrameLimit::MAX);
    decoder.set_highest(Version::V1_2);
    let Step::Frame { header, payload, consumed } = decoder.step(frame.bytes()) else { panic!("no frame") };
    assert_eq!((header.version, header.kind), (version, kind));
    assert_eq!(consumed, frame.bytes().len());
    payload
}

#[test]
fn encodes_a_request_with_the_id_and_the_version_of_the_try() {
    for (mode, kind, version) in
        [(Mode::Multiplexed, Kind::AsyncRequest, Version::V1_1), (Mode::Exclusive, Kind::Sync, Version::V1_0)]
    {
        let mut frame = encode(mode, "a\"b", &json!({"x": [1, null]})).unwrap();
        for granted in [None, Some(Version::V1_2), None] {
            let key = frame.stamp(granted, Instant::now());
            let payload = payload_of(&frame, granted.unwrap_or(version), kind);
            let request = Request::parse(payload).unwrap();
            assert_eq!(request.method, "a\"b");
            assert_eq!(request.params.unwrap().get(), r#"{"x":[1,null]}"#);
            assert_eq!(request.id.and_then(Key::from_id), Some(key));
        }
    }
}

#[test]
fn sends_what_is_left_of_the_time_out() {
    let now = Instant::now();
    let context =
        CallContext { traceparent: Some(TRACE.to_owned()), tracestate: None, ..CallContext::default() };
    for context in [CallContext::default(), context] {
        let body = Body::Json(&1);
        let mut frame =
            RequestFrame::new(Mode::Exclusive, r#"m","deadline_ms":"#, &body, &context, TIMEOUT).unwrap();
        frame.set_deadline(now + TIMEOUT);

        for (passed, left) in [(0, 5000), (1, 5000), (4_001_000, 999), (4_999_999, 1), (6_000_000, 1)] {
            frame.stamp(None, now + Duration::from_micros(passed));
            let payload = payload_of(&frame, Version::V1_0, Kind::Sync);
            let request = Request::parse(payload).unwrap();
            assert_eq!(request.context.deadline_ms.unwrap().get(), left, "after {passed} us");
            assert_eq!(frame.deadline_ms, left);
            assert_eq!(request.context.carried().traceparent.is_some(), context.traceparent.is_some());
            assert_eq!(request.params.unwrap().get(), "1");
        }
    }
}

#[test]
fn caps_a_time_out_that_no_request_can_say() {
    for (timeout, left) in [
        (Duration::MAX, u32::MAX),
        (Duration::from_millis(4_294_967_296), u32::MAX),
        (Duration::from_nanos(1), 1),
    ] {
        let context = CallContext::default();
        let frame = RequestFrame::new(Mode::Exclusive, "m", &Body::Json(&()), &context, timeout).unwrap();
        let request = Request::parse(payload_of(&frame, Version::V1_0, Kind::Sync)).unwrap();
        assert_eq!(request.context.deadline_ms.unwrap().get(), left);
    }
}

#[test]
fn writes_trace_and_metadata() {
    let mut context = CallContext {
        traceparent: Some(TRACE.to_owned()),
        tracestate: Some("vendor=\"1\"".to_owned()),
        ..CallContext::default()
    };
    context.set_meta("na\"me".to_owned(), "value".to_owned());
    let frame = RequestFrame::new(Mode::Multiplexed, "m", &Body::Json(&()), &context, TIMEOUT).unwrap();

    let payload = payload_of(&frame, Version::V1_1, Kind::AsyncRequest);
    let request = Request::parse(payload).unwrap();
    let carried = request.context.carried();
    assert_eq!(carried.traceparent.unwrap().to_string(), TRACE);
    assert_eq!(carried.tracestate.unwrap().get(), r#""vendor=\"1\"""#);
    let meta: Value = serde_json::from_str(carried.meta.unwrap().get()).unwrap();
    assert_eq!(meta, json!({"na\"me": "value"}));
}

#[test]
fn encodes_opaque_bytes_behind_the_envelope() {
    let context = CallContext::default();
    let body: Body<'_, ()> = Body::Bytes(b"\xFF{}");
    let mut frame = RequestFrame::new(Mode::Multiplexed, "m", &body, &context, TIMEOUT).unwrap();
    let now = Instant::now();
    frame.set_deadline(now + Duration::from_millis(30));
    let key = frame.stamp(None, now);

    let payload = payload_of(&frame, Version::V1_2, Kind::Other(0x84));
    let (block, body) = ExtensionBlock::split(payload).unwrap();
    assert_eq!(block.content, ContentType::Bytes);
    let (envelope, opaque) = split_bytes_body(body).unwrap();
    assert_eq!(opaque, b"\xFF{}");
    let request = Request::parse(envelope).unwrap();
    assert_eq!((request.method.as_ref(), request.params.is_none()), ("m", true));
    assert_eq!(request.context.deadline_ms.unwrap().get(), 30);
    assert_eq!(request.id.and_then(Key::from_id), Some(key));
}

#[test]
fn omits_params_that_are_null() {
    for (params, written) in [(json!(null), None), (json!({}), Some("{}")), (json!([null]), Some("[null]"))] {
        let frame = encode(Mode::Multiplexed, "m", &params).unwrap();
        let request = Request::parse(&frame.bytes()[HEADER_LEN..]).unwrap();
        assert_eq!(request.params.map(|params| params.get()), written);
    }
}

#[test]
fn refuses_methods_params_and_metadata_that_cannot_be_encoded() {
    let long = "m".repeat(limits::METHOD_MAX + 1);
    for method in ["", &long] {
        let error = encode(Mode::Exclusive, method, &()).unwrap_err();
        assert!(matches!(error, EncodeError::MethodLength(length) if length == method.len()));
    }

    let no_json = std::collections::HashMap::from([((1, 2), 3)]);
    let error = encode(Mode::Exclusive, "m", &no_json).unwrap_err();
    assert!(matches!(error, EncodeError::Params(_)));

    let context = CallContext { traceparent: Some("x".to_owned()), ..CallContext::default() };
    let error = RequestFrame::new(Mode::Exclusive, "m", &Body::Json(&()), &context, TIMEOUT).unwrap_err();
    assert!(matches!(error, EncodeError::TraceParent(_)));
}

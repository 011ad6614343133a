//! What the hot path costs in memory: nothing for ordinary requests and replies, a bounded amount for hostile ones.

use allocation_counter::{AllocationInfo, measure};
use jackfield_protocol::{
    Decoder, EnvelopeError, FrameLimit, Framing, Kind, Reply, Request, Step, Version, begin_result,
    write_error,
};

const ORDINARY: &str = r#"{"id":"4f9c2a7be1d84036a5c07d1e93b8f264","method":"device.status.update","params":{"deviceId":"dev_123","tags":"a\"b"},"timestamp":1719830400}"#;

/// What parsing costs; parsing must succeed.
fn parse(payload: &str) -> AllocationInfo {
    measure(|| assert!(Request::parse(payload.as_bytes()).is_ok(), "{payload}"))
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![0u8; 100]))).bytes_max, 100);
}

#[test]
fn an_ordinary_request_allocates_nothing() {
    assert_eq!(parse(ORDINARY).count_total, 0);
    assert_eq!(parse(r#"{"method":"system.ping"}"#).count_total, 0);
    let reply = measure(|| assert!(Reply::parse(br#"{"id":7,"result":{"ok":true}}"#).is_ok()));
    assert_eq!(reply.count_total, 0);
}

#[test]
fn nested_params_allocate_a_byte_per_level() {
    // serde_json keeps the brackets that are open, and begins with room for eight.
    let nested = parse(r#"{"method":"m","params":{"device":{"id":1,"tags":["a","b"]}}}"#);
    assert!(nested.count_total <= 1 && nested.bytes_max <= 8, "{nested:?}");
}

#[test]
fn params_are_not_copied() {
    let payload = ORDINARY.as_bytes().to_vec();
    let request = Request::parse(&payload).unwrap();
    let inside = |part: &str| payload.as_ptr_range().contains(&part.as_ptr());
    assert!(inside(&request.method) && inside(request.params.unwrap().get()));
    assert!(inside(request.id.unwrap().as_json()) && inside(request.timestamp.unwrap().get()));
}

#[test]
fn decoding_and_answering_in_a_grown_buffer_allocate_nothing() {
    let mut wire = Vec::new();
    let head = begin_result(&mut wire, Framing::Binary, Version::V1_1, Kind::AsyncResponse, Some("7"));
    wire.extend_from_slice(b"[1]");
    head.finish(&mut wire).unwrap();
    let mut decoder = Decoder::new(FrameLimit::default());
    let decoded = measure(|| assert!(matches!(decoder.step(&wire), Step::Frame { .. })));
    assert_eq!(decoded.count_total, 0);

    let mut out = Vec::with_capacity(1024);
    let written = measure(|| {
        let head = begin_result(&mut out, Framing::Binary, Version::V1_1, Kind::AsyncResponse, Some("7"));
        out.extend_from_slice(b"[1]");
        head.finish(&mut out).unwrap();
        write_error(
            &mut out,
            Framing::Line,
            Version::V1_0,
            Kind::Sync,
            Some("7"),
            -32002,
            "busy \n",
            Some("{}"),
        );
    });
    assert_eq!(written.count_total, 0);
}

#[test]
fn hostile_nesting_is_bounded() {
    const MIB: usize = 1024 * 1024;
    let deep = format!(r#"{{"id":"a","method":"m","params":{}"#, "[".repeat(4 * MIB));
    let measured = measure(|| {
        let rejected = Request::parse(deep.as_bytes()).unwrap_err();
        assert_eq!(rejected.id.unwrap().as_json(), "\"a\"");
        assert!(matches!(rejected.error, EnvelopeError::TooDeep { .. }));
    });
    assert!(measured.bytes_max <= 192 * 1024, "{measured:?}");
}

#[test]
fn a_method_of_escapes_is_refused_before_it_is_decoded() {
    let long = format!(r#"{{"method":"{}"}}"#, "\\u006d".repeat(1_000_000));
    let measured = measure(|| {
        assert_eq!(Request::parse(long.as_bytes()).unwrap_err().error, EnvelopeError::MethodTooLong);
    });
    assert_eq!(measured.count_total, 0);
}

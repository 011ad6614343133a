//! Allocations of the hot path: none for ordinary requests and replies, a bounded amount for
//! hostile ones.

use allocation_counter::{AllocationInfo, measure};
use jackfield_protocol::{
    Capabilities, Decoder, EnvelopeError, ExtensionBlock, FrameLimit, Framing, Hello, Kind, Reply, ReplyForm,
    Request, Step, Version, begin_result, parse_cancel, write_error,
};

const ORDINARY: &str = r#"{"id":"4f9c2a7be1d84036a5c07d1e93b8f264","method":"device.status.update","params":{"deviceId":"dev_123","tags":"a\"b"},"timestamp":1719830400}"#;

/// Measures the allocations of parsing `payload`, which must succeed.
fn measure_parse(payload: &str) -> AllocationInfo {
    measure(|| assert!(Request::parse(payload.as_bytes()).is_ok(), "{payload}"))
}

#[test]
fn counts_allocations() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![0u8; 100]))).bytes_max, 100);
}

#[test]
fn parses_ordinary_requests_and_replies_without_allocating() {
    assert_eq!(measure_parse(ORDINARY).count_total, 0);
    assert_eq!(measure_parse(r#"{"method":"system.ping"}"#).count_total, 0);
    assert_eq!(
        measure_parse(r#"{"id":7,"method":"m","deadline_ms":4999,"params":[{"a":1}]}"#).count_total,
        0
    );
    let trace = r#""traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01""#;
    // Trace and metadata are in a box, so that a request without them is small.
    assert_eq!(measure_parse(&format!(r#"{{"method":"m",{trace},"tracestate":"a=b"}}"#)).count_total, 1);

    let reply = measure(|| assert!(Reply::parse(br#"{"id":7,"result":{"ok":true}}"#).is_ok()));
    assert_eq!(reply.count_total, 0);
}

#[test]
fn allocates_at_most_a_byte_per_level_of_nested_params() {
    // serde_json stores the open brackets, initially with room for eight.
    let nested = measure_parse(r#"{"method":"m","params":{"device":{"id":1,"tags":["a","b"]}}}"#);
    assert!(nested.count_total <= 1 && nested.bytes_max <= 8, "{nested:?}");
}

#[test]
fn borrows_all_members_from_the_payload() {
    let payload = ORDINARY.as_bytes().to_vec();
    let request = Request::parse(&payload).unwrap();
    let is_inside = |part: &str| payload.as_ptr_range().contains(&part.as_ptr());
    assert!(is_inside(&request.method) && is_inside(request.params.unwrap().get()));
    assert!(is_inside(request.id.unwrap().as_json()) && is_inside(request.timestamp.unwrap().get()));
}

#[test]
fn decodes_and_answers_in_a_grown_buffer_without_allocating() {
    let mut wire = Vec::new();
    let head = begin_result(
        &mut wire,
        ReplyForm::plain(Framing::Binary, Version::V1_1, Kind::AsyncResponse),
        Some("7"),
    );
    wire.extend_from_slice(b"[1]");
    head.finish(&mut wire).unwrap();

    let mut decoder = Decoder::new(FrameLimit::default());
    let decoded = measure(|| assert!(matches!(decoder.step(&wire), Step::Frame { .. })));
    assert_eq!(decoded.count_total, 0);

    let mut out = Vec::with_capacity(1024);
    let written = measure(|| {
        let head = begin_result(
            &mut out,
            ReplyForm::plain(Framing::Binary, Version::V1_1, Kind::AsyncResponse),
            Some("7"),
        );
        out.extend_from_slice(b"[1]");
        head.finish(&mut out).unwrap();
        write_error(
            &mut out,
            ReplyForm::plain(Framing::Line, Version::V1_0, Kind::Sync),
            Some("7"),
            -32002,
            "busy \n",
            Some("{}"),
        );
    });
    assert_eq!(written.count_total, 0);
}

#[test]
fn bounds_the_memory_of_hostile_nesting() {
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
fn reads_hellos_blocks_and_cancellations_without_allocating() {
    let hello = Hello {
        is_ack: false,
        version: 0x0102,
        capabilities: Capabilities::EXTENSION_BLOCK,
        largest_payload: 0,
        in_flight: 0,
        nonce: 7,
        agent: Some("client/1.0"),
        instance: Some([7; 16]),
        has_bytes: true,
    };
    let mut out = Vec::new();
    hello.write(&mut out, Version::V1_0);

    let measured = measure(|| {
        assert_eq!(Hello::parse(&out[7..]), Some(hello));
        assert!(ExtensionBlock::split(b"\0\x03\x85\x01\x03\0\0\0\0").is_ok());
        assert!(ExtensionBlock::find_id(b"\0\x02\xFE\0{\"id\":7}").is_some());
        assert!(parse_cancel(br#"{"id":"7"}"#).is_ok());
    });
    assert_eq!(measured.count_total, 0);
}

#[test]
fn rejects_members_of_escapes_before_decoding_them() {
    let escapes = "\\u006d".repeat(1_000_000);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let state = format!(r#"{{"method":"m","traceparent":"{trace}","tracestate":"{escapes}"}}"#);
    assert_eq!(measure_parse(&state).count_total, 1);

    let meta = format!(r#"{{"method":"m","meta":{{"a":"{escapes}"}}}}"#);
    let measured = measure(|| {
        assert_eq!(Request::parse(meta.as_bytes()).unwrap_err().error, EnvelopeError::MetaTooLarge);
    });
    assert_eq!(measured.count_total, 0);
}

#[test]
fn rejects_a_method_of_escapes_before_decoding_it() {
    let long = format!(r#"{{"method":"{}"}}"#, "\\u006d".repeat(1_000_000));
    let measured = measure(|| {
        assert_eq!(Request::parse(long.as_bytes()).unwrap_err().error, EnvelopeError::MethodTooLong);
    });
    assert_eq!(measured.count_total, 0);
}

//! The vectors of what version 1.2 adds: hellos, cancellations, notices of the end, and frames with
//! an extension block.

use jackfield_protocol::{
    BlockError, Capabilities, Code, ContentType, EnvelopeError, ExtensionBlock, Hello, Reply, Request,
    parse_cancel, split_bytes_body,
};
use serde_json::Value;

use crate::vector::{self, Vector};
use crate::vectors::{check_context, check_outcome, json, raw, text_of};

/// Returns the vectors with this payload, at least `least` of them.
fn frames_with(payload: &str, least: usize) -> Vec<Vector> {
    let frames: Vec<Vector> =
        vector::frames().into_iter().filter(|vector| vector.is("payload", payload)).collect();
    assert!(frames.len() >= least, "only {} vectors: {payload}", frames.len());
    frames
}

/// Returns the hello that the heads of a vector state.
pub(crate) fn stated_hello<'a>(vector: &Vector, agent: Option<&'a str>) -> Hello<'a> {
    Hello {
        is_ack: vector.is("hello", "grant"),
        version: u16::try_from(vector.hex_number("highest")).unwrap(),
        capabilities: Capabilities::from_bits(vector.hex_number("capabilities")),
        largest_payload: vector.number("largest"),
        in_flight: vector.number("in_flight"),
        nonce: vector.hex_number("nonce"),
        agent,
        instance: vector.get("instance").map(|_| vector.hex("instance").try_into().unwrap()),
        has_bytes: vector.is("content", "bytes"),
    }
}

#[test]
fn reads_hellos_as_stated() {
    for vector in frames_with("hello", 25) {
        let agent = vector.get("agent").map(text_of);
        let expected = match vector.head("hello") {
            "none" => None,
            _ => Some(stated_hello(&vector, agent.as_deref())),
        };
        assert_eq!(Hello::parse(vector.payload()), expected, "{}", vector.name);
    }
}

#[test]
fn parses_cancellations_as_stated() {
    for vector in frames_with("cancel", 10) {
        let name = &vector.name;
        match (vector.head("cancel"), parse_cancel(vector.payload())) {
            ("accepted", Ok(id)) => assert_eq!(Some(id.as_json()), vector.get("id"), "{name}"),
            ("rejected", Err(error)) => {
                assert_eq!(error.code().as_i64(), vector.number::<i64>("code"), "{name}: {error}");
            }
            (expected, parsed) => panic!("{name}: {expected} expected, not {parsed:?}"),
        }
    }
}

#[test]
fn a_notice_of_the_end_states_its_reason() {
    for vector in frames_with("going-away", 2) {
        let notice: Value = serde_json::from_slice(vector.payload()).unwrap();
        assert_eq!(notice["reason"], text_of(vector.head("reason")), "{}", vector.name);
        assert_eq!(notice["grace_ms"], vector.number::<u64>("grace_ms"), "{}", vector.name);
    }
}

/// A request with an extension block, as a server reads it.
type Extended<'a> = (Request<'a>, Option<&'a [u8]>);

/// Reads a request with an extension block. The error is a code, and the tag that is not supported.
fn read_extended(payload: &[u8]) -> Result<Extended<'_>, (Code, Option<u8>)> {
    let (block, body) = ExtensionBlock::split(payload).map_err(|error| match error {
        BlockError::Unsupported(tag) => (Code::UnsupportedExtension, Some(tag)),
        _ => (Code::InvalidRequest, None),
    })?;
    let parse = |envelope| {
        Request::parse(envelope)
            .map_err(|rejected: jackfield_protocol::InvalidRequest<'_>| (rejected.error.code(), None))
    };

    match block.content {
        ContentType::Json => Ok((parse(body)?, None)),
        ContentType::Bytes => {
            let (envelope, bytes) = split_bytes_body(body).ok_or((Code::InvalidRequest, None))?;
            let request = parse(envelope)?;
            match request.params {
                Some(_) => Err((EnvelopeError::ParamsBesideBytes.code(), None)),
                None => Ok((request, Some(bytes))),
            }
        }
    }
}

#[test]
fn reads_requests_with_a_block_as_stated() {
    for vector in frames_with("extended-request", 35) {
        let name = &vector.name;
        let payload = vector.payload();
        match (vector.head("request"), read_extended(payload)) {
            ("accepted", Ok((request, bytes))) => {
                assert_eq!(json(request.id).as_deref(), vector.get("id"), "{name}");
                assert_eq!(request.method, text_of(vector.head("method")), "{name}");
                assert_eq!(raw(request.params), vector.get("params"), "{name}");
                check_context(&vector, &request.context);
                assert_eq!(bytes.is_some(), vector.is("content", "bytes"), "{name}");
                assert_eq!(
                    bytes.map(<[u8]>::to_vec),
                    vector.get("bytes").map(|_| vector.hex("bytes")),
                    "{name}"
                );
            }
            ("rejected", Err((code, tag))) => {
                assert_eq!(code.as_i64(), vector.number::<i64>("code"), "{name}");
                assert_eq!(tag.map(u64::from), vector.get("tag").map(|_| vector.hex_number("tag")), "{name}");
                assert_eq!(json(ExtensionBlock::find_id(payload)).as_deref(), vector.get("id"), "{name}");
            }
            (expected, read) => panic!("{name}: {expected} expected, not {read:?}"),
        }

        let is_malformed = !matches!(ExtensionBlock::split(payload), Ok(_) | Err(BlockError::Unsupported(_)));
        assert_eq!(is_malformed, vector.is("block", "malformed"), "{name}");
    }
}

#[test]
fn reads_replies_with_a_block_as_stated() {
    for vector in frames_with("extended-reply", 15) {
        let name = &vector.name;
        let (reply, timing) = match (vector.head("reply"), Reply::parse_extended(vector.payload())) {
            ("invalid", Err(_)) => continue,
            ("result" | "error", Ok(read)) => read,
            (expected, parsed) => panic!("{name}: {expected} expected, not {parsed:?}"),
        };
        assert_eq!(json(reply.id).as_deref(), vector.get("id"), "{name}");
        check_outcome(&vector, &reply.outcome);
        let timing =
            timing.map(|timing| format!("{} {} {}", timing.queued_us, timing.run_us, timing.generation));
        assert_eq!(timing.as_deref(), vector.get("timing"), "{name}");
    }
}

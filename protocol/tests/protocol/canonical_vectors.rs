//! The writers produce the bytes of the canonical vectors from their heads.

use jackfield_protocol::{
    FrameLimit, Framing, Header, Json, ReplyForm, RequestMembers, RequestParams, Timing, begin_result,
    write_cancel, write_error, write_going_away, write_heartbeat, write_request,
};
use serde_json::value::RawValue;

use crate::extended_vectors::stated_hello;
use crate::vector::{self, Vector};
use crate::vectors::{highest_version, text_of};

#[test]
fn writes_the_canonical_vectors() {
    let canonical: Vec<Vector> =
        vector::frames().into_iter().filter(|vector| vector.is("canonical", "yes")).collect();
    assert!(canonical.len() >= 80, "only {} canonical vectors", canonical.len());
    for vector in canonical {
        let mut out = b"earlier bytes".to_vec();
        let start = out.len();
        write(&mut out, &vector);

        let shown = String::from_utf8_lossy(&out[start..]);
        assert_eq!(&out[start..], vector.bytes, "{}: {shown}", vector.name);
    }
}

fn write(out: &mut Vec<u8>, vector: &Vector) {
    let Header { version, kind, .. } = stated_header(vector);
    let form =
        ReplyForm { framing: Framing::Binary, version, kind, has_timing: vector.get("timing").is_some() };
    let id = vector.get("id");

    match vector.head("payload") {
        "empty" => write_heartbeat(out, version),
        "hello" => {
            let agent = vector.get("agent").map(text_of);
            stated_hello(vector, agent.as_deref()).write(out, version);
        }
        "cancel" => write_cancel(out, version, id.unwrap()),
        "going-away" => {
            write_going_away(out, &text_of(vector.head("reason")), vector.number("grace_ms"));
        }
        "request" | "extended-request" => write_as_request(out, vector),
        "reply" | "extended-reply" => write_as_reply(out, vector, form),
        other => panic!("{}: canonical {other}", vector.name),
    }
}

/// Returns the header of a vector, with its kind as a writer takes it: without the bit of a block.
fn stated_header(vector: &Vector) -> Header {
    let bytes = vector.bytes.first_chunk().unwrap();
    let header = Header::decode_up_to(bytes, highest_version(vector)).unwrap();
    Header { kind: header.kind.without_block().unwrap_or(header.kind), ..header }
}

fn write_as_request(out: &mut Vec<u8>, vector: &Vector) {
    let Header { version, kind, .. } = stated_header(vector);
    let traceparent = vector.get("traceparent").map(text_of);
    let tracestate = vector.get("tracestate").map(text_of);
    let members = RequestMembers {
        deadline_ms: vector.get("deadline_ms").map_or(0, |deadline| deadline.parse().unwrap()),
        traceparent: traceparent.as_deref(),
        tracestate: tracestate.as_deref(),
        meta: vector.get("meta"),
    };

    let method = text_of(vector.head("method"));
    let json = vector.get("params").map(|params| RawValue::from_string(params.to_owned()).unwrap());
    let bytes = vector.get("bytes").map(|_| vector.hex("bytes"));
    let params = match &bytes {
        Some(bytes) => RequestParams::Bytes(bytes),
        None => json.as_deref().map(Json::from).into(),
    };
    write_request(out, version, kind, vector.get("id"), &method, members, params).unwrap();
}

fn write_as_reply(out: &mut Vec<u8>, vector: &Vector, form: ReplyForm) {
    let start = out.len();
    let id = vector.get("id");
    if vector.is("reply", "error") {
        let message = text_of(vector.head("message"));
        write_error(out, form, id, vector.number("code"), &message, vector.get("data"));
    } else {
        let head = begin_result(out, form, id);
        if vector.is("content", "bytes") {
            out.extend_from_slice(&vector.hex("bytes"));
            head.finish_bytes_within(out, id, FrameLimit::MAX).unwrap();
        } else {
            out.extend_from_slice(vector.head("result").as_bytes());
            head.finish(out).unwrap();
        }
    }

    if let Some(timing) = vector.get("timing") {
        let numbers: Vec<u32> = timing.split(' ').map(|number| number.parse().unwrap()).collect();
        let [queued_us, run_us, generation] = numbers.try_into().unwrap();
        Timing { queued_us, run_us, generation }.stamp(&mut out[start..]);
    }
}

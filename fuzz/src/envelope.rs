//! Envelopes: requests and replies, compared with serde_json and with their own text when they are
//! written again.

use std::collections::BTreeMap;

use jackfield_protocol::limits::{META_BYTES_MAX, META_MEMBERS_MAX, METHOD_MAX, TRACESTATE_MAX};
use jackfield_protocol::{
    Code, Decoder, FrameLimit, Framing, Json, Kind, Outcome, Reply, ReplyForm, Request, RequestContext,
    RequestMembers, Step, Version, begin_result, write_error, write_request,
};
use serde_json::value::RawValue;

fn is_json(payload: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(payload).is_ok()
}

/// Returns the payload of the only frame in `frame`.
fn payload(frame: &[u8], kind: Kind) -> &[u8] {
    match Decoder::new(FrameLimit::MAX).step(frame) {
        Step::Frame { header, payload, consumed } => {
            assert_eq!((header.kind, consumed), (kind, frame.len()));
            payload
        }
        step => panic!("{step:?}"),
    }
}

fn check_request(bytes: &[u8]) {
    let read = match Request::parse(bytes) {
        Ok(read) => read,
        Err(rejected) => {
            let code = rejected.error.code();
            assert!(matches!(code, Code::ParseError | Code::InvalidRequest));
            // A payload that is not a request may be JSON. A payload with a parse error must not
            // be.
            assert!(code != Code::ParseError || !is_json(bytes), "{rejected}");
            return;
        }
    };
    assert!(is_json(bytes));
    assert!((1..=METHOD_MAX).contains(&read.method.len()));

    let id = read.id.map(|id| id.as_json());
    let mut written = Vec::new();
    let traceparent = read.context.carried().traceparent.map(|parent| parent.to_string());
    let tracestate = read.context.carried().tracestate.map(text_of);
    let members = RequestMembers {
        deadline_ms: read.context.deadline_ms.map_or(0, u32::from),
        traceparent: traceparent.as_deref(),
        tracestate: tracestate.as_deref(),
        meta: read.context.carried().meta.map(Json::get),
    };
    let (version, kind) = (Version::V1_1, Kind::AsyncRequest);
    write_request(&mut written, version, kind, id, &read.method, members, read.params.into())
        .expect("the content of one frame fits one frame");

    let again =
        Request::parse(payload(&written, Kind::AsyncRequest)).expect("a written request is a request");
    assert_eq!((again.id.map(|id| id.as_json()), &again.method), (id, &read.method));
    assert_eq!(again.params.map(Json::get), read.params.map(Json::get));
    check_context(&again.context, &read.context);
}

fn text_of(json: Json<'_>) -> String {
    serde_json::from_str(json.get()).expect("a state that was accepted is a text")
}

/// Checks the members that travel with a request, and that writing them again has changed nothing.
fn check_context(again: &RequestContext<'_>, read: &RequestContext<'_>) {
    assert_eq!(again.deadline_ms, read.deadline_ms);
    let (again, read) = (again.carried(), read.carried());
    assert_eq!(again.traceparent, read.traceparent);
    assert_eq!(again.tracestate.map(text_of), read.tracestate.map(text_of));
    assert_eq!(again.meta.map(Json::get), read.meta.map(Json::get));
    assert!(read.tracestate.is_none_or(|state| text_of(state).len() <= TRACESTATE_MAX));
    assert!(read.tracestate.is_none() || read.traceparent.is_some());

    let Some(meta) = read.meta else { return };
    let meta: BTreeMap<String, String> = serde_json::from_str(meta.get()).expect("an object with strings");
    let bytes: usize = meta.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(meta.len() <= META_MEMBERS_MAX && bytes <= META_BYTES_MAX && !meta.contains_key(""));
}

fn check_reply(bytes: &[u8]) {
    let Ok(read) = Reply::parse(bytes) else { return };
    assert!(is_json(bytes));

    let id = read.id.map(|id| id.as_json());
    let mut written = Vec::new();
    match &read.outcome {
        Outcome::Result(result) => {
            let head =
                begin_result(&mut written, ReplyForm::plain(Framing::Binary, Version::V1_0, Kind::Sync), id);
            written.extend_from_slice(result.get().as_bytes());
            head.finish(&mut written).expect("the content of one frame fits one frame");
        }
        Outcome::Bytes(bytes) => panic!("{bytes:?} without an extension block"),
        Outcome::Error(error) => {
            write_error(
                &mut written,
                ReplyForm::plain(Framing::Binary, Version::V1_0, Kind::Sync),
                id,
                error.code,
                &error.message,
                error.data.map(Json::get),
            );
        }
    }

    let again = Reply::parse(payload(&written, Kind::Sync)).expect("a written reply is a reply");
    assert_eq!(again.id.map(|id| id.as_json()), id);
    match (again.outcome, read.outcome) {
        (Outcome::Result(again), Outcome::Result(read)) => assert_eq!(again.get(), read.get()),
        (Outcome::Error(again), Outcome::Error(read)) => {
            assert_eq!((again.code, &again.message), (read.code, &read.message));
            assert_eq!(again.data.map(Json::get), read.data.map(Json::get));
        }
        (again, read) => panic!("{read:?} became {again:?}"),
    }
}

/// Checks any payload, both as a request and as a reply.
pub fn envelope(input: &[u8]) {
    check_request(input);
    check_reply(input);
}

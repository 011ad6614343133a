//! Envelopes: requests and replies, compared with serde_json and with their own text when they are
//! written again.

use jackfield_protocol::limits::METHOD_MAX;
use jackfield_protocol::{
    Code, Decoder, FrameLimit, Framing, Json, Kind, Outcome, Reply, Request, Step, Version, ReplyForm, begin_result,
    write_error, RequestMembers, write_request,
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
    write_request(&mut written, Version::V1_1, Kind::AsyncRequest, id, &read.method, RequestMembers::default(), read.params.into())
        .expect("the content of one frame fits one frame");

    let again =
        Request::parse(payload(&written, Kind::AsyncRequest)).expect("a written request is a request");
    assert_eq!((again.id.map(|id| id.as_json()), &again.method), (id, &read.method));
    assert_eq!(again.params.map(Json::get), read.params.map(Json::get));
}

fn check_reply(bytes: &[u8]) {
    let Ok(read) = Reply::parse(bytes) else { return };
    assert!(is_json(bytes));

    let id = read.id.map(|id| id.as_json());
    let mut written = Vec::new();
    match &read.outcome {
        Outcome::Result(result) => {
            let head = begin_result(&mut written, ReplyForm::plain(Framing::Binary, Version::V1_0, Kind::Sync), id);
            written.extend_from_slice(result.get().as_bytes());
            head.finish(&mut written).expect("the content of one frame fits one frame");
        }
        Outcome::Error(error) => {
            write_error(&mut written, ReplyForm::plain(Framing::Binary, Version::V1_0, Kind::Sync),
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

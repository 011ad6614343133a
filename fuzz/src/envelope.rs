//! Envelopes: requests and replies, held against serde_json and against what the writers make of them again.

use jackfield_protocol::limits::METHOD_MAX;
use jackfield_protocol::{
    Code, Decoder, FrameLimit, Framing, Json, Kind, Outcome, Reply, Request, Step, Version, begin_result,
    write_error, write_request,
};
use serde_json::value::RawValue;

fn is_json(payload: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(payload).is_ok()
}

/// The payload of the one frame that was written.
fn payload(frame: &[u8], kind: Kind) -> &[u8] {
    match Decoder::new(FrameLimit::MAX).step(frame) {
        Step::Frame { header, payload, consumed } => {
            assert_eq!((header.kind, consumed), (kind, frame.len()));
            payload
        }
        step => panic!("{step:?}"),
    }
}

fn request(bytes: &[u8]) {
    let read = match Request::parse(bytes) {
        Ok(read) => read,
        Err(rejected) => {
            let code = rejected.error.code();
            assert!(matches!(code, Code::ParseError | Code::InvalidRequest));
            // What is no request may be JSON all the same; what is said not to be JSON is none.
            assert!(code != Code::ParseError || !is_json(bytes), "{rejected}");
            return;
        }
    };
    assert!(is_json(bytes));
    assert!((1..=METHOD_MAX).contains(&read.method.len()));
    let (id, mut written) = (read.id.map(|id| id.as_json()), Vec::new());
    write_request(&mut written, Version::V1_1, Kind::AsyncRequest, id, &read.method, read.params)
        .expect("what came in one frame goes into one");
    let again = Request::parse(payload(&written, Kind::AsyncRequest)).expect("what was written is a request");
    assert_eq!((again.id.map(|id| id.as_json()), &again.method), (id, &read.method));
    assert_eq!(again.params.map(Json::get), read.params.map(Json::get));
}

fn reply(bytes: &[u8]) {
    let Ok(read) = Reply::parse(bytes) else { return };
    assert!(is_json(bytes));
    let (id, mut written) = (read.id.map(|id| id.as_json()), Vec::new());
    match &read.outcome {
        Outcome::Result(result) => {
            let head = begin_result(&mut written, Framing::Binary, Version::V1_0, Kind::Sync, id);
            written.extend_from_slice(result.get().as_bytes());
            head.finish(&mut written).expect("what came in one frame goes into one");
        }
        Outcome::Error(error) => {
            let data = error.data.map(Json::get);
            let (framing, version, kind) = (Framing::Binary, Version::V1_0, Kind::Sync);
            write_error(&mut written, framing, version, kind, id, error.code, &error.message, data);
        }
    }
    let again = Reply::parse(payload(&written, Kind::Sync)).expect("what was written is a reply");
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

/// Any payload, as the request that a host reads and as the reply that a client reads.
pub fn envelope(input: &[u8]) {
    request(input);
    reply(input);
}

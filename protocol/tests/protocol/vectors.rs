//! This crate reads every vector as its file states, and no vector has changed since it was
//! written.

use jackfield_protocol::{
    Decoder, FrameError, FrameLimit, Id, Json, Kind, Outcome, Reply, Request, RequestContext, Step, Version,
};

use crate::vector::{self, IndexLine, Vector, fnv1a};

/// Every key that a vector may have. A misspelt key would check nothing.
const KEYS: [&str; 42] = [
    "direction",
    "since",
    "negotiated",
    "expect",
    "version",
    "kind",
    "length",
    "needed",
    "fatal",
    "payload",
    "request",
    "reply",
    "id",
    "method",
    "params",
    "timestamp",
    "result",
    "code",
    "message",
    "data",
    "canonical",
    "note",
    "deadline_ms",
    "traceparent",
    "tracestate",
    "meta",
    "block",
    "content",
    "tag",
    "timing",
    "bytes",
    "hello",
    "highest",
    "capabilities",
    "largest",
    "in_flight",
    "nonce",
    "agent",
    "instance",
    "cancel",
    "reason",
    "grace_ms",
];

fn version_name(version: Version) -> String {
    version.to_string()
}

fn kind_name(kind: Kind) -> String {
    match kind {
        Kind::Sync => "sync".into(),
        Kind::Heartbeat => "heartbeat".into(),
        Kind::Error => "error".into(),
        Kind::AsyncRequest => "async-request".into(),
        Kind::AsyncResponse => "async-response".into(),
        Kind::Cancel => "cancel".to_owned(),
        Kind::GoingAway => "going-away".to_owned(),
        Kind::Other(byte) => format!("0x{byte:02x}"),
    }
}

fn stated_version(vector: &Vector) -> String {
    match vector.head("version") {
        "highest" => version_name(Version::HIGHEST),
        other => other.to_owned(),
    }
}

/// Returns the highest version on the connection that a vector is for.
pub(crate) fn highest_version(vector: &Vector) -> Version {
    if vector.is("negotiated", "yes") { Version::V1_2 } else { Version::HIGHEST }
}

fn check_header(vector: &Vector, version: Version, kind: Kind, length: u32) {
    let name = &vector.name;
    assert_eq!(version_name(version), stated_version(vector), "{name}");
    assert_eq!(kind_name(kind), vector.head("kind"), "{name}");
    assert_eq!(length, vector.number::<u32>("length"), "{name}");
}

#[test]
fn pins_the_bytes_of_every_vector_in_the_index() {
    let found: Vec<IndexLine> = vector::all()
        .into_iter()
        .map(|vector| IndexLine { name: vector.name, length: vector.bytes.len(), hash: fnv1a(&vector.bytes) })
        .collect();
    let listed = vector::index();
    let unlisted: Vec<&IndexLine> = found.iter().filter(|line| !listed.contains(line)).collect();
    let missing: Vec<&IndexLine> = listed.iter().filter(|line| !found.contains(line)).collect();
    assert_eq!((&unlisted[..], &missing[..], found.len()), (&[][..], &[][..], listed.len()));
    assert!(found.len() >= 140, "vectors are added, never removed");
    assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c, "the published test value of FNV-1a");
}

#[test]
fn accepts_only_known_keys() {
    for vector in vector::all() {
        for key in vector.keys() {
            assert!(KEYS.contains(&key), "{}: {key}", vector.name);
        }
        assert!(["client", "server", "both"].contains(&vector.head("direction")), "{}", vector.name);
    }
}

#[test]
fn decodes_headers_as_stated() {
    for vector in vector::all() {
        let name = &vector.name;
        let mut decoder = Decoder::new(FrameLimit::default());
        decoder.set_highest(highest_version(&vector));
        match (vector.head("expect"), decoder.step(&vector.bytes)) {
            ("frame", Step::Frame { header, payload, consumed }) => {
                check_header(&vector, header.version, header.kind, header.length);
                assert_eq!((payload, consumed), (vector.payload(), vector.bytes.len()), "{name}");
            }
            ("incomplete", Step::Incomplete { needed }) => {
                assert_eq!(needed, vector.number::<u64>("needed"), "{name}");
            }
            ("refused", Step::Refused { refusal, fatal, consumed }) => {
                assert_eq!(consumed, 7, "{name}");
                assert_eq!(fatal, vector.head("fatal") == "yes", "{name}");
                assert_eq!(refusal.code().as_i64(), vector.number::<i64>("code"), "{name}");
                match refusal {
                    FrameError::TooLarge { kind, version, length, limit } => {
                        check_header(&vector, version, kind, length);
                        assert_eq!(limit, 16 * 1024 * 1024);
                    }
                    FrameError::UnsupportedVersion { version } => {
                        assert_eq!(format!("0x{version:04x}"), vector.head("version"), "{name}");
                    }
                }
            }
            (expected, step) => panic!("{name}: {expected} expected, not {step:?}"),
        }
    }
}

pub(crate) fn json(id: Option<Id<'_>>) -> Option<String> {
    id.map(|id| id.as_json().to_owned())
}

pub(crate) fn raw(value: Option<Json<'_>>) -> Option<&str> {
    value.map(Json::get)
}

pub(crate) fn text_of(token: &str) -> String {
    serde_json::from_str(token).unwrap()
}

/// Checks the members of a request that travel with it to the plugin.
pub(crate) fn check_context(vector: &Vector, context: &RequestContext<'_>) {
    let name = &vector.name;
    let deadline = context.deadline_ms.map(|deadline| deadline.to_string());
    assert_eq!(deadline.as_deref(), vector.get("deadline_ms"), "{name}");
    let traceparent = context.carried().traceparent.map(|parent| format!("\"{parent}\""));
    assert_eq!(traceparent.as_deref(), vector.get("traceparent"), "{name}");
    assert_eq!(raw(context.carried().tracestate), vector.get("tracestate"), "{name}");
    assert_eq!(raw(context.carried().meta), vector.get("meta"), "{name}");
}

#[test]
fn parses_requests_as_stated() {
    let requests: Vec<Vector> =
        vector::frames().into_iter().filter(|vector| vector.is("payload", "request")).collect();
    assert!(requests.len() >= 150, "only {} requests", requests.len());
    for vector in requests {
        let name = &vector.name;
        match (vector.head("request"), Request::parse(vector.payload())) {
            ("accepted", Ok(request)) => {
                assert_eq!(json(request.id).as_deref(), vector.get("id"), "{name}");
                assert_eq!(request.method, text_of(vector.head("method")), "{name}");
                assert_eq!(raw(request.params), vector.get("params"), "{name}");
                assert_eq!(raw(request.timestamp), vector.get("timestamp"), "{name}");
                check_context(&vector, &request.context);
            }
            ("rejected", Err(rejected)) => {
                assert_eq!(
                    rejected.error.code().as_i64(),
                    vector.number::<i64>("code"),
                    "{name}: {rejected}"
                );
                assert_eq!(json(rejected.id).as_deref(), vector.get("id"), "{name}: {rejected}");
            }
            (expected, parsed) => panic!("{name}: {expected} expected, not {parsed:?}"),
        }
    }
}

#[test]
fn parses_replies_as_stated() {
    let replies: Vec<Vector> =
        vector::frames().into_iter().filter(|vector| vector.is("payload", "reply")).collect();
    assert!(replies.len() >= 20, "only {} replies", replies.len());
    for vector in replies {
        let name = &vector.name;
        let reply = match (vector.head("reply"), Reply::parse(vector.payload())) {
            ("invalid", Err(_)) => continue,
            ("result" | "error", Ok(reply)) => reply,
            (expected, parsed) => panic!("{name}: {expected} expected, not {parsed:?}"),
        };
        assert_eq!(json(reply.id).as_deref(), vector.get("id"), "{name}");

        check_outcome(&vector, &reply.outcome);
    }
}

pub(crate) fn check_outcome(vector: &Vector, outcome: &Outcome<'_>) {
    let name = &vector.name;
    match (vector.head("reply"), outcome) {
        ("result", Outcome::Result(result)) => assert_eq!(result.get(), vector.head("result"), "{name}"),
        ("result", Outcome::Bytes(bytes)) => assert_eq!(*bytes, vector.hex("bytes"), "{name}"),
        ("error", Outcome::Error(error)) => {
            assert_eq!(error.code, vector.number::<i64>("code"), "{name}");
            assert_eq!(error.message, text_of(vector.head("message")), "{name}");
            assert_eq!(raw(error.data), vector.get("data"), "{name}");
        }
        (expected, outcome) => panic!("{name}: {expected} expected, not {outcome:?}"),
    }
}

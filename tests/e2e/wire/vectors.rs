//! The vectors of the protocol, sent to the host as a whole, in two pieces split at every byte, and
//! byte by byte.

use serde_json::{Value, json};

use crate::support::peer::{
    ASYNC_REQUEST, ASYNC_RESPONSE, ERROR, HEARTBEAT, INVALID_REQUEST, METHOD_NOT_FOUND, SYNC, V1_0, V1_1,
    envelope, frame,
};
use crate::support::vector::{Vector, client_vectors};
use crate::support::{Frame, HostProcess, Peer, wait_until};

/// The parts of a reply that a vector determines.
struct ExpectedReply {
    version: u16,
    kind: u8,
    /// The member with the id, as it was written.
    id: String,
    prefix: String,
    suffix: &'static str,
    /// The message, if the vector determines it.
    message: Option<String>,
}

impl ExpectedReply {
    #[track_caller]
    fn check(&self, name: &str, frame: &Frame) {
        assert_eq!((frame.version, frame.kind), (self.version, self.kind), "{name}: {frame:?}");
        if self.prefix.is_empty() {
            assert!(frame.payload.is_empty(), "{name}: {frame:?}");
            return;
        }

        let text = frame.text();
        let prefix = format!("{{{}{}", self.id, self.prefix);
        assert!(text.starts_with(&prefix) && text.ends_with(self.suffix), "{name}: {frame:?}");

        // An id may contain characters that `Value` cannot hold. It is compared as bytes and
        // removed before parsing.
        let json: Value = serde_json::from_str(&text.replacen(&self.id, "", 1)).expect(name);

        if let Some(message) = &self.message {
            assert_eq!(json["error"]["message"], **message, "{name}");
        }

        assert!(json.get("result").is_some() != json.get("error").is_some(), "{name}: {frame:?}");
    }
}

/// The state of the connection after the reply.
#[derive(PartialEq)]
enum NextState {
    /// It continues after this many further bytes, which are discarded.
    Continues { discarded: usize },
    /// It is closed.
    Closes,
    /// It waits for the rest of the frame. If the client sends none, it receives nothing.
    Waits,
}

/// Returns the reply of a host without plugins to a vector, and the state of the connection
/// afterwards.
fn outcome(vector: &Vector) -> (Option<ExpectedReply>, NextState) {
    let version = match vector.get("version") {
        Some("1.1" | "highest") => V1_1,
        _ => V1_0,
    };
    let kind = match vector.get("kind") {
        Some("sync") => SYNC,
        Some("heartbeat") => HEARTBEAT,
        Some("error") => ERROR,
        Some("async-request") => ASYNC_REQUEST,
        Some("async-response") => ASYNC_RESPONSE,
        _ => 0xff,
    };

    let id = vector.get("id");
    let error = |kind: u8, id: Option<&str>, code: i64, suffix: &'static str, message: Option<String>| {
        let id = id.map(|id| format!(r#""id":{id},"#)).unwrap_or_default();
        let prefix = format!(r#""error":{{"code":{code},"message":""#);
        Some(ExpectedReply { version, kind, id, prefix, suffix, message })
    };

    let continues = NextState::Continues { discarded: 0 };

    match vector.get("expect") {
        Some("incomplete") => return (None, NextState::Waits),
        Some("refused") => {
            let too_large = vector.number("code") == -32007;
            let suffix = if too_large {
                r#"","data":{"limit":16777216}}}"#
            } else {
                r#"","data":{"supported":["1.0","1.1"]}}}"#
            };
            let next_state = match vector.get("fatal") {
                Some("yes") => NextState::Closes,
                _ => NextState::Continues { discarded: usize::try_from(vector.number("length")).unwrap() },
            };
            return (error(ERROR, None, vector.number("code"), suffix, None), next_state);
        }
        _ => {}
    }

    if kind == HEARTBEAT {
        return (
            Some(ExpectedReply {
                version,
                kind,
                id: String::new(),
                prefix: String::new(),
                suffix: "",
                message: None,
            }),
            continues,
        );
    }

    if kind == ERROR || kind == ASYNC_RESPONSE {
        return (error(ERROR, None, INVALID_REQUEST, "\"}}", None), continues);
    }

    if kind == 0xff {
        return (None, continues);
    }

    let reply = match (kind, id) {
        (ASYNC_REQUEST, Some(_)) => ASYNC_RESPONSE,
        (ASYNC_REQUEST, None) => ERROR,
        _ => SYNC,
    };

    if vector.is("request", "rejected") {
        return (error(reply, id, vector.number("code"), "\"}}", None), continues);
    }

    if reply == ERROR {
        return (error(ERROR, None, INVALID_REQUEST, "\"}}", None), continues);
    }

    let method: String = serde_json::from_str(vector.get("method").expect("a method")).unwrap();
    if method == "system.ping" {
        let id = id.map(|id| format!(r#""id":{id},"#)).unwrap_or_default();
        let prefix = r#""result":"pong"}"#.to_owned();
        return (
            Some(ExpectedReply { version, kind: reply, id, prefix, suffix: "", message: None }),
            continues,
        );
    }

    let message = format!("method not found: {method}");
    (error(reply, id, METHOD_NOT_FOUND, "\"}}", Some(message)), continues)
}

/// Asserts that the reply and the state of the connection are as the vector determines.
#[track_caller]
fn assert_outcome(vector: &Vector, peer: &mut Peer) {
    let (expected, next_state) = outcome(vector);
    if let Some(expected) = expected {
        expected.check(&vector.name, &peer.receive());
    }

    match next_state {
        NextState::Continues { discarded } => {
            let chunk = vec![0; 1 << 20];
            let mut left = discarded;
            while left > 0 {
                let part = left.min(chunk.len());
                peer.send(&chunk[..part]);
                left -= part;
            }
            peer.assert_usable();
        }
        NextState::Closes => peer.expect_close(),
        NextState::Waits => {
            peer.half_close();
            peer.expect_close();
        }
    }
}

fn is_continued(vector: &Vector) -> bool {
    matches!(outcome(vector).1, NextState::Continues { .. })
}

/// A counter of the bytes that the host has read on all other connections.
struct ReadCounter {
    peer: Peer,
    request: Vec<u8>,
    requests_sent: u64,
}

impl ReadCounter {
    fn new(host: &HostProcess) -> Self {
        let request = frame(V1_0, SYNC, envelope("system.info", &Value::Null));
        Self { peer: host.peer(), request, requests_sent: 0 }
    }

    fn read(&mut self) -> u64 {
        self.peer.send(&self.request);
        let info = self.peer.receive().result();
        self.requests_sent += 1;
        let own = self.requests_sent * self.request.len() as u64;
        info["counts"]["bytes_in"].as_u64().unwrap() - own
    }

    /// Waits until the host has read this many bytes.
    #[track_caller]
    fn wait_for(&mut self, bytes: u64) {
        wait_until("the host reads what was sent", || self.read() >= bytes);
    }
}

#[test]
fn answers_each_vector() {
    let host = HostProcess::with(&[]);
    let vectors = client_vectors();
    assert!(vectors.len() >= 180, "only {} vectors", vectors.len());
    let mut shared = host.peer();

    for vector in &vectors {
        let mut own = host.peer();
        let peer = if is_continued(vector) { &mut shared } else { &mut own };
        peer.send(&vector.bytes);
        assert_outcome(vector, peer);
    }

    let unknown = vectors.iter().filter(|vector| vector.name.starts_with("kind-unknown")).count();
    assert_eq!(host.count("unknown_kinds"), unknown as u64);
}

#[test]
fn answers_all_vectors_in_one_write() {
    let host = HostProcess::with(&[]);
    let vectors = client_vectors();
    // Only complete frames: their meaning does not depend on what surrounds them.
    let whole: Vec<_> = vectors.iter().filter(|vector| vector.is("expect", "frame")).collect();

    let mut peer = host.peer();
    peer.send(whole.iter().flat_map(|vector| vector.bytes.clone()).collect::<Vec<u8>>());

    for vector in whole {
        if let Some(expected) = outcome(vector).0 {
            expected.check(&vector.name, &peer.receive());
        }
    }

    peer.assert_usable();
}

#[test]
fn answers_each_vector_split_at_every_byte() {
    const CONNECTIONS: usize = 64;
    // On a busy machine, the rest of a frame may be sent late.
    let host = HostProcess::builder().config("timeouts.frame = \"60s\"\n").start();
    let mut counter = ReadCounter::new(&host);

    let mut peers: Vec<Peer> = (0..CONNECTIONS).map(|_| host.peer()).collect();
    let mut sent = 0;
    let vectors = client_vectors();

    // Larger payloads are skipped. Their outcome follows from their headers.
    let small = |vector: &&Vector| {
        outcome(vector).1 == NextState::Continues { discarded: 0 } || !is_continued(vector)
    };

    let cuts: Vec<_> = vectors
        .iter()
        .filter(small)
        .flat_map(|vector| (1..vector.bytes.len()).map(move |cut| (vector, cut)))
        .collect();
    assert!(cuts.len() > 5000, "only {} cuts", cuts.len());

    for batch in cuts.chunks(CONNECTIONS) {
        for ((vector, cut), peer) in batch.iter().zip(&mut peers) {
            peer.send(&vector.bytes[..*cut]);
            sent += *cut as u64;
        }

        counter.wait_for(sent);

        for ((vector, cut), peer) in batch.iter().zip(&mut peers) {
            peer.send(&vector.bytes[*cut..]);
            assert_outcome(vector, peer);
            let ping = frame(V1_0, SYNC, envelope("system.ping", &Value::Null)).len();
            sent += (vector.bytes.len() - cut) as u64;
            if is_continued(vector) {
                sent += ping as u64;
            } else {
                *peer = host.peer();
            }
        }
    }
}

#[test]
fn answers_each_vector_sent_byte_by_byte() {
    /// Length of the part for which the test waits until each byte is read. The rest is sent byte
    /// by byte, too.
    const OBSERVED: usize = 350;
    let host = HostProcess::with(&[]);
    let mut counter = ReadCounter::new(&host);

    let vectors = client_vectors();
    let mut sent = 0;
    let mut conversations: Vec<(&Vector, Peer)> =
        vectors.iter().map(|vector| (vector, host.peer())).collect();

    for at in 0..OBSERVED {
        for (vector, peer) in conversations.iter_mut().filter(|(vector, _)| at < vector.bytes.len()) {
            peer.send(&vector.bytes[at..=at]);
            sent += 1;
        }
        counter.wait_for(sent);
    }

    for (vector, mut peer) in conversations {
        for byte in vector.bytes.iter().skip(OBSERVED) {
            peer.send([*byte]);
        }
        assert_outcome(vector, &mut peer);
    }
}

#[test]
fn detects_a_reply_that_differs_from_the_vector() {
    let vector = client_vectors().into_iter().find(|vector| vector.name == "id-integer").unwrap();
    let expected = outcome(&vector).0.unwrap();
    let id: Value = serde_json::from_str(vector.get("id").unwrap()).unwrap();
    let method: Value = serde_json::from_str(vector.get("method").unwrap()).unwrap();

    let reply = |id: &Value| {
        let message = format!("method not found: {}", method.as_str().unwrap());
        let error = json!({ "code": METHOD_NOT_FOUND, "message": message });
        let payload = format!(r#"{{"id":{id},"error":{error}}}"#).into_bytes();
        Frame { version: V1_0, kind: SYNC, payload }
    };

    expected.check("the right one", &reply(&id));

    let other = json!(id.to_string());
    let seen = std::panic::catch_unwind(|| expected.check("another id", &reply(&other)));
    assert!(seen.is_err(), "an id that is not echoed unchanged must be detected");
}

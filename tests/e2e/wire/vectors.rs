//! The protocol's vectors, replayed against the running host: whole, in two pieces at every byte,
//! and byte by byte.

use serde_json::{Value, json};

use crate::support::peer::{
    ASYNC_REQUEST, ASYNC_RESPONSE, ERROR, HEARTBEAT, INVALID_REQUEST, METHOD_NOT_FOUND, SYNC, V1_0, V1_1,
    envelope, frame,
};
use crate::support::vector::{Vector, client_vectors};
use crate::support::{Frame, HostProcess, Peer, wait_until};

/// A reply as far as a vector says what it is.
struct Wanted {
    version: u16,
    kind: u8,
    /// The id's member, as written.
    id: String,
    begins: String,
    ends: &'static str,
    /// What the message reads, where it is known.
    message: Option<String>,
}

impl Wanted {
    #[track_caller]
    fn check(&self, name: &str, frame: &Frame) {
        assert_eq!((frame.version, frame.kind), (self.version, self.kind), "{name}: {frame:?}");
        if self.begins.is_empty() {
            assert!(frame.payload.is_empty(), "{name}: {frame:?}");
            return;
        }
        let text = frame.text();
        let begins = format!("{{{}{}", self.id, self.begins);
        assert!(text.starts_with(&begins) && text.ends_with(self.ends), "{name}: {frame:?}");
        // An id may hold what no Value can: it is compared as bytes, and the rest is read without
        // it.
        let json: Value = serde_json::from_str(&text.replacen(&self.id, "", 1)).expect(name);
        if let Some(message) = &self.message {
            assert_eq!(json["error"]["message"], **message, "{name}");
        }
        assert!(json.get("result").is_some() != json.get("error").is_some(), "{name}: {frame:?}");
    }
}

/// What the host does with the connection after its reply.
#[derive(PartialEq)]
enum After {
    /// It goes on once so many further bytes have come, which are read away.
    GoesOn { discarded: usize },
    /// It closes.
    Ends,
    /// It waits for the rest of the frame; a client that sends none gets nothing.
    Waits,
}

/// What a host without plugins answers to a vector.
fn outcome(vector: &Vector) -> (Option<Wanted>, After) {
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
    let error = |kind: u8, id: Option<&str>, code: i64, ends: &'static str, message: Option<String>| {
        let id = id.map(|id| format!(r#""id":{id},"#)).unwrap_or_default();
        let begins = format!(r#""error":{{"code":{code},"message":""#);
        Some(Wanted { version, kind, id, begins, ends, message })
    };
    let on = After::GoesOn { discarded: 0 };
    match vector.get("expect") {
        Some("incomplete") => return (None, After::Waits),
        Some("refused") => {
            let too_large = vector.number("code") == -32007;
            let ends = if too_large {
                r#"","data":{"limit":16777216}}}"#
            } else {
                r#"","data":{"supported":["1.0","1.1"]}}}"#
            };
            let after = match vector.get("fatal") {
                Some("yes") => After::Ends,
                _ => After::GoesOn { discarded: usize::try_from(vector.number("length")).unwrap() },
            };
            return (error(ERROR, None, vector.number("code"), ends, None), after);
        }
        _ => {}
    }
    if kind == HEARTBEAT {
        return (
            Some(Wanted { version, kind, id: String::new(), begins: String::new(), ends: "", message: None }),
            on,
        );
    }
    if kind == ERROR || kind == ASYNC_RESPONSE {
        return (error(ERROR, None, INVALID_REQUEST, "\"}}", None), on);
    }
    if kind == 0xff {
        return (None, on);
    }
    let reply = match (kind, id) {
        (ASYNC_REQUEST, Some(_)) => ASYNC_RESPONSE,
        (ASYNC_REQUEST, None) => ERROR,
        _ => SYNC,
    };
    if vector.is("request", "rejected") {
        return (error(reply, id, vector.number("code"), "\"}}", None), on);
    }
    if reply == ERROR {
        return (error(ERROR, None, INVALID_REQUEST, "\"}}", None), on);
    }
    let method: String = serde_json::from_str(vector.get("method").expect("a method")).unwrap();
    if method == "system.ping" {
        let id = id.map(|id| format!(r#""id":{id},"#)).unwrap_or_default();
        let begins = r#""result":"pong"}"#.to_owned();
        return (Some(Wanted { version, kind: reply, id, begins, ends: "", message: None }), on);
    }
    let message = format!("method not found: {method}");
    (error(reply, id, METHOD_NOT_FOUND, "\"}}", Some(message)), on)
}

/// The reply comes, and the connection is afterwards what it must be.
#[track_caller]
fn conclude(vector: &Vector, peer: &mut Peer) {
    let (wanted, after) = outcome(vector);
    if let Some(wanted) = wanted {
        wanted.check(&vector.name, &peer.receive());
    }
    match after {
        After::GoesOn { discarded } => {
            let chunk = vec![0; 1 << 20];
            let mut left = discarded;
            while left > 0 {
                let part = left.min(chunk.len());
                peer.send(&chunk[..part]);
                left -= part;
            }
            peer.assert_usable();
        }
        After::Ends => peer.expect_close(),
        After::Waits => {
            peer.half_close();
            peer.expect_close();
        }
    }
}

fn goes_on(vector: &Vector) -> bool {
    matches!(outcome(vector).1, After::GoesOn { .. })
}

/// How many bytes the host has read on all connections but this one.
struct Meter {
    peer: Peer,
    request: Vec<u8>,
    asked: u64,
}

impl Meter {
    fn new(host: &HostProcess) -> Self {
        let request = frame(V1_0, SYNC, envelope("system.info", &Value::Null));
        Self { peer: host.peer(), request, asked: 0 }
    }

    fn read(&mut self) -> u64 {
        self.peer.send(&self.request);
        let info = self.peer.receive().result();
        self.asked += 1;
        let own = self.asked * self.request.len() as u64;
        info["counts"]["bytes_in"].as_u64().unwrap() - own
    }

    /// Waits until the host has read so much.
    #[track_caller]
    fn wait_for(&mut self, bytes: u64) {
        wait_until("the host reads what was sent", || self.read() >= bytes);
    }
}

#[test]
fn each_vector_is_answered_as_it_says() {
    let host = HostProcess::with(&[]);
    let vectors = client_vectors();
    assert!(vectors.len() >= 117, "only {} vectors", vectors.len());
    let mut shared = host.peer();
    for vector in &vectors {
        let mut own = host.peer();
        let peer = if goes_on(vector) { &mut shared } else { &mut own };
        peer.send(&vector.bytes);
        conclude(vector, peer);
    }
    let unknown = vectors.iter().filter(|vector| vector.name.starts_with("kind-unknown")).count();
    assert_eq!(host.count("unknown_kinds"), unknown as u64);
}

#[test]
fn every_vector_in_one_write() {
    let host = HostProcess::with(&[]);
    let vectors = client_vectors();
    // Those that are whole: what a frame means does not depend on what stands around it.
    let whole: Vec<_> = vectors.iter().filter(|vector| vector.is("expect", "frame")).collect();
    let mut peer = host.peer();
    peer.send(whole.iter().flat_map(|vector| vector.bytes.clone()).collect::<Vec<u8>>());
    for vector in whole {
        if let Some(wanted) = outcome(vector).0 {
            wanted.check(&vector.name, &peer.receive());
        }
    }
    peer.assert_usable();
}

#[test]
fn each_vector_split_at_every_byte() {
    const AT_ONCE: usize = 64;
    let host = HostProcess::with(&[]);
    let mut meter = Meter::new(&host);
    let mut peers: Vec<Peer> = (0..AT_ONCE).map(|_| host.peer()).collect();
    let mut sent = 0;
    let vectors = client_vectors();
    // Their payloads are megabytes, and what comes of them is known from their headers alone.
    let small = |vector: &&Vector| outcome(vector).1 == After::GoesOn { discarded: 0 } || !goes_on(vector);
    let cuts: Vec<_> = vectors
        .iter()
        .filter(small)
        .flat_map(|vector| (1..vector.bytes.len()).map(move |cut| (vector, cut)))
        .collect();
    assert!(cuts.len() > 5000, "only {} cuts", cuts.len());
    for batch in cuts.chunks(AT_ONCE) {
        for ((vector, cut), peer) in batch.iter().zip(&mut peers) {
            peer.send(&vector.bytes[..*cut]);
            sent += *cut as u64;
        }
        meter.wait_for(sent);
        for ((vector, cut), peer) in batch.iter().zip(&mut peers) {
            peer.send(&vector.bytes[*cut..]);
            conclude(vector, peer);
            let ping = frame(V1_0, SYNC, envelope("system.ping", &Value::Null)).len();
            sent += (vector.bytes.len() - cut) as u64;
            if goes_on(vector) {
                sent += ping as u64;
            } else {
                *peer = host.peer();
            }
        }
    }
}

#[test]
fn each_vector_byte_by_byte() {
    /// Longer ones are sent byte by byte as well, but nobody waits until each byte was read.
    const WATCHED: usize = 350;
    let host = HostProcess::with(&[]);
    let mut meter = Meter::new(&host);
    let vectors = client_vectors();
    let mut sent = 0;
    let mut conversations: Vec<(&Vector, Peer)> =
        vectors.iter().map(|vector| (vector, host.peer())).collect();
    for at in 0..WATCHED {
        for (vector, peer) in conversations.iter_mut().filter(|(vector, _)| at < vector.bytes.len()) {
            peer.send(&vector.bytes[at..=at]);
            sent += 1;
        }
        meter.wait_for(sent);
    }
    for (vector, mut peer) in conversations {
        for byte in vector.bytes.iter().skip(WATCHED) {
            peer.send([*byte]);
        }
        conclude(vector, &mut peer);
    }
}

#[test]
fn a_reply_that_is_not_as_the_vector_says_is_seen() {
    let vector = client_vectors().into_iter().find(|vector| vector.name == "id-integer").unwrap();
    let wanted = outcome(&vector).0.unwrap();
    let id: Value = serde_json::from_str(vector.get("id").unwrap()).unwrap();
    let method: Value = serde_json::from_str(vector.get("method").unwrap()).unwrap();
    let reply = |id: &Value| {
        let message = format!("method not found: {}", method.as_str().unwrap());
        let error = json!({ "code": METHOD_NOT_FOUND, "message": message });
        let payload = format!(r#"{{"id":{id},"error":{error}}}"#).into_bytes();
        Frame { version: V1_0, kind: SYNC, payload }
    };
    wanted.check("the right one", &reply(&id));
    let other = json!(id.to_string());
    let seen = std::panic::catch_unwind(|| wanted.check("another id", &reply(&other)));
    assert!(seen.is_err(), "an id that is not echoed as written must be seen");
}

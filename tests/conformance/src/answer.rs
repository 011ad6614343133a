//! The answer to a vector, as its heads predict it for a server with any methods.

use serde_json::json;

use crate::reply::{Outcome, Reply};
use crate::report::{Checked, ensure};
use crate::server::{Server, V1_0, V1_1, V1_2, read_grant};
use crate::vector::Vector;
use crate::wire::{ASYNC_REQUEST, ASYNC_RESPONSE, BLOCK, ERROR, Frame, HEARTBEAT, Peer, SYNC};

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const FRAME_TOO_LARGE: i64 = -32007;
const UNSUPPORTED_EXTENSION: i64 = -32010;

/// Bytes that are sent at once while a payload is discarded.
const CHUNK: usize = 1 << 20;

/// The answer of a server.
enum Answer {
    Nothing,
    EmptyHeartbeat,
    Grant,
    /// A reply or an error notification of this kind with the id of the vector.
    Error {
        kind: u8,
        code: i64,
    },
    /// A result, or an error of the method.
    Reply {
        kind: u8,
    },
}

/// Sends a vector on a connection of its own and compares the answer.
pub(crate) fn check_vector(server: &Server, vector: &Vector, byte_by_byte: bool) -> Checked {
    let is_negotiated = vector.is("negotiated", "yes");
    let mut peer = if is_negotiated { server.granted_peer()? } else { server.peer()? };
    if byte_by_byte {
        peer.send_byte_by_byte(&vector.bytes);
    } else {
        peer.send(&vector.bytes);
    }

    if vector.is("expect", "incomplete") {
        peer.half_close();
        return peer.receive_end();
    }
    check_answer(server, vector, &mut peer)?;
    if vector.is("fatal", "yes") {
        return peer.receive_end();
    }
    if vector.is("fatal", "no") {
        send_zeros(&mut peer, vector.number("length").unwrap_or(0));
    }
    server.check_in_step(&mut peer)
}

fn send_zeros(peer: &mut Peer, length: i64) {
    let chunk = vec![0; CHUNK];
    let mut left = usize::try_from(length).unwrap_or(0);
    while left > 0 {
        let part = left.min(CHUNK);
        peer.send(&chunk[..part]);
        left -= part;
    }
}

/// Returns the answer that the heads predict.
fn predict(vector: &Vector) -> Answer {
    let code = vector.number("code");
    if vector.is("expect", "refused") {
        return Answer::Error { kind: ERROR, code: code.unwrap_or(0) };
    }

    let (version, byte) = vector.version_and_kind();
    let can_extend = vector.is("negotiated", "yes") && version >= V1_2;
    let kind = if can_extend { byte & !BLOCK } else { byte };
    match (kind, vector.get("payload")) {
        (HEARTBEAT, _) if byte == HEARTBEAT && vector.is("hello", "wish") => Answer::Grant,
        (HEARTBEAT, _) if byte == HEARTBEAT => Answer::EmptyHeartbeat,
        (ERROR | ASYNC_RESPONSE, _) if byte == kind => Answer::Error { kind: ERROR, code: INVALID_REQUEST },
        (_, Some("cancel")) if vector.is("cancel", "rejected") => {
            Answer::Error { kind: ERROR, code: code.unwrap_or(0) }
        }
        (SYNC | ASYNC_REQUEST, _) => predict_reply(vector, kind, can_extend),
        _ => Answer::Nothing,
    }
}

fn predict_reply(vector: &Vector, kind: u8, can_extend: bool) -> Answer {
    let reply = match kind {
        ASYNC_REQUEST if vector.get("id").is_none() => ERROR,
        ASYNC_REQUEST => ASYNC_RESPONSE,
        _ => SYNC,
    };
    // With the grant of a timing, every reply has a block, and no notification has one.
    let kind = if can_extend && reply != ERROR { reply | BLOCK } else { reply };

    if vector.is("request", "rejected") {
        return Answer::Error { kind, code: vector.number("code").unwrap_or(0) };
    }
    if reply == ERROR { Answer::Error { kind, code: INVALID_REQUEST } } else { Answer::Reply { kind } }
}

/// Returns the version of the answer.
fn answer_version(server: &Server, vector: &Vector) -> u16 {
    let (version, _) = vector.version_and_kind();
    let highest = if vector.is("negotiated", "yes") { V1_2 } else { server.version.min(V1_1) };
    // A header that cannot be read is answered in 1.0.
    if version >> 8 == V1_0 >> 8 { version.min(highest) } else { V1_0 }
}

fn check_answer(server: &Server, vector: &Vector, peer: &mut Peer) -> Checked {
    let version = answer_version(server, vector);
    let expected = describe(vector, version, &predict(vector));
    let (kind, code) = match predict(vector) {
        Answer::Nothing => return Ok(()),
        Answer::EmptyHeartbeat => {
            let received = peer.receive(&expected)?;
            let heartbeat = Frame { version, kind: HEARTBEAT, payload: Vec::new() };
            return ensure(received == heartbeat, expected, &received);
        }
        Answer::Grant => return check_grant(vector, version, &peer.receive(&expected)?),
        Answer::Error { kind, code } => (kind, Some(code)),
        Answer::Reply { kind } => (kind, None),
    };

    let received = peer.receive(&expected)?;
    ensure((received.version, received.kind) == (version, kind), &*expected, &received)?;
    let reply = Reply::parse(&received)?;
    let id = if kind == ERROR { None } else { vector.get("id") };
    ensure(reply.id.as_deref() == id, &*expected, &received)?;
    ensure(reply.timing.is_some() == (kind & BLOCK != 0), "a timing with each block", &received)?;
    ensure(fits(vector, &reply, code), expected, &received)
}

fn fits(vector: &Vector, reply: &Reply, code: Option<i64>) -> bool {
    match code {
        // The method decides, but the request was valid.
        None => {
            let invalid = [PARSE_ERROR, INVALID_REQUEST, UNSUPPORTED_EXTENSION];
            !reply.code().is_some_and(|code| invalid.contains(&code)) || returns_bytes(vector, reply)
        }
        Some(FRAME_TOO_LARGE) => reply.code() == code && reply.data("limit").is_u64(),
        Some(UNSUPPORTED_EXTENSION) => {
            let tag = vector.number("tag").map_or(json!(null), |tag| json!(tag));
            reply.code() == code && reply.data("tag") == tag
        }
        Some(_) => reply.code() == code,
    }
}

/// Returns whether a method may have refused bytes, or returned them to a client that takes none.
fn returns_bytes(vector: &Vector, reply: &Reply) -> bool {
    let has_bytes = vector.is("content", "bytes") || matches!(reply.outcome, Outcome::Bytes(_));
    has_bytes && reply.code() == Some(UNSUPPORTED_EXTENSION)
}

fn check_grant(vector: &Vector, version: u16, received: &Frame) -> Checked {
    let head = |key| vector.number(key).unwrap_or(0).cast_unsigned();
    let hex = |key| {
        let digits = vector.get(key).and_then(|value| value.strip_prefix("0x")).unwrap_or_default();
        u64::from_str_radix(digits, 16).unwrap_or(0)
    };
    ensure(received.version == version, "the version of the hello", received)?;
    let grant = read_grant(received, hex("nonce"))?;
    let wished = hex("capabilities");
    ensure(grant.capabilities & !wished == 0, format!("a grant within 0x{wished:x}"), received)?;
    let most = head("in_flight");
    let is_within = most == 0 || u64::from(grant.in_flight) <= most;
    ensure(is_within && grant.in_flight > 0, "a number of requests in flight within the wish", received)?;
    ensure(!grant.has_bytes || vector.is("content", "bytes"), "no grant of bytes", received)
}

fn describe(vector: &Vector, version: u16, answer: &Answer) -> String {
    let id = vector.get("id").map_or_else(String::new, |id| format!(" with the id {id}"));
    match answer {
        Answer::Nothing => "nothing".to_owned(),
        Answer::EmptyHeartbeat => format!("an empty heartbeat of version 0x{version:04x}"),
        Answer::Grant => "an acknowledgement".to_owned(),
        Answer::Error { kind: ERROR, code } => {
            format!("a notification of version 0x{version:04x} with the code {code}")
        }
        Answer::Error { kind, code } => {
            format!("kind 0x{kind:02x} of version 0x{version:04x} with the code {code}{id}")
        }
        Answer::Reply { kind } => format!("kind 0x{kind:02x} of version 0x{version:04x}{id}"),
    }
}

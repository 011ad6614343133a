//! Conversations with deadlines, timings and opaque bytes.

use super::receive_reply;
use crate::reply::Outcome;
use crate::report::{Checked, Difference, ensure};
use crate::server::{ALL, CAN_EXTEND, Server, V1_0, V1_1, V1_2, Wish, agree};
use crate::wire::{ASYNC_REQUEST, ASYNC_RESPONSE, BLOCK, SYNC, frame};

const UNSUPPORTED_EXTENSION: i64 = -32010;
const INTERNAL_ERROR: i64 = -32603;
/// The tag of the content type.
const CONTENT_TYPE: u8 = 0x85;

/// A request of version 1.2 with opaque bytes as its params.
fn bytes_request(envelope: &str, bytes: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 3, CONTENT_TYPE, 1, 3];
    payload.extend_from_slice(&u32::try_from(envelope.len()).unwrap_or(u32::MAX).to_be_bytes());
    payload.extend_from_slice(envelope.as_bytes());
    payload.extend_from_slice(bytes);
    frame(V1_2, SYNC | BLOCK, payload)
}

pub(super) fn accepts_long_deadlines(server: &Server) -> Checked {
    let mut peer = server.peer()?;
    let envelope =
        format!("{{\"id\":1,\"method\":\"{}\",\"deadline_ms\":4294967295,\"params\":[1]}}", server.echo);
    peer.send(frame(V1_1, ASYNC_REQUEST, envelope));
    let (received, reply) = receive_reply(&mut peer, V1_1, ASYNC_RESPONSE, Some("1"))?;
    ensure(reply.outcome == Outcome::Result("[1]".to_owned()), "the params as the result", &received)?;
    server.check_in_step(&mut peer)
}

pub(super) fn times_replies(server: &Server) -> Checked {
    let mut peer = server.granted_peer()?;
    for (kind, reply_kind) in [(SYNC, SYNC), (ASYNC_REQUEST, ASYNC_RESPONSE)] {
        peer.send(frame(V1_2, kind, server.ping_envelope("1")));
        let (received, reply) = receive_reply(&mut peer, V1_2, reply_kind | BLOCK, Some("1"))?;
        ensure(reply.timing.is_some(), "a timing", &received)?;
    }

    peer.send(frame(V1_2, SYNC, "{\"id\":2,\"method\":\"no.such.method\"}"));
    let (received, reply) = receive_reply(&mut peer, V1_2, SYNC | BLOCK, Some("2"))?;
    ensure(reply.timing.is_some_and(|timing| timing.generation == 0), "the generation 0", &received)?;
    server.check_in_step(&mut peer)
}

pub(super) fn answers_old_versions_plainly(server: &Server) -> Checked {
    let mut peer = server.granted_peer()?;
    for version in [V1_0, V1_1] {
        peer.send(frame(version, SYNC, server.ping_envelope("1")));
        receive_reply(&mut peer, version, SYNC, Some("1"))?;
    }
    // Without the grant of a timing, a reply of version 1.2 has no block.
    agree(&mut peer, Wish::of(CAN_EXTEND))?;
    peer.send(frame(V1_2, SYNC, server.ping_envelope("1")));
    receive_reply(&mut peer, V1_2, SYNC, Some("1"))?;
    server.check_in_step(&mut peer)
}

pub(super) fn refuses_bytes_without_a_grant(server: &Server) -> Checked {
    let mut peer = server.peer()?;
    agree(&mut peer, Wish { has_bytes: false, ..Wish::of(CAN_EXTEND) })?;
    peer.send(bytes_request(&server.ping_envelope("1"), b"\xFF"));
    let (received, reply) = receive_reply(&mut peer, V1_2, SYNC, Some("1"))?;
    let is_refused = reply.code() == Some(UNSUPPORTED_EXTENSION) && reply.data("tag") == CONTENT_TYPE;
    ensure(is_refused, "the code -32010 with the data {\"tag\":133}", &received)?;
    server.check_in_step(&mut peer)
}

pub(super) fn echoes_bytes(server: &Server) -> Checked {
    let mut peer = server.granted_peer()?;
    for bytes in [&b""[..], b"\0\xFF{\"id\":", &[0x80; 100_000]] {
        peer.send(bytes_request(&format!("{{\"id\":1,\"method\":\"{}\"}}", server.echo), bytes));
        let (received, reply) = receive_reply(&mut peer, V1_2, SYNC | BLOCK, Some("1"))?;
        // A method may also refuse bytes, or return JSON whatever its params are.
        let fits = !matches!(&reply.outcome, Outcome::Bytes(echoed) if echoed != bytes);
        ensure(fits, "the same bytes, JSON, or an error", &received)?;
    }
    server.check_in_step(&mut peer)
}

pub(super) fn bounds_replies(server: &Server) -> Checked {
    /// The least that counts.
    const LARGEST: u32 = 1024;
    let mut peer = server.peer()?;
    for (capabilities, reply_kind) in [(0, SYNC), (ALL, SYNC | BLOCK)] {
        agree(&mut peer, Wish { largest: 1, ..Wish::of(capabilities) })?;
        let version = if capabilities == 0 { V1_1 } else { V1_2 };
        let echo = |length: usize| {
            let text = "x".repeat(length);
            frame(version, SYNC, format!("{{\"id\":1,\"method\":\"{}\",\"params\":\"{text}\"}}", server.echo))
        };

        peer.send(echo(800));
        let (received, reply) = receive_reply(&mut peer, version, reply_kind, Some("1"))?;
        ensure(matches!(reply.outcome, Outcome::Result(_)), "a result of 802 bytes", &received)?;

        peer.send(echo(2000));
        let (received, reply) = receive_reply(&mut peer, version, reply_kind, Some("1"))?;
        let is_bounded = reply.code() == Some(INTERNAL_ERROR) && reply.data("limit") == LARGEST;
        if !is_bounded || received.payload.len() > LARGEST as usize {
            let expected = "at most 1,024 bytes: the code -32603 with the data {\"limit\":1024}";
            return Err(Difference::new(expected, received.to_string()));
        }
    }
    server.check_in_step(&mut peer)
}

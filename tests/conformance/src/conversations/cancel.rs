//! Conversations with cancellations.

use super::receive_reply;
use crate::reply::Reply;
use crate::report::{Checked, ensure};
use crate::server::{Server, V1_0, V1_1, V1_2};
use crate::wire::{ASYNC_REQUEST, ASYNC_RESPONSE, BLOCK, CANCEL, Frame, SYNC, frame};

const CANCELLED: i64 = -32800;

fn cancel(version: u16, id: &str) -> Vec<u8> {
    frame(version, CANCEL, format!("{{\"id\":{id}}}"))
}

/// A cancelled request has its result, or this code.
fn check_cancelled(received: &Frame, reply: &Reply) -> Checked {
    let is_either = reply.code().is_none_or(|code| code == CANCELLED);
    ensure(is_either, "a result or the code -32800", received)
}

pub(super) fn ignores_unknown_ids(server: &Server) -> Checked {
    let mut peer = server.granted_peer()?;
    peer.send([cancel(V1_2, "7"), cancel(V1_0, "\"never\""), cancel(V1_1, "-1")].concat());
    // A request that was answered is as unknown as one that never was.
    peer.send(frame(V1_2, SYNC, server.ping_envelope("7")));
    receive_reply(&mut peer, V1_2, SYNC | BLOCK, Some("7"))?;
    peer.send(cancel(V1_2, "7"));
    server.check_in_step(&mut peer)
}

pub(super) fn answers_a_running_request_once(server: &Server) -> Checked {
    let mut peer = server.granted_peer()?;
    for version in [V1_0, V1_1, V1_2] {
        peer.send(frame(V1_2, ASYNC_REQUEST, server.slow_envelope("\"c\"", "")));
        server.check_in_step(&mut peer)?;
        peer.send(cancel(version, "\"c\"").repeat(2));
        let (received, reply) = receive_reply(&mut peer, V1_2, ASYNC_RESPONSE | BLOCK, Some("\"c\""))?;
        check_cancelled(&received, &reply)?;
        server.check_in_step(&mut peer)?;
    }

    // The id is free again, and no late result comes.
    peer.send(frame(V1_1, ASYNC_REQUEST, server.slow_envelope("\"c\"", "")));
    let (received, reply) = receive_reply(&mut peer, V1_1, ASYNC_RESPONSE, Some("\"c\""))?;
    ensure(reply.code().is_none(), "a result", &received)?;
    server.check_in_step(&mut peer)
}

pub(super) fn answers_a_queued_request_in_turn(server: &Server) -> Checked {
    let mut peer = server.granted_peer()?;
    peer.send(
        [
            frame(V1_1, SYNC, server.slow_envelope("1", "")),
            frame(V1_1, SYNC, server.slow_envelope("2", "")),
            frame(V1_1, SYNC, server.ping_envelope("3")),
            cancel(V1_2, "2"),
        ]
        .concat(),
    );
    let (received, reply) = receive_reply(&mut peer, V1_1, SYNC, Some("1"))?;
    ensure(reply.code().is_none(), "the result of the request before the cancelled one", &received)?;
    let (received, reply) = receive_reply(&mut peer, V1_1, SYNC, Some("2"))?;
    ensure(reply.code() == Some(CANCELLED), "the code -32800 for a request that never started", &received)?;
    let (received, reply) = receive_reply(&mut peer, V1_1, SYNC, Some("3"))?;
    ensure(reply.code().is_none(), "the result of the request behind the cancelled one", &received)?;
    server.check_in_step(&mut peer)
}

pub(super) fn leaves_other_connections_alone(server: &Server) -> Checked {
    let (mut one, mut other) = (server.granted_peer()?, server.granted_peer()?);
    one.send(frame(V1_1, ASYNC_REQUEST, server.slow_envelope("1", "")));
    server.check_in_step(&mut one)?;
    other.send(cancel(V1_2, "1"));
    server.check_in_step(&mut other)?;
    let (received, reply) = receive_reply(&mut one, V1_1, ASYNC_RESPONSE, Some("1"))?;
    ensure(reply.code().is_none(), "a result", &received)
}

pub(super) fn needs_a_grant(server: &Server) -> Checked {
    let mut peer = server.peer()?;
    peer.send(frame(V1_1, ASYNC_REQUEST, server.slow_envelope("1", "")));
    peer.send(cancel(V1_1, "1"));
    server.check_in_step(&mut peer)?;
    let (received, reply) = receive_reply(&mut peer, V1_1, ASYNC_RESPONSE, Some("1"))?;
    ensure(reply.code().is_none(), "a result", &received)
}

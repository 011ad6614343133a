//! Conversations with a method that takes long.

use std::time::Instant;

use super::{receive_reply, receive_until};
use crate::reply::Reply;
use crate::report::{Checked, ensure};
use crate::server::{Server, V1_0, V1_1, V1_2};
use crate::wire::{ASYNC_REQUEST, ASYNC_RESPONSE, BLOCK, HEARTBEAT, SYNC, frame};

const INVALID_REQUEST: i64 = -32600;
const DEADLINE_EXCEEDED: i64 = -32001;

pub(super) fn overtakes(server: &Server) -> Checked {
    let mut peer = server.peer()?;
    peer.send(
        [
            frame(V1_0, SYNC, server.slow_envelope("1", "")),
            frame(V1_0, SYNC, server.ping_envelope("2")),
            frame(V1_0, HEARTBEAT, ""),
            frame(V1_1, ASYNC_REQUEST, server.ping_envelope("3")),
        ]
        .concat(),
    );

    let mut overtaking = [HEARTBEAT, ASYNC_RESPONSE].to_vec();
    while !overtaking.is_empty() {
        let expected = "a heartbeat and an async reply before the slow sync one";
        let received = peer.receive(expected)?;
        let found = overtaking.iter().position(|kind| *kind == received.kind);
        ensure(found.is_some(), expected, &received)?;
        overtaking.remove(found.unwrap_or_default());
    }
    receive_reply(&mut peer, V1_0, SYNC, Some("1"))?;
    receive_reply(&mut peer, V1_0, SYNC, Some("2"))?;
    server.check_in_step(&mut peer)
}

pub(super) fn refuses_duplicate_ids(server: &Server) -> Checked {
    let mut peer = server.peer()?;
    let first = frame(V1_1, ASYNC_REQUEST, server.slow_envelope("\"d\"", ""));
    let second = frame(V1_1, ASYNC_REQUEST, server.ping_envelope("\"d\""));
    peer.send([first, second].concat());

    let replies = [(); 2].map(|()| receive_reply(&mut peer, V1_1, ASYNC_RESPONSE, Some("\"d\"")));
    let [first, second] = replies;
    let (received, first) = first?;
    let refused = [first.code(), second?.1.code()].into_iter().filter(|code| *code == Some(INVALID_REQUEST));
    ensure(refused.count() == 1, "one of two replies with the code -32600", &received)?;
    server.check_in_step(&mut peer)
}

pub(super) fn separates_connections(server: &Server) -> Checked {
    let (mut one, mut other) = (server.peer()?, server.peer()?);
    one.send(frame(V1_1, ASYNC_REQUEST, server.slow_envelope("\"d\"", "")));
    server.check_in_step(&mut one)?;
    other.send(frame(V1_1, ASYNC_REQUEST, server.ping_envelope("\"d\"")));
    let (received, reply) = receive_reply(&mut other, V1_1, ASYNC_RESPONSE, Some("\"d\""))?;
    ensure(reply.code() != Some(INVALID_REQUEST), "no conflict", &received)?;
    receive_reply(&mut one, V1_1, ASYNC_RESPONSE, Some("\"d\"")).map(|_| ())
}

pub(super) fn keeps_deadlines(server: &Server) -> Checked {
    let mut peer = server.peer()?;
    for (version, kind, reply_kind) in [(V1_0, SYNC, SYNC), (V1_1, ASYNC_REQUEST, ASYNC_RESPONSE)] {
        peer.send(frame(version, kind, server.slow_envelope("1", ",\"deadline_ms\":20")));
        let (received, reply) = receive_reply(&mut peer, version, reply_kind, Some("1"))?;
        let is_late = reply.code() == Some(DEADLINE_EXCEEDED) && reply.data("timeout_ms") == 20;
        ensure(is_late, "the code -32001 with the data {\"timeout_ms\":20}", &received)?;
    }

    // The second request has to wait for longer than it has.
    peer.send(frame(V1_0, SYNC, server.slow_envelope("1", "")));
    peer.send(frame(
        V1_0,
        SYNC,
        "{\"id\":2,\"method\":\"METHOD\",\"deadline_ms\":5}".replace("METHOD", &server.ping),
    ));
    receive_reply(&mut peer, V1_0, SYNC, Some("1"))?;
    let (received, reply) = receive_reply(&mut peer, V1_0, SYNC, Some("2"))?;
    ensure(reply.code() == Some(DEADLINE_EXCEEDED), "the code -32001 in its turn", &received)?;
    server.check_in_step(&mut peer)
}

pub(super) fn times_a_slow_request(server: &Server) -> Checked {
    let mut peer = server.granted_peer()?;
    let begun = Instant::now();
    let frames = [1, 2].map(|id| frame(V1_2, SYNC, server.slow_envelope(&id.to_string(), "")));
    peer.send(frames.concat());

    let (first_frame, first) = receive_until(&mut peer, "1")?;
    let (second_frame, second) = receive_until(&mut peer, "2")?;
    let passed = begun.elapsed().as_micros();
    for (received, reply) in [(&first_frame, &first), (&second_frame, &second)] {
        ensure(received.kind == SYNC | BLOCK, "a reply with a block", received)?;
        let total = reply.timing.map(|timing| u128::from(timing.queued_us) + u128::from(timing.run_us));
        ensure(total.is_some_and(|total| total <= passed), format!("at most {passed} us"), received)?;
    }

    // The second one waited while the first one ran.
    let run = |reply: &Reply| reply.timing.map_or(0, |timing| timing.run_us);
    let waited = second.timing.map_or(0, |timing| timing.queued_us);
    ensure(run(&first) > 0 && waited >= run(&first) / 2, "a second request that was queued", &second_frame)?;
    server.check_in_step(&mut peer)
}

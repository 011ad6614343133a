//! Conversations of versions 1.0 and 1.1 with methods that answer quickly.

use std::collections::BTreeSet;

use super::receive_reply;
use crate::reply::{Outcome, Reply};
use crate::report::{Checked, Difference, ensure};
use crate::server::{Server, V1_0, V1_1};
use crate::wire::{ASYNC_REQUEST, ASYNC_RESPONSE, Frame, HEARTBEAT, SYNC, frame};

/// Requests that are sent in one write. They do not reach any limit.
const MANY: u32 = 200;

/// Returns a request for the echo of a number, which is also its id.
fn echo(server: &Server, number: u32) -> String {
    format!("{{\"id\":{number},\"method\":\"{}\",\"params\":{{\"number\":{number}}}}}", server.echo)
}

fn check_echo(received: &Frame, reply: &Reply, number: u32) -> Checked {
    let expected = Outcome::Result(format!("{{\"number\":{number}}}"));
    ensure(reply.outcome == expected, format!("{expected:?}"), received)
}

pub(super) fn orders_sync_replies(server: &Server) -> Checked {
    let mut peer = server.peer()?;
    let requests: Vec<u8> = (0..MANY).flat_map(|number| frame(V1_0, SYNC, echo(server, number))).collect();
    peer.send(requests);
    for number in 0..MANY {
        let (received, reply) = receive_reply(&mut peer, V1_0, SYNC, Some(&number.to_string()))?;
        check_echo(&received, &reply, number)?;
    }
    server.check_in_step(&mut peer)
}

pub(super) fn orders_heartbeats(server: &Server) -> Checked {
    let mut peer = server.peer()?;
    let versions = [V1_0, V1_1.min(server.version), V1_0];
    peer.send(versions.map(|version| frame(version, HEARTBEAT, "")).concat());
    for version in versions {
        let expected = format!("an empty heartbeat of version 0x{version:04x}");
        let received = peer.receive(&expected)?;
        ensure(received == Frame { version, kind: HEARTBEAT, payload: Vec::new() }, expected, &received)?;
    }
    server.check_in_step(&mut peer)
}

pub(super) fn omits_missing_ids(server: &Server) -> Checked {
    let mut peer = server.peer()?;
    peer.send(frame(V1_0, SYNC, format!("{{\"method\":\"{}\"}}", server.ping)));
    receive_reply(&mut peer, V1_0, SYNC, None)?;
    server.check_in_step(&mut peer)
}

pub(super) fn answers_after_half_close(server: &Server) -> Checked {
    let mut peer = server.peer()?;
    peer.send([1, 2].map(|number| frame(V1_0, SYNC, echo(server, number))).concat());
    peer.half_close();
    for number in ["1", "2"] {
        receive_reply(&mut peer, V1_0, SYNC, Some(number))?;
    }
    peer.receive_end()
}

pub(super) fn ignores_an_incomplete_end(server: &Server) -> Checked {
    let mut peer = server.peer()?;
    let request = frame(V1_0, SYNC, echo(server, 1));
    peer.send([&request[..], &request[..request.len() - 1]].concat());
    peer.half_close();
    receive_reply(&mut peer, V1_0, SYNC, Some("1"))?;
    peer.receive_end()
}

pub(super) fn answers_many_async_requests(server: &Server) -> Checked {
    let mut peer = server.peer()?;
    let request = |number| frame(V1_1, ASYNC_REQUEST, echo(server, number));
    peer.send((0..MANY).flat_map(request).collect::<Vec<u8>>());

    let mut due: BTreeSet<u32> = (0..MANY).collect();
    while !due.is_empty() {
        let expected = format!("{} more async replies", due.len());
        let received = peer.receive(&expected)?;
        ensure((received.version, received.kind) == (V1_1, ASYNC_RESPONSE), expected, &received)?;
        let reply = Reply::parse(&received)?;
        let number = reply.id.as_deref().and_then(|id| id.parse().ok());
        match number.filter(|number| due.remove(number)) {
            Some(number) => check_echo(&received, &reply, number)?,
            None => return Err(Difference::new("one reply for each request", received.to_string())),
        }
    }
    server.check_in_step(&mut peer)
}

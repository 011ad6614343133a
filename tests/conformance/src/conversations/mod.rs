//! Conversations: what several frames on one connection must lead to.

mod cancel;
mod extended;
mod hello;
mod plain;
mod slow;

use crate::reply::Reply;
use crate::report::{Checked, Difference, Report, ensure};
use crate::server::{Server, V1_0, V1_1, V1_2};
use crate::wire::{Frame, Peer};

/// A conversation.
struct Conversation {
    name: &'static str,
    /// The lowest version of a server that can have it.
    since: u16,
    needs_slow: bool,
    hold: fn(&Server) -> Checked,
}

const fn of(name: &'static str, since: u16, hold: fn(&Server) -> Checked) -> Conversation {
    Conversation { name, since, needs_slow: false, hold }
}

const fn slow(name: &'static str, since: u16, hold: fn(&Server) -> Checked) -> Conversation {
    Conversation { name, since, needs_slow: true, hold }
}

const CONVERSATIONS: &[Conversation] = &[
    of("sync replies come in the order of their requests", V1_0, plain::orders_sync_replies),
    of("heartbeats are answered in order", V1_0, plain::orders_heartbeats),
    of("requests without an id are answered without one", V1_0, plain::omits_missing_ids),
    of("a half-closed connection gets its replies and ends", V1_0, plain::answers_after_half_close),
    of("an incomplete frame at the end is not answered", V1_0, plain::ignores_an_incomplete_end),
    of("each of many async requests gets its own reply", V1_1, plain::answers_many_async_requests),
    slow("sync requests wait for the previous one, others overtake it", V1_1, slow::overtakes),
    slow("an id in flight cannot be used again", V1_1, slow::refuses_duplicate_ids),
    slow("ids of two connections are no conflict", V1_1, slow::separates_connections),
    slow("a deadline is kept and reported", V1_2, slow::keeps_deadlines),
    of("a long deadline changes nothing", V1_2, extended::accepts_long_deadlines),
    of("a grant lies within the wish", V1_2, hello::grants_within_the_wish),
    of("hellos and heartbeats are answered in order", V1_2, hello::orders_acknowledgements),
    of("a hello replaces the previous grant", V1_2, hello::replaces_grants),
    of("a request right behind a hello is answered", V1_2, hello::answers_behind_a_hello),
    of("an instance has one number", V1_2, hello::keeps_its_instance),
    of("replies to requests of 1.2 have a timing", V1_2, extended::times_replies),
    of("requests of 1.1 have plain replies despite a grant", V1_2, extended::answers_old_versions_plainly),
    of("bytes need their grant", V1_2, extended::refuses_bytes_without_a_grant),
    of("bytes cross unchanged", V1_2, extended::echoes_bytes),
    of("replies keep within the largest payload of the client", V1_2, extended::bounds_replies),
    slow("the timing of a reply is plausible", V1_2, slow::times_a_slow_request),
    of("a cancel of an unknown id is ignored", V1_2, cancel::ignores_unknown_ids),
    slow("a cancelled request has one reply", V1_2, cancel::answers_a_running_request_once),
    slow("a cancelled sync request is answered in its turn", V1_2, cancel::answers_a_queued_request_in_turn),
    slow("a cancel concerns its own connection only", V1_2, cancel::leaves_other_connections_alone),
    slow("a cancel without a grant has no effect", V1_2, cancel::needs_a_grant),
];

/// Holds all conversations that the server can have, each on connections of its own.
pub(crate) fn run(server: &Server, report: &mut Report) {
    for conversation in CONVERSATIONS.iter().filter(|conversation| conversation.since <= server.version) {
        if conversation.needs_slow && server.slow.is_none() {
            report.skip(conversation.name);
        } else {
            report.check(conversation.name, || (conversation.hold)(server));
        }
    }
}

/// Receives a reply of this version, kind and id.
fn receive_reply(peer: &mut Peer, version: u16, kind: u8, id: Option<&str>) -> Checked<(Frame, Reply)> {
    let id_text = id.unwrap_or("none");
    let expected = format!("kind 0x{kind:02x} of version 0x{version:04x} with the id {id_text}");
    let received = peer.receive(&expected)?;
    ensure((received.version, received.kind) == (version, kind), &*expected, &received)?;
    let reply = Reply::parse(&received)?;
    ensure(reply.id.as_deref() == id, expected, &received)?;
    Ok((received, reply))
}

/// Receives the reply with this id among others, which are dropped.
fn receive_until(peer: &mut Peer, id: &str) -> Checked<(Frame, Reply)> {
    /// Most frames that are dropped.
    const DROPPED: usize = 16;
    let expected = format!("a reply with the id {id}");
    for _ in 0..DROPPED {
        let received = peer.receive(&expected)?;
        let reply = Reply::parse(&received)?;
        if reply.id.as_deref() == Some(id) {
            return Ok((received, reply));
        }
    }
    Err(Difference::new(expected, "other replies"))
}

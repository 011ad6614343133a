//! Conversations about what is granted.

use super::receive_reply;
use crate::report::{Checked, ensure};
use crate::server::{ALL, CAN_EXTEND, CAN_TIME, Server, V1_0, V1_1, V1_2, Wish, agree, hello, read_grant};
use crate::wire::{BLOCK, Frame, HEARTBEAT, SYNC, frame};

/// Capabilities that are never granted: those that have a meaning and are reserved, and grease.
const NEVER: u64 = !ALL;

pub(super) fn grants_within_the_wish(server: &Server) -> Checked {
    let mut peer = server.peer()?;
    let wishes = (0..64).map(|bit| 1 << bit).chain([0, ALL, NEVER, u64::MAX, CAN_EXTEND | CAN_TIME]);
    for wished in wishes {
        let grant = agree(&mut peer, Wish { in_flight: 3, ..Wish::of(wished) })?;
        // Timing and bytes are only granted with the block that carries them.
        let can_extend = wished & CAN_EXTEND != 0;
        let most = if can_extend { wished & ALL } else { wished & ALL & !CAN_TIME };
        let fits = grant.capabilities == most
            && grant.has_bytes == can_extend
            && (1..=3).contains(&grant.in_flight)
            && grant.largest >= 1024;
        let expected =
            format!("the grant 0x{most:x} for the wish 0x{wished:x}, at most 3 requests in flight");
        ensure(fits, expected, &grant.frame)?;
    }

    let grant = agree(&mut peer, Wish { has_bytes: false, ..Wish::of(ALL) })?;
    ensure(
        !grant.has_bytes && grant.in_flight > 0,
        "no bytes without a wish, and a number in flight",
        &grant.frame,
    )?;
    server.check_in_step(&mut peer)
}

pub(super) fn orders_acknowledgements(server: &Server) -> Checked {
    let mut peer = server.peer()?;
    let hello_of = |version, nonce| frame(version, HEARTBEAT, hello(Wish::of(0), nonce));
    peer.send(
        [hello_of(V1_0, 1), frame(V1_1, HEARTBEAT, ""), hello_of(V1_1, 2), hello_of(V1_0, u64::MAX)].concat(),
    );

    for (version, nonce) in [(V1_0, Some(1)), (V1_1, None), (V1_1, Some(2)), (V1_0, Some(u64::MAX))] {
        let expected = format!("the answer of version 0x{version:04x} to the nonce {nonce:x?}");
        let received = peer.receive(&expected)?;
        ensure((received.version, received.kind) == (version, HEARTBEAT), &*expected, &received)?;
        match nonce {
            Some(nonce) => drop(read_grant(&received, nonce)?),
            None => ensure(received.payload.is_empty(), expected, &received)?,
        }
    }
    server.check_in_step(&mut peer)
}

pub(super) fn replaces_grants(server: &Server) -> Checked {
    let mut peer = server.peer()?;
    let ping = |id: &str| frame(V1_2, SYNC, server.ping_envelope(id));
    let extended = frame(V1_2, SYNC | BLOCK, [b"\0\0", server.ping_envelope("9").as_bytes()].concat());
    let hello_for = |wish| frame(V1_0, HEARTBEAT, hello(Wish::of(wish), wish));
    // Without a grant, the request with a block is of an unknown kind.
    let frames = [
        ping("1"),
        extended.clone(),
        hello_for(ALL),
        ping("2"),
        hello_for(0),
        ping("3"),
        extended,
        hello_for(CAN_EXTEND),
        ping("4"),
    ];
    peer.send(frames.concat());

    let mut replies = Vec::new();
    let mut nonces = [ALL, 0, CAN_EXTEND].into_iter();
    while replies.len() < 4 {
        let received = peer.receive("four replies and three acknowledgements")?;
        if received.kind == HEARTBEAT {
            read_grant(&received, nonces.next().unwrap_or_default())?;
        } else {
            replies.push(received);
        }
    }
    let expected = [(V1_1, SYNC), (V1_2, SYNC | BLOCK), (V1_1, SYNC), (V1_2, SYNC)];
    for (form, received) in expected.into_iter().zip(&replies) {
        check_form(form, received)?;
    }
    server.check_in_step(&mut peer)
}

fn check_form((version, kind): (u16, u8), received: &Frame) -> Checked {
    let expected = format!("kind 0x{kind:02x} of version 0x{version:04x}");
    ensure((received.version, received.kind) == (version, kind), expected, received)
}

pub(super) fn answers_behind_a_hello(server: &Server) -> Checked {
    let mut peer = server.peer()?;
    let request = frame(V1_1, SYNC, server.ping_envelope("1"));
    peer.send([frame(V1_0, HEARTBEAT, hello(Wish::of(ALL), 5)), request].concat());
    let received = peer.receive("an acknowledgement")?;
    read_grant(&received, 5)?;
    receive_reply(&mut peer, V1_1, SYNC, Some("1"))?;
    server.check_in_step(&mut peer)
}

pub(super) fn keeps_its_instance(server: &Server) -> Checked {
    let first = agree(&mut server.peer()?, Wish::of(0))?;
    let second = agree(&mut server.peer()?, Wish::of(0))?;
    let has_instance = first.instance.as_ref().is_some_and(|instance| instance.len() == 16);
    ensure(has_instance, "16 bytes as the instance", &first.frame)?;
    ensure(first.instance == second.instance, "the same instance as before", &second.frame)
}

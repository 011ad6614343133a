//! Hellos of clients that flood, lie or send garbage.

use std::thread;

use serde_json::json;

use crate::support::footprint::{idle_footprint, resident_kib};
use crate::support::hello::{
    ALL, Ack, BLOCK, CAN_CANCEL, CAN_EXTEND, CAN_NOTIFY, CAN_TIME, V1_2, WITH_BYTES, agree, hello,
    hello_with, start_neighbour, without_block,
};
use crate::support::peer::{
    ASYNC_REQUEST, ASYNC_RESPONSE, HEARTBEAT, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, SYNC, V1_0,
    V1_1, envelope_with, frame,
};
use crate::support::random::SeededRandom;
use crate::support::{HostProcess, Peer, is_soak, wait_until};

#[test]
fn answers_each_hello_of_a_flood_within_bounded_memory() {
    const CONNECTIONS: usize = 4;
    /// In MiB. Per connection, 256 KiB of replies are written before the host stops to read, and a
    /// read of 64 KiB can become replies of a further 256 KiB.
    const MOST: usize = 8;
    let hellos: u64 = if is_soak() { 200_000 } else { 10_000 };
    let host = HostProcess::with(&[]);
    let mut neighbour = start_neighbour(&host);
    let mut peers: Vec<_> = (0..CONNECTIONS).map(|_| host.peer()).collect();
    peers.iter_mut().for_each(Peer::assert_usable);
    let before = resident_kib(host.pid());

    thread::scope(|scope| {
        for peer in &peers {
            let mut writer = Peer::from_stream(peer.stream().try_clone().unwrap());
            scope.spawn(move || {
                let one = |nonce| frame(V1_0, HEARTBEAT, hello(nonce, nonce, WITH_BYTES));
                writer.send((1..=hellos).flat_map(one).collect::<Vec<u8>>());
            });
        }

        // Nobody reads. The host stops to read, too, and holds no more than its bounds.
        let mut answered = 0;
        wait_until("the host reads no more hellos", || {
            let previous = std::mem::replace(&mut answered, host.count("hellos"));
            answered > 0 && answered == previous
        });
        assert!(answered < hellos * CONNECTIONS as u64, "{answered} hellos were answered unread");
        let grown = resident_kib(host.pid()).saturating_sub(before) / 1024;
        assert!(grown <= MOST, "{grown} MiB for {answered} hellos that were not read");

        for peer in &mut peers {
            for nonce in 1..=hellos {
                let ack = Ack::parse(&peer.receive().payload);
                assert_eq!((ack.nonce, ack.granted & !ALL), (nonce, 0));
            }
        }
    });

    assert_eq!(host.count("hellos"), hellos * CONNECTIONS as u64);
    peers.iter_mut().for_each(Peer::assert_usable);
    drop(peers);
    assert!(neighbour.stop() > Some(0));
    idle_footprint(host.pid());
}

/// Returns the grant for a client of version 1.2, by the rules of the protocol.
fn grant_of(wish: u64) -> u64 {
    let grant = wish & ALL;
    if grant & CAN_EXTEND == 0 { grant & !CAN_TIME } else { grant }
}

#[test]
fn grants_nothing_that_is_reserved_or_lacks_what_it_needs() {
    let host = HostProcess::with(&[]);
    let mut peer = host.peer();
    let mut random = SeededRandom::new(0x5eed_1e55);
    let single = (0..64).map(|bit| 1u64 << bit);
    let with_block = (0..64).map(|bit| 1u64 << bit | CAN_EXTEND);
    let mut wishes: Vec<u64> = single.chain(with_block).chain([0, u64::MAX, u64::MAX - 1]).collect();
    wishes.extend((0..500).map(|_| random.next()));

    for wish in wishes {
        let ack = agree(&mut peer, wish);
        assert_eq!(ack.granted, grant_of(wish), "{wish:016x}");
        let has_bytes = wish & CAN_EXTEND != 0;
        assert_eq!(ack.field(3), has_bytes.then_some(&[3][..]), "{wish:016x}");
        assert_eq!((ack.largest, ack.in_flight), (16 << 20, 1024));
    }

    // The highest version that the client claims bounds what it can read.
    for (version, granted) in
        [(0, CAN_CANCEL | CAN_NOTIFY), (0x0101, CAN_CANCEL | CAN_NOTIFY), (0x0103, ALL), (0xFFFF, ALL)]
    {
        let mut payload = hello_with(u64::MAX, u32::MAX, 1, WITH_BYTES);
        payload[6..8].copy_from_slice(&u16::to_be_bytes(version));
        payload[20..24].copy_from_slice(&u32::MAX.to_be_bytes());
        peer.send_frame(V1_1, HEARTBEAT, payload);
        let ack = Ack::parse(&peer.receive().payload);
        assert_eq!((ack.granted, ack.version, ack.in_flight), (granted, V1_2, 1024), "{version:04x}");
    }
    peer.assert_usable();
}

/// Returns whether a payload is a hello of a client, by the rules of the protocol.
fn is_hello(payload: &[u8]) -> bool {
    let fixed = payload.len() <= 1024 && payload.len() >= 32;
    if !fixed || payload[..5] != *b"IPC2\x01" || payload[5] & 1 != 0 {
        return false;
    }
    let mut has_agent = false;
    let mut rest = &payload[32..];
    while let [tag, behind @ ..] = rest {
        let [high, low, behind @ ..] = behind else { return false };
        let Some((value, behind)) = behind.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))
        else {
            return false;
        };
        if *tag == 1 && !std::mem::replace(&mut has_agent, true) && std::str::from_utf8(value).is_err() {
            return false;
        }
        rest = behind;
    }
    true
}

/// Returns a hello with random fields, whose lengths may be wrong.
fn random_hello(random: &mut SeededRandom, nonce: u64) -> Vec<u8> {
    let mut fields = Vec::new();
    for _ in 0..random.below(6) {
        let length = *random.one_of(&[0, 1, 16, 63, 64, 65, 300]);
        let claimed = if random.below(8) == 0 { random.below(70_000) } else { length };
        fields.push(u8::try_from(random.below(8)).unwrap());
        fields.extend_from_slice(&u16::try_from(claimed % 0x1_0000).unwrap().to_be_bytes());
        let value = random.bytes(length);
        let is_text = random.below(2) == 0;
        fields.extend(value.iter().map(|byte| if is_text { byte & 0x7F } else { *byte }));
    }

    let mut payload = hello_with(random.next(), 0, nonce, &fields);
    match random.below(4) {
        0 => payload.truncate(random.below(payload.len())),
        1 => {
            let at = random.below(32).min(23);
            payload[at] ^= 1 << random.below(8);
        }
        2 if random.below(4) == 0 => payload.resize(*random.one_of(&[1024, 1025, 40_000]), 0),
        _ => {}
    }
    payload
}

#[test]
fn answers_garbage_behind_the_magic_like_heartbeats() {
    let count = if is_soak() { 200_000 } else { 5_000 };
    let host = HostProcess::with(&[]);
    let mut neighbour = start_neighbour(&host);
    let mut random = SeededRandom::new(0x1bc2_0001);
    let (mut peer, mut hellos) = (host.peer(), 0);

    for batch in 0..count / 50 {
        let mut payloads: Vec<_> =
            (0..48).map(|number| random_hello(&mut random, batch * 100 + number)).collect();
        for _ in 0..2 {
            let length = random.below(200);
            payloads.push([b"IPC2", &random.bytes(length)[..]].concat());
        }
        peer.send(payloads.iter().flat_map(|payload| frame(V1_1, HEARTBEAT, payload)).collect::<Vec<_>>());

        for payload in &payloads {
            let answer = peer.receive();
            assert_eq!((answer.version, answer.kind), (V1_1, HEARTBEAT));
            assert_eq!(!answer.payload.is_empty(), is_hello(payload), "{payload:02x?}");
            if is_hello(payload) {
                hellos += 1;
                let ack = Ack::parse(&answer.payload);
                assert_eq!(ack.nonce.to_be_bytes(), payload[24..32], "{payload:02x?}");
            }
        }
        peer.assert_usable();
    }

    assert_eq!(host.count("hellos"), hellos);
    assert!(hellos > count / 4 && hellos < count * 3 / 4, "{hellos} of {count} are hellos");
    assert!(neighbour.stop() > Some(0));
}

/// The version, the kind and whether there is a block, of a reply.
type ReplyShape = (u16, u8, bool);

#[test]
fn answers_each_request_by_the_grant_that_held_when_it_was_read() {
    let steps = if is_soak() { 100_000 } else { 3_000 };
    let host = HostProcess::with(&["sleeps"]);
    let mut neighbour = start_neighbour(&host);
    let (mut peer, mut random) = (host.peer(), SeededRandom::new(0xc0ff_ee11));
    let (mut granted, mut unknown_kinds, mut hellos) = (0, 0, 0_u64);
    let mut expected: Vec<(String, ReplyShape)> = Vec::new();

    for step in 1..=steps {
        if random.below(8) == 0 {
            granted = grant_of(*random.one_of(&[0, ALL, CAN_EXTEND, CAN_CANCEL, CAN_EXTEND | CAN_TIME]));
            hellos += 1;
            peer.send_frame(V1_0, HEARTBEAT, hello(granted, hellos, &[]));
        }
        let version = *random.one_of(&[V1_0, V1_1, V1_2]);
        let kind = *random.one_of(&[SYNC, ASYNC_REQUEST]);
        let has_block = random.below(3) == 0;
        let method = *random.one_of(&["system.ping", "sleep.held", "no.such", "sleep.async"]);
        let params = if method == "sleep.async" { json!({ "ms": 0 }) } else { json!(step) };
        let envelope = envelope_with(&step.to_string(), method, &params).into_bytes();
        let payload = if has_block { [b"\0\0", &envelope[..]].concat() } else { envelope };
        peer.send_frame(version, if has_block { kind | BLOCK } else { kind }, payload);

        let is_new = version == V1_2 && granted & CAN_EXTEND != 0;
        if has_block && !is_new {
            unknown_kinds += 1;
        } else {
            let version = if version == V1_2 && !is_new { V1_1 } else { version };
            let reply = if kind == SYNC { SYNC } else { ASYNC_RESPONSE };
            expected.push((step.to_string(), (version, reply, is_new && granted & CAN_TIME != 0)));
        }
        if expected.len() == 60 || step == steps {
            host.peer().result("sleep.release", &json!(step));
            take_replies(&mut peer, &mut expected, hellos);
        }
    }

    peer.assert_usable();
    assert_eq!((host.count("unknown_kinds"), host.count("hellos")), (unknown_kinds, hellos));
    assert!(neighbour.stop() > Some(0));
}

/// Receives the replies to all `expected` requests, and acknowledgements between them. The last
/// hello had the nonce `hellos`.
fn take_replies(peer: &mut Peer, expected: &mut Vec<(String, ReplyShape)>, hellos: u64) {
    while !expected.is_empty() {
        let reply = peer.receive();
        if reply.kind == HEARTBEAT {
            assert!(Ack::parse(&reply.payload).nonce <= hellos);
            continue;
        }
        let shape = (reply.version, reply.kind & !BLOCK, reply.kind & BLOCK != 0);
        let reply = without_block(reply);
        let id = reply.id().unwrap_or_else(|| panic!("{reply:?} has an id"));
        let at = expected.iter().position(|(expected, _)| *expected == id);
        let (id, wanted) = expected.swap_remove(at.unwrap_or_else(|| panic!("{id} is answered twice")));
        assert_eq!(shape, wanted, "{id}: {reply:?}");
        assert!(matches!(reply.code(), None | Some(METHOD_NOT_FOUND)), "{reply:?}");
    }
}

#[test]
fn answers_a_hello_on_a_listener_with_line_framing_like_any_frame() {
    let config = "[[listener]]\nsocket = \"run/jackfield.sock\"\n\
                  [[listener]]\nsocket = \"run/lines.sock\"\nframing = \"line\"\n";
    let host = HostProcess::builder().config(config).start();
    let one = frame(V1_0, HEARTBEAT, hello(ALL, 7, WITH_BYTES));

    let mut peer = host.line_peer("run/lines.sock");
    peer.send(&one);
    assert_eq!(peer.json()["error"]["code"], PARSE_ERROR);
    assert_eq!(peer.line(), None);

    // With a newline behind it, it is a line like any other.
    let mut peer = host.line_peer("run/lines.sock");
    for line in [&one[..], &one[7..]] {
        let lines = line.split(|byte| *byte == b'\n').count();
        peer.send([line, b"\n"].concat());
        for _ in 0..lines {
            assert_eq!(peer.json()["error"]["code"], PARSE_ERROR);
        }
    }
    // The members that need no hello have their meaning there.
    peer.send(b"{\"id\":1,\"method\":\"system.ping\",\"deadline_ms\":0}\n");
    assert_eq!(peer.json()["error"]["code"], INVALID_REQUEST);
    peer.send(b"{\"id\":2,\"method\":\"system.ping\",\"deadline_ms\":60000,\"meta\":{\"a\":\"b\"}}\n");
    assert_eq!(peer.line().as_deref(), Some(r#"{"id":2,"result":"pong"}"#));
    assert_eq!(host.count("hellos"), 0);
}

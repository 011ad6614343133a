//! Tests of writing and reading messages.

use jackfield_plugin_api::abi::{Content, Credentials};
use jackfield_protocol::Kind;
use proptest::prelude::*;

use super::super::frame_splitter::DETACHED;
use super::super::message_encode::ChannelMessage;
use super::*;

fn encoded(message: &impl ChannelMessage) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode_head(&mut out);
    out.extend_from_slice(message.tail());
    out
}

fn ends() -> Vec<MessageEnd<'static>> {
    let failed = |data| MessageEnd::Failed { code: -7, message: "the reason", data };
    vec![
        MessageEnd::Done(b"{\"a\":1}"),
        MessageEnd::Done(b""),
        MessageEnd::DoneBytes(&[0xff, 0]),
        failed(None),
        failed(Some("")),
        failed(Some("[1]")),
        MessageEnd::Failed { code: i64::MIN, message: "", data: None },
        MessageEnd::Panicked("it panicked"),
        MessageEnd::Cancelled,
    ]
}

fn host_messages() -> Vec<HostMessage<'static>> {
    let known = SentCaller { place: 0xff, origin: None };
    let call = |run, id, params| CallMessage {
        call: u64::MAX - 1,
        method: 3,
        run,
        depth: 2,
        deadline: 1 << 40,
        content: Content::Json,
        id,
        caller: known,
        trace: None,
        meta: None,
        params,
    };

    let credentials = Some(Credentials { uid: 1, gid: u32::MAX, pid: 3 });
    let origins = [
        SentOrigin::Local { listener: "/run/a.sock", credentials },
        SentOrigin::Local { listener: "", credentials: None },
        SentOrigin::Remote { listener: "/run/é.sock" },
        SentOrigin::Program,
    ];
    let from = |origin| CallMessage {
        caller: SentCaller { place: 7, origin: Some(origin) },
        ..call(Run::Blocking, "1", b"{}")
    };
    let traced = |state, meta| CallMessage {
        content: Content::Bytes,
        trace: Some(SentTrace { trace_id: [1; 16], span_id: [2; 8], flags: 3, state }),
        meta,
        ..call(Run::Async, "1", &[0xff])
    };
    let calls = [
        call(Run::Blocking, "\"é\"", b"[1,2]"),
        call(Run::Async, "", b""),
        traced(None, None),
        traced(Some("a=b"), Some("{\"a\":\"b\"}")),
        CallMessage { meta: Some(""), ..call(Run::Async, "", b"") },
    ];
    let calls = calls.into_iter().chain(origins.map(from)).map(HostMessage::Call);
    let replies = ends().into_iter().map(|end| HostMessage::Reply { nested: 9, end });
    let others = [
        HostMessage::Start(b"{}"),
        HostMessage::Cancel { call: 5, ends_nested: true },
        HostMessage::Export,
        HostMessage::Import { schema: 7, state: &[0xff, 0] },
        HostMessage::Stop,
    ];
    calls.chain(others).chain(replies).collect()
}

fn worker_messages() -> Vec<WorkerMessage<'static>> {
    let nested = |waits, content, method| WorkerMessage::Nested {
        nested: 1,
        parent: 2,
        waits,
        timeout: 3,
        content,
        method,
        params: b"{}",
    };

    let others = [
        WorkerMessage::Step("opening"),
        WorkerMessage::Described { is_known: true, text: "{\"type\":\"null\"}" },
        WorkerMessage::Described { is_known: false, text: "" },
        WorkerMessage::Refused { reason: "self-test-failed", detail: "no" },
        WorkerMessage::Ready { enforced: "" },
        WorkerMessage::Log { level: 3, call: 4, line: "a line" },
        nested(true, Content::Json, "a.b"),
        nested(false, Content::Json, ""),
        nested(true, Content::Bytes, "a.b"),
        WorkerMessage::NestedCancelled(6),
    ];

    let call_ends = ends().into_iter().map(|end| WorkerMessage::End { call: 8, end });
    let phase_ends = ends().into_iter().map(WorkerMessage::PhaseEnd);
    others.into_iter().chain(call_ends).chain(phase_ends).collect()
}

#[test]
fn reads_every_message_as_it_was_written() {
    for message in host_messages() {
        let payload = encoded(&message);
        assert_eq!(HostMessage::decode(message.kind(), &payload), Ok(message));
    }
    for message in worker_messages() {
        let payload = encoded(&message);
        assert_eq!(WorkerMessage::decode(message.kind(), &payload), Ok(message));
    }
}

#[test]
fn accepts_no_message_of_the_other_direction() {
    for message in host_messages() {
        let payload = encoded(&message);
        let refused = WorkerMessage::decode(message.kind(), &payload);
        assert_eq!(refused, Err(InvalidMessage::Kind(message.kind())));
    }
    for message in worker_messages() {
        let payload = encoded(&message);
        let refused = HostMessage::decode(message.kind(), &payload);
        assert_eq!(refused, Err(InvalidMessage::Kind(message.kind())));
    }
}

#[test]
fn uses_kinds_that_clients_do_not_have() {
    let kinds = host_messages().iter().map(ChannelMessage::kind).collect::<Vec<_>>();
    for kind in kinds.into_iter().chain(worker_messages().iter().map(ChannelMessage::kind)) {
        assert_eq!(Kind::from_wire(kind), Kind::Other(kind));
        assert_eq!(kind & DETACHED, 0);
    }
}

/// Checks a payload of a worker: it is refused, or accepted as exactly this payload.
fn check_strictly(kind: u8, payload: &[u8]) {
    if let Ok(message) = WorkerMessage::decode(kind, payload) {
        assert_eq!((message.kind(), encoded(&message)), (kind, payload.to_vec()));
    }
    if let Ok(message) = HostMessage::decode(kind, payload) {
        assert_eq!((message.kind(), encoded(&message)), (kind, payload.to_vec()));
    }
}

#[test]
fn reads_truncated_and_extended_payloads_strictly() {
    for message in worker_messages() {
        let payload = encoded(&message);
        (0..payload.len()).for_each(|length| check_strictly(message.kind(), &payload[..length]));
        check_strictly(message.kind(), &[&payload[..], b"\0"].concat());
    }
    for message in host_messages() {
        let payload = encoded(&message);
        (0..payload.len()).for_each(|length| check_strictly(message.kind(), &payload[..length]));
        check_strictly(message.kind(), &[&payload[..], b"\0"].concat());
    }
}

#[test]
fn refuses_every_truncation_of_a_head() {
    for message in worker_messages() {
        let mut head = Vec::new();
        message.encode_head(&mut head);
        for length in 0..head.len() {
            let refused = WorkerMessage::decode(message.kind(), &head[..length]);
            assert_eq!(refused, Err(InvalidMessage::Truncated), "{message:?} after {length} bytes");
        }
    }
}

#[test]
fn refuses_bytes_after_messages_of_a_fixed_length() {
    for message in [WorkerMessage::NestedCancelled(1), WorkerMessage::PhaseEnd(MessageEnd::Cancelled)] {
        let payload = [encoded(&message), vec![0]].concat();
        assert_eq!(WorkerMessage::decode(message.kind(), &payload), Err(InvalidMessage::Surplus));
    }
    let failed = MessageEnd::Failed { code: 1, message: "", data: None };
    let payload = [encoded(&WorkerMessage::PhaseEnd(failed)), b"1".to_vec()].concat();
    assert_eq!(WorkerMessage::decode(kind::PHASE_END, &payload), Err(InvalidMessage::Surplus));
}

#[test]
fn refuses_texts_that_are_longer_than_the_payload() {
    for length in [1, 4, 0x7fff_ffff, u32::MAX] {
        let payload = [&length.to_be_bytes()[..], b""].concat();
        assert_eq!(WorkerMessage::decode(kind::REFUSED, &payload), Err(InvalidMessage::Truncated));
    }
}

#[test]
fn refuses_values_without_a_meaning() {
    let invalid = |kind, payload: &[u8]| {
        assert_eq!(WorkerMessage::decode(kind, payload), Err(InvalidMessage::Value), "{payload:?}");
    };
    for kind in [kind::STEP, kind::READY] {
        invalid(kind, b"\xff");
        invalid(kind, b"a\xc3");
    }
    invalid(kind::PHASE_END, &[5]);
    invalid(kind::PHASE_END, &[2, 0xff]);
    invalid(kind::LOG, &[[3; 9].as_slice(), &[0xff]].concat());

    invalid(kind::DESCRIBED, &[2]);
    invalid(kind::DESCRIBED, &[1, 0xff]);

    let mut nested = encoded(&worker_messages()[6]);
    assert_eq!(nested[16], 1, "the flags");
    for flags in [4, 5, 0xff] {
        nested[16] = flags;
        invalid(kind::NESTED, &nested);
    }

    // No run or two, a `tracestate` without a trace, and an unknown flag.
    let mut call = encoded(&host_messages()[0]);
    for flags in [0, 3, 0x21, 0x81, 0xff] {
        call[12] = flags;
        assert_eq!(HostMessage::decode(kind::CALL, &call), Err(InvalidMessage::Value));
    }
    let mut program = encoded(&host_messages()[8]);
    let tag = program.len() - 3;
    program[tag] = 4;
    assert_eq!(HostMessage::decode(kind::CALL, &program), Err(InvalidMessage::Value));
}

#[test]
fn costs_one_byte_for_what_a_call_does_not_have() {
    let HostMessage::Call(call) = host_messages()[0] else { panic!("a call") };
    let length = |message| encoded(&HostMessage::Call(message)).len();
    // Number, method, flags, depth, deadline, id and params; and the place of the caller.
    let fixed = 8 + 4 + 1 + 4 + 8 + 4 + call.id.len() + call.params.len();
    assert_eq!(length(call), fixed + 1);

    let listener = "/run/jackfield/jackfield.sock";
    let credentials = Some(Credentials { uid: 33, gid: 33, pid: 12_345 });
    let origin = Some(SentOrigin::Local { listener, credentials });
    let caller = SentCaller { place: 1, origin };
    assert_eq!(length(CallMessage { caller, ..call }), fixed + 1 + 17 + listener.len());
}

proptest! {
    #[test]
    fn reads_any_bytes_strictly(
        kind in prop_oneof![0x20u8..0x30, 0x40u8..0x50, any::<u8>()],
        payload in prop::collection::vec(prop_oneof![0u8..5, any::<u8>()], 0..80),
    ) {
        check_strictly(kind, &payload);
    }

    #[test]
    fn reads_changed_messages_strictly(
        number in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let messages = worker_messages();
        let message = messages[number.index(messages.len())];
        let mut payload = encoded(&message);
        if !payload.is_empty() {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        check_strictly(message.kind(), &payload);
    }
}

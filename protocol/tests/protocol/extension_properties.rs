//! Round trips of what version 1.2 adds, and arbitrary bytes as its payloads.

use jackfield_protocol::{
    Capabilities, ContentType, ExtensionBlock, FrameLimit, Framing, Hello, Kind, Outcome, Reply, ReplyForm,
    Request, RequestMembers, RequestParams, Timing, TraceParent, Version, begin_result, parse_cancel,
    split_bytes_body, write_cancel, write_request,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::properties::{cases, id, text};

fn trace() -> impl Strategy<Value = TraceParent> {
    (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<u8>())
        .prop_filter("zeros are no ids", |(trace_id, span_id, _)| *trace_id != [0; 16] && *span_id != [0; 8])
        .prop_map(|(trace_id, span_id, flags)| TraceParent { trace_id, span_id, flags })
}

fn timing() -> impl Strategy<Value = Timing> {
    (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(queued_us, run_us, generation)| Timing {
        queued_us,
        run_us,
        generation,
    })
}

/// Generates bytes that often begin like a hello.
fn almost_hello() -> impl Strategy<Value = Vec<u8>> {
    (any::<bool>(), vec(prop_oneof![3 => 0u8..=3, 1 => any::<u8>()], 0..80))
        .prop_map(|(begins, rest)| if begins { [b"IPC2\x01", &rest[..]].concat() } else { rest })
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn reads_or_refuses_any_payload(payload in vec(prop_oneof![Just(0u8), Just(0x85), any::<u8>()], 0..48)) {
        let _ = ExtensionBlock::find_id(&payload);
        let _ = Reply::parse_extended(&payload);
        let _ = parse_cancel(&payload);
        if let Ok((block, body)) = ExtensionBlock::split(&payload) {
            prop_assert!(body.len() + 2 <= payload.len());
            if block.content == ContentType::Bytes && let Some((envelope, bytes)) = split_bytes_body(body) {
                prop_assert_eq!(envelope.len() + bytes.len() + 4, body.len());
            }
        }
    }

    /// A hello that was read is written as one that reads the same.
    #[test]
    fn rewrites_any_hello(payload in almost_hello()) {
        if let Some(hello) = Hello::parse(&payload) {
            let mut out = Vec::new();
            hello.write(&mut out, Version::V1_0);
            prop_assert_eq!(Hello::parse(&out[7..]), Some(hello));
            prop_assert!(out.len() - 7 <= Hello::LEN_MAX);
        }
    }

    #[test]
    fn round_trips_hellos(
        numbers: (u64, u32, u32, u64), version: u16, flags: (bool, bool), agent in proptest::option::of("[a-z/.0-9é]{0,32}"),
        instance: Option<[u8; 16]>,
    ) {
        let hello = Hello {
            is_ack: flags.0,
            version,
            capabilities: Capabilities::from_bits(numbers.0),
            largest_payload: numbers.1,
            in_flight: numbers.2,
            nonce: numbers.3,
            agent: agent.as_deref(),
            instance,
            has_bytes: flags.1,
        };
        let mut out = Vec::new();
        hello.write(&mut out, Version::V1_1);
        prop_assert_eq!(Hello::parse(&out[7..]), Some(hello));
        for end in 0..out.len() - 7 {
            // Shorter, it is another hello or none, and never the same one.
            prop_assert!(Hello::parse(&out[7..7 + end]).is_none_or(|read| read != hello));
        }
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn round_trips_the_members_of_a_request(
        deadline_ms in 1u32.., trace in trace(), state in "[ -~é]{0,200}", meta in proptest::collection::btree_map("[a-zé\"]{1,20}", "[ -~é]{0,60}", 0..=16),
    ) {
        let meta = serde_json::to_string(&meta).unwrap();
        let traceparent = trace.to_string();
        let members = RequestMembers {
            deadline_ms, traceparent: Some(&traceparent), tracestate: Some(&state), meta: Some(&meta),
        };
        let mut out = Vec::new();
        write_request(&mut out, Version::V1_1, Kind::AsyncRequest, Some("7"), "m", members, RequestParams::None).unwrap();

        let context = Request::parse(&out[7..]).unwrap().context;
        prop_assert_eq!(context.deadline_ms.map(u32::from), Some(deadline_ms));
        prop_assert_eq!(context.carried().traceparent, Some(trace));
        let read: String = serde_json::from_str(context.carried().tracestate.unwrap().get()).unwrap();
        prop_assert_eq!(read, state);
        prop_assert_eq!(context.carried().meta.map(|meta| meta.get()), Some(&*meta));
    }

    #[test]
    fn round_trips_requests_with_bytes(id in proptest::option::of(id()), method in text(), bytes: Vec<u8>) {
        let mut out = Vec::new();
        let params = RequestParams::Bytes(&bytes);
        write_request(&mut out, Version::V1_2, Kind::Sync, id.as_deref(), &method, RequestMembers::default(), params).unwrap();
        prop_assert_eq!(&out[..3], &[1, 2, 0x81]);

        let (block, body) = ExtensionBlock::split(&out[7..]).unwrap();
        prop_assert_eq!(block.content, ContentType::Bytes);
        let (envelope, read) = split_bytes_body(body).unwrap();
        prop_assert_eq!(read, &bytes[..]);
        let request = Request::parse(envelope).unwrap();
        prop_assert_eq!(request.id.map(|id| id.as_json()), id.as_deref());
        prop_assert_eq!((&*request.method, request.params.is_none()), (&*method, true));
    }

    #[test]
    fn round_trips_replies_with_a_block(
        is_async: bool, id in proptest::option::of(id()), bytes: Option<Vec<u8>>, timing in proptest::option::of(timing()),
    ) {
        let kind = if is_async { Kind::AsyncResponse } else { Kind::Sync };
        let form = ReplyForm { framing: Framing::Binary, version: Version::V1_2, kind, has_timing: timing.is_some() };
        let mut out = b"earlier".to_vec();
        let head = begin_result(&mut out, form, id.as_deref());
        match &bytes {
            Some(bytes) => {
                out.extend_from_slice(bytes);
                head.finish_bytes_within(&mut out, id.as_deref(), FrameLimit::MAX).unwrap();
            }
            None => head.finish(&mut out).unwrap(),
        }
        let frame = &mut out[b"earlier".len()..];
        if let Some(timing) = timing {
            timing.stamp(frame);
        }

        if bytes.is_none() && timing.is_none() {
            prop_assert_eq!(frame[2], kind.wire());
            return Ok(());
        }
        prop_assert_eq!(frame[2], kind.wire() | 0x80);
        let (reply, read) = Reply::parse_extended(&frame[7..]).unwrap();
        prop_assert_eq!(read, timing);
        prop_assert_eq!(reply.id.map(|id| id.as_json()), id.as_deref());
        match (reply.outcome, &bytes) {
            (Outcome::Bytes(read), Some(bytes)) => prop_assert_eq!(read, &bytes[..]),
            (Outcome::Result(read), None) => prop_assert_eq!(read.get(), "null"),
            (outcome, _) => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn round_trips_cancellations(id in id()) {
        let mut out = Vec::new();
        write_cancel(&mut out, Version::V1_2, &id);
        prop_assert_eq!(parse_cancel(&out[7..]).map(|id| id.as_json()), Ok(&*id));
    }
}

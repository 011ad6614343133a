//! Tests of everything that a hello grants: cancellations, timings, opaque bytes, and the notice of
//! a shutdown.

use std::path::Path;

use jackfield_protocol::{
    Code, Framing, Hello, ReplyForm, begin_result, parse_cancel, write_error, write_heartbeat,
};

use super::*;

const ALL: Capabilities = Capabilities::from_bits(u64::MAX);
const TIMING: Timing = Timing { queued_us: 1, run_us: 2, generation: 3 };

impl Fixture {
    /// Returns a table whose hello was sent and is unanswered.
    fn negotiating() -> Fixture {
        let mut fixture = Fixture::default();
        fixture.table.negotiate(&Options::new(Path::new("unused")));
        assert!(fixture.table.outbox.unsent() > HEADER_LEN);
        fixture
    }

    /// Returns a table whose host has granted these capabilities.
    fn granted(capabilities: Capabilities) -> Fixture {
        let mut fixture = Fixture::negotiating();
        fixture.acknowledge(capabilities);
        fixture.send_all();
        fixture
    }

    fn acknowledge(&mut self, capabilities: Capabilities) {
        let hello = self.table.outbox.take_unsent();
        self.acknowledge_hello(&hello, capabilities);
    }

    fn acknowledge_hello(&mut self, hello: &[u8], capabilities: Capabilities) {
        let hello = Hello::parse(&hello[HEADER_LEN..]).unwrap();
        let mut answer = Vec::new();
        Hello { is_ack: true, capabilities, ..hello }.write(&mut answer, Version::V1_0);
        self.accept_bytes(Kind::Heartbeat, &answer[HEADER_LEN..]).unwrap();
    }

    fn accept_bytes(&mut self, kind: Kind, payload: &[u8]) -> Result<(), CloseReason> {
        let length = u32::try_from(payload.len()).unwrap();
        let header = Header { version: Version::V1_2, kind, length };
        let frame = Frame { header, payload: Bytes::copy_from_slice(payload) };
        self.table.accept(&frame, &self.counters)
    }

    fn begin_opaque(&mut self, kind: RequestKind) -> Key {
        let key = Key::new();
        self.table.begin_opaque(key, kind, &[7; HEADER_LEN + 10]);
        key
    }
}

/// Returns the payload of a reply with a timing, and its kind.
fn timed_reply(kind: Kind, write: impl FnOnce(&mut Vec<u8>, ReplyForm)) -> (Kind, Vec<u8>) {
    let mut form = ReplyForm::plain(Framing::Binary, Version::V1_2, kind);
    form.has_timing = true;
    let mut frame = Vec::new();
    write(&mut frame, form);
    TIMING.stamp(&mut frame);
    (Kind::from_wire(frame[2]), frame.split_off(HEADER_LEN))
}

fn result_of(key: Key, kind: Kind, result: &[u8], is_opaque: bool) -> (Kind, Vec<u8>) {
    let id = key.to_json();
    timed_reply(kind, |frame, form| {
        let head = begin_result(frame, form, Some(&id));
        frame.extend_from_slice(result);
        let limit = jackfield_protocol::FrameLimit::MAX;
        match is_opaque {
            true => head.finish_bytes_within(frame, Some(&id), limit).unwrap(),
            false => head.finish(frame).unwrap(),
        }
    })
}

#[test]
fn takes_the_first_heartbeat_answer_for_that_of_the_hello() {
    let mut fixture = Fixture::negotiating();
    let heartbeat = fixture.begin(RequestKind::Heartbeat);
    fixture.accept(Kind::Heartbeat, "").unwrap();
    assert!(fixture.poll(heartbeat).is_pending(), "the answer belongs to the hello");
    assert_eq!(fixture.table.grant(), Grant::default());

    fixture.accept(Kind::Heartbeat, "").unwrap();
    assert!(fixture.poll(heartbeat).is_ready());
}

#[test]
fn reads_results_and_errors_with_their_timing() {
    let mut fixture = Fixture::granted(ALL);
    let waker = Waker::noop();

    for (kind, wire) in [(RequestKind::Async, Kind::AsyncResponse), (RequestKind::Sync, Kind::Sync)] {
        let key = fixture.begin(kind);
        let (extended, payload) = result_of(key, wire, b"[1]", false);
        fixture.accept_bytes(extended, &payload).unwrap();
        let Poll::Ready(settled) = fixture.table.poll(key, waker) else { panic!("no outcome") };
        assert_eq!((settled.timing, settled.version), (Some(TIMING), Version::V1_2));
        assert!(matches!(settled.outcome, Ok(Answer::Result(Payload::Json(json))) if json == "[1]"));

        let key = fixture.begin(kind);
        let id = key.to_json();
        let (extended, payload) =
            timed_reply(wire, |frame, form| write_error(frame, form, Some(&id), -5, "no", None));
        fixture.accept_bytes(extended, &payload).unwrap();
        let Poll::Ready(settled) = fixture.table.poll(key, waker) else { panic!("no outcome") };
        assert_eq!(settled.timing, Some(TIMING));
        assert!(matches!(settled.outcome, Err(AttemptError::Remote(remote)) if remote.code == -5));
    }
}

#[test]
fn reads_a_result_that_is_opaque_bytes() {
    let mut fixture = Fixture::granted(ALL);
    let key = fixture.begin(RequestKind::Async);
    let (extended, payload) = result_of(key, Kind::AsyncResponse, b"\xFF\0", true);
    fixture.accept_bytes(extended, &payload).unwrap();
    assert!(
        matches!(fixture.poll(key), Poll::Ready(Ok(Answer::Result(Payload::Bytes(bytes)))) if bytes == b"\xFF\0"[..])
    );
}

#[test]
fn reads_no_extension_block_that_was_not_granted() {
    let mut fixture = Fixture::default();
    let key = fixture.begin(RequestKind::Async);
    let (extended, payload) = result_of(key, Kind::AsyncResponse, b"1", false);
    fixture.accept_bytes(extended, &payload).unwrap();
    fixture.accept_bytes(Kind::GoingAway, b"{}").unwrap();
    assert_eq!(fixture.counters.stray_frames.get(), 2);
    assert!(fixture.poll(key).is_pending() && !fixture.table.is_draining);
}

#[test]
fn settles_an_extended_reply_that_is_faulty_or_over_the_limit() {
    let mut fixture = Fixture::granted(ALL);
    let [faulty, opaque, json] = [(); 3].map(|()| fixture.begin(RequestKind::Async));

    let (extended, payload) = result_of(faulty, Kind::AsyncResponse, b"nonsense", false);
    fixture.accept_bytes(extended, &payload).unwrap();
    assert!(matches!(fixture.poll(faulty), Poll::Ready(Err(AttemptError::Protocol(_)))));

    for (key, is_opaque) in [(opaque, true), (json, false)] {
        let (kind, mut head) = result_of(key, Kind::AsyncResponse, &[b'1'; 100], is_opaque);
        head.truncate(head.len() - 50);
        let refused = RefusedFrame { kind, length: 3_000, head };
        fixture.table.accept_refused(&refused, 1_000, &fixture.counters).unwrap();
        let failure = fixture.poll(key);
        assert!(matches!(failure, Poll::Ready(Err(AttemptError::Unreadable(_)))), "{failure:?}");
    }
}

#[test]
fn cancels_a_request_that_was_sent_and_keeps_its_id_until_the_reply() {
    let mut fixture = Fixture::granted(ALL);
    let key = fixture.begin(RequestKind::Async);
    fixture.send_all();

    assert!(fixture.table.cancel(key));
    fixture.table.abandon(key);
    let sent = fixture.table.outbox.take_unsent();
    assert_eq!(Kind::from_wire(sent[2]), Kind::Cancel);
    let id = parse_cancel(&sent[HEADER_LEN..]).unwrap();
    assert_eq!(Key::from_id(id), Some(key));
    assert_eq!((fixture.table.callers(), fixture.table.unanswered()), (0, 1));

    let cancelled = format!(
        r#"{{"id":{},"error":{{"code":{},"message":"cancelled"}}}}"#,
        key.to_json(),
        Code::Cancelled.as_i64()
    );
    fixture.accept(Kind::AsyncResponse, &cancelled).unwrap();
    assert_eq!((fixture.table.unanswered(), fixture.counters.late_replies.get()), (0, 1));
}

#[test]
fn cancels_nothing_that_the_host_does_not_have_or_cannot_cancel() {
    let mut fixture = Fixture::granted(ALL.without(Capabilities::CANCEL));
    let key = fixture.begin(RequestKind::Async);
    fixture.send_all();
    assert!(!fixture.table.cancel(key));

    let mut fixture = Fixture::granted(ALL);
    let unsent = fixture.begin(RequestKind::Async);
    assert!(!fixture.table.cancel(unsent) && !fixture.table.cancel(Key::new()));
    let heartbeat = fixture.begin(RequestKind::Heartbeat);
    fixture.send_all();
    assert!(!fixture.table.cancel(heartbeat));
    assert_eq!(fixture.table.outbox.unsent(), 0);
}

#[test]
fn removes_a_request_of_which_nothing_was_sent() {
    let mut fixture = Fixture::default();
    let [first, second, third] = [(); 3].map(|()| fixture.begin(RequestKind::Async));
    fixture.table.outbox.consume(1);
    let length = HEADER_LEN + 10;

    assert!(fixture.table.abandon(second).unwrap().was_withdrawn);
    assert_eq!((fixture.table.outbox.unsent(), fixture.table.unanswered()), (2 * length - 1, 2));
    assert!(!fixture.table.abandon(first).unwrap().was_withdrawn, "its rest must follow");

    fixture.table.outbox.consume(2 * length - 1);
    assert!(fixture.table.abandon(third).unwrap().was_sent);
}

#[test]
fn sends_opaque_bytes_only_after_they_were_granted() {
    let mut fixture = Fixture::negotiating();
    let [kept, dropped] = [(); 2].map(|()| fixture.begin_opaque(RequestKind::Async));
    assert!(!fixture.table.cancel(kept));
    assert!(fixture.table.abandon(dropped).unwrap().was_withdrawn);

    fixture.acknowledge(ALL);
    let sent = fixture.table.outbox.take_unsent();
    assert_eq!(sent, [7; HEADER_LEN + 10], "the one that was not dropped");
    assert!(fixture.poll(kept).is_pending() && fixture.table.cancel(kept));
}

#[test]
fn fails_opaque_bytes_that_were_not_granted() {
    let mut fixture = Fixture::negotiating();
    let deferred = [fixture.begin_opaque(RequestKind::Async), fixture.begin_opaque(RequestKind::Sync)];
    fixture.send_all();
    let mut answer = Vec::new();
    write_heartbeat(&mut answer, Version::V1_0);
    fixture.accept_bytes(Kind::Heartbeat, &answer[HEADER_LEN..]).unwrap();

    for key in [deferred[0], deferred[1], fixture.begin_opaque(RequestKind::Sync)] {
        let failure = fixture.poll(key);
        assert!(matches!(failure, Poll::Ready(Err(AttemptError::BytesUnsupported))), "{failure:?}");
    }
    assert!(fixture.table.is_empty(), "the connection is usable for other requests");
}

#[test]
fn loses_deferred_requests_unsent_when_the_connection_closes() {
    let mut fixture = Fixture::negotiating();
    let deferred = fixture.begin_opaque(RequestKind::Async);
    fixture.send_all();
    fixture.table.close(CloseReason::Lost(None));
    for key in [deferred, fixture.begin_opaque(RequestKind::Async)] {
        let failure = fixture.poll(key);
        assert!(matches!(failure, Poll::Ready(Err(AttemptError::Lost { sent: false, .. }))), "{failure:?}");
    }
}

#[test]
fn drains_after_the_notice_of_a_shutdown() {
    let mut fixture = Fixture::granted(ALL);
    let key = fixture.begin(RequestKind::Async);
    fixture.accept_bytes(Kind::GoingAway, br#"{"reason":"shutdown","grace_ms":1000}"#).unwrap();
    assert!(fixture.table.is_draining && !fixture.table.is_drained());

    fixture.accept(Kind::AsyncResponse, &reply_to(key, "1")).unwrap();
    assert!(!fixture.table.is_drained(), "the caller has not taken the reply");
    assert_eq!(fixture.result_of(key), "1");
    assert!(fixture.table.is_drained());
}

#[test]
fn cancels_early_requests_once_the_answer_to_the_hello_grants_it() {
    for capabilities in [ALL, ALL.without(Capabilities::CANCEL)] {
        let mut fixture = Fixture::negotiating();
        let hello = fixture.table.outbox.take_unsent();
        let [awaited, dropped, answered] = [(); 3].map(|()| fixture.begin(RequestKind::Async));
        fixture.send_all();
        for key in [awaited, dropped, answered] {
            assert!(fixture.table.cancel(key));
        }
        fixture.table.abandon(dropped);
        fixture.accept(Kind::AsyncResponse, &reply_to(answered, "1")).unwrap();
        assert_eq!(fixture.table.outbox.unsent(), 0);

        fixture.acknowledge_hello(&hello, capabilities);
        let sent = fixture.table.outbox.take_unsent();
        if capabilities == ALL {
            assert_eq!(sent.iter().filter(|byte| **byte == b'{').count(), 2, "one for each without a reply");
            assert!(fixture.poll(awaited).is_pending());
        } else {
            assert!(sent.is_empty());
            let outcome = fixture.poll(awaited);
            assert!(
                matches!(outcome, Poll::Ready(Err(AttemptError::Cancelled { sent: true }))),
                "{outcome:?}"
            );
        }
        assert_eq!(fixture.result_of(answered), "1");
    }
}

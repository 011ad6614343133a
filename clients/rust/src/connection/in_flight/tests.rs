//! The in-flight table without a socket: frames in, outcomes out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use bytes::Bytes;
use jackfield_protocol::{Frame, Header, Kind, RefusedFrame};

use super::*;
use crate::counters::Counters;
use crate::error::{ProtocolError, UnreadableReply};
use crate::reply::Payload;

/// A waker that counts its wake-ups.
#[derive(Default)]
struct WakeCounter(AtomicUsize);

impl Wake for WakeCounter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request that was sent to a peer that has sent nothing since.
const ABANDONED: Abandoned = Abandoned { was_sent: true, was_withdrawn: false, peer_was_active: false };

/// A table with its counters, and a caller that polls.
#[derive(Default)]
struct Fixture {
    table: InFlightTable,
    counters: Counters,
    wakes: Arc<WakeCounter>,
}

impl Fixture {
    fn begin(&mut self, kind: RequestKind) -> Key {
        let key = Key::new();
        self.table.begin(key, kind, &[0; HEADER_LEN + 10]);
        key
    }

    fn poll(&mut self, key: Key) -> Poll<Result<Answer, AttemptError>> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.table.poll(key, &waker).map(|settled| settled.outcome)
    }

    fn accept(&mut self, kind: Kind, payload: &str) -> Result<(), CloseReason> {
        let length = u32::try_from(payload.len()).unwrap();
        let header = Header { version: Version::V1_1, kind, length };
        let frame = Frame { header, payload: Bytes::copy_from_slice(payload.as_bytes()) };
        self.table.note_read();
        self.table.accept(&frame, &self.counters)
    }

    fn result_of(&mut self, key: Key) -> Bytes {
        match self.poll(key) {
            Poll::Ready(Ok(Answer::Result(Payload::Json(result)))) => result,
            other => panic!("{other:?}"),
        }
    }

    fn wake_count(&self) -> usize {
        self.wakes.0.load(Ordering::Relaxed)
    }

    fn send_all(&mut self) {
        let unsent = self.table.outbox.unsent();
        self.table.outbox.consume(unsent);
    }
}

fn reply_to(key: Key, result: &str) -> String {
    let mut text = [0; crate::id::TEXT_LEN];
    key.write(&mut text);
    format!(r#"{{"id":"{}","result":{result}}}"#, std::str::from_utf8(&text).unwrap())
}

fn error(code: Code, data: &str) -> String {
    format!(r#"{{"error":{{"code":{},"message":"no","data":{data}}}}}"#, code.as_i64())
}

#[test]
fn gives_each_async_reply_to_its_caller_and_wakes_it() {
    let mut fixture = Fixture::default();
    let (first, second) = (fixture.begin(RequestKind::Async), fixture.begin(RequestKind::Async));
    assert!(fixture.poll(first).is_pending() && fixture.poll(second).is_pending());

    fixture.accept(Kind::AsyncResponse, &reply_to(second, "2")).unwrap();
    assert_eq!(fixture.wake_count(), 1);
    assert!(fixture.table.is_settled(second) && !fixture.table.is_settled(first));
    assert_eq!(fixture.result_of(second), "2");

    fixture.accept(Kind::AsyncResponse, &reply_to(first, "1")).unwrap();
    assert_eq!(fixture.result_of(first), "1");
    fixture.send_all();
    assert!(fixture.table.is_empty());
}

#[test]
fn returns_an_outcome_only_once() {
    let mut fixture = Fixture::default();
    let key = fixture.begin(RequestKind::Async);
    fixture.accept(Kind::AsyncResponse, &reply_to(key, "1")).unwrap();
    fixture.result_of(key);
    assert!(matches!(fixture.poll(key), Poll::Ready(Err(AttemptError::ClientClosed { sent: true }))));
}

#[test]
fn frees_capacity_when_the_reply_arrives_before_the_caller_takes_it() {
    let mut fixture = Fixture::default();
    let (first, second) = (fixture.begin(RequestKind::Async), fixture.begin(RequestKind::Async));
    assert_eq!((fixture.table.unanswered(), fixture.table.len()), (2, 2));

    for payload in [reply_to(first, "1"), reply_to(first, "1")] {
        fixture.accept(Kind::AsyncResponse, &payload).unwrap();
        assert_eq!((fixture.table.unanswered(), fixture.table.len()), (1, 2));
    }
    fixture.table.abandon(first);
    assert_eq!((fixture.table.unanswered(), fixture.table.len()), (1, 1));

    fixture.send_all();
    fixture.table.abandon(second);
    assert_eq!(fixture.table.unanswered(), 1, "its reply may still come");
    fixture.table.close(CloseReason::ClientClosed);
    fixture.begin(RequestKind::Async);
    assert_eq!(fixture.table.unanswered(), 0, "it has failed already");
}

#[test]
fn counts_a_second_reply_and_an_unknown_id_as_stray() {
    let mut fixture = Fixture::default();
    let key = fixture.begin(RequestKind::Async);
    for payload in [reply_to(key, "1"), reply_to(Key::new(), "1"), r#"{"id":7,"result":1}"#.to_owned()] {
        fixture.accept(Kind::AsyncResponse, &payload).unwrap();
    }
    fixture.result_of(key);
    fixture.accept(Kind::AsyncResponse, &reply_to(key, "1")).unwrap();
    fixture.accept(Kind::Other(9), "").unwrap();
    fixture.accept(Kind::Heartbeat, "").unwrap();
    assert_eq!(fixture.counters.stray_frames.get(), 5);
}

#[test]
fn keeps_an_abandoned_async_request_until_its_late_reply() {
    let mut fixture = Fixture::default();
    let key = fixture.begin(RequestKind::Async);
    fixture.table.outbox.consume(1);
    assert_eq!(fixture.table.abandon(key), Some(Abandoned { was_sent: false, ..ABANDONED }));
    assert_eq!((fixture.table.callers(), fixture.table.len()), (0, 1));

    fixture.accept(Kind::AsyncResponse, &reply_to(key, "1")).unwrap();
    assert_eq!((fixture.table.len(), fixture.counters.late_replies.get()), (0, 1));
    assert_eq!(fixture.table.abandon(key), None);
}

#[test]
fn reports_whether_an_abandoned_request_was_sent_and_the_peer_was_active() {
    let mut fixture = Fixture::default();
    let (first, second) = (fixture.begin(RequestKind::Async), fixture.begin(RequestKind::Async));
    fixture.send_all();
    fixture.accept(Kind::AsyncResponse, &reply_to(first, "1")).unwrap();
    let third = fixture.begin(RequestKind::Async);

    assert_eq!(fixture.table.abandon(second), Some(Abandoned { peer_was_active: true, ..ABANDONED }));
    assert_eq!(
        fixture.table.abandon(third),
        Some(Abandoned { was_sent: false, was_withdrawn: true, ..ABANDONED })
    );
}

#[test]
fn matches_sync_replies_by_order_and_checks_their_id() {
    let mut fixture = Fixture::default();
    let key = fixture.begin(RequestKind::Sync);
    fixture.accept(Kind::Sync, &reply_to(key, "1")).unwrap();
    assert_eq!(fixture.result_of(key), "1");

    fixture.begin(RequestKind::Sync);
    let other_id = fixture.accept(Kind::Sync, &reply_to(key, "1"));
    assert!(matches!(other_id, Err(CloseReason::Protocol(ProtocolError::OtherId))));

    fixture.begin(RequestKind::Sync);
    let no_id = fixture.accept(Kind::Sync, r#"{"result":1}"#);
    assert!(matches!(no_id, Err(CloseReason::Protocol(ProtocolError::OtherId))));

    let unrequested = fixture.accept(Kind::Sync, &reply_to(key, "1"));
    assert!(matches!(unrequested, Err(CloseReason::Protocol(ProtocolError::UnexpectedKind(Kind::Sync)))));
}

#[test]
fn accepts_an_error_without_an_id_as_the_sync_reply() {
    let mut fixture = Fixture::default();
    let key = fixture.begin(RequestKind::Sync);
    fixture.accept(Kind::Sync, r#"{"error":{"code":-32600,"message":"bad id"}}"#).unwrap();
    assert!(
        matches!(fixture.poll(key), Poll::Ready(Err(AttemptError::Remote(remote))) if remote.code == -32600)
    );
}

#[test]
fn answers_heartbeats_in_order() {
    let mut fixture = Fixture::default();
    let (first, second) = (fixture.begin(RequestKind::Heartbeat), fixture.begin(RequestKind::Heartbeat));
    fixture.accept(Kind::Heartbeat, "").unwrap();
    assert!(matches!(fixture.poll(first), Poll::Ready(Ok(Answer::Heartbeat))));
    assert!(fixture.poll(second).is_pending());
}

#[test]
fn drains_after_a_going_away_notice_and_still_takes_replies() {
    let mut fixture = Fixture::default();
    let key = fixture.begin(RequestKind::Async);
    fixture.accept(Kind::Error, &error(Code::GoingAway, "null")).unwrap();
    assert!(fixture.table.is_draining && !fixture.table.is_closed());

    fixture.accept(Kind::AsyncResponse, &reply_to(key, "1")).unwrap();
    assert_eq!(fixture.result_of(key), "1");
}

#[test]
fn closes_on_any_other_error_of_the_connection() {
    let mut fixture = Fixture::default();
    let reason = fixture.accept(Kind::Error, &error(Code::Overloaded, "null"));
    assert!(matches!(reason, Err(CloseReason::Remote(_))), "{reason:?}");
}

#[test]
fn fails_only_the_requests_above_the_frame_limit_of_the_host() {
    let mut fixture = Fixture::default();
    let small = fixture.begin(RequestKind::Async);
    let large = Key::new();
    fixture.table.begin(large, RequestKind::Async, &[0; HEADER_LEN + 11]);

    fixture.accept(Kind::Error, &error(Code::FrameTooLarge, r#"{"limit":10}"#)).unwrap();
    assert!(matches!(fixture.poll(large), Poll::Ready(Err(AttemptError::Remote(_)))));
    assert!(fixture.poll(small).is_pending());
}

#[test]
fn passes_the_first_close_reason_to_every_request() {
    let mut fixture = Fixture::default();
    let sent = fixture.begin(RequestKind::Async);
    fixture.send_all();
    let unsent = fixture.begin(RequestKind::Async);
    assert!(fixture.poll(sent).is_pending() && fixture.poll(unsent).is_pending());

    fixture.table.close(CloseReason::Protocol(ProtocolError::OtherId));
    fixture.table.close(CloseReason::ClientClosed);
    assert_eq!(fixture.wake_count(), 2);
    assert!(matches!(fixture.poll(sent), Poll::Ready(Err(AttemptError::Protocol(ProtocolError::OtherId)))));
    assert!(matches!(
        fixture.poll(unsent),
        Poll::Ready(Err(AttemptError::Lost { sent: false, errno: None }))
    ));

    let late = fixture.begin(RequestKind::Async);
    assert!(matches!(fixture.poll(late), Poll::Ready(Err(AttemptError::Lost { sent: false, .. }))));
}

#[test]
fn wakes_one_caller_whose_outcome_is_unknown() {
    let mut fixture = Fixture::default();
    let (settled, waiting) = (fixture.begin(RequestKind::Async), fixture.begin(RequestKind::Async));
    assert!(fixture.poll(settled).is_pending() && fixture.poll(waiting).is_pending());
    fixture.accept(Kind::AsyncResponse, &reply_to(settled, "1")).unwrap();

    fixture.table.wake_one();
    assert_eq!(fixture.wake_count(), 2, "one for the reply, one for the caller that still waits");
}

#[test]
fn fails_only_the_request_whose_reply_is_nested_too_deep() {
    let mut fixture = Fixture::default();
    let [deep, other] = [(); 2].map(|()| fixture.begin(RequestKind::Async));
    let nested = format!("{}{}", "[".repeat(600), "]".repeat(600));

    fixture.accept(Kind::AsyncResponse, &reply_to(deep, &nested)).unwrap();
    fixture.accept(Kind::AsyncResponse, &reply_to(other, "1")).unwrap();

    let failure = fixture.poll(deep);
    assert!(
        matches!(failure, Poll::Ready(Err(AttemptError::Unreadable(UnreadableReply::TooDeep)))),
        "{failure:?}"
    );
    assert_eq!(fixture.result_of(other), "1");
    assert!(!fixture.table.is_closed());
}

#[test]
fn fails_only_the_request_whose_reply_violates_the_protocol() {
    let mut fixture = Fixture::default();
    let [bad, other] = [(); 2].map(|()| fixture.begin(RequestKind::Async));
    let sync = fixture.begin(RequestKind::Sync);

    fixture.accept(Kind::AsyncResponse, &reply_to(bad, "nonsense")).unwrap();
    fixture.accept(Kind::Sync, &reply_to(sync, "nonsense")).unwrap();
    fixture.accept(Kind::AsyncResponse, &reply_to(other, "1")).unwrap();

    for key in [bad, sync] {
        let failure = fixture.poll(key);
        assert!(matches!(failure, Poll::Ready(Err(AttemptError::Protocol(_)))), "{failure:?}");
    }
    assert_eq!(fixture.result_of(other), "1");
}

#[test]
fn fails_only_the_request_whose_reply_is_over_the_limit() {
    let mut fixture = Fixture::default();
    let large = fixture.begin(RequestKind::Async);
    let other = fixture.begin(RequestKind::Async);
    let sync = fixture.begin(RequestKind::Sync);
    let head = reply_to(large, "[1]").into_bytes();
    let refused = |kind, head: &[u8]| RefusedFrame { kind, length: 3_000, head: head.to_vec() };

    let Fixture { table, counters, .. } = &mut fixture;
    table.accept_refused(&refused(Kind::AsyncResponse, &head[..head.len() - 2]), 1_000, counters).unwrap();
    table.accept_refused(&refused(Kind::Sync, b"{"), 1_000, counters).unwrap();
    table.accept_refused(&refused(Kind::Other(9), b""), 1_000, counters).unwrap();
    let unknown = table.accept_refused(&refused(Kind::AsyncResponse, b"{\"result\":1"), 1_000, counters);

    for key in [large, sync] {
        let failure = fixture.poll(key);
        assert!(
            matches!(
                failure,
                Poll::Ready(Err(AttemptError::Unreadable(UnreadableReply::TooLarge {
                    length: 3_000,
                    limit: 1_000
                })))
            ),
            "{failure:?}"
        );
    }
    assert!(fixture.poll(other).is_pending());
    assert!(matches!(unknown, Err(CloseReason::Protocol(ProtocolError::Header(_)))), "{unknown:?}");
}

mod version_1_2;

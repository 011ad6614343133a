//! What is in flight on one connection: who waits for which reply, and what each frame that comes means for them.
//!
//! No I/O and no clock: frames come in as values, outcomes are left where their callers find them.

use std::collections::VecDeque;
use std::task::{Poll, Waker};

use bytes::Bytes;
use jackfield_protocol::{Code, Frame, Kind, Outcome, Reply};
use rustix::io::Errno;

use crate::connection::outbox::Outbox;
use crate::counters::Counters;
use crate::error::{ProtocolError, RemoteError};
use crate::id::{Key, KeyMap, KeySet};

/// What a caller gets.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The result's JSON.
    Result(Bytes),
    /// The peer answered a heartbeat.
    Heartbeat,
}

/// Why a caller gets nothing.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The connection ended; whether the kernel had the whole request before.
    Lost { sent: bool, errno: Option<Errno> },
    /// The peer broke the protocol.
    Protocol(ProtocolError),
    /// An error reply, or the peer's word on the connection.
    Remote(RemoteError),
    /// The client was closed.
    Closed { sent: bool },
}

/// Why a connection ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The peer, or the kernel.
    Lost(Option<Errno>),
    /// The peer sent what cannot be read.
    Protocol(ProtocolError),
    /// The peer said why.
    Remote(RemoteError),
    /// This client.
    Closed,
}

impl End {
    /// What this end means for a request. What the host said about the connection holds for every one; any other
    /// end spares what was not sent.
    fn failure(&self, sent: bool) -> Failure {
        match self {
            End::Remote(remote) => Failure::Remote(remote.clone()),
            End::Closed => Failure::Closed { sent },
            End::Protocol(error) if sent => Failure::Protocol(*error),
            End::Protocol(_) => Failure::Lost { sent, errno: None },
            End::Lost(errno) => Failure::Lost { sent, errno: *errno },
        }
    }
}

/// What a request is, for the replies to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// Kind `04`.
    Async,
    /// Kind `01`.
    Sync,
    /// Kind `02`.
    Heartbeat,
}

#[derive(Debug)]
struct Waiting {
    asked: Asked,
    /// The position of its last byte in the outbox.
    end: u64,
    /// Bytes of its payload.
    payload: usize,
    /// Frames received before it was sent.
    heard_before: u64,
    waker: Option<Waker>,
    outcome: Option<Result<Answer, Failure>>,
}

/// What becomes of a request whose caller gives up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Forgotten {
    /// Whether the kernel has the whole request.
    pub(crate) sent: bool,
    /// Whether the peer has sent anything since the request was queued.
    pub(crate) heard: bool,
}

/// Everything in flight on one connection.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    pub(crate) outbox: Outbox,
    waiting: KeyMap<Waiting>,
    /// Requests whose callers have given up, but whose replies may still come.
    owed: KeySet,
    /// The sync request in flight. Replies to sync requests come in order, and a connection has one at a time.
    sync: Option<Key>,
    heartbeats: VecDeque<Key>,
    /// Reads that brought something.
    heard: u64,
    /// Set when no further call may begin here: the peer goes away, or has fallen silent.
    pub(crate) retiring: bool,
    /// Whether any request was ever answered here.
    pub(crate) proven: bool,
    ended: Option<End>,
}

impl Flight {
    /// Queues a request's bytes and expects its reply.
    pub(crate) fn begin(&mut self, key: Key, asked: Asked, bytes: &[u8]) {
        let end = self.outbox.push(bytes);
        let payload = bytes.len().saturating_sub(jackfield_protocol::HEADER_LEN);
        match asked {
            Asked::Async => {}
            Asked::Sync => self.sync = Some(key),
            Asked::Heartbeat => self.heartbeats.push_back(key),
        }
        let outcome = self.ended.as_ref().map(|ended| Err(ended.failure(false)));
        let heard_before = self.heard;
        self.waiting.insert(key, Waiting { asked, end, payload, heard_before, waker: None, outcome });
    }

    /// The outcome of a request, once; until then the waker is told when to ask again.
    pub(crate) fn poll(&mut self, key: Key, waker: &Waker) -> Poll<Result<Answer, Failure>> {
        let Some(waiting) = self.waiting.get_mut(&key) else {
            return Poll::Ready(Err(Failure::Closed { sent: true }));
        };
        if let Some(outcome) = waiting.outcome.take() {
            self.waiting.remove(&key);
            return Poll::Ready(outcome);
        }
        match &mut waiting.waker {
            Some(known) if known.will_wake(waker) => {}
            known => *known = Some(waker.clone()),
        }
        Poll::Pending
    }

    /// Whether a request's outcome is there to be taken.
    pub(crate) fn is_settled(&self, key: Key) -> bool {
        self.waiting.get(&key).is_none_or(|waiting| waiting.outcome.is_some())
    }

    /// The caller gives up: a reply that comes late is then dropped.
    pub(crate) fn forget(&mut self, key: Key) -> Option<Forgotten> {
        let waiting = self.waiting.remove(&key)?;
        if waiting.outcome.is_none() && waiting.asked == Asked::Async {
            self.owed.insert(key);
        }
        Some(Forgotten { sent: self.outbox.has_sent(waiting.end), heard: self.heard > waiting.heard_before })
    }

    /// Requests in flight whose callers wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Requests in flight, those included whose callers have given up.
    pub(crate) fn load(&self) -> usize {
        self.waiting.len() + self.owed.len()
    }

    /// Whether nothing is in flight and no reply is owed.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.load() == 0 && self.sync.is_none() && self.heartbeats.is_empty() && self.outbox.unsent() == 0
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Notes that the peer has sent something.
    pub(crate) fn heard(&mut self) {
        self.heard += 1;
    }

    /// Tells one caller that still waits to look again.
    pub(crate) fn wake_one(&self) {
        let still = self.waiting.values().find(|waiting| waiting.outcome.is_none());
        if let Some(waker) = still.and_then(|waiting| waiting.waker.as_ref()) {
            waker.wake_by_ref();
        }
    }

    /// Ends everything in flight; only the first end counts.
    pub(crate) fn end(&mut self, end: End) {
        if self.ended.is_some() {
            return;
        }
        for waiting in self.waiting.values_mut().filter(|waiting| waiting.outcome.is_none()) {
            waiting.outcome = Some(Err(end.failure(self.outbox.has_sent(waiting.end))));
            if let Some(waker) = waiting.waker.take() {
                waker.wake();
            }
        }
        self.ended = Some(end);
        self.retiring = true;
        self.owed.clear();
    }

    /// Gives a frame to whom it belongs.
    ///
    /// # Errors
    /// The connection has to end, and why.
    pub(crate) fn take(&mut self, frame: &Frame, counters: &Counters) -> Result<(), End> {
        match frame.header.kind {
            Kind::AsyncResponse => self.take_async(&frame.payload, counters).map_err(End::Protocol),
            Kind::Sync => self.take_sync(&frame.payload).map_err(End::Protocol),
            Kind::Heartbeat => {
                match self.heartbeats.pop_front() {
                    Some(key) => self.finish(key, Ok(Answer::Heartbeat)),
                    None => counters.stray_frames.add_one(),
                }
                Ok(())
            }
            Kind::Error => self.take_notice(&frame.payload),
            kind @ Kind::AsyncRequest => Err(End::Protocol(ProtocolError::UnexpectedKind(kind))),
            Kind::Other(_) => {
                counters.stray_frames.add_one();
                Ok(())
            }
        }
    }

    fn take_async(&mut self, payload: &Bytes, counters: &Counters) -> Result<(), ProtocolError> {
        let reply = Reply::parse(payload)?;
        let Some(key) = reply.id.and_then(Key::from_id) else {
            counters.stray_frames.add_one();
            return Ok(());
        };
        if self.owed.remove(&key) {
            counters.late_replies.add_one();
        } else if self.waiting.get(&key).is_some_and(|waiting| waiting.asked == Asked::Async) {
            self.finish(key, outcome(payload, reply.outcome));
        } else {
            counters.stray_frames.add_one();
        }
        Ok(())
    }

    fn take_sync(&mut self, payload: &Bytes) -> Result<(), ProtocolError> {
        let key = self.sync.take().ok_or(ProtocolError::UnexpectedKind(Kind::Sync))?;
        let reply = Reply::parse(payload)?;
        // An error without an id is the host's word on a request whose id it could not read: replies to sync
        // requests come in order, so it is this one's.
        let is_mine = match reply.id {
            Some(id) => Key::from_id(id) == Some(key),
            None => matches!(reply.outcome, Outcome::Error(_)),
        };
        if !is_mine {
            return Err(ProtocolError::OtherId);
        }
        self.finish(key, outcome(payload, reply.outcome));
        Ok(())
    }

    /// A `03`: the host's word on the connection, or on a request that it could not read.
    fn take_notice(&mut self, payload: &Bytes) -> Result<(), End> {
        let reply = Reply::parse(payload).map_err(|error| End::Protocol(error.into()))?;
        let Outcome::Error(error) = reply.outcome else {
            return Err(End::Protocol(ProtocolError::UnexpectedKind(Kind::Error)));
        };
        let remote = RemoteError::from(error);
        match remote.known_code() {
            // It answers what it has accepted, and takes nothing more.
            Some(Code::GoingAway) => {
                self.retiring = true;
                Ok(())
            }
            // It names no request: it is one above the limit. The frames are still in step.
            Some(Code::FrameTooLarge) => {
                let limit = remote.frame_limit().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0);
                let too_large =
                    self.waiting.iter().filter(|(_, it)| it.outcome.is_none() && it.payload > limit);
                let keys: Vec<Key> = too_large.map(|(key, _)| *key).collect();
                for key in keys {
                    self.finish(key, Err(Failure::Remote(remote.clone())));
                }
                Ok(())
            }
            _ => Err(End::Remote(remote)),
        }
    }

    fn finish(&mut self, key: Key, outcome: Result<Answer, Failure>) {
        self.proven = true;
        if matches!(&outcome, Err(Failure::Remote(remote)) if remote.known_code() == Some(Code::GoingAway)) {
            self.retiring = true;
        }
        let Some(waiting) = self.waiting.get_mut(&key) else { return };
        waiting.outcome = Some(outcome);
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }
}

fn outcome(payload: &Bytes, outcome: Outcome<'_>) -> Result<Answer, Failure> {
    match outcome {
        Outcome::Result(result) => Ok(Answer::Result(payload.slice_ref(result.get().as_bytes()))),
        Outcome::Error(error) => Err(Failure::Remote(error.into())),
    }
}

//! The in-flight table of one connection: which caller waits for which reply.
//!
//! The table does no I/O and reads no clock. Received frames are passed in as values, and outcomes
//! stay in the table until their callers take them.
//!
//! ```text
//! begin ──► waiting ──(reply, error, close)──► settled ──(poll, abandon)──► removed
//!              │
//!              └──(abandon)──► abandoned ──(late reply, close)──► removed
//! ```
//!
//! Only async requests become abandoned. Others are removed, because their connection is closed.

mod refused;

use std::collections::VecDeque;
use std::task::{Poll, Waker};

use bytes::Bytes;
use jackfield_protocol::{Code, Frame, Id, Kind, Outcome, Reply};

use super::outbox::Outbox;
use super::outcome::{Answer, AttemptError, CloseReason};
use crate::counters::Counters;
use crate::error::{ProtocolError, RemoteError};
use crate::id::{Key, KeyMap, KeySet};
use crate::request_frame::RequestKind;

/// A request whose caller waits, or has not yet taken the outcome.
#[derive(Debug)]
struct Entry {
    kind: RequestKind,
    /// Position of the end of the request in the outbox.
    end: u64,
    /// Length of the payload in bytes.
    payload: usize,
    /// Value of [`InFlightTable::reads`] when the request was queued.
    reads_before: u64,
    waker: Option<Waker>,
    outcome: Option<Result<Answer, AttemptError>>,
}

/// The state of a request at the time its caller gave up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Abandoned {
    /// Whether the kernel has accepted the whole request.
    pub(crate) was_sent: bool,
    /// Whether the peer has sent anything since the request was queued.
    pub(crate) peer_was_active: bool,
}

/// The requests in flight on one connection.
#[derive(Debug, Default)]
pub(crate) struct InFlightTable {
    pub(crate) outbox: Outbox,
    entries: KeyMap<Entry>,
    /// Number of entries without an outcome.
    waiting: usize,
    /// Async requests whose callers have given up, but whose replies may still come.
    abandoned: KeySet,
    /// The sync request in flight. Sync replies come in order, and a connection has one such
    /// request at a time.
    sync: Option<Key>,
    heartbeats: VecDeque<Key>,
    /// Number of reads that returned data.
    reads: u64,
    /// Whether no further request may begin, because the peer is shutting down or silent.
    pub(crate) is_draining: bool,
    /// Whether any request was ever answered here.
    pub(crate) has_answered: bool,
    closed: Option<CloseReason>,
}

impl InFlightTable {
    /// Queues the bytes of a request and expects its reply.
    pub(crate) fn begin(&mut self, key: Key, kind: RequestKind, bytes: &[u8]) {
        let end = self.outbox.push(bytes);
        let payload = bytes.len().saturating_sub(jackfield_protocol::HEADER_LEN);

        match kind {
            RequestKind::Async => {}
            RequestKind::Sync => self.sync = Some(key),
            RequestKind::Heartbeat => self.heartbeats.push_back(key),
        }

        let outcome = self.closed.as_ref().map(|reason| Err(reason.failure(false)));
        if outcome.is_none() {
            self.waiting += 1;
        }
        let reads_before = self.reads;
        self.entries.insert(key, Entry { kind, end, payload, reads_before, waker: None, outcome });
    }

    /// Returns the outcome of a request once; until it is known, registers the waker.
    pub(crate) fn poll(&mut self, key: Key, waker: &Waker) -> Poll<Result<Answer, AttemptError>> {
        let Some(entry) = self.entries.get_mut(&key) else {
            return Poll::Ready(Err(AttemptError::ClientClosed { sent: true }));
        };
        if let Some(outcome) = entry.outcome.take() {
            self.entries.remove(&key);
            return Poll::Ready(outcome);
        }
        match &mut entry.waker {
            Some(known) if known.will_wake(waker) => {}
            known => *known = Some(waker.clone()),
        }
        Poll::Pending
    }

    /// Returns whether the outcome of a request is known.
    pub(crate) fn is_settled(&self, key: Key) -> bool {
        self.entries.get(&key).is_none_or(|entry| entry.outcome.is_some())
    }

    /// Removes a request whose caller gives up. A late reply to it is dropped.
    pub(crate) fn abandon(&mut self, key: Key) -> Option<Abandoned> {
        let entry = self.entries.remove(&key)?;
        if entry.outcome.is_none() {
            self.waiting -= 1;
            if entry.kind == RequestKind::Async {
                self.abandoned.insert(key);
            }
        }
        Some(Abandoned {
            was_sent: self.outbox.has_sent(entry.end),
            peer_was_active: self.reads > entry.reads_before,
        })
    }

    /// Returns the number of requests that have a caller.
    pub(crate) fn callers(&self) -> usize {
        self.entries.len()
    }

    /// Returns the number of requests without a reply, which is the capacity in use.
    pub(crate) fn unanswered(&self) -> usize {
        self.waiting + self.abandoned.len()
    }

    /// Returns the number of requests that are unanswered or whose outcome was not taken.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() + self.abandoned.len()
    }

    /// Returns whether there is nothing in flight and nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0 && self.sync.is_none() && self.heartbeats.is_empty() && self.outbox.unsent() == 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Notes that a read returned data.
    pub(crate) fn note_read(&mut self) {
        self.reads += 1;
    }

    /// Wakes one caller whose outcome is not known yet.
    pub(crate) fn wake_one(&self) {
        let waiting = self.entries.values().find(|entry| entry.outcome.is_none());
        if let Some(waker) = waiting.and_then(|entry| entry.waker.as_ref()) {
            waker.wake_by_ref();
        }
    }

    /// Fails everything in flight. Only the first reason counts.
    pub(crate) fn close(&mut self, reason: CloseReason) {
        if self.closed.is_some() {
            return;
        }

        for entry in self.entries.values_mut().filter(|entry| entry.outcome.is_none()) {
            entry.outcome = Some(Err(reason.failure(self.outbox.has_sent(entry.end))));
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
        }

        self.waiting = 0;
        self.closed = Some(reason);
        self.is_draining = true;
        self.abandoned.clear();
    }

    /// Settles the request that a received frame belongs to.
    ///
    /// # Errors
    ///
    /// The reason for which the connection has to be closed.
    pub(crate) fn accept(&mut self, frame: &Frame, counters: &Counters) -> Result<(), CloseReason> {
        match frame.header.kind {
            Kind::AsyncResponse => self.accept_async(&frame.payload, counters).map_err(CloseReason::Protocol),
            Kind::Sync => self.accept_sync(&frame.payload).map_err(CloseReason::Protocol),
            Kind::Heartbeat => {
                match self.heartbeats.pop_front() {
                    Some(key) => self.settle(key, Ok(Answer::Heartbeat)),
                    None => counters.stray_frames.add_one(),
                }
                Ok(())
            }
            Kind::Error => self.accept_error(&frame.payload),
            kind @ Kind::AsyncRequest => Err(CloseReason::Protocol(ProtocolError::UnexpectedKind(kind))),
            Kind::Cancel | Kind::GoingAway | Kind::Other(_) => {
                counters.stray_frames.add_one();
                Ok(())
            }
        }
    }

    fn accept_async(&mut self, payload: &Bytes, counters: &Counters) -> Result<(), ProtocolError> {
        match Reply::parse(payload) {
            Ok(reply) => {
                let outcome = outcome(payload, reply.outcome);
                self.settle_async(reply.id.and_then(Key::from_id), outcome, counters);
            }
            // A reply that cannot be read fails its own request only.
            Err(error) => {
                let key = Id::find_in_reply(payload).and_then(Key::from_id);
                let key = key.filter(|key| self.entries.contains_key(key) || self.abandoned.contains(key));
                self.settle_async(Some(key.ok_or(error)?), Err(error.into()), counters);
            }
        }
        Ok(())
    }

    fn settle_async(&mut self, key: Option<Key>, outcome: Result<Answer, AttemptError>, counters: &Counters) {
        let Some(key) = key else {
            counters.stray_frames.add_one();
            return;
        };

        if self.abandoned.remove(&key) {
            counters.late_replies.add_one();
        } else if self.entries.get(&key).is_some_and(|entry| entry.kind == RequestKind::Async) {
            self.settle(key, outcome);
        } else {
            counters.stray_frames.add_one();
        }
    }

    fn accept_sync(&mut self, payload: &Bytes) -> Result<(), ProtocolError> {
        let key = self.sync.take().ok_or(ProtocolError::UnexpectedKind(Kind::Sync))?;
        let reply = match Reply::parse(payload) {
            Ok(reply) => reply,
            Err(error) if Id::find_in_reply(payload).and_then(Key::from_id) == Some(key) => {
                self.settle(key, Err(error.into()));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };

        // A host that cannot read the id of a request answers with an error without an id. Sync
        // replies come in order, so such an error belongs to the sync request in flight.
        let matches_request = match reply.id {
            Some(id) => Key::from_id(id) == Some(key),
            None => matches!(reply.outcome, Outcome::Error(_)),
        };
        if !matches_request {
            return Err(ProtocolError::OtherId);
        }

        self.settle(key, outcome(payload, reply.outcome));
        Ok(())
    }

    /// Accepts a `03`: an error of the connection, or of a request that the host could not read.
    fn accept_error(&mut self, payload: &Bytes) -> Result<(), CloseReason> {
        let reply = Reply::parse(payload).map_err(|error| CloseReason::Protocol(error.into()))?;
        let Outcome::Error(error) = reply.outcome else {
            return Err(CloseReason::Protocol(ProtocolError::UnexpectedKind(Kind::Error)));
        };

        let remote = RemoteError::from(error);
        match remote.known_code() {
            // The host answers the requests that it has accepted, and accepts no more.
            Some(Code::GoingAway) => {
                self.is_draining = true;
                Ok(())
            }
            Some(Code::FrameTooLarge) => {
                self.settle_too_large(&remote);
                Ok(())
            }
            _ => Err(CloseReason::Remote(remote)),
        }
    }

    /// Fails the requests above the frame limit of the host.
    ///
    /// FRAME_TOO_LARGE names no request. The host has skipped the large frame, so the connection
    /// remains usable.
    fn settle_too_large(&mut self, remote: &RemoteError) {
        let limit = remote.frame_limit().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0);
        let too_large =
            self.entries.iter().filter(|(_, entry)| entry.outcome.is_none() && entry.payload > limit);
        let keys: Vec<Key> = too_large.map(|(key, _)| *key).collect();

        for key in keys {
            self.settle(key, Err(AttemptError::Remote(remote.clone())));
        }
    }

    fn settle(&mut self, key: Key, outcome: Result<Answer, AttemptError>) {
        self.has_answered = true;
        if matches!(&outcome, Err(AttemptError::Remote(remote)) if remote.known_code() == Some(Code::GoingAway))
        {
            self.is_draining = true;
        }

        let Some(entry) = self.entries.get_mut(&key) else { return };
        if entry.outcome.replace(outcome).is_none() {
            self.waiting -= 1;
        }
        if let Some(waker) = entry.waker.take() {
            waker.wake();
        }
    }
}

fn outcome(payload: &Bytes, outcome: Outcome<'_>) -> Result<Answer, AttemptError> {
    match outcome {
        Outcome::Result(result) => Ok(Answer::Result(payload.slice_ref(result.get().as_bytes()))),
        Outcome::Bytes(bytes) => Ok(Answer::Result(payload.slice_ref(bytes))),
        Outcome::Error(error) => Err(AttemptError::Remote(error.into())),
    }
}

#[cfg(test)]
mod tests;

//! The in-flight table of one connection: which caller waits for which reply.
//!
//! The table does no I/O and reads no clock. Received frames are passed in as values, and outcomes
//! stay in the table until their callers take them.
//!
//! ```text
//! begin ──► waiting ──(reply, error, close)──► settled ──(poll, abandon)──► removed
//!              │
//!              ├──(abandon)──► abandoned ──(late reply, close)──► removed
//!              └──(abandon before anything was sent)──► removed
//! ```
//!
//! Only async requests become abandoned. Others are removed, because their connection is closed.
//!
//! A request with opaque bytes is deferred until the host has answered the hello, because only a
//! host that has granted them can read it.

mod accept;
mod refused;

use std::collections::VecDeque;
use std::task::{Poll, Waker};

use jackfield_protocol::{Capabilities, Code, HEADER_LEN, Timing, Version, write_cancel};

use super::negotiation::{Grant, Negotiation};
use super::outbox::Outbox;
use super::outcome::{Answer, AttemptError, CloseReason, Settled};
use crate::id::{Key, KeyMap, KeySet};
use crate::options::Options;
use crate::request_frame::RequestKind;

/// The end of a request that is not in the outbox yet.
const DEFERRED: u64 = u64::MAX;

/// A request whose caller waits, or has not yet taken the outcome.
#[derive(Debug)]
struct Entry {
    kind: RequestKind,
    /// Position of the end of the request in the outbox, or [`DEFERRED`].
    end: u64,
    /// Length of the payload in bytes.
    payload: usize,
    /// Value of [`InFlightTable::reads`] when the request was queued.
    reads_before: u64,
    waker: Option<Waker>,
    outcome: Option<Result<Answer, AttemptError>>,
    /// The timing that the reply had.
    timing: Option<Timing>,
}

/// The state of a request at the time its caller gave up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Abandoned {
    /// Whether the kernel has accepted the whole request.
    pub(crate) was_sent: bool,
    /// Whether nothing of the request was sent, and nothing of it ever will be.
    pub(crate) was_withdrawn: bool,
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
    negotiation: Negotiation,
    /// Requests that wait for the answer to the hello, with their frames.
    deferred: Vec<(Key, Vec<u8>)>,
    /// Requests that are to be cancelled if the answer to the hello grants that.
    cancels: Vec<Key>,
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
        let outcome = self.closed.as_ref().map(|reason| Err(reason.failure(false)));
        self.enter(key, kind, end, bytes.len(), outcome);
    }

    /// Begins a request with opaque bytes, which is only sent if the host has granted them.
    pub(crate) fn begin_opaque(&mut self, key: Key, kind: RequestKind, bytes: &[u8]) {
        if self.negotiation.is_pending() && self.closed.is_none() {
            self.enter(key, kind, DEFERRED, bytes.len(), None);
            self.deferred.push((key, bytes.to_vec()));
        } else if self.grant().has_bytes || self.closed.is_some() {
            self.begin(key, kind, bytes);
        } else {
            let outcome = Some(Err(AttemptError::BytesUnsupported));
            // Its kind is that of a request to which no reply is due.
            self.insert(key, RequestKind::Async, DEFERRED, bytes.len(), outcome);
        }
    }

    fn enter(
        &mut self,
        key: Key,
        kind: RequestKind,
        end: u64,
        length: usize,
        outcome: Option<Result<Answer, AttemptError>>,
    ) {
        match kind {
            RequestKind::Async => {}
            RequestKind::Sync => self.sync = Some(key),
            RequestKind::Heartbeat => self.heartbeats.push_back(key),
        }

        self.insert(key, kind, end, length, outcome);
    }

    fn insert(
        &mut self,
        key: Key,
        kind: RequestKind,
        end: u64,
        length: usize,
        outcome: Option<Result<Answer, AttemptError>>,
    ) {
        if outcome.is_none() {
            self.waiting += 1;
        }
        let payload = length.saturating_sub(HEADER_LEN);
        let reads_before = self.reads;
        let entry = Entry { kind, end, payload, reads_before, waker: None, outcome, timing: None };
        self.entries.insert(key, entry);
    }

    /// Queues the hello, before everything else.
    pub(crate) fn negotiate(&mut self, options: &Options) {
        if let Some(hello) = self.negotiation.hello(options) {
            self.outbox.push(&hello);
        }
    }

    /// Returns what the host has granted so far.
    pub(crate) fn grant(&self) -> Grant {
        self.negotiation.grant()
    }

    /// Returns the outcome of a request once; until it is known, registers the waker.
    pub(crate) fn poll(&mut self, key: Key, waker: &Waker) -> Poll<Settled> {
        let version = self.grant().version().unwrap_or(Version::HIGHEST);
        let Some(entry) = self.entries.get_mut(&key) else {
            let outcome = Err(AttemptError::ClientClosed { sent: true });
            return Poll::Ready(Settled { outcome, timing: None, version });
        };
        if let Some(outcome) = entry.outcome.take() {
            let timing = entry.timing;
            self.entries.remove(&key);
            return Poll::Ready(Settled { outcome, timing, version });
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

    /// Queues the cancellation of a request that the host may have, if the host has granted that.
    ///
    /// Returns whether the outcome of the request is still to be awaited. If the answer to the
    /// hello is due, it decides.
    pub(crate) fn cancel(&mut self, key: Key) -> bool {
        let Some(entry) = self.entries.get(&key) else { return false };
        if entry.outcome.is_some() {
            return true;
        }
        let is_cancellable = entry.kind != RequestKind::Heartbeat && self.closed.is_none();
        if !is_cancellable || !self.is_begun(entry) {
            return false;
        }

        if self.negotiation.is_pending() {
            self.cancels.push(key);
            return true;
        }
        self.push_cancel(key)
    }

    /// Queues a cancellation if the host has granted that, and returns whether it has.
    fn push_cancel(&mut self, key: Key) -> bool {
        let is_granted = self.grant().has(Capabilities::CANCEL);
        if is_granted {
            let mut bytes = Vec::with_capacity(64);
            write_cancel(&mut bytes, Version::V1_1, &key.to_json());
            self.outbox.push(&bytes);
        }
        is_granted
    }

    /// Removes a request whose caller gives up. A late reply to it is dropped.
    ///
    /// Of an async request of which nothing was sent, nothing is sent later.
    pub(crate) fn abandon(&mut self, key: Key) -> Option<Abandoned> {
        let entry = self.entries.remove(&key)?;
        let was_sent = self.outbox.has_sent(entry.end);
        let mut was_withdrawn = false;

        if entry.outcome.is_none() {
            self.waiting -= 1;
            if entry.kind == RequestKind::Async {
                was_withdrawn = self.withdraw(key, &entry);
                if !was_withdrawn {
                    self.abandoned.insert(key);
                }
            }
        }

        let peer_was_active = self.reads > entry.reads_before;
        Some(Abandoned { was_sent, was_withdrawn, peer_was_active })
    }

    /// Returns whether the kernel has accepted the first byte of a request.
    fn is_begun(&self, entry: &Entry) -> bool {
        let length = (entry.payload + HEADER_LEN) as u64;
        entry.end != DEFERRED && self.outbox.has_sent(entry.end - length + 1)
    }

    /// Removes the bytes of a request from what is to be sent, unless a part of them was sent.
    fn withdraw(&mut self, key: Key, entry: &Entry) -> bool {
        if self.is_begun(entry) {
            return false;
        }
        if entry.end == DEFERRED {
            self.deferred.retain(|(deferred, _)| *deferred != key);
            return true;
        }

        let length = entry.payload + HEADER_LEN;
        self.outbox.remove(entry.end, length);
        let behind = self.entries.values_mut().filter(|other| other.end != DEFERRED && other.end > entry.end);
        behind.for_each(|other| other.end -= length as u64);
        true
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

    /// Returns whether nobody waits for anything on a connection that takes no further request.
    pub(crate) fn is_drained(&self) -> bool {
        self.is_draining && self.entries.is_empty()
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
        self.deferred.clear();
        self.cancels.clear();
    }

    fn settle(&mut self, key: Key, outcome: Result<Answer, AttemptError>, timing: Option<Timing>) {
        self.has_answered = true;
        if matches!(&outcome, Err(AttemptError::Remote(remote)) if remote.known_code() == Some(Code::GoingAway))
        {
            self.is_draining = true;
        }

        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.timing = timing;
        if entry.outcome.replace(outcome).is_none() {
            self.waiting -= 1;
        }
        if let Some(waker) = entry.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests;

//! Received frames: which request each one settles, and what it says about the connection.

use bytes::Bytes;
use jackfield_protocol::{
    Capabilities, Code, ContentType, ExtensionBlock, Frame, Id, InvalidReply, Kind, Outcome, Reply, Timing,
    split_bytes_body,
};

use super::InFlightTable;
use crate::connection::outcome::{Answer, AttemptError, CloseReason};
use crate::counters::Counters;
use crate::error::{ProtocolError, RemoteError};
use crate::id::Key;
use crate::reply::Payload;
use crate::request_frame::RequestKind;

impl InFlightTable {
    /// Settles the request that a received frame belongs to.
    ///
    /// # Errors
    ///
    /// The reason for which the connection has to be closed.
    pub(crate) fn accept(&mut self, frame: &Frame, counters: &Counters) -> Result<(), CloseReason> {
        let kind = frame.header.kind;
        let payload = &frame.payload;
        let in_block = self.kind_in_block(kind);
        let is_extended = in_block.is_some();

        match in_block.unwrap_or(kind) {
            Kind::AsyncResponse => {
                self.accept_async(payload, is_extended, counters).map_err(CloseReason::Protocol)
            }
            Kind::Sync => self.accept_sync(payload, is_extended).map_err(CloseReason::Protocol),
            Kind::Heartbeat => {
                self.accept_heartbeat(payload, counters);
                Ok(())
            }
            Kind::Error => self.accept_error(payload),
            kind @ Kind::AsyncRequest => Err(CloseReason::Protocol(ProtocolError::UnexpectedKind(kind))),
            // The host answers the requests that it has accepted, and accepts no more.
            Kind::GoingAway if self.grant().has(Capabilities::GOING_AWAY) => {
                self.is_draining = true;
                Ok(())
            }
            Kind::Cancel | Kind::GoingAway | Kind::Other(_) => {
                counters.stray_frames.add_one();
                Ok(())
            }
        }
    }

    /// Returns the kind of a reply with an extension block, if the host has granted such blocks.
    pub(super) fn kind_in_block(&self, kind: Kind) -> Option<Kind> {
        let kind = kind.without_block().filter(|kind| matches!(kind, Kind::Sync | Kind::AsyncResponse));
        kind.filter(|_| self.grant().has(Capabilities::EXTENSION_BLOCK))
    }

    /// Accepts the answer to a heartbeat. The hello is the first heartbeat of a connection.
    pub(super) fn accept_heartbeat(&mut self, payload: &[u8], counters: &Counters) {
        if self.negotiation.is_pending() {
            self.negotiation.accept(payload);
            self.release_deferred();
            self.release_cancels();
            return;
        }
        match self.heartbeats.pop_front() {
            Some(key) => self.settle(key, Ok(Answer::Heartbeat), None),
            None => counters.stray_frames.add_one(),
        }
    }

    /// Queues the requests with opaque bytes, or fails them if the host has not granted bytes.
    fn release_deferred(&mut self) {
        let has_bytes = self.grant().has_bytes;
        for (key, bytes) in std::mem::take(&mut self.deferred) {
            if has_bytes {
                let end = self.outbox.push(&bytes);
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.end = end;
                }
                continue;
            }

            self.sync.take_if(|sync| *sync == key);
            self.settle(key, Err(AttemptError::BytesUnsupported), None);
        }
    }

    /// Queues the cancellations of requests that are unanswered. Without the grant, their callers
    /// wait no longer.
    fn release_cancels(&mut self) {
        for key in std::mem::take(&mut self.cancels) {
            let is_awaited = !self.is_settled(key);
            if !is_awaited && !self.abandoned.contains(&key) {
                continue;
            }
            let is_granted = self.push_cancel(key);
            if is_awaited && !is_granted {
                self.settle(key, Err(AttemptError::Cancelled { sent: true }), None);
            }
        }
    }

    fn accept_async(
        &mut self,
        payload: &Bytes,
        is_extended: bool,
        counters: &Counters,
    ) -> Result<(), ProtocolError> {
        match parse(payload, is_extended) {
            Ok((reply, timing)) => {
                let outcome = outcome(payload, reply.outcome);
                self.settle_async(reply.id.and_then(Key::from_id), outcome, timing, counters);
            }
            // A reply that cannot be read fails its own request only.
            Err(error) => {
                let key = find_id(payload, is_extended).and_then(Key::from_id);
                let key = key.filter(|key| self.entries.contains_key(key) || self.abandoned.contains(key));
                self.settle_async(Some(key.ok_or(error)?), Err(error.into()), None, counters);
            }
        }
        Ok(())
    }

    pub(super) fn settle_async(
        &mut self,
        key: Option<Key>,
        outcome: Result<Answer, AttemptError>,
        timing: Option<Timing>,
        counters: &Counters,
    ) {
        let Some(key) = key else {
            counters.stray_frames.add_one();
            return;
        };

        if self.abandoned.remove(&key) {
            counters.late_replies.add_one();
        } else if self.entries.get(&key).is_some_and(|entry| entry.kind == RequestKind::Async) {
            self.settle(key, outcome, timing);
        } else {
            counters.stray_frames.add_one();
        }
    }

    fn accept_sync(&mut self, payload: &Bytes, is_extended: bool) -> Result<(), ProtocolError> {
        let key = self.sync.take().ok_or(ProtocolError::UnexpectedKind(Kind::Sync))?;
        let (reply, timing) = match parse(payload, is_extended) {
            Ok(reply) => reply,
            Err(error) if find_id(payload, is_extended).and_then(Key::from_id) == Some(key) => {
                self.settle(key, Err(error.into()), None);
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

        self.settle(key, outcome(payload, reply.outcome), timing);
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
            self.settle(key, Err(AttemptError::Remote(remote.clone())), None);
        }
    }
}

/// Parses the payload of a reply, with the timing if it has an extension block.
fn parse(payload: &[u8], is_extended: bool) -> Result<(Reply<'_>, Option<Timing>), InvalidReply> {
    if is_extended { Reply::parse_extended(payload) } else { Ok((Reply::parse(payload)?, None)) }
}

/// Finds the id of a reply that cannot be read, or of which only the head is known.
pub(super) fn find_id(payload: &[u8], is_extended: bool) -> Option<Id<'_>> {
    if !is_extended {
        return Id::find_in_reply(payload);
    }

    let envelope = match ExtensionBlock::split(payload) {
        Ok((ExtensionBlock { content: ContentType::Bytes, .. }, body)) => {
            // The length of the envelope; if only the head is known, the envelope may be truncated.
            let at_most = body.get(4..)?;
            split_bytes_body(body).map_or(at_most, |(envelope, _)| envelope)
        }
        Ok((_, body)) => body,
        Err(_) => return None,
    };
    Id::find_in_reply(envelope)
}

fn outcome(payload: &Bytes, outcome: Outcome<'_>) -> Result<Answer, AttemptError> {
    match outcome {
        Outcome::Result(result) => {
            Ok(Answer::Result(Payload::Json(payload.slice_ref(result.get().as_bytes()))))
        }
        Outcome::Bytes(bytes) => Ok(Answer::Result(Payload::Bytes(payload.slice_ref(bytes)))),
        Outcome::Error(error) => Err(AttemptError::Remote(error.into())),
    }
}

//! What cannot be run is refused, with its one reply, in its turn where there are turns; every reply is counted.

use std::time::Duration;

use jackfield_protocol::{Framing, Header, Kind, Version};

use super::Connection;
use super::in_flight::SyncQueueEntry;
use super::slow_log::AnsweredRequest;
use crate::clock::Time;
use crate::metrics::{MethodId, Outcome, RequestKind};
use crate::routing::{ReplyOutcome, RequestError};

/// What a request asked for, if that could be read.
#[derive(Clone, Copy)]
pub(super) struct RequestedMethod<'a> {
    pub(super) counted: MethodId,
    pub(super) method: &'a str,
}

impl RequestedMethod<'_> {
    /// It could not be read.
    pub(super) const UNKNOWN: Self = Self { counted: MethodId::UNKNOWN, method: "" };
}

/// As it is counted.
pub(super) fn outcome_of(ended: ReplyOutcome) -> Outcome {
    match ended {
        ReplyOutcome::Result => Outcome::OK,
        ReplyOutcome::Error(code) => Outcome::of_code(code),
    }
}

impl Connection {
    /// Answers a request that was never begun: a sync one in its turn, an async one at once. One that cannot be
    /// named is answered by an error notification.
    pub(super) fn fail(
        &mut self,
        asked_for: RequestedMethod<'_>,
        version: Version,
        kind: Kind,
        id: Option<&str>,
        failure: &RequestError,
        out: &mut Vec<u8>,
    ) {
        let RequestedMethod { counted, method } = asked_for;
        let asked_as = RequestKind::of_reply(kind);
        self.thread.cells.count_accepted(counted, asked_as);
        self.rejected(failure);
        let kind = if kind == Kind::AsyncResponse && id.is_none() { Kind::Error } else { kind };
        let asked = self.asked(version, kind, id);
        let ended = if kind == Kind::Sync && self.flights.lane_is_busy() {
            let mut reply = Vec::new();
            let ended = asked.fail(&mut reply, failure);
            self.flights.queue(SyncQueueEntry::Reply(reply));
            ended
        } else {
            asked.fail(out, failure)
        };
        self.tell_refused(id, failure, ended);
        self.answered(counted, asked_as, ended);
        if !self.is_notable(ended, Duration::ZERO) {
            return;
        }
        let id = id.unwrap_or("").trim_matches('"');
        let refused =
            AnsweredRequest { id, method, generation: None, queued: Duration::ZERO, ran: Duration::ZERO };
        self.note(&refused, ended, Time::now());
    }

    /// Answers a frame whose payload is not read: its id will never be known.
    pub(super) fn refuse_unread(&mut self, out: &mut Vec<u8>, header: Header, failure: &RequestError) {
        match header.kind {
            Kind::Sync => self.fail(RequestedMethod::UNKNOWN, header.version, Kind::Sync, None, failure, out),
            Kind::AsyncRequest => {
                let kind = Kind::AsyncResponse;
                self.fail(RequestedMethod::UNKNOWN, header.version, kind, None, failure, out);
            }
            kind => self.no_request(header.version, kind, out),
        }
    }

    /// Tells the peer of something that belongs to no request. In lines there is only one kind of reply, and each
    /// line has one in its turn.
    pub(super) fn refuse(&mut self, out: &mut Vec<u8>, version: Version, failure: &RequestError) {
        if self.manner.framing == Framing::Line {
            self.fail(RequestedMethod::UNKNOWN, version, Kind::Sync, None, failure, out);
            return;
        }
        self.rejected(failure);
        self.asked(version, Kind::Error, None).fail(out, failure);
        self.replied = true;
    }

    /// Counts what was turned away before anything of a plugin ran for it.
    pub(super) fn rejected(&self, failure: &RequestError) {
        if let Some(why) = failure.rejection() {
            self.thread.cells.count_rejected(why);
        }
    }

    /// Counts a reply, before it is written: who holds it in hand finds it counted.
    pub(super) fn answered(&mut self, counted: MethodId, kind: RequestKind, ended: ReplyOutcome) {
        self.replied = true;
        self.thread.cells.count_ended(counted, kind, outcome_of(ended));
    }
}

//! Requests that were slow or failed are kept for operators; what was fast and succeeded costs a comparison.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Connection;
use super::in_flight::InFlightRequest;
use super::refusal::outcome_of;
use crate::clock::Time;
use crate::metrics::{SlowLogEntry, printable_excerpt};
use crate::plugin::Generation;
use crate::routing::ReplyOutcome;

/// A request that was answered, as far as it is known.
pub(super) struct AnsweredRequest<'a> {
    pub(super) id: &'a str,
    pub(super) method: &'a str,
    /// What ran it, if anything did.
    pub(super) generation: Option<&'a Generation>,
    pub(super) queued: Duration,
    pub(super) ran: Duration,
}

impl Connection {
    /// Whether a request is to be kept that was answered so long after it was accepted.
    pub(super) fn is_notable(&self, ended: ReplyOutcome, length: Duration) -> bool {
        // What operators ask is not what they look for.
        !self.manner.admin
            && (ended != ReplyOutcome::Result || self.thread.dispatcher.metrics.slow_log.is_slow(length))
    }

    /// Keeps a request.
    #[cold]
    pub(super) fn note(&self, answered: &AnsweredRequest<'_>, ended: ReplyOutcome, now: Time) {
        let identity = answered.generation.map(|generation| &generation.identity);
        self.thread.dispatcher.metrics.slow_log.record(SlowLogEntry {
            at: SystemTime::now(),
            time: now,
            connection: self.number,
            peer: self.peer,
            id: printable_excerpt(answered.id),
            method: printable_excerpt(answered.method),
            ran_by: identity.map(|identity| (Arc::clone(&identity.plugin), identity.number)),
            queued: answered.queued,
            ran: answered.ran,
            outcome: outcome_of(ended),
        });
    }

    /// Keeps a request that was in flight, if it is to be kept.
    pub(super) fn note_flight(&self, flight: &InFlightRequest, ended: ReplyOutcome, now: Time) {
        let length = now.since(flight.accepted);
        if !self.is_notable(ended, length) {
            return;
        }
        let call = &flight.call;
        // One that was not begun has waited for all of its time.
        let queued = call.started_at().map_or(length, |began| began.since(flight.accepted));
        let answered = AnsweredRequest {
            id: call.facts.id.text(),
            method: call.generation.method_name(call.method),
            generation: Some(&call.generation),
            queued,
            ran: length.saturating_sub(queued),
        };
        self.note(&answered, ended, now);
    }
}

//! Requests that were slow or failed are kept for operators; what was fast and succeeded costs a comparison.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Connection;
use super::flight::Flight;
use super::refusal::outcome_of;
use crate::clock::Time;
use crate::dispatch::Ended;
use crate::metrics::{SlowEntry, kept};
use crate::plugin::Generation;

/// A request that was answered, as far as it is known.
pub(super) struct Answered<'a> {
    pub(super) id: &'a str,
    pub(super) method: &'a str,
    /// What ran it, if anything did.
    pub(super) generation: Option<&'a Generation>,
    pub(super) queued: Duration,
    pub(super) ran: Duration,
}

impl Connection {
    /// Whether a request is to be kept that was answered so long after it was accepted.
    pub(super) fn is_notable(&self, ended: Ended, length: Duration) -> bool {
        // What operators ask is not what they look for.
        !self.manner.admin
            && (ended != Ended::Result || self.thread.dispatcher.metrics.slowlog.is_slow(length))
    }

    /// Keeps a request.
    #[cold]
    pub(super) fn note(&self, answered: &Answered<'_>, ended: Ended, now: Time) {
        let identity = answered.generation.map(|generation| &generation.identity);
        self.thread.dispatcher.metrics.slowlog.keep(SlowEntry {
            at: SystemTime::now(),
            time: now,
            connection: self.number,
            peer: self.caller.peer(),
            id: kept(answered.id),
            method: kept(answered.method),
            ran_by: identity.map(|identity| (Arc::clone(&identity.plugin), identity.number)),
            queued: answered.queued,
            ran: answered.ran,
            outcome: outcome_of(ended),
        });
    }

    /// Keeps a request that was in flight, if it is to be kept.
    pub(super) fn note_flight(&self, flight: &Flight, ended: Ended, now: Time) {
        let length = now.since(flight.accepted);
        if !self.is_notable(ended, length) {
            return;
        }
        let call = &flight.call;
        // One that was not begun has waited for all of its time.
        let queued = call.began().map_or(length, |began| began.since(flight.accepted));
        let method = usize::try_from(call.method).ok().and_then(|place| call.generation.methods.get(place));
        let answered = Answered {
            id: call.facts.id.text(),
            method: method.map_or("", |method| &method.name),
            generation: Some(&call.generation),
            queued,
            ran: length.saturating_sub(queued),
        };
        self.note(&answered, ended, now);
    }
}

//! What the log says of single requests at `debug`: one id can be followed from its frame to its reply.

use std::time::Duration;

use jackfield_plugin_api::abi::CallFacts;

use super::Connection;
use super::in_flight::InFlightRequest;
use crate::clock::Time;
use crate::log::printable;
use crate::routing::{ReplyOutcome, RequestError, RouteTarget};

impl Connection {
    /// A request that goes elsewhere was accepted.
    pub(super) fn tell_accepted(&self, target: &RouteTarget, facts: &CallFacts<'_>) {
        tracing::debug!(
            conn = self.number,
            id = &*printable(facts.id.text()),
            method = target.generation.method_name(target.method),
            plugin = &*target.generation.identity.plugin,
            generation = target.generation.identity.number,
            "accepted"
        );
    }

    /// A request that was run here, in so long, was answered.
    pub(super) fn tell_ran_here(
        &self,
        target: &RouteTarget,
        facts: &CallFacts<'_>,
        run: Duration,
        ended: ReplyOutcome,
    ) {
        tracing::debug!(
            conn = self.number,
            id = &*printable(facts.id.text()),
            method = target.generation.method_name(target.method),
            plugin = &*target.generation.identity.plugin,
            generation = target.generation.identity.number,
            queue = ?Duration::ZERO,
            ?run,
            ?ended,
            "answered"
        );
    }

    /// A request that was in flight was answered.
    pub(super) fn tell_answered(&self, flight: &InFlightRequest, ended: ReplyOutcome, now: Time) {
        let call = &flight.call;
        // One that was never begun has waited all of its time.
        let begun = call.started_at().unwrap_or(now);
        tracing::debug!(
            conn = self.number,
            id = &*printable(call.facts.id.text()),
            method = call.generation.method_name(call.method),
            plugin = &*call.generation.identity.plugin,
            generation = call.generation.identity.number,
            queue = ?begun.since(flight.accepted),
            run = ?now.since(begun),
            ?ended,
            "answered"
        );
    }

    /// A request was refused; `id` is its JSON token, if it has one.
    pub(super) fn tell_refused(&self, id: Option<&str>, failure: &RequestError, ended: ReplyOutcome) {
        tracing::debug!(
            conn = self.number,
            id = &*printable(id.unwrap_or("none").trim_matches('"')),
            ?ended,
            "refused: {}",
            printable(&failure.message())
        );
    }
}

//! Log messages about single requests at level `debug`. One id can be followed from frame to reply.

use jackfield_plugin_api::INTERNAL_ERROR;
use jackfield_plugin_api::abi::CallFacts;

use super::finished_request::FinishedCall;
use crate::clock::Time;
use crate::log::printable;
use crate::plugin::Generation;
use crate::routing::{ReplyOutcome, RequestError};

/// Logs that a request was accepted that runs on another thread.
pub(super) fn accepted(connection: u64, generation: &Generation, method: u32, facts: &CallFacts<'_>) {
    tracing::debug!(
        conn = connection,
        id = &*printable(facts.id.text()),
        method = generation.method_name(method),
        plugin = &*generation.identity.plugin,
        generation = generation.identity.number,
        "request {} accepted: {}",
        printable(facts.id.text()),
        generation.method_name(method)
    );
}

/// Logs that an accepted request was answered.
pub(super) fn answered(connection: u64, call: &FinishedCall<'_>, outcome: ReplyOutcome, now: Time) {
    tracing::debug!(
        conn = connection,
        id = &*printable(call.facts.id.text()),
        method = call.generation.method_name(call.method),
        plugin = &*call.generation.identity.plugin,
        generation = call.generation.identity.number,
        queue = ?call.queued(now),
        run = ?call.ran(now),
        ended = ?outcome,
        "request {} answered: {}",
        printable(call.facts.id.text()),
        describe(outcome)
    );
}

/// Logs that a request was rejected. `id` is its JSON token, if it has one.
pub(super) fn rejected(connection: u64, id: Option<&str>, error: &RequestError, outcome: ReplyOutcome) {
    tracing::debug!(
        conn = connection,
        id = &*printable(bare(id)),
        ended = ?outcome,
        "request {} rejected: {}",
        printable(bare(id)),
        printable(&error.message())
    );
}

/// Returns the text of an id, which is a JSON token.
fn bare(id: Option<&str>) -> &str {
    id.unwrap_or("none").trim_matches('"')
}

fn describe(outcome: ReplyOutcome) -> String {
    match outcome {
        ReplyOutcome::Result => "result".to_owned(),
        ReplyOutcome::Error(code) => format!("error {code}"),
        ReplyOutcome::ResultTooLarge => format!("error {INTERNAL_ERROR}"),
    }
}

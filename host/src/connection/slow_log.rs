//! Entries of the slow log. A request that was fast and succeeded costs one comparison.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::finished_request::{FinishedRequest, Progress};
use super::identity::ConnectionIdentity;
use super::turn::Turn;
use crate::metrics::{Outcome, SlowLogEntry, printable_excerpt};

/// Adds a request to the slow log if it failed or was slow. `total` is the time from acceptance to
/// reply. Requests of operators are left out: they are not what operators look for.
#[inline]
pub(super) fn record(
    turn: &Turn<'_>,
    identity: &ConnectionIdentity,
    request: &FinishedRequest<'_>,
    outcome: Outcome,
    total: Duration,
) {
    let is_notable = outcome != Outcome::OK || turn.thread.dispatcher.metrics.slow_log.is_slow(total);
    if is_notable && !identity.options.admin {
        add(turn, identity, request, outcome);
    }
}

#[cold]
fn add(turn: &Turn<'_>, identity: &ConnectionIdentity, request: &FinishedRequest<'_>, outcome: Outcome) {
    let call = request.call();
    let (id, method) = match &request.progress {
        Progress::Rejected { id, method, .. } => (id.unwrap_or("").trim_matches('"'), *method),
        Progress::NotStarted { call, .. } | Progress::Ran(call) => {
            (call.facts.id.text(), call.generation.method_name(call.method))
        }
    };

    turn.thread.dispatcher.metrics.slow_log.record(SlowLogEntry {
        at: SystemTime::now(),
        time: turn.now,
        connection: identity.number,
        peer: identity.peer,
        id: printable_excerpt(id),
        method: printable_excerpt(method),
        ran_by: call.map(|call| {
            let identity = &call.generation.identity;
            (Arc::clone(&identity.plugin), identity.number)
        }),
        queued: call.map_or(Duration::ZERO, |call| call.queued(turn.now)),
        ran: call.map_or(Duration::ZERO, |call| call.ran(turn.now)),
        outcome,
    });
}

//! A request whose reply was made, as the metrics, the log and the slow log need it.

use std::time::Duration;

use jackfield_plugin_api::abi::CallFacts;
use jackfield_protocol::Timing;

use super::accepted_request::AcceptedRequest;
use super::in_flight::InFlightEntry;
use crate::clock::Time;
use crate::metrics::{MethodId, RequestKind};
use crate::plugin::Generation;
use crate::routing::RequestError;

/// A request whose reply was made.
pub(super) struct FinishedRequest<'a> {
    /// Name under which the metrics count it.
    pub(super) counted: MethodId,
    pub(super) kind: RequestKind,
    /// Whether the reply has room for a timing.
    pub(super) has_timing: bool,
    pub(super) progress: Progress<'a>,
}

/// How far a request came.
pub(super) enum Progress<'a> {
    /// It was rejected before it was accepted.
    Rejected {
        /// The JSON token of its id.
        id: Option<&'a str>,
        /// Empty if the request could not be read.
        method: &'a str,
        error: &'a RequestError,
    },
    /// It was accepted, but its generation did not take the call.
    NotStarted { call: FinishedCall<'a>, error: &'a RequestError },
    /// Its method ran, or its deadline passed before.
    Ran(FinishedCall<'a>),
}

/// The call of a finished request.
pub(super) struct FinishedCall<'a> {
    pub(super) generation: &'a Generation,
    pub(super) method: u32,
    pub(super) facts: &'a CallFacts<'a>,
    pub(super) accepted: Time,
    /// `None` if it was never begun.
    pub(super) begun: Option<Time>,
}

impl<'a> FinishedRequest<'a> {
    /// Describes a request that was in flight. `error` is its error, if it has one.
    pub(super) fn of_entry(
        entry: &'a InFlightEntry<AcceptedRequest>,
        error: Option<&'a RequestError>,
    ) -> Self {
        let AcceptedRequest { counted, reply, .. } = &entry.request;
        let finished = FinishedCall::of_accepted(&entry.request);

        let progress = match error {
            Some(error) if error.rejection().is_some() => Progress::NotStarted { call: finished, error },
            _ => Progress::Ran(finished),
        };
        Self {
            counted: *counted,
            kind: RequestKind::of_reply(reply.form.kind),
            has_timing: reply.form.has_timing,
            progress,
        }
    }

    /// Returns the call, unless the request was rejected before there was one.
    pub(super) fn call(&self) -> Option<&FinishedCall<'a>> {
        match &self.progress {
            Progress::Rejected { .. } => None,
            Progress::NotStarted { call, .. } | Progress::Ran(call) => Some(call),
        }
    }
}

impl<'a> FinishedCall<'a> {
    /// Describes the call of a request that was in flight.
    pub(super) fn of_accepted(request: &'a AcceptedRequest) -> Self {
        let call = &request.call;
        Self {
            generation: &call.generation,
            method: call.method,
            facts: &call.facts,
            accepted: request.accepted,
            begun: call.started_at(),
        }
    }

    /// Returns the time from acceptance to the reply.
    pub(super) fn total(&self, now: Time) -> Duration {
        now.since(self.accepted)
    }

    /// Returns the time from acceptance to the begin. A call that was never begun has only waited.
    pub(super) fn queued(&self, now: Time) -> Duration {
        self.begun.unwrap_or(now).since(self.accepted)
    }

    /// Returns the timing that the reply has.
    pub(super) fn timing(&self, now: Time) -> Timing {
        let micros = |length: Duration| u32::try_from(length.as_micros()).unwrap_or(u32::MAX);
        Timing {
            queued_us: micros(self.queued(now)),
            run_us: micros(self.ran(now)),
            generation: u32::try_from(self.generation.identity.number).unwrap_or(u32::MAX),
        }
    }

    /// Returns the time from the begin to the reply.
    pub(super) fn ran(&self, now: Time) -> Duration {
        now.since(self.begun.unwrap_or(now))
    }
}

//! The replies of a connection: every one is written, counted and logged here.

use jackfield_plugin_api::INTERNAL_ERROR;
use jackfield_protocol::{EnvelopeError, Framing, Id, Kind, Version};

use super::finished_request::{FinishedCall, FinishedRequest, Progress};
use super::pipeline::RequestPipeline;
use super::request_key::RequestKey;
use super::turn::Turn;
use super::{request_log, slow_log, span};
use crate::metrics::{Outcome, RequestKind, ThreadTotal};
use crate::routing::{CountedError, ReplyContext, ReplyOutcome, RequestError};

fn outcome_of(outcome: ReplyOutcome) -> Outcome {
    match outcome {
        ReplyOutcome::Result => Outcome::OK,
        ReplyOutcome::Error(code) => Outcome::of_code(code),
        ReplyOutcome::ResultTooLarge => Outcome::of_code(INTERNAL_ERROR),
    }
}

#[cold]
fn log_result_too_large(call: &FinishedCall<'_>, limit: u32) {
    let detail = format!("the result and its envelope do not fit in a frame of {limit} bytes (limits.frame)");
    call.generation.log_failure(call.method, call.facts, &detail);
}

impl RequestPipeline {
    /// Counts and logs a request whose reply was made, and adds it to the slow log if it failed or
    /// was slow. It is counted before the reply is written to the socket: a client that has a reply
    /// finds it in the metrics. `reply_at` is the offset of the reply in the output of the turn.
    #[inline]
    pub(super) fn finish(
        &self,
        turn: &mut Turn<'_>,
        request: &FinishedRequest<'_>,
        outcome: ReplyOutcome,
        reply_at: usize,
    ) {
        let cells = &turn.thread.cells;
        let connection = self.identity.number;
        let total = request.call().map_or_else(Default::default, |call| call.total(turn.now));

        if request.has_timing
            && let Some(call) = request.call()
        {
            call.timing(turn.now).stamp(&mut turn.buffers.out[reply_at..]);
        }

        match &request.progress {
            Progress::Ran(call) => {
                cells.count_run(request.counted, total);
                request_log::answered(connection, call, outcome, turn.now);
                if outcome == ReplyOutcome::ResultTooLarge {
                    log_result_too_large(call, turn.rules.limits.frame);
                }
            }
            Progress::NotStarted { error, .. } => count_rejection(turn, error),
            Progress::Rejected { id, error, .. } => {
                count_rejection(turn, error);
                request_log::rejected(connection, *id, error, outcome);
            }
        }

        let reply = outcome;
        let outcome = outcome_of(reply);
        turn.replies += 1;
        cells.count_ended(request.counted, request.kind, outcome);
        slow_log::record(turn, &self.identity, request, outcome, total);
        span::record(turn, request, reply, outcome);
    }

    /// Answers a request that was not accepted: a sync one after the previous ones, an async one at
    /// once. An async request without an id cannot be named; it is answered by an error
    /// notification.
    pub(super) fn reject(
        &mut self,
        turn: &mut Turn<'_>,
        mut context: ReplyContext<'_>,
        method: &str,
        rejection: &CountedError,
    ) {
        let CountedError { error, counted } = rejection;
        let kind = RequestKind::of_reply(context.form.kind);
        turn.thread.cells.count_accepted(*counted, kind);

        if context.form.kind == Kind::AsyncResponse && context.id.is_none() {
            context.form.kind = Kind::Error;
            // Only replies have an extension block.
            context.form.has_timing = false;
        }
        let outcome = if context.form.kind == Kind::Sync && self.in_flight.is_sync_busy() {
            let mut reply = Vec::new();
            let outcome = context.fail(&mut reply, error);
            self.in_flight.queue_reply(reply);
            outcome
        } else {
            context.fail(&mut turn.buffers.out, error)
        };

        let progress = Progress::Rejected { id: context.id, method, error };
        // A rejected request has no timing: the field of its reply stays zero.
        let finished = FinishedRequest { counted: *counted, kind, has_timing: false, progress };
        self.finish(turn, &finished, outcome, 0);
    }

    /// Answers a frame whose envelope is no request.
    pub(super) fn reject_envelope(
        &mut self,
        turn: &mut Turn<'_>,
        version: Version,
        kind: Kind,
        id: Option<Id<'_>>,
        error: EnvelopeError,
    ) {
        let context = self.reply_context(version, kind, id.map(|id| id.as_json()));
        let rejection = CountedError::of_unreadable(RequestError::Envelope(error));
        self.reject(turn, context, "", &rejection);
    }

    /// Reports an error that belongs to no request. In the line framing there is one kind of reply,
    /// and every line has one reply, which leaves after the previous ones.
    pub(super) fn report_error(&mut self, turn: &mut Turn<'_>, version: Version, error: RequestError) {
        if self.identity.options.framing == Framing::Line {
            let context = self.reply_context(version, Kind::Sync, None);
            self.reject(turn, context, "", &CountedError::of_unreadable(error));
            return;
        }

        count_rejection(turn, &error);
        self.reply_context(version, Kind::Error, None).fail(&mut turn.buffers.out, &error);
        turn.replies += 1;
    }

    /// Answers a request in flight with an error.
    pub(super) fn fail(&mut self, turn: &mut Turn<'_>, key: RequestKey, error: &RequestError) {
        let Some(entry) = self.in_flight.remove(key) else { return };

        let reply_at = turn.buffers.out.len();
        let outcome = Self::reply_context_of(&entry).fail(&mut turn.buffers.out, error);
        self.finish(turn, &FinishedRequest::of_entry(&entry, Some(error)), outcome, reply_at);
    }

    /// Takes the replies that other threads left.
    pub(super) fn take_replies(&mut self, turn: &mut Turn<'_>) {
        if !self.mailbox.is_filled() {
            return;
        }
        let mut delivered = std::mem::take(&mut turn.buffers.delivered);
        self.mailbox.take(&mut delivered, self.in_flight.len());

        delivered.drain(|reply, frame| {
            // A reply after the deadline is late even if the timer has not fired yet. A method that
            // waits for another one until their common deadline fails at that moment, and the
            // client must learn of the deadline and not of this consequence.
            let is_in_time = self.in_flight.get(reply.key).is_some_and(|entry| entry.deadline > turn.now);
            let Some(entry) = is_in_time.then(|| self.in_flight.remove(reply.key)).flatten() else {
                turn.thread.cells.add(ThreadTotal::LateResults, 1);
                return;
            };

            let reply_at = turn.buffers.out.len();
            turn.buffers.out.extend_from_slice(frame);
            self.finish(turn, &FinishedRequest::of_entry(&entry, None), reply.outcome, reply_at);
        });

        turn.buffers.delivered = delivered;
    }
}

/// Counts an error if it rejects something before code of a plugin ran for it.
pub(super) fn count_rejection(turn: &Turn<'_>, error: &RequestError) {
    if let Some(reason) = error.rejection() {
        turn.thread.cells.count_rejected(reason);
    }
}

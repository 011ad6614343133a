//! Requests that run on the connection's own thread: `inline` methods, and the first poll of
//! `async` methods that are always ready at it.

use std::time::Duration;

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{CallEnd, CallFacts};
use jackfield_protocol::ReplyHead;

use super::admitted::AdmittedRequest;
use crate::clock::Time;
use crate::connection::finished_request::{FinishedCall, FinishedRequest, Progress};
use crate::connection::pipeline::RequestPipeline;
use crate::connection::turn::Turn;
use crate::metrics::{RequestKind, ThreadTotal};
use crate::plugin::{CallPermits, Generation};
use crate::routing::{ReplyContext, ReplyOutcome, RequestError};

/// A call on this thread.
pub(super) struct LocalCall<'c> {
    pub(super) generation: &'c Generation,
    pub(super) method: u32,
    pub(super) timeout: Duration,
    pub(super) facts: &'c CallFacts<'c>,
    pub(super) reply: ReplyContext<'c>,
}

impl LocalCall<'_> {
    /// Runs an `inline` method and writes its reply into the output of the turn.
    pub(super) fn run(&self, turn: &mut Turn<'_>, params: &[u8]) -> ReplyOutcome {
        let head = self.reply.open(&mut turn.buffers.out);
        let begun = turn.now;
        let end = self.generation.run_inline(self.method, self.facts, params, &mut turn.buffers.out);

        // This reading of the clock also serves the next request.
        turn.now = Time::now();
        let length = turn.now.since(begun);
        if length > turn.rules.timeouts.inline {
            self.generation.record_inline_overrun(self.method, length);
        }

        self.close(turn, head, end)
    }

    /// Writes the end of the reply, or an error if the deadline has passed meanwhile.
    #[inline]
    fn close(&self, turn: &mut Turn<'_>, head: ReplyHead, end: CallEnd) -> ReplyOutcome {
        if turn.now.0 > self.facts.deadline {
            turn.thread.cells.add(ThreadTotal::LateResults, 1);
            // The plugin is at fault only if the method ran beyond the limit of the host.
            if turn.now.0 > self.facts.host_deadline {
                self.generation.record_timeout(self.facts.trial);
            }
            head.abandon(&mut turn.buffers.out);
            return self.reply.fail(&mut turn.buffers.out, &RequestError::DeadlineExceeded(self.timeout));
        }

        let plugin = &self.generation.identity.plugin;
        self.reply.close(head, &mut turn.buffers.out, end, plugin, turn.rules.limits.frame)
    }
}

impl RequestPipeline {
    /// Runs an `inline` method.
    pub(super) fn run_inline(&mut self, turn: &mut Turn<'_>, admitted: &AdmittedRequest<'_>) {
        self.count_accepted(turn, admitted);
        self.submit(turn);

        let facts = admitted.borrowed_facts(Run::Inline, &self.identity.origin);
        let call = admitted.local_call(&facts);
        let reply_at = turn.buffers.out.len();
        let outcome = call.run(turn, admitted.params());
        self.finish_local(turn, admitted, &call, outcome, reply_at);
    }

    /// Begins an `async` method that is usually ready at its first poll. If its future is not
    /// ready, the async thread of its generation continues with it.
    pub(super) fn poll_first(
        &mut self,
        turn: &mut Turn<'_>,
        admitted: &AdmittedRequest<'_>,
        permits: CallPermits,
    ) {
        self.submit(turn);
        // The permit is taken before anything runs: a request that has begun is not rejected.
        let Some(permit) = self.take_permit(turn, admitted) else { return };
        let accepted_call = admitted.accept(Run::Async, &self.identity.origin, permit, permits);
        self.count_accepted(turn, admitted);

        let facts = &accepted_call.facts;
        let call = admitted.local_call(facts);
        let reply_at = turn.buffers.out.len();
        let head = call.reply.open(&mut turn.buffers.out);
        let polled = call.generation.poll_first(call.method, facts, admitted.params(), &mut turn.buffers.out);
        turn.now = Time::now();
        call.generation.record_first_poll(call.method, polled.is_ok(), turn.now.since(admitted.accepted));

        match polled {
            Ok(end) => {
                let outcome = call.close(turn, head, end);
                self.finish_local(turn, admitted, &call, outcome, reply_at);
            }
            Err(suspended) => {
                head.abandon(&mut turn.buffers.out);
                self.log_accepted(admitted, &accepted_call);
                // The future has copied what it needs of the params.
                let key = self.track(turn, admitted, accepted_call, b"");
                self.resume_elsewhere(turn, key, suspended);
            }
        }
    }

    /// Finishes a request that was answered as soon as it was read.
    #[inline]
    fn finish_local(
        &self,
        turn: &mut Turn<'_>,
        admitted: &AdmittedRequest<'_>,
        call: &LocalCall<'_>,
        outcome: ReplyOutcome,
        reply_at: usize,
    ) {
        let accepted = admitted.accepted;
        let progress = Progress::Ran(FinishedCall {
            generation: call.generation,
            method: call.method,
            facts: call.facts,
            accepted,
            begun: Some(accepted),
        });
        let kind = RequestKind::of_reply(admitted.reply.form.kind);
        let has_timing = admitted.reply.form.has_timing;
        let finished = FinishedRequest { counted: admitted.target.counted, kind, has_timing, progress };
        self.finish(turn, &finished, outcome, reply_at);
    }
}

impl AdmittedRequest<'_> {
    #[inline]
    fn local_call<'c>(&'c self, facts: &'c CallFacts<'c>) -> LocalCall<'c> {
        LocalCall {
            generation: &self.target.generation,
            method: self.target.method,
            timeout: self.timeout(),
            facts,
            reply: self.reply,
        }
    }
}

//! Requests that run on the connection's own thread: `inline` methods, and the first poll of prompt `async` ones.

use std::sync::Arc;
use std::time::Duration;

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{CallEnd, CallFacts};
use jackfield_protocol::ReplyHead;

use super::Connection;
use super::request::AdmittedRequest;
use super::slow_log::AnsweredRequest;
use crate::clock::Time;
use crate::limits::Permit;
use crate::metrics::{RequestKind, ThreadTotal};
use crate::routing::{ReplyContext, ReplyOutcome, RequestError, RouteTarget};

impl Connection {
    /// Runs an `inline` method here and now, its result written straight into the thread's output.
    pub(super) fn run_inline(&mut self, admitted: AdmittedRequest<'_>, out: &mut Vec<u8>, now: &mut Time) {
        let accepted = *now;
        let facts = admitted.lent_facts(Run::Inline, accepted);
        let asked = self.asked(admitted.version, admitted.kind, admitted.id());
        self.cells_accepted(admitted);
        let ended = self.run_here(admitted.target, &facts, admitted.params(), asked, out, now);
        self.ran_at_once(admitted, &facts, ended, accepted, *now);
    }

    /// Runs an `inline` method and writes its reply.
    pub(super) fn run_here(
        &mut self,
        target: &RouteTarget,
        facts: &CallFacts<'_>,
        params: &[u8],
        asked: ReplyContext<'_>,
        out: &mut Vec<u8>,
        now: &mut Time,
    ) -> ReplyOutcome {
        self.hand_over(out, *now);
        let head = asked.open(out);
        let began = *now;
        let end = target.generation.run_inline(target.method, facts, params, out);
        // The next request's clock as well: one reading serves both.
        *now = Time::now();
        let length = now.since(began);
        if length > self.rules.timeouts.inline {
            target.generation.record_inline_overrun(target.method, length);
        }
        self.close(target, facts, asked, (head, end), out, *now)
    }

    /// Begins a prompt `async` method here. Is its future not ready, its plugin's own thread goes on with it.
    pub(super) fn run_first(
        &mut self,
        admitted: AdmittedRequest<'_>,
        route_permit: Option<Permit>,
        out: &mut Vec<u8>,
        now: &mut Time,
    ) {
        self.hand_over(out, *now);
        // Taken before anything runs: what was begun is not refused.
        let Some(permit) = self.permit_in_flight(admitted, out) else { return };
        let AdmittedRequest { target, version, kind, .. } = admitted;
        let accepted = *now;
        let id = admitted.id().map(Arc::from);
        let facts = Arc::new(admitted.own_facts(Run::Async, id.as_ref(), accepted));
        let asked = self.asked(version, kind, admitted.id());
        self.cells_accepted(admitted);
        let head = asked.open(out);
        let polled = target.generation.poll_first(target.method, &facts, admitted.params(), out);
        *now = Time::now();
        target.generation.record_first_poll(target.method, polled.is_ok(), now.since(accepted));
        match polled {
            Ok(end) => {
                let ended = self.close(target, &facts, asked, (head, end), out, *now);
                self.ran_at_once(admitted, &facts, ended, accepted, *now);
            }
            Err(suspended) => {
                head.abandon(out);
                self.tell_accepted(target, &facts);
                // The future has of the params what it needs.
                let key = self.enlist(admitted, (facts, id), b"", permit, route_permit, accepted);
                self.go_on(key, suspended, out, *now);
            }
        }
    }

    /// Writes the reply to what has run here.
    #[inline]
    fn close(
        &self,
        target: &RouteTarget,
        facts: &CallFacts<'_>,
        asked: ReplyContext<'_>,
        (head, end): (ReplyHead, CallEnd),
        out: &mut Vec<u8>,
        now: Time,
    ) -> ReplyOutcome {
        if now.0 > facts.deadline {
            self.thread.cells.add(ThreadTotal::LateResults, 1);
            target.generation.record_timeout();
            head.abandon(out);
            return asked.fail(out, &RequestError::DeadlineExceeded(target.timeout));
        }
        asked.close(head, out, end, &target.generation.identity.plugin, self.rules.limits.frame)
    }

    /// Counts a request that was answered as soon as it was read.
    #[inline]
    fn ran_at_once(
        &mut self,
        admitted: AdmittedRequest<'_>,
        facts: &CallFacts<'_>,
        ended: ReplyOutcome,
        accepted: Time,
        now: Time,
    ) {
        let AdmittedRequest { target, request, kind, .. } = admitted;
        let length = now.since(accepted);
        self.thread.cells.count_run(target.counted, length);
        self.tell_ran_here(target, facts, length, ended);
        self.answered(target.counted, RequestKind::of_reply(kind), ended);
        if self.is_notable(ended, length) {
            let (id, generation) = (facts.id.text(), Some(&*target.generation));
            let (queued, method) = (Duration::ZERO, &*request.method);
            self.note(&AnsweredRequest { id, method, generation, queued, ran: length }, ended, now);
        }
    }
}

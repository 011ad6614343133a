//! Where a request runs: decided once when it is admitted, and again when it leaves the sync queue.

use jackfield_plugin_api::Run;
use jackfield_protocol::Kind;

use super::admitted::AdmittedRequest;
use super::local::LocalCall;
use crate::connection::finished_request::FinishedRequest;
use crate::connection::pipeline::RequestPipeline;
use crate::connection::request_key::RequestKey;
use crate::connection::sync_queue::SyncQueueEntry;
use crate::connection::turn::Turn;
use crate::plugin::CallPermits;
use crate::routing::RequestError;

impl RequestPipeline {
    /// Executes an admitted request. It is answered when this returns, or in flight.
    pub(in crate::connection) fn execute(
        &mut self,
        turn: &mut Turn<'_>,
        admitted: &AdmittedRequest<'_>,
        permits: CallPermits,
    ) {
        let target = admitted.target;
        let must_wait = admitted.reply.form.kind == Kind::Sync && self.in_flight.is_sync_busy();

        match target.run() {
            Run::Inline if !must_wait => self.run_inline(turn, admitted),
            Run::Async if !must_wait && target.generation.allows_inline_polling(target.method) => {
                self.poll_first(turn, admitted, permits);
            }
            run => self.start_or_queue(turn, admitted, run, permits),
        }
    }

    /// Executes the requests in the sync queue until one of them runs on another thread, or the
    /// quota of the turn is used up.
    pub(in crate::connection) fn run_sync_queue(&mut self, turn: &mut Turn<'_>) {
        while !turn.quota.is_used_up()
            && let Some(next) = self.in_flight.next_queued()
        {
            match next {
                SyncQueueEntry::Reply(frame) => turn.buffers.out.extend_from_slice(&frame),
                SyncQueueEntry::Call(key) => self.execute_queued(turn, key),
            }
        }
    }

    fn execute_queued(&mut self, turn: &mut Turn<'_>, key: RequestKey) {
        let Some(entry) = self.in_flight.get(key) else { return };
        let call = &entry.request.call;

        if entry.is_cancelled() {
            self.fail(turn, key, &RequestError::Cancelled);
        } else if entry.is_expired(turn.now) {
            call.cancel();
            let error = turn.deadline_error(entry.timeout);
            self.fail(turn, key, &error);
        } else if call.facts.run == Run::Inline {
            self.run_queued_inline(turn, key);
        } else {
            self.start(turn, key);
        }
    }

    fn run_queued_inline(&mut self, turn: &mut Turn<'_>, key: RequestKey) {
        self.submit(turn);
        let Some(entry) = self.in_flight.remove(key) else { return };
        let call = &entry.request.call;
        call.mark_started(turn.now);

        let local = LocalCall {
            generation: &call.generation,
            method: call.method,
            timeout: entry.timeout,
            facts: &call.facts,
            reply: Self::reply_context_of(&entry),
        };
        let reply_at = turn.buffers.out.len();
        let outcome = local.run(turn, &call.params);
        self.finish(turn, &FinishedRequest::of_entry(&entry, None), outcome, reply_at);
        turn.quota.take(turn.now);
    }
}

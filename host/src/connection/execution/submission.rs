//! Requests that run on a thread of their generation.

use std::sync::Arc;

use jackfield_plugin_api::Run;
use jackfield_protocol::Kind;

use super::admitted::{AcceptedCall, AdmittedRequest};
use crate::clock::Time;
use crate::connection::accepted_request::AcceptedRequest;
use crate::connection::mailbox::MailboxSink;
use crate::connection::pipeline::RequestPipeline;
use crate::connection::request_key::RequestKey;
use crate::connection::request_log;
use crate::connection::span;
use crate::connection::turn::Turn;
use crate::limits::Permit;
use crate::metrics::RequestKind;
use crate::plugin::{CallPermits, PluginCall, SuspendedCall};
use crate::routing::{CountedError, ExhaustedResource, RequestError};

impl RequestPipeline {
    /// Starts a request on a thread of its generation, or puts it into the sync queue.
    pub(super) fn start_or_queue(
        &mut self,
        turn: &mut Turn<'_>,
        admitted: &AdmittedRequest<'_>,
        run: Run,
        permits: CallPermits,
    ) {
        let Some(permit) = self.take_permit(turn, admitted) else { return };
        let call = admitted.accept(run, &self.identity.origin, permit, permits);
        self.count_accepted(turn, admitted);
        self.log_accepted(admitted, &call);

        let must_wait = admitted.reply.form.kind == Kind::Sync && self.in_flight.is_sync_busy();
        let key = self.track(turn, admitted, call, admitted.params());
        if must_wait {
            self.in_flight.queue_call(key);
        } else {
            self.start(turn, key);
        }
    }

    /// Takes a place among the requests in flight of all connections. Without one, the request is
    /// rejected.
    pub(super) fn take_permit(
        &mut self,
        turn: &mut Turn<'_>,
        admitted: &AdmittedRequest<'_>,
    ) -> Option<Permit> {
        let dispatcher = &turn.thread.dispatcher;
        let is_admin = self.identity.options.admin;
        let permits = if is_admin { &dispatcher.admin_in_flight } else { &dispatcher.in_flight };

        let permit = permits.take();
        if permit.is_none() {
            let error = RequestError::Overloaded(ExhaustedResource::InFlight);
            span::record_rejected(turn, &self.identity, admitted.request, &error);
            let rejection = CountedError { error, counted: admitted.target.counted };
            self.reject(turn, admitted.reply, &admitted.request.method, &rejection);
        }
        permit
    }

    pub(super) fn count_accepted(&self, turn: &Turn<'_>, admitted: &AdmittedRequest<'_>) {
        let kind = RequestKind::of_reply(admitted.reply.form.kind);
        turn.thread.cells.count_accepted(admitted.target.counted, kind);
    }

    pub(super) fn log_accepted(&self, admitted: &AdmittedRequest<'_>, call: &AcceptedCall) {
        let target = admitted.target;
        request_log::accepted(self.identity.number, &target.generation, target.method, &call.facts);
    }

    /// Adds a request to those in flight. Its reply comes from another thread.
    pub(super) fn track(
        &mut self,
        turn: &Turn<'_>,
        admitted: &AdmittedRequest<'_>,
        call: AcceptedCall,
        params: &[u8],
    ) -> RequestKey {
        let AdmittedRequest { target, reply, accepted, .. } = *admitted;
        let AcceptedCall { id, facts, permit, permits } = call;
        let deadline = Time(facts.deadline);

        let sink = MailboxSink {
            mailbox: Arc::clone(&self.mailbox),
            key: self.in_flight.next_key(),
            reply: reply.without_id(),
            id: id.clone(),
            plugin: Arc::clone(&target.generation.identity.plugin),
            limit: turn.rules.limits.frame,
        };
        let generation = Arc::clone(&target.generation);
        let call =
            PluginCall::new(facts, generation, target.method, params, sink, permits, self.identity.caller());

        let request = AcceptedRequest {
            reply: reply.without_id(),
            counted: target.counted,
            accepted,
            call,
            _permit: permit,
        };
        self.in_flight.insert(id, deadline, admitted.timeout(), params.len(), request)
    }

    /// Starts a request in flight: its call goes to its generation with the next
    /// [submission](RequestPipeline::submit).
    pub(super) fn start(&mut self, turn: &mut Turn<'_>, key: RequestKey) {
        let Some(entry) = self.in_flight.get(key) else { return };
        let call = Arc::clone(&entry.request.call);
        if entry.request.reply.form.kind == Kind::Sync {
            self.in_flight.set_running(key);
        }

        if !turn.buffers.submissions.accepts(&call) {
            self.submit(turn);
        }
        turn.buffers.submissions.push(key, call);
    }

    /// Submits the calls that were started. This happens before a method runs on this thread, and
    /// at the latest when a round of the turn ends.
    #[inline]
    pub(in crate::connection) fn submit(&mut self, turn: &mut Turn<'_>) {
        if !turn.buffers.submissions.is_empty() {
            self.submit_all(turn);
        }
    }

    fn submit_all(&mut self, turn: &mut Turn<'_>) {
        let mut batch = std::mem::take(&mut turn.buffers.submissions);
        let generation = Arc::clone(&batch.calls[0].generation);
        let run = batch.calls[0].facts.run;
        let mut waiting = batch.calls.drain(..);

        // The first call that is left was not taken. The calls behind it are tried once more.
        while let Err(reason) = generation.submit(run, &mut waiting) {
            let Some(call) = waiting.next() else { break };
            let key = batch.keys[batch.keys.len() - 1 - waiting.len()];
            call.cancel();
            self.fail(turn, key, &RequestError::not_submitted(reason, &generation.identity.plugin));
        }

        drop(waiting);
        batch.keys.clear();
        turn.buffers.submissions = batch;
    }

    /// Lets the async thread of the generation continue with a future that was begun on this
    /// thread.
    pub(super) fn resume_elsewhere(
        &mut self,
        turn: &mut Turn<'_>,
        key: RequestKey,
        suspended: SuspendedCall,
    ) {
        let Some(entry) = self.in_flight.get(key) else { return };
        let call = Arc::clone(&entry.request.call);
        if entry.request.reply.form.kind == Kind::Sync {
            self.in_flight.set_running(key);
        }

        if let Err(reason) = call.generation.resume(&call, suspended) {
            call.cancel();
            self.fail(turn, key, &RequestError::not_submitted(reason, &call.generation.identity.plugin));
        }
    }
}

//! The start of a call that the embedding program makes, through the same routes, limits, deadlines
//! and queues as the requests of clients. Lists of users do not apply: the program is the host.
//!
//! An `inline` method runs on the calling thread. How the program waits for other methods is in
//! `program_wait.rs`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{
    CallContext, CallEnd, CallFacts, CallerRef, Cancellation, Content, RequestId,
};

use super::dispatcher::Dispatcher;
use super::exhausted_resource::ExhaustedResource;
use super::gate::StateTransferGate;
use super::inline_runner::is_io_thread;
use super::nested_call::{PendingCall, admit};
use super::program_accounting::{CountedCall, ProgramContext};
use super::program_reply::{
    PendingProgramCall, ProgramError, ProgramReply, ProgramSink, SharedReply, end_of,
};
use super::program_thread::ThreadDepth;
use super::reply_slot::into_reply;
use super::request_error::RequestError;
use super::table::{Found, Requester, RouteTarget};
use crate::clock::Time;
use crate::plugin::{CallPermits, Caller, PluginCall, ReplySlot};

/// A call that the program wants to make.
#[derive(Clone, Copy)]
pub(crate) struct ProgramRequest<'a> {
    pub(crate) method: &'a str,
    pub(crate) params: &'a [u8],
    pub(crate) content: Content,

    /// How long the program waits; `None` for the time-out of the route.
    pub(crate) timeout: Option<Duration>,
    pub(crate) id: Option<&'a str>,
    pub(crate) context: Option<&'a ProgramContext>,

    /// Whether the calling thread waits for the reply.
    pub(crate) is_waiting: bool,

    /// When the program asked for the call. The time at a gate counts.
    pub(crate) asked: Time,
}

/// A call that was started, or is to be started later.
pub(crate) enum StartedProgramCall {
    Ended(ProgramReply),
    Pending(PendingProgramCall),

    /// The called plugin is being replaced: start again when this gate is open.
    Held(Arc<StateTransferGate>),
}

/// When a call is late: for the program, and for the host.
#[derive(Clone, Copy)]
struct ProgramDeadlines {
    effective: Time,
    of_host: Time,
}

impl ProgramDeadlines {
    fn of(request: &ProgramRequest<'_>, target: &RouteTarget, now: Time) -> Result<Self, RequestError> {
        let of_host = now.after(target.timeout);
        let effective = request.timeout.map_or(of_host, |timeout| request.asked.after(timeout).min(of_host));
        if effective <= now && effective < of_host {
            return Err(RequestError::DeadlineExceeded(request.timeout.unwrap_or_default()));
        }
        Ok(Self { effective, of_host })
    }
}

impl Dispatcher {
    /// Starts a call. It ends in every case: an error is a reply, too.
    pub(crate) fn start_program_call(self: &Arc<Self>, request: &ProgramRequest<'_>) -> StartedProgramCall {
        if self.phase.is_draining() {
            return self.reject_program_call(request, RequestError::GoingAway);
        }
        let table = self.table.load();
        let target = match table.find(request.method, Requester::Plugin) {
            Ok(Found::Open(target)) => target,
            Ok(Found::Held(held)) => return StartedProgramCall::Held(Arc::clone(&held.gate)),
            Err(unreachable) => return self.reject_program_call(request, unreachable.error),
        };

        let run = target.run();
        if request.is_waiting && run != Run::Inline && is_io_thread() {
            let error = RequestError::WouldWait(request.method.to_owned());
            return self.reject_program_call(request, error);
        }
        let now = Time::now();
        let admitted = ProgramDeadlines::of(request, target, now)
            .and_then(|deadlines| Ok((deadlines, admit(target, now)?)));
        let (deadlines, permits) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => return self.reject_program_call(request, error),
        };

        if run == Run::Inline {
            return match ThreadDepth::enter() {
                Ok(_depth) => {
                    let reply = self.run_for_program(request, target, deadlines, &permits, now);
                    StartedProgramCall::Ended(reply)
                }
                Err(error) => self.reject_program_call(request, error),
            };
        }
        match self.submit_for_program(request, target, run, deadlines, permits, now) {
            Ok(pending) => StartedProgramCall::Pending(pending),
            Err(error) => self.reject_program_call(request, error),
        }
    }

    #[cold]
    fn reject_program_call(
        self: &Arc<Self>,
        request: &ProgramRequest<'_>,
        error: RequestError,
    ) -> StartedProgramCall {
        let counted = self.table.load().counted(request.method);
        self.count_program_rejection(counted, request.method, request.id, &error);
        StartedProgramCall::Ended(Err(error.into()))
    }

    /// Runs an `inline` method on this thread.
    fn run_for_program(
        self: &Arc<Self>,
        request: &ProgramRequest<'_>,
        target: &RouteTarget,
        deadlines: ProgramDeadlines,
        permits: &CallPermits,
        now: Time,
    ) -> ProgramReply {
        let generation = &*target.generation;
        let id = RequestId::new(request.id.map(Cow::Borrowed), new_id);
        let facts = CallFacts {
            run: Run::Inline,
            trial: permits.trial_number(),
            ..self.program_facts(request, deadlines, id, CallerRef::Borrowed(&self.program))
        };
        self.count_program_call(target.counted);

        let mut out = Vec::new();
        let end = if is_io_thread() {
            generation.run_inline(target.method, &facts, request.params, &mut out)
        } else {
            generation.run_on_program_thread(target.method, &facts, request.params, &mut out)
        };
        let ended = Time::now();
        let length = ended.since(now);
        if length > self.rules.load().timeouts.inline {
            generation.record_inline_overrun(target.method, length);
        }

        let reply = if ended > deadlines.effective {
            self.count_late_result();
            if ended > deadlines.of_host {
                generation.record_timeout(facts.trial);
            }
            Err(RequestError::DeadlineExceeded(deadlines.effective.since(now)).into())
        } else {
            let is_of_method = matches!(end, CallEnd::Failed { .. });
            into_reply(end, out, &generation.identity.plugin)
                .map_err(|error| ProgramError { error, is_of_method })
        };
        let call = CountedCall {
            generation,
            method: target.method,
            counted: target.counted,
            facts: &facts,
            accepted: now,
            begun: Some(now),
        };
        self.finish_program_call(&call, ended, end_of(&reply));
        reply
    }

    /// Submits a call to what runs its method.
    fn submit_for_program(
        self: &Arc<Self>,
        request: &ProgramRequest<'_>,
        target: &RouteTarget,
        run: Run,
        deadlines: ProgramDeadlines,
        permits: CallPermits,
        now: Time,
    ) -> Result<PendingProgramCall, RequestError> {
        let permit = self.in_flight.take().ok_or(RequestError::Overloaded(ExhaustedResource::InFlight))?;
        let id = RequestId::new(request.id.map(|id| Cow::Owned(id.to_owned())), new_id);
        let caller = CallerRef::Shared(Arc::clone(&self.program));
        let facts = CallFacts {
            run,
            trial: permits.trial_number(),
            ..self.program_facts(request, deadlines, id, caller)
        };

        let slot = Arc::new(ReplySlot::default());
        let shared = Arc::new(SharedReply::new(Arc::clone(&slot), permit));
        let generation = Arc::clone(&target.generation);
        let sink =
            ProgramSink { reply: Arc::clone(&shared), plugin: Arc::clone(&generation.identity.plugin) };
        let call: Arc<PluginCall> = PluginCall::new(
            Arc::new(facts),
            generation,
            target.method,
            request.params,
            sink,
            permits,
            Caller::Program,
        );

        // Before the call can end.
        let watched = self.deadlines.add(deadlines.effective, &slot);
        call.generation
            .submit(run, &mut std::iter::once(Arc::clone(&call)))
            .map_err(|error| RequestError::not_submitted(error, &call.generation.identity.plugin))?;
        self.count_program_call(target.counted);

        let pending = PendingCall::new(slot, call, deadlines.effective.since(now));
        Ok(PendingProgramCall::new(pending, shared, watched, self.weak_self.clone(), target.counted, now))
    }

    /// Returns what the method may ask about its call.
    fn program_facts<'f>(
        &self,
        request: &ProgramRequest<'_>,
        deadlines: ProgramDeadlines,
        id: RequestId<'f>,
        caller: CallerRef<'f>,
    ) -> CallFacts<'f> {
        CallFacts {
            host_deadline: deadlines.of_host.0,
            content: request.content,
            caller,
            context: match request.context {
                Some(context) => self.program_context(context),
                None => self.root_context(),
            },
            deadline: deadlines.effective.0,
            id,
            depth: 0,
            run: Run::Inline,
            trial: None,
            cancelled: Cancellation::default(),
        }
    }

    /// Returns the context of a call for which the program gave none.
    fn root_context(&self) -> Option<Arc<CallContext>> {
        let tracer = self.tracer.get().filter(|tracer| tracer.records_roots())?;
        let trace = tracer.begin(None, None)?;
        Some(Arc::new(CallContext { trace: Some(trace), meta: None }))
    }
}

/// Creates an id for a call without one, when a log message or a plugin asks for it.
fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

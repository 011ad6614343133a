//! A frame becomes a request, is admitted, run and answered.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::Guard;
use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{CallFacts, RequestId};
use jackfield_protocol::{EnvelopeError, Kind, Request, Version, write_heartbeat};

use super::Connection;
use super::flight::{Accepted, Turn};
use super::mailbox::ToConnection;
use super::notable::Answered;
use super::refusal::AskedFor;
use crate::clock::Time;
use crate::dispatch::{Asked, Asker, Ended, Failure, Opened, Scarce, Table, Target, Unreachable};
use crate::limits::{Permit, Permits};
use crate::metrics::{RequestKind, Total};
use crate::plugin::Call;

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn owned<'a>(id: Option<Cow<'a, str>>) -> RequestId<'a> {
    RequestId::new(id, new_id)
}

/// The right to be begun there, and the route's permit if it has a limit.
fn enter(target: &Target, now: Time) -> Result<Option<Permit>, Failure> {
    target.generation.admit(now).map_err(|retry_after| {
        let plugin = target.generation.identity.plugin.to_string();
        Failure::PluginUnavailable { plugin, retry_after }
    })?;
    let Some(permits) = &target.permits else { return Ok(None) };
    Permits::take(permits).map(Some).ok_or(Failure::Overloaded(Scarce::Route))
}

impl Connection {
    /// One whole frame.
    pub(super) fn frame(
        &mut self,
        table: &Guard<Arc<Table>>,
        version: Version,
        kind: Kind,
        payload: &[u8],
        out: &mut Vec<u8>,
        now: &mut Time,
    ) {
        match kind {
            Kind::Sync => self.request(table, version, Kind::Sync, payload, out, now),
            Kind::AsyncRequest => self.request(table, version, Kind::AsyncResponse, payload, out, now),
            Kind::Heartbeat | Kind::Error | Kind::AsyncResponse | Kind::Other(_) => {
                self.no_request(version, kind, out);
            }
        }
    }

    /// A frame that asks for nothing; its payload is not looked into.
    pub(super) fn no_request(&mut self, version: Version, kind: Kind, out: &mut Vec<u8>) {
        match kind {
            Kind::Sync | Kind::AsyncRequest => {}
            Kind::Heartbeat => {
                self.thread.cells.add(Total::Heartbeats, 1);
                write_heartbeat(out, version);
            }
            Kind::Error | Kind::AsyncResponse => {
                let failure = Failure::ServerKind(kind);
                self.rejected(&failure);
                self.asked(version, Kind::Error, None).fail(out, &failure);
            }
            // What the user's Go server does with a kind it does not know.
            Kind::Other(_) => self.thread.cells.add(Total::UnknownKinds, 1),
        }
    }

    pub(super) fn asked<'a>(&self, version: Version, kind: Kind, id: Option<&'a str>) -> Asked<'a> {
        Asked { framing: self.manner.framing, version, kind, id }
    }

    fn request(
        &mut self,
        table: &Guard<Arc<Table>>,
        version: Version,
        kind: Kind,
        payload: &[u8],
        out: &mut Vec<u8>,
        now: &mut Time,
    ) {
        let (request, id) = match Request::parse(payload) {
            Ok(request) => {
                let id = request.id.map(|id| id.as_json());
                (request, id)
            }
            Err(rejected) => {
                let id = rejected.id.map(|id| id.as_json());
                let failure = Failure::Envelope(rejected.error);
                self.fail(AskedFor::UNKNOWN, version, kind, id, &failure, out);
                return;
            }
        };
        let target = match self.admit(table, &request, kind) {
            Ok(target) => target,
            Err(Unreachable { failure, counted }) => {
                self.fail(AskedFor { counted, method: &request.method }, version, kind, id, &failure, out);
                return;
            }
        };
        if let Some(gate) = &target.held {
            self.waits = Some(Opened::of(gate));
            return;
        }
        let permit = match enter(target, *now) {
            Ok(permit) => permit,
            Err(failure) => {
                let asked_for = AskedFor { counted: target.counted, method: &request.method };
                self.fail(asked_for, version, kind, id, &failure, out);
                return;
            }
        };
        let waits = kind == Kind::Sync && self.flights.lane_is_busy();
        let run = target.run();
        if run == Run::Inline && !waits {
            self.run_inline(target, version, kind, &request, out, now);
        } else {
            self.take_off(target, version, kind, &request, permit, out, *now);
        }
    }

    /// Whether the request may be begun, and where it goes.
    fn admit<'t>(
        &self,
        table: &'t Guard<Arc<Table>>,
        request: &Request<'_>,
        kind: Kind,
    ) -> Result<&'t Target, Unreachable> {
        let refused = |failure| Err(Unreachable { failure, counted: table.counted(&request.method) });
        match request.id {
            Some(id) if self.flights.has_id(id.as_json()) => return refused(Failure::DuplicateId),
            None if kind == Kind::AsyncResponse => {
                return refused(Failure::Envelope(EnvelopeError::IdMissing));
            }
            _ => {}
        }
        if self.thread.draining.get() {
            return refused(Failure::GoingAway);
        }
        if self.thread.dispatcher.budget.is_spent() && !self.manner.admin && self.holds_anything() {
            return refused(Failure::Overloaded(Scarce::Buffers));
        }
        let found = table.find(&request.method, Asker::Client(self.peer));
        if let Err(Unreachable { failure: Failure::PermissionDenied, .. }) = &found {
            let doors = &self.thread.dispatcher.doors;
            doors.tell_of_request(self.number, &request.method, self.peer);
        }
        found
    }

    /// Runs it here and now, its result written straight into the thread's output.
    fn run_inline(
        &mut self,
        target: &Target,
        version: Version,
        kind: Kind,
        request: &Request<'_>,
        out: &mut Vec<u8>,
        now: &mut Time,
    ) {
        let facts = CallFacts {
            deadline: now.after(target.timeout).0,
            id: owned(request.id.map(|id| id.text())),
            depth: 0,
            run: Run::Inline,
            cancelled: AtomicBool::new(false),
        };
        let params = request.params.map_or(&b""[..], |params| params.get().as_bytes());
        let asked = self.asked(version, kind, request.id.map(|id| id.as_json()));
        let (asked_as, accepted) = (RequestKind::of_reply(kind), *now);
        self.thread.cells.accepted(target.counted, asked_as);
        let ended = self.run_here(target, &facts, params, asked, out, now);
        let length = now.since(accepted);
        self.thread.cells.ran(target.counted, length);
        self.tell_ran_here(target, &facts, length, ended);
        self.answered(target.counted, asked_as, ended);
        if self.is_notable(ended, length) {
            let (id, generation) = (facts.id.text(), Some(&*target.generation));
            let (queued, method) = (Duration::ZERO, &*request.method);
            self.note(&Answered { id, method, generation, queued, ran: length }, ended, *now);
        }
    }

    pub(super) fn run_here(
        &mut self,
        target: &Target,
        facts: &CallFacts<'_>,
        params: &[u8],
        asked: Asked<'_>,
        out: &mut Vec<u8>,
        now: &mut Time,
    ) -> Ended {
        let head = asked.open(out);
        let began = *now;
        let end = target.generation.run_direct(target.method, facts, params, out);
        // The next request's clock as well: one reading serves both.
        *now = Time::now();
        let length = now.since(began);
        if length > self.rules.timeouts.inline {
            target.generation.held_up(target.method, length);
        }
        if now.0 > facts.deadline {
            self.thread.cells.add(Total::LateResults, 1);
            target.generation.timed_out();
            head.abandon(out);
            return asked.fail(out, &Failure::DeadlineExceeded(target.timeout));
        }
        let limit = self.rules.limits.frame;
        asked.close(head, out, end, &target.generation.identity.plugin, limit)
    }

    /// Sends it to a thread of its generation, or into the lane to wait for its turn.
    #[expect(clippy::too_many_arguments, reason = "the request in its parts, taken apart once")]
    fn take_off(
        &mut self,
        target: &Target,
        version: Version,
        kind: Kind,
        request: &Request<'_>,
        route_permit: Option<Permit>,
        out: &mut Vec<u8>,
        now: Time,
    ) {
        let id = request.id.map(|id| id.as_json());
        let dispatcher = &self.thread.dispatcher;
        let permits = if self.manner.admin { &dispatcher.operators_in_flight } else { &dispatcher.in_flight };
        let Some(permit) = permits.take() else {
            let failure = Failure::Overloaded(Scarce::InFlight);
            self.fail(
                AskedFor { counted: target.counted, method: &request.method },
                version,
                kind,
                id,
                &failure,
                out,
            );
            return;
        };
        let run = target.run();
        let deadline = now.after(target.timeout);
        let facts = CallFacts {
            deadline: deadline.0,
            id: owned(request.id.map(|id| Cow::Owned(id.text().into_owned()))),
            depth: 0,
            run,
            cancelled: AtomicBool::new(false),
        };
        let plugin = &target.generation.identity.plugin;
        self.tell_accepted(target, &facts);
        let answer = Box::new(ToConnection {
            mailbox: Arc::clone(&self.mailbox),
            key: self.flights.next_key(),
            framing: self.manner.framing,
            version,
            kind,
            id: id.map(Into::into),
            plugin: Arc::clone(plugin),
            limit: self.rules.limits.frame,
        });
        let params = request.params.map_or(&b""[..], |params| params.get().as_bytes());
        let generation = Arc::clone(&target.generation);
        let call = Call::new(facts, generation, target.method, run, params, answer, route_permit);
        let timeout = target.timeout;
        let busy = self.flights.lane_is_busy();
        let counted = target.counted;
        let accepted = Accepted { version, kind, id, counted, accepted: now, deadline, timeout, run };
        let key = self.flights.add(accepted, call, permit);
        self.thread.cells.accepted(counted, RequestKind::of_reply(kind));
        if kind == Kind::Sync && busy {
            self.flights.queue(Turn::Call(key));
        } else {
            self.start(key, out, now);
        }
    }
}

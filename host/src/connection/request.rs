//! A frame becomes a request, is admitted, run and answered.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::Guard;
use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{CallFacts, RequestId};
use jackfield_protocol::{EnvelopeError, Kind, Request, Version, write_heartbeat};

use super::Connection;
use super::flight::{Key, Turn};
use super::mailbox::ToConnection;
use crate::clock::Time;
use crate::dispatch::{Asked, Ended, Failure, Opened, Table, Target};
use crate::limits::{Permit, Permits};
use crate::log::printable;
use crate::plugin::Call;

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn owned<'a>(id: Option<Cow<'a, str>>) -> RequestId<'a> {
    RequestId::new(id, new_id)
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
                self.tally.heartbeats += 1;
                write_heartbeat(out, version);
            }
            Kind::Error | Kind::AsyncResponse => {
                self.asked(version, Kind::Error, None).fail(out, &Failure::ServerKind(kind));
            }
            // What the user's Go server does with a kind it does not know.
            Kind::Other(_) => self.tally.unknown_kinds += 1,
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
        self.tally.requests += 1;
        let (request, id) = match Request::parse(payload) {
            Ok(request) => {
                let id = request.id.map(|id| id.as_json());
                (request, id)
            }
            Err(rejected) => {
                let id = rejected.id.map(|id| id.as_json());
                self.fail(version, kind, id, &Failure::Envelope(rejected.error), out);
                return;
            }
        };
        let target = match self.admit(table, &request, kind) {
            Ok(target) => target,
            Err(failure) => {
                self.fail(version, kind, id, &failure, out);
                return;
            }
        };
        if let Some(gate) = &target.held {
            self.tally.requests -= 1;
            self.waits = Some(Opened::of(gate));
            return;
        }
        if let Err(retry_after) = target.generation.admit(*now) {
            let plugin = target.generation.identity.plugin.to_string();
            self.fail(version, kind, id, &Failure::PluginUnavailable { plugin, retry_after }, out);
            return;
        }
        let permit = target.permits.as_ref().map(Permits::take);
        if matches!(permit, Some(None)) {
            let failure = Failure::Overloaded("the route is at its max_in_flight");
            self.fail(version, kind, id, &failure, out);
            return;
        }
        let permit = permit.flatten();
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
    ) -> Result<&'t Target, Failure> {
        match request.id {
            Some(id) if self.flights.has_id(id.as_json()) => return Err(Failure::DuplicateId),
            None if kind == Kind::AsyncResponse => return Err(Failure::Envelope(EnvelopeError::IdMissing)),
            _ => {}
        }
        if self.thread.draining.get() {
            return Err(Failure::GoingAway);
        }
        if self.thread.dispatcher.budget.is_spent() && !self.manner.admin && self.holds_anything() {
            return Err(Failure::Overloaded("the bytes that may be buffered are all held"));
        }
        table.find(&request.method)
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
        let ended = self.run_here(target, &facts, params, asked, out, now);
        tracing::debug!(
            conn = self.number,
            id = %printable(facts.id.text()),
            method = %request.method,
            plugin = &*target.generation.identity.plugin,
            generation = target.generation.identity.number,
            ?ended,
            "answered"
        );
        self.answered(ended);
    }

    fn run_here(
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
            self.tally.late_results += 1;
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
            self.fail(version, kind, id, &Failure::Overloaded("too many requests are in flight"), out);
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
        tracing::debug!(
            conn = self.number,
            id = %printable(facts.id.text()),
            method = %request.method,
            plugin = &**plugin,
            generation = target.generation.identity.number,
            "accepted"
        );
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
        let key = self.flights.add(version, kind, id, deadline, timeout, call, run, permit);
        if kind == Kind::Sync && busy {
            self.flights.queue(Turn::Call(key));
        } else {
            self.start(key, out);
        }
    }

    /// Starts a request in flight on a thread of its generation.
    fn start(&mut self, key: Key, out: &mut Vec<u8>) {
        let Some(flight) = self.flights.get(key) else { return };
        let call = Arc::clone(&flight.call);
        let is_sync = flight.kind == Kind::Sync;
        match call.generation.submit(&call, flight.run) {
            Ok(()) if is_sync => self.flights.running = Some(key),
            Ok(()) => {}
            Err(why) => {
                call.cancel();
                self.end(key, &Failure::not_taken(why, &call.generation.identity.plugin), out);
            }
        }
    }

    /// Answers a request in flight with a failure.
    fn end(&mut self, key: Key, failure: &Failure, out: &mut Vec<u8>) {
        let Some(flight) = self.flights.remove(key) else { return };
        let ended = self.asked(flight.version, flight.kind, flight.id.as_deref()).fail(out, failure);
        self.answered(ended);
    }

    /// Lets sync requests have their turn until one of them runs elsewhere.
    pub(super) fn next_turn(&mut self, out: &mut Vec<u8>, now: Time) {
        let mut now = now;
        while let Some(turn) = self.flights.next_turn() {
            let key = match turn {
                Turn::Reply(frame) => {
                    out.extend_from_slice(&frame);
                    continue;
                }
                Turn::Call(key) => key,
            };
            let Some(flight) = self.flights.get(key) else { continue };
            if flight.expired || flight.deadline <= now {
                let failure = self.too_late(flight.timeout);
                flight.call.cancel();
                self.end(key, &failure, out);
            } else if flight.run == Run::Inline {
                let Some(flight) = self.flights.remove(key) else { continue };
                let call = &flight.call;
                let target = Target {
                    generation: Arc::clone(&call.generation),
                    method: call.method,
                    declared: flight.run,
                    timeout: flight.timeout,
                    permits: None,
                    held: None,
                };
                let asked = self.asked(flight.version, flight.kind, flight.id.as_deref());
                let ended = self.run_here(&target, &call.facts, &call.params, asked, out, &mut now);
                self.answered(ended);
            } else {
                self.start(key, out);
            }
        }
    }
}

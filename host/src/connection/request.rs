//! A frame becomes a request, is admitted, run and answered.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::Guard;
use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{CallFacts, RequestId};
use jackfield_protocol::{EnvelopeError, Kind, Request, Version, write_heartbeat};

use super::Connection;
use super::in_flight::{AcceptedRequest, RequestKey, SyncQueueEntry};
use super::mailbox::MailboxSink;
use super::refusal::RequestedMethod;
use crate::clock::Time;
use crate::limits::{Permit, Permits};
use crate::metrics::{RequestKind, ThreadTotal};
use crate::plugin::PluginCall;
use crate::routing::{
    ExhaustedResource, GateOpened, ReplyContext, RequestError, Requester, RouteError, RouteTarget,
    RoutingTable,
};

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A request that was let in, and where it goes.
#[derive(Clone, Copy)]
pub(super) struct AdmittedRequest<'r> {
    pub(super) target: &'r RouteTarget,
    pub(super) request: &'r Request<'r>,
    pub(super) version: Version,
    /// The reply's kind.
    pub(super) kind: Kind,
}

impl<'r> AdmittedRequest<'r> {
    /// The params as written; nothing where there are none.
    #[inline]
    pub(super) fn params(&self) -> &'r [u8] {
        self.request.params.map_or(&b""[..], |params| params.get().as_bytes())
    }

    /// The id's JSON token.
    #[inline]
    pub(super) fn id(&self) -> Option<&'r str> {
        self.request.id.map(|id| id.as_json())
    }

    fn asked_for(&self) -> RequestedMethod<'r> {
        RequestedMethod { counted: self.target.counted, method: &self.request.method }
    }

    fn facts<'f>(&self, run: Run, id: RequestId<'f>, now: Time) -> CallFacts<'f> {
        CallFacts {
            deadline: now.after(self.target.timeout).0,
            id,
            depth: 0,
            run,
            cancelled: AtomicBool::new(false),
        }
    }

    /// What the method may ask of its call, for as long as this request is at hand.
    #[inline]
    pub(super) fn lent_facts(&self, run: Run, now: Time) -> CallFacts<'r> {
        self.facts(run, RequestId::new(self.request.id.map(|id| id.text()), new_id), now)
    }

    /// The same, for as long as it takes; `token` is that of [`AdmittedRequest::id`], to be had by everybody.
    pub(super) fn own_facts(&self, run: Run, token: Option<&Arc<str>>, now: Time) -> CallFacts<'static> {
        let id = match (token, self.request.id.map(|id| id.text())) {
            (Some(token), Some(Cow::Borrowed(_))) => RequestId::of_token(Arc::clone(token), new_id),
            // Written with escapes, which only the token is to have.
            (_, text) => RequestId::new(text.map(|text| Cow::Owned(text.into_owned())), new_id),
        };
        self.facts(run, id, now)
    }
}

/// The right to be begun there, and the route's permit if it has a limit.
fn enter(target: &RouteTarget, now: Time) -> Result<Option<Permit>, RequestError> {
    target.generation.admit(now).map_err(|retry_after| {
        let plugin = target.generation.identity.plugin.to_string();
        RequestError::PluginUnavailable { plugin, retry_after }
    })?;
    let Some(permits) = &target.permits else { return Ok(None) };
    Permits::take(permits).map(Some).ok_or(RequestError::Overloaded(ExhaustedResource::Route))
}

impl Connection {
    /// One whole frame.
    pub(super) fn frame(
        &mut self,
        table: &Guard<Arc<RoutingTable>>,
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
                self.thread.cells.add(ThreadTotal::Heartbeats, 1);
                write_heartbeat(out, version);
            }
            Kind::Error | Kind::AsyncResponse => {
                let failure = RequestError::ServerKind(kind);
                self.rejected(&failure);
                self.asked(version, Kind::Error, None).fail(out, &failure);
            }
            // What the user's Go server does with a kind it does not know.
            Kind::Other(_) => self.thread.cells.add(ThreadTotal::UnknownKinds, 1),
        }
    }

    pub(super) fn asked<'a>(&self, version: Version, kind: Kind, id: Option<&'a str>) -> ReplyContext<'a> {
        ReplyContext { framing: self.manner.framing, version, kind, id }
    }

    fn request(
        &mut self,
        table: &Guard<Arc<RoutingTable>>,
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
                let failure = RequestError::Envelope(rejected.error);
                self.fail(RequestedMethod::UNKNOWN, version, kind, id, &failure, out);
                return;
            }
        };
        let target = match self.admit(table, &request, kind) {
            Ok(target) => target,
            Err(RouteError { failure, counted }) => {
                self.fail(
                    RequestedMethod { counted, method: &request.method },
                    version,
                    kind,
                    id,
                    &failure,
                    out,
                );
                return;
            }
        };
        if let Some(gate) = &target.held {
            self.waits = Some(GateOpened::of(gate));
            return;
        }
        let admitted = AdmittedRequest { target, request: &request, version, kind };
        let permit = match enter(target, *now) {
            Ok(permit) => permit,
            Err(failure) => {
                self.fail(admitted.asked_for(), version, kind, id, &failure, out);
                return;
            }
        };
        let waits = kind == Kind::Sync && self.flights.lane_is_busy();
        match target.run() {
            Run::Inline if !waits => self.run_inline(admitted, out, now),
            Run::Async if !waits && target.generation.allows_inline_polling(target.method) => {
                self.run_first(admitted, permit, out, now);
            }
            run => self.take_off(admitted, run, permit, out, *now),
        }
    }

    /// Whether the request may be begun, and where it goes.
    fn admit<'t>(
        &self,
        table: &'t Guard<Arc<RoutingTable>>,
        request: &Request<'_>,
        kind: Kind,
    ) -> Result<&'t RouteTarget, RouteError> {
        let refused = |failure| Err(RouteError { failure, counted: table.counted(&request.method) });
        match request.id {
            Some(id) if self.flights.has_id(id.as_json()) => return refused(RequestError::DuplicateId),
            None if kind == Kind::AsyncResponse => {
                return refused(RequestError::Envelope(EnvelopeError::IdMissing));
            }
            _ => {}
        }
        if self.thread.draining.get() {
            return refused(RequestError::GoingAway);
        }
        if self.thread.dispatcher.budget.is_spent() && !self.manner.admin && self.holds_anything() {
            return refused(RequestError::Overloaded(ExhaustedResource::Buffers));
        }
        let found = table.find(&request.method, Requester::Client(self.peer));
        if let Err(RouteError { failure: RequestError::PermissionDenied, .. }) = &found {
            let acls = &self.thread.dispatcher.acls;
            acls.log_denied_request(self.number, &request.method, self.peer);
        }
        found
    }

    /// Sends it to a thread of its generation, or into the lane to wait for its turn.
    fn take_off(
        &mut self,
        admitted: AdmittedRequest<'_>,
        run: Run,
        route_permit: Option<Permit>,
        out: &mut Vec<u8>,
        now: Time,
    ) {
        let Some(permit) = self.permit_in_flight(admitted, out) else { return };
        let id = admitted.id().map(Arc::from);
        let facts = Arc::new(admitted.own_facts(run, id.as_ref(), now));
        self.cells_accepted(admitted);
        self.tell_accepted(admitted.target, &facts);
        let busy = self.flights.lane_is_busy();
        let key = self.enlist(admitted, (facts, id), admitted.params(), permit, route_permit, now);
        if admitted.kind == Kind::Sync && busy {
            self.flights.queue(SyncQueueEntry::Call(key));
        } else {
            self.start(key, out, now);
        }
    }

    /// A place among the requests in flight of all connections; without one, the request is refused here.
    pub(super) fn permit_in_flight(
        &mut self,
        admitted: AdmittedRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Permit> {
        let dispatcher = &self.thread.dispatcher;
        let permits = if self.manner.admin { &dispatcher.admin_in_flight } else { &dispatcher.in_flight };
        let permit = permits.take();
        if permit.is_none() {
            let failure = RequestError::Overloaded(ExhaustedResource::InFlight);
            let AdmittedRequest { version, kind, .. } = admitted;
            self.fail(admitted.asked_for(), version, kind, admitted.id(), &failure, out);
        }
        permit
    }

    pub(super) fn cells_accepted(&self, admitted: AdmittedRequest<'_>) {
        self.thread.cells.count_accepted(admitted.target.counted, RequestKind::of_reply(admitted.kind));
    }

    /// Puts a request among those in flight: its answer comes from another thread.
    pub(super) fn enlist(
        &mut self,
        admitted: AdmittedRequest<'_>,
        (facts, id): (Arc<CallFacts<'static>>, Option<Arc<str>>),
        params: &[u8],
        permit: Permit,
        route_permit: Option<Permit>,
        now: Time,
    ) -> RequestKey {
        let AdmittedRequest { target, version, kind, .. } = admitted;
        let answer = MailboxSink {
            mailbox: Arc::clone(&self.mailbox),
            key: self.flights.next_key(),
            framing: self.manner.framing,
            version,
            kind,
            id: id.clone(),
            plugin: Arc::clone(&target.generation.identity.plugin),
            limit: self.rules.limits.frame,
        };
        let (run, deadline) = (facts.run, Time(facts.deadline));
        let generation = Arc::clone(&target.generation);
        let call = PluginCall::new(facts, generation, target.method, params, answer, route_permit);
        let (counted, timeout) = (target.counted, target.timeout);
        let accepted = AcceptedRequest { version, kind, id, counted, accepted: now, deadline, timeout, run };
        self.flights.add(accepted, call, permit)
    }
}

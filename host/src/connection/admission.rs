//! Admission: decides between decoding a request and running it whether it is accepted.

use std::sync::Arc;

use jackfield_protocol::{EnvelopeError, Kind, Request};

use super::execution::CallLimits;
use super::pipeline::RequestPipeline;
use super::turn::Turn;
use crate::clock::Time;
use crate::limits::Permits;
use crate::plugin::CallPermits;
use crate::routing::{
    CountedError, ExhaustedResource, Found, RequestError, Requester, RouteTarget, RoutingTable,
    StateTransferGate,
};

/// By what the requests of one decoding pass are admitted.
pub(super) struct Admission<'t> {
    table: &'t RoutingTable,
    /// Whether the connection buffers bytes of its peer.
    holds_buffers: bool,
}

/// The continuation of a request that is not rejected.
pub(super) enum Admitted<'t> {
    /// It is executed.
    Execute { target: &'t RouteTarget, limits: CallLimits, permits: CallPermits },
    /// It waits where it is until the gate opens, and is then admitted once more.
    Wait(&'t Arc<StateTransferGate>),
}

impl<'t> Admission<'t> {
    pub(super) fn new(table: &'t RoutingTable, holds_buffers: bool) -> Self {
        Self { table, holds_buffers }
    }

    /// Returns how a request continues that has arrived at `arrived`. `kind` is the kind of its
    /// reply.
    ///
    /// # Errors
    ///
    /// The request is rejected.
    #[inline]
    pub(super) fn admit(
        &self,
        turn: &Turn<'_>,
        pipeline: &RequestPipeline,
        request: &Request<'_>,
        arrived: Time,
        kind: Kind,
    ) -> Result<Admitted<'t>, CountedError> {
        self.check_connection(turn, pipeline, request, kind)
            .map_err(|error| CountedError { error, counted: self.table.counted(&request.method) })?;

        let target = match self.find(turn, pipeline, request)? {
            Found::Open(target) => target,
            Found::Held(held) => return Ok(Admitted::Wait(&held.gate)),
        };

        let counted = |error| CountedError { error, counted: target.counted };
        let limits = CallLimits::new(turn.now, target.timeout, arrived, request.context.deadline_ms);
        // A request whose client has given up never starts.
        if limits.deadline <= turn.now && limits.deadline < limits.host_deadline {
            return Err(counted(RequestError::DeadlineExceeded(limits.deadline.since(arrived))));
        }
        let permits = enter(turn, target).map_err(counted)?;
        Ok(Admitted::Execute { target, limits, permits })
    }

    /// Checks everything that does not depend on the method.
    fn check_connection(
        &self,
        turn: &Turn<'_>,
        pipeline: &RequestPipeline,
        request: &Request<'_>,
        kind: Kind,
    ) -> Result<(), RequestError> {
        match request.id {
            Some(id) if pipeline.in_flight.contains_id(id.as_json()) => {
                return Err(RequestError::DuplicateId);
            }
            None if kind == Kind::AsyncResponse => {
                return Err(RequestError::Envelope(EnvelopeError::IdMissing));
            }
            _ => {}
        }
        if turn.thread.is_draining.get() {
            return Err(RequestError::GoingAway);
        }

        // A connection that holds nothing may send one request at a time although the budget is
        // spent: clients that spent it by not reading must not silence those that read.
        if turn.thread.dispatcher.budget.is_spent()
            && !pipeline.identity.options.admin
            && (self.holds_buffers || !pipeline.in_flight.is_empty())
        {
            return Err(RequestError::Overloaded(ExhaustedResource::Buffers));
        }
        Ok(())
    }

    /// Returns where the request goes, if the client may call the method.
    fn find(
        &self,
        turn: &Turn<'_>,
        pipeline: &RequestPipeline,
        request: &Request<'_>,
    ) -> Result<Found<'t>, CountedError> {
        let identity = &pipeline.identity;
        let peer = identity.peer_of_requests();
        let found = self.table.find(&request.method, Requester::Client(peer));

        if let Err(unreachable) = &found
            && matches!(unreachable.error, RequestError::PermissionDenied)
        {
            let acls = &turn.thread.dispatcher.acls;
            acls.log_denied_request(identity.number, &request.method, peer);
        }
        found
    }
}

/// Asks the generation and the route for the right to begin a call.
fn enter(turn: &Turn<'_>, target: &RouteTarget) -> Result<CallPermits, RequestError> {
    let trial = target.generation.admit(turn.now).map_err(|retry_after| {
        RequestError::unavailable_for(&target.generation.identity.plugin, retry_after)
    })?;

    let Some(permits) = &target.permits else { return Ok(CallPermits::new(None, trial)) };
    let route = Permits::take(permits).ok_or(RequestError::Overloaded(ExhaustedResource::Route))?;
    Ok(CallPermits::new(Some(route), trial))
}

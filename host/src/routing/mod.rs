//! From the name of a method to the code that runs it: the routing table, access control, nested
//! calls, and the errors that a request is answered with.

mod acl;
mod callable_methods;
mod deadline_watch;
mod dispatcher;
mod exhausted_resource;
mod gate;
mod health_watch;
mod host_phase;
mod inline_runner;
mod line_error;
mod monitoring;
mod nested_call;
mod nested_caller;
mod nested_span;
mod program_accounting;
mod program_call;
mod program_reply;
mod program_thread;
mod program_wait;
mod reply;
mod reply_slot;
mod request_error;
mod route_permits;
mod table;
mod table_builder;
mod unavailable;

pub(crate) use dispatcher::{ConnectionRules, Dispatcher};
pub(crate) use exhausted_resource::ExhaustedResource;
pub(crate) use gate::{GateOpened, StateTransferGate};
pub(crate) use health_watch::HealthWatch;
pub(crate) use host_phase::HostPhase;
pub(crate) use inline_runner::{InlineRunner, mark_io_thread};
pub(crate) use line_error::LineError;
pub(crate) use program_accounting::ProgramContext;
pub(crate) use program_call::ProgramRequest;
pub(crate) use program_reply::ProgramError;
pub(crate) use program_wait::{call_for_program, call_for_program_blocking};
pub(crate) use reply::{ReplyContext, ReplyOutcome};
pub(crate) use request_error::RequestError;
pub(crate) use route_permits::RoutePermits;
pub(crate) use table::{CountedError, Found, Requester, RouteTarget, RoutingTable};
pub(crate) use table_builder::{CallHold, HeldPlugins, TableBuilder};
pub(crate) use unavailable::UnavailablePlugin;

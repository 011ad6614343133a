//! Plugins: the generations that run their code, and the services of the host for them.
//!
//! A [`GenerationFactory`] starts a [`Generation`], which runs calls until it is retired. `call.rs`
//! is the unit of work; the executors (`blocking_pool.rs`, `async_executor.rs`) know calls, but not
//! generations.
//!
//! ```text
//!                    Generation
//!   identity, methods, breaker, probation, demotion
//!                        │ Runtime
//!            ┌───────────┴────────────┐
//!        InProcess              WorkerRuntime
//!   instance, executors,      processes of this program,
//!   library                   which run the same executors
//! ```
//!
//! `runtime.rs` is the only place that distinguishes the two, with `execution.rs` (the hot path),
//! `state_phases.rs`, `health.rs` and `retirement.rs`, which match once for each operation.

mod async_executor;
mod async_task;
mod awaited_result;
mod blocking_pool;
mod built_in;
mod call;
mod caller;
mod circuit_breaker;
mod deadline_error;
mod discovery;
mod execution;
mod executor_sleep;
mod executor_thread;
mod exported_state;
mod failure_log;
mod generation;
mod generation_factory;
mod health;
mod host_services;
mod in_process;
mod in_process_start;
mod inline_demotion;
mod inline_polling;
mod lost_call;
mod nested_caller;
mod phase_error;
mod plugin_thread;
mod pool_state;
mod pool_thread;
mod probation;
mod ready_queue;
mod reply_slot;
mod retirement;
mod runtime;
mod state_phases;
mod system_plugin;
#[cfg(test)]
pub(crate) mod test_support;
mod waker_relay;
mod worker;
mod worker_process;
mod worker_start;

pub(crate) use built_in::BuiltInPlugin;
pub(crate) use call::{CallPermits, ReplySink};
pub(crate) use caller::Caller;
pub(crate) use deadline_error::{deadline_data, deadline_message};
pub(crate) use discovery::{DISCOVER, document as discovery_document};
pub(crate) use execution::SuspendedCall;
pub(crate) use exported_state::ExportedState;
pub(crate) use failure_log::touch_thread_locals;
pub(crate) use generation::{Generation, GenerationExecutor, GenerationId, PluginCall};
pub(crate) use generation_factory::GenerationFactory;
pub(crate) use in_process_start::GenerationLoadError;
pub(crate) use nested_caller::{NestedCall, NestedCaller, NestedReply};
pub(crate) use phase_error::PhaseError;
pub(crate) use pool_state::SubmitError;
pub(crate) use probation::{Probation, ProbationFailure, ProbationVerdict};
pub(crate) use reply_slot::{ReplySlot, cancelled_error};
pub(crate) use retirement::{
    EndDeadline, IoThreadReplacer, RetentionReason, RetirementOutcome, StoppedGeneration,
};
pub(crate) use system_plugin::{HostInfo, PluginInfo, SystemPlugin};
pub(crate) use waker_relay::WakerRelay;
pub(crate) use worker::WorkerProgram;
pub(crate) use worker_process::enter as enter_worker;

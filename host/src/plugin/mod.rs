//! Plugins in this process: what runs their code, and what they are given by the host.

mod async_executor;
mod blocking_pool;
mod built_in;
mod call;
mod circuit_breaker;
mod generation;
mod generation_factory;
mod health;
mod host_services;
mod inline_demotion;
mod inline_polling;
mod joined_thread;
mod probation;
mod ready_queue;
mod retirement;
mod system_plugin;

pub(crate) use async_executor::AsyncExecutor;
pub(crate) use blocking_pool::SubmitError;
pub(crate) use built_in::BuiltInPlugin;
pub(crate) use call::{PluginCall, ReplySink};
pub(crate) use generation::{Generation, GenerationId};
pub(crate) use generation_factory::{GenerationFactory, GenerationStartError};
pub(crate) use host_services::NestedCaller;
pub(crate) use joined_thread::{JoinedRunError, aside};
pub(crate) use probation::{Probation, ProbationVerdict};
pub(crate) use retirement::{EndDeadline, IoThreadReplacer, RetirementOutcome};
pub(crate) use system_plugin::{HostInfo, PluginInfo, SystemPlugin};

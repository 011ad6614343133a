//! Plugins in this process: what runs their code, and what they are given by the host.

mod call;
mod executor;
mod generation;
mod local;
mod nursery;
mod registry;
mod services;
mod system;
mod workers;

pub(crate) use call::{Answer, Call};
pub(crate) use executor::Executor;
pub(crate) use generation::Generation;
pub(crate) use local::LocalPlugin;
pub(crate) use nursery::Nursery;
pub(crate) use registry::Registry;
pub(crate) use services::Calls;
pub(crate) use system::{PluginFacts, System, Told};

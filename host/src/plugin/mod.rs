//! Plugins in this process: what runs their code, and what they are given by the host.

mod aside;
mod breaker;
mod call;
mod end;
mod executor;
mod generation;
mod health;
mod local;
mod nursery;
mod probation;
mod prompt;
mod ready;
mod services;
mod slow;
mod system;
mod workers;

pub(crate) use aside::{Undone, aside};
pub(crate) use call::{Answer, Call};
pub(crate) use end::{Retired, Turnover, Until};
pub(crate) use executor::Executor;
pub(crate) use generation::{Generation, Identity};
pub(crate) use local::LocalPlugin;
pub(crate) use nursery::{Nursery, Stillborn};
pub(crate) use probation::{Probation, Sentence};
pub(crate) use services::Calls;
pub(crate) use system::{PluginFacts, System, Told};
pub(crate) use workers::NotTaken;

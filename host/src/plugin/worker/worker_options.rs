//! The options of the workers of a generation.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jackfield_plugin_api::manifest::DeclaredMethod;

use super::super::generation::GenerationId;
use super::super::nested_caller::NestedCaller;
use crate::config::PluginConfig;
use crate::loader::Prober;
use crate::worker::report::RestartCounters;

/// The options of the workers of a generation.
pub(in crate::plugin) struct WorkerOptions {
    pub(in crate::plugin) identity: GenerationId,

    /// The methods as they run: none is `inline`.
    pub(in crate::plugin) methods: Vec<DeclaredMethod>,

    pub(in crate::plugin) config: PluginConfig,

    /// Upper bound for a result, in bytes.
    pub(in crate::plugin) reply_limit: usize,

    /// How long I/O threads poll before they sleep.
    pub(in crate::plugin) spin: Duration,

    pub(in crate::plugin) nested_caller: Weak<dyn NestedCaller>,
    pub(in crate::plugin) program: WorkerProgram,
    pub(in crate::plugin) restarts: Arc<RestartCounters>,
}

/// The program that is started as a worker, and its environment.
#[derive(Debug, Clone)]
pub(crate) struct WorkerProgram(Prober);

impl WorkerProgram {
    /// Returns the program that also probes plugins: it calls [`enter`](crate::enter) first in its
    /// `main`.
    pub(crate) fn of(prober: &Prober) -> Self {
        Self(prober.clone())
    }

    /// Returns the path of the program.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the variables for a plugin: those in `selected`, or all that plugins may get.
    pub(super) fn environment<'a>(
        &'a self,
        selected: Option<&'a [String]>,
    ) -> impl Iterator<Item = (&'a OsStr, &'a OsStr)> {
        self.0.environment().passed_on(selected)
    }
}

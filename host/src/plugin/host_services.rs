//! What the host offers to one generation of a plugin: log, clock, sleep, calls of other methods.

use std::sync::{Arc, Weak};
use std::time::Duration;

use jackfield_plugin_api::abi::{CallFacts, CallReply, ReplyFuture, Services, SleepFuture};
use jackfield_plugin_api::{Error, Level};

use super::async_executor::AsyncExecutor;
use crate::clock::Time;
use crate::crash_record::run_paused;
use crate::log::{OF_PLUGINS, printable};

/// Who carries calls from one plugin to another's methods; dispatch, given in when it exists.
pub(crate) trait NestedCaller: Send + Sync + 'static {
    /// Calls `method` for `plugin`; the future ends by itself at the call's deadline, which `timers` watch.
    fn call(
        &self,
        plugin: &str,
        parent: &CallFacts<'_>,
        method: &str,
        params: &[u8],
        timeout: Option<Duration>,
        timers: &Arc<AsyncExecutor>,
    ) -> ReplyFuture;
    /// Calls `method` and waits on this thread.
    fn call_wait(
        &self,
        plugin: &str,
        parent: &CallFacts<'_>,
        method: &str,
        params: &[u8],
        timeout: Option<Duration>,
    ) -> CallReply;
}

/// The longest line that a plugin writes into the log, in bytes; more is cut.
const LONGEST_LINE: usize = 8 * 1024;

pub(super) struct HostServices {
    plugin: Arc<str>,
    generation: u64,
    executor: Arc<AsyncExecutor>,
    calls: Weak<dyn NestedCaller>,
}

impl HostServices {
    pub(super) fn new(
        plugin: Arc<str>,
        generation: u64,
        executor: Arc<AsyncExecutor>,
        calls: Weak<dyn NestedCaller>,
    ) -> Self {
        Self { plugin, generation, executor, calls }
    }

    fn calls(&self) -> Result<Arc<dyn NestedCaller>, Error> {
        self.calls.upgrade().ok_or_else(|| Error::internal("no other method can be called: the host ends"))
    }
}

impl Services for HostServices {
    fn log_enabled(&self, level: Level) -> bool {
        match level {
            Level::Error => tracing::enabled!(target: OF_PLUGINS, tracing::Level::ERROR),
            Level::Warn => tracing::enabled!(target: OF_PLUGINS, tracing::Level::WARN),
            Level::Info => tracing::enabled!(target: OF_PLUGINS, tracing::Level::INFO),
            Level::Debug => tracing::enabled!(target: OF_PLUGINS, tracing::Level::DEBUG),
            Level::Trace => tracing::enabled!(target: OF_PLUGINS, tracing::Level::TRACE),
        }
    }

    fn log(&self, level: Level, line: &str) {
        let plugin = &*self.plugin;
        let generation = self.generation;
        // What a plugin writes may hold what a client sent: control characters must not reach a terminal, whatever the
        // subscriber is.
        let line = printable(&line[..line.floor_char_boundary(LONGEST_LINE)]);
        match level {
            Level::Error => tracing::error!(target: OF_PLUGINS, plugin, generation, "{line}"),
            Level::Warn => tracing::warn!(target: OF_PLUGINS, plugin, generation, "{line}"),
            Level::Info => tracing::info!(target: OF_PLUGINS, plugin, generation, "{line}"),
            Level::Debug => tracing::debug!(target: OF_PLUGINS, plugin, generation, "{line}"),
            Level::Trace => tracing::trace!(target: OF_PLUGINS, plugin, generation, "{line}"),
        }
    }

    fn now(&self) -> u64 {
        Time::now().0
    }

    fn sleep(&self, until: u64) -> SleepFuture {
        Box::pin(self.executor.sleep(Time(until)))
    }

    fn call(
        &self,
        parent: &CallFacts<'_>,
        method: &str,
        params: &[u8],
        timeout: Option<Duration>,
    ) -> ReplyFuture {
        match self.calls() {
            Ok(calls) => calls.call(&self.plugin, parent, method, params, timeout, &self.executor),
            Err(error) => Box::pin(async move { Err(error) }),
        }
    }

    fn call_wait(
        &self,
        parent: &CallFacts<'_>,
        method: &str,
        params: &[u8],
        timeout: Option<Duration>,
    ) -> CallReply {
        let calls = self.calls()?;
        // From here on this thread runs the host's code, or the other method's.
        run_paused(|| calls.call_wait(&self.plugin, parent, method, params, timeout))
    }
}

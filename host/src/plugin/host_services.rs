//! The services of the host for one generation: log, clock, sleep, nested calls.

use std::sync::{Arc, Weak};

use jackfield_plugin_api::abi::{CallFacts, CallReply, OutgoingCall, ReplyFuture, Services, SleepFuture};
use jackfield_plugin_api::{Error, Level};

use super::failure_log::FailureLog;
use super::generation::GenerationExecutor;
use super::nested_caller::{NestedCall, NestedCaller};
use crate::clock::Time;
use crate::crash_record::{CrashRecord, run_paused};
use crate::log::{OF_PLUGINS, printable};

/// Upper bound for a line that a plugin logs, in bytes. Longer lines are cut. With the name of the
/// plugin, which has at most 64 bytes, it is below the 8 KiB at which the log cuts every value.
pub(super) const MAX_LINE: usize = 8 * 1024 - 128;

/// The services for one generation.
pub(super) struct HostServices {
    pub(super) plugin: Arc<str>,
    pub(super) generation: u64,
    pub(super) crash_record: Arc<CrashRecord>,
    pub(super) async_executor: Arc<GenerationExecutor>,
    pub(super) nested_caller: Weak<dyn NestedCaller>,
}

impl HostServices {
    fn nested_caller(&self) -> Result<Arc<dyn NestedCaller>, Error> {
        self.nested_caller
            .upgrade()
            .ok_or_else(|| Error::internal("no method can be called: the host is shutting down"))
    }
}

fn is_enabled(level: Level) -> bool {
    match level {
        Level::Error => tracing::enabled!(target: OF_PLUGINS, tracing::Level::ERROR),
        Level::Warn => tracing::enabled!(target: OF_PLUGINS, tracing::Level::WARN),
        Level::Info => tracing::enabled!(target: OF_PLUGINS, tracing::Level::INFO),
        Level::Debug => tracing::enabled!(target: OF_PLUGINS, tracing::Level::DEBUG),
        Level::Trace => tracing::enabled!(target: OF_PLUGINS, tracing::Level::TRACE),
    }
}

/// Returns the number of the highest level at which lines of plugins are written.
pub(super) fn max_level() -> u8 {
    let levels = [Level::Trace, Level::Debug, Level::Info, Level::Warn];
    levels.into_iter().find(|level| is_enabled(*level)).unwrap_or(Level::Error) as u8
}

/// Writes a line that a plugin has logged.
pub(super) fn log_line(plugin: &str, generation: u64, level: Level, line: &str) {
    let line = &line[..line.floor_char_boundary(MAX_LINE)];
    // A plugin may log what a client sent. Control characters must not reach a terminal, whatever
    // subscriber is installed.
    let line = printable(line);
    match level {
        Level::Error => tracing::error!(target: OF_PLUGINS, plugin, generation, "{plugin}: {line}"),
        Level::Warn => tracing::warn!(target: OF_PLUGINS, plugin, generation, "{plugin}: {line}"),
        Level::Info => tracing::info!(target: OF_PLUGINS, plugin, generation, "{plugin}: {line}"),
        Level::Debug => tracing::debug!(target: OF_PLUGINS, plugin, generation, "{plugin}: {line}"),
        Level::Trace => tracing::trace!(target: OF_PLUGINS, plugin, generation, "{plugin}: {line}"),
    }
}

impl Services for HostServices {
    fn log_enabled(&self, level: Level) -> bool {
        is_enabled(level)
    }

    /// Logs a line with the name of the plugin, because a reader of the journal sees the message
    /// alone.
    fn log(&self, level: Level, line: &str) {
        let failures = FailureLog { plugin: &self.plugin, generation: self.generation };
        let line = &line[..line.floor_char_boundary(MAX_LINE)];
        if level == Level::Error && failures.log_with_request(line, &self.crash_record) {
            return;
        }
        log_line(&self.plugin, self.generation, level, line);
    }

    fn now(&self) -> u64 {
        Time::now().0
    }

    fn sleep(&self, until: u64) -> SleepFuture {
        Box::pin(self.async_executor.sleep(Time(until)))
    }

    fn call(&self, parent: &CallFacts<'_>, call: OutgoingCall<'_>) -> ReplyFuture {
        match self.nested_caller() {
            Ok(caller) => {
                let plugin = &self.plugin;
                let nested = NestedCall { plugin, parent, call, is_waiting: false };
                caller.call(&nested, &self.async_executor)
            }
            Err(error) => Box::pin(async move { Err(error) }),
        }
    }

    fn call_wait(&self, parent: &CallFacts<'_>, call: OutgoingCall<'_>) -> CallReply {
        let caller = self.nested_caller()?;
        let plugin = &self.plugin;
        let nested = NestedCall { plugin, parent, call, is_waiting: true };
        // Until the reply, this thread runs code of the host or of the other method, not of this
        // plugin.
        run_paused(|| caller.call_wait(&nested))
    }
}

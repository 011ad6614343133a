//! The services of the host for the plugin of a worker process. The clock and sleeps are local; the
//! log and calls of other methods go through the channel.

use std::sync::Arc;

use jackfield_plugin_api::abi::{
    CallFacts, CallReply, OutgoingCall, PANIC_LINE, ReplyFuture, Services, SleepFuture,
};
use jackfield_plugin_api::{Error, Level};

use super::super::host_services::MAX_LINE;
use super::outgoing_calls::{NestedRequest, OutgoingCalls};
use super::target::{WorkerExecutor, number_on_this_thread};
use super::worker_channel::WorkerChannel;
use crate::clock::Time;
use crate::loader::backtrace;

/// The services for the one instance of a worker.
pub(super) struct WorkerServices {
    pub(super) channel: Arc<WorkerChannel>,
    pub(super) nested: Arc<OutgoingCalls>,
    pub(super) executor: Arc<WorkerExecutor>,

    /// The number of the highest level that the host logs.
    pub(super) log_level: u8,
}

impl Services for WorkerServices {
    fn log_enabled(&self, level: Level) -> bool {
        level as u8 <= self.log_level
    }

    /// Sends a line with the number of the call that runs on this thread, to which the host adds
    /// method and request. The line of a panic gets its backtrace here, where the stack is.
    fn log(&self, level: Level, line: &str) {
        if !self.log_enabled(level) {
            return;
        }
        let line = &line[..line.floor_char_boundary(MAX_LINE)];
        let is_panic = level == Level::Error && line.starts_with(PANIC_LINE);
        let line = if is_panic { backtrace::append_to(line) } else { line.into() };
        self.channel.log(level, number_on_this_thread(), &line);
    }

    fn now(&self) -> u64 {
        Time::now().0
    }

    fn sleep(&self, until: u64) -> SleepFuture {
        Box::pin(self.executor.sleep(Time(until)))
    }

    fn call(&self, parent: &CallFacts<'_>, call: OutgoingCall<'_>) -> ReplyFuture {
        // Without the async thread, nothing could wake the plugin.
        let Some(relay) = self.executor.relay() else {
            return Box::pin(async {
                Err(Error::internal("the thread for async methods cannot be started"))
            });
        };
        let request = NestedRequest { parent, call, waits: false };
        Box::pin(self.nested.start(&request).into_future(&self.executor, relay))
    }

    fn call_wait(&self, parent: &CallFacts<'_>, call: OutgoingCall<'_>) -> CallReply {
        // The host knows whether the calling method may wait, and answers at once if not.
        self.nested.start(&NestedRequest { parent, call, waits: true }).wait()
    }
}

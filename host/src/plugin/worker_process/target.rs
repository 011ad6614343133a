//! The plugin of a worker process as its executors see it.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use jackfield_plugin_api::abi::{CallEnd, CallFacts, Instance, PluginFuture, RequestId};

use super::super::async_executor::AsyncExecutor;
use super::super::call::{Call, CallTarget, ReplySink};
use crate::crash_record::{RunningCode, own_slot, run_recorded};
use crate::worker::message::{CallMessage, CallNumber};

/// A call of the plugin of this worker.
pub(super) type WorkerCall<A = dyn ReplySink> = Call<WorkerTarget, A>;

/// The async thread of this worker.
pub(super) type WorkerExecutor = AsyncExecutor<WorkerTarget>;

/// The plugin of a worker process.
///
/// The host counts and logs how calls end, and supervises their deadlines. The worker only runs
/// them.
pub(super) struct WorkerTarget {
    pub(super) instance: Instance,

    /// Upper bound for a result, in bytes.
    pub(super) reply_limit: usize,
}

/// Returns the facts of a call for the plugin.
///
/// A worker has no circuit breaker, so there are no trials in it. The number of the call has their
/// place: the facts are all that a service of the host gets to know about the call.
pub(super) fn facts_of(message: &CallMessage<'_>) -> CallFacts<'static> {
    let id = RequestId::new(Some(Cow::Owned(message.id.to_owned())), String::new);
    CallFacts {
        depth: message.depth,
        trial: NonZeroU64::new(message.call),
        ..CallFacts::new(message.deadline, id, message.run)
    }
}

/// Returns the number of a call from its facts.
pub(super) fn number_of(facts: &CallFacts<'_>) -> CallNumber {
    facts.trial.map_or(0, NonZeroU64::get)
}

/// Returns the number of the call that runs on this thread; 0 if none does.
pub(super) fn number_on_this_thread() -> CallNumber {
    let running = own_slot().map(|slot| slot.sample()).filter(|running| running.is_running());
    running.map_or(0, |running| running.code.call())
}

impl CallTarget for WorkerTarget {
    fn running_code(&self, _method: u32, facts: &CallFacts<'_>) -> RunningCode {
        RunningCode::of_call(number_of(facts))
    }

    fn reply_limit(&self) -> usize {
        self.reply_limit
    }

    fn run(&self, method: u32, facts: &CallFacts<'_>, params: &[u8], out: &mut Vec<u8>) -> CallEnd {
        run_recorded(self.running_code(method, facts), None, || {
            self.instance.call(method, facts, params, out, self.reply_limit)
        })
    }

    fn start_future(
        &self,
        method: u32,
        facts: &Arc<CallFacts<'static>>,
        params: &[u8],
    ) -> Result<PluginFuture, CallEnd> {
        self.instance.begin(method, facts, params)
    }

    fn record_first_poll(&self, _method: u32, _is_ready: bool, _length: Duration) {}

    fn method_name(&self, _method: u32) -> &'static str {
        "?"
    }

    fn record_abandoned_timeout(&self, _facts: &CallFacts<'_>) {}

    fn record_end(&self, _method: u32, _facts: &CallFacts<'_>, _end: &CallEnd) {}

    fn add_direct_call(&self) {}

    fn remove_direct_call(&self) {}
}

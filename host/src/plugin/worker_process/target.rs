//! The plugin of a worker process as its executors see it.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use jackfield_plugin_api::abi::{
    CallEnd, CallFacts, CallerRef, Cancellation, Instance, PluginFuture, RequestId,
};

use super::super::async_executor::AsyncExecutor;
use super::super::call::{Call, CallTarget, ReplySink};
use crate::crash_record::{RunningCode, own_slot, run_recorded};
use crate::worker::message::{CallMessage, CallNumber};
use crate::worker::message_context::context_of;

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
pub(super) fn facts_of(message: &CallMessage<'_>, caller: CallerRef<'static>) -> CallFacts<'static> {
    CallFacts {
        deadline: message.deadline,
        // The host supervises its own deadline.
        host_deadline: message.deadline,
        id: RequestId::new(Some(Cow::Owned(message.id.to_owned())), String::new),
        depth: message.depth,
        run: message.run,
        trial: NonZeroU64::new(message.call),
        cancelled: Cancellation::default(),
        content: message.content,
        caller,
        context: context_of(message.trace, message.meta),
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

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::Run;
    use jackfield_plugin_api::abi::Content;

    use super::*;
    use crate::worker::message_context::{SentCaller, SentTrace};

    #[test]
    fn shows_the_plugin_what_travels_with_a_call() {
        let message = CallMessage {
            call: 5,
            method: 0,
            run: Run::Async,
            depth: 2,
            deadline: 77,
            content: Content::Bytes,
            id: "7",
            caller: SentCaller { place: 0, origin: None },
            trace: Some(SentTrace { trace_id: [1; 16], span_id: [2; 8], flags: 1, state: Some("a=b") }),
            meta: Some("{\"a\":\"b\"}"),
            params: b"",
        };

        let facts = facts_of(&message, CallerRef::program());
        assert_eq!((facts.deadline, facts.depth, facts.content), (77, 2, Content::Bytes));
        assert_eq!((facts.id.text(), number_of(&facts)), ("7", 5));
        let context = facts.context.unwrap();
        assert_eq!(context.meta.as_deref(), Some("{\"a\":\"b\"}"));
        let trace = context.trace.as_ref().unwrap();
        assert_eq!(trace.traceparent(), format!("00-{}-{}-01", "01".repeat(16), "02".repeat(8)));
        assert_eq!(trace.state.as_deref(), Some("a=b"));

        let plain = CallMessage { trace: None, meta: None, ..message };
        assert!(facts_of(&plain, CallerRef::program()).context.is_none());
    }
}

//! The interface for calls of one plugin to the methods of another.

use std::sync::Arc;
use std::task::{Poll, Waker};

use jackfield_plugin_api::abi::{CallFacts, CallReply, OutgoingCall, ReplyFuture};

use super::generation::GenerationExecutor;
use crate::clock::Time;

/// A call that one plugin asks for.
#[derive(Clone, Copy)]
pub(crate) struct NestedCall<'a> {
    /// The calling plugin.
    pub(crate) plugin: &'a Arc<str>,

    pub(crate) parent: &'a CallFacts<'a>,
    pub(crate) call: OutgoingCall<'a>,

    /// Whether a thread of the plugin waits for the reply.
    pub(crate) is_waiting: bool,
}

/// Carries calls of one plugin to the methods of another. The dispatcher implements it.
pub(crate) trait NestedCaller: Send + Sync + 'static {
    /// Makes a call for which no thread waits. The future is ready at the call's deadline at the
    /// latest; `timers` wakes it then.
    fn call(&self, nested: &NestedCall<'_>, timers: &Arc<GenerationExecutor>) -> ReplyFuture;

    /// Makes a call and waits on this thread for the reply.
    fn call_wait(&self, nested: &NestedCall<'_>) -> CallReply;

    /// Makes a call for a plugin in a worker process, without blocking.
    fn call_for_worker(&self, nested: &NestedCall<'_>) -> Box<dyn NestedReply>;
}

/// A nested call of a plugin in a worker process. Dropping it cancels the call.
///
/// It is polled by the host on behalf of the worker, so unlike the future of
/// [`NestedCaller::call`] it needs neither a relay for the wakers of a plugin nor a timer.
pub(crate) trait NestedReply: Send {
    /// Returns the reply if it has arrived. Otherwise `waker`, which must be one of the host, is
    /// woken when it arrives. A call that is polled at its deadline, or later, is ready.
    fn poll(&mut self, waker: &Waker) -> Poll<CallReply>;

    /// Returns when the call must be polled at the latest. A poll may change that.
    fn deadline(&self) -> Time;
}

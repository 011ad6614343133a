//! One invocation that crosses the ABI away from the connection's thread: who asked, with what, and who is told.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{CallEnd, CallFacts};
use jackfield_protocol::ReplyHead;

use super::generation::Generation;
use crate::clock::Time;
use crate::limits::Permit;

/// Where a call's outcome goes. It is told exactly once, or never when the call was cancelled first.
pub(crate) trait ReplySink: Send + Sync + 'static {
    /// Writes what stands before a result, if anything.
    fn open(&self, out: &mut Vec<u8>) -> Option<ReplyHead>;
    /// Takes the outcome; on `Done` the result follows what `open` wrote. What is left in `out` is nobody's.
    fn close(&self, head: Option<ReplyHead>, out: &mut Vec<u8>, end: CallEnd);
}

/// Bytes that a thread's output buffer keeps for its next call, at most.
const SCRATCH: usize = 64 * 1024;

const WAITING: u8 = 0;
const RUNNING: u8 = 1;
const OVER: u8 = 2;

/// A call on its way to, or on, a thread of its generation; who is told is part of it, whoever that is.
pub(crate) struct PluginCall<A: ?Sized = dyn ReplySink> {
    pub(crate) facts: Arc<CallFacts<'static>>,
    pub(crate) generation: Arc<Generation>,
    pub(crate) method: u32,
    pub(crate) params: Box<[u8]>,
    /// The route's permit, held until the handler has really ended.
    pub(crate) _permit: Option<Permit>,
    state: AtomicU8,
    /// When it was begun, in the clock's nanoseconds; 0 before that.
    begun: AtomicU64,
    /// Wakes the task of an `async` call, so that it sees that it is cancelled.
    task: OnceLock<Waker>,
    pub(crate) answer: A,
}

impl<A: ReplySink> PluginCall<A> {
    pub(crate) fn new(
        facts: Arc<CallFacts<'static>>,
        generation: Arc<Generation>,
        method: u32,
        params: &[u8],
        answer: A,
        permit: Option<Permit>,
    ) -> Arc<Self> {
        if facts.run != Run::Async {
            generation.direct_began();
        }
        Arc::new(Self {
            facts,
            generation,
            method,
            params: params.into(),
            _permit: permit,
            state: AtomicU8::new(WAITING),
            begun: AtomicU64::new(0),
            task: OnceLock::new(),
            answer,
        })
    }
}

impl PluginCall {
    /// Runs an `inline` or `blocking` method to its end on this thread, and tells who asked.
    pub(crate) fn run_here(&self) {
        if self.claim() {
            self.run(&mut Vec::new());
        }
    }

    /// Runs it, once it is claimed, with the thread's own buffer.
    pub(super) fn run(&self, out: &mut Vec<u8>) {
        let head = self.answer.open(out);
        let end = self.generation.run_direct(self.method, &self.facts, &self.params, out);
        self.answer.close(head, out, end);
        out.clear();
        out.shrink_to(SCRATCH);
    }

    /// The right to run it; `false` when it was cancelled or waited past its deadline.
    pub(super) fn claim(&self) -> bool {
        let now = Time::now();
        if now.0 >= self.facts.deadline {
            self.state.store(OVER, Ordering::Release);
            return false;
        }
        self.begins(now);
        self.state.compare_exchange(WAITING, RUNNING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// It is begun.
    pub(crate) fn begins(&self, now: Time) {
        self.begun.store(now.0, Ordering::Relaxed);
    }

    /// When it was begun; `None` when it still waits, or never was.
    pub(crate) fn begun(&self) -> Option<Time> {
        Some(Time(self.begun.load(Ordering::Relaxed))).filter(|begun| begun.0 > 0)
    }

    /// Nobody waits for it any more: it never starts, or its future is dropped, or its result is.
    pub(crate) fn cancel(&self) {
        self.facts.cancelled.store(true, Ordering::Relaxed);
        self.state.store(OVER, Ordering::Release);
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.state.load(Ordering::Acquire) == OVER
    }

    pub(super) fn wake_on_cancel(&self, task: Waker) {
        // A call becomes a task once; a second waker would be of the same task.
        let _ = self.task.set(task);
        // Cancelled between being submitted and this line: the task must still see it.
        if self.is_over()
            && let Some(task) = self.task.get()
        {
            task.wake_by_ref();
        }
    }
}

impl<A: ?Sized> Drop for PluginCall<A> {
    fn drop(&mut self) {
        if self.facts.run != Run::Async {
            self.generation.direct_ended();
        }
    }
}

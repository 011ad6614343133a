//! Helpers for unit tests: generations of built-in plugins, and calls without a generation.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::{CallEnd, CallFacts, CallReply, PluginFuture, ReplyFuture, RequestId};
use jackfield_protocol::ReplyHead;

use super::call::{Call, CallPermits, CallTarget, ReplySink};
use super::caller::Caller;
use super::circuit_breaker::CircuitBreaker;
use super::generation::GenerationExecutor;
use super::{
    BuiltInPlugin, Generation, GenerationFactory, NestedCall, NestedCaller, NestedReply, WorkerProgram,
};
use crate::clock::Time;
use crate::config::{BreakerConfig, Config, CrashConfig};
use crate::crash_record::{CrashRecord, RunningCode};
use crate::loader::Prober;

/// Returns a crash record that no file keeps.
pub(crate) fn memory_crash_record() -> Arc<CrashRecord> {
    CrashRecord::open(&CrashConfig::default()).unwrap()
}

/// Returns a program that does not exist.
pub(crate) fn no_worker_program() -> WorkerProgram {
    WorkerProgram::of(&Prober::program("/no/such/program"))
}

/// Starts the only generation of a built-in plugin, which cannot make nested calls.
pub(crate) fn start_built_in(plugin: BuiltInPlugin, config: &Config) -> Arc<Generation> {
    let factory =
        GenerationFactory::new(Weak::<NoNestedCaller>::new(), memory_crash_record(), no_worker_program());
    Arc::new(factory.start_built_in(plugin, config).unwrap())
}

pub(super) struct NoNestedCaller;

impl NestedCaller for NoNestedCaller {
    fn call(&self, _nested: &NestedCall<'_>, _timers: &Arc<GenerationExecutor>) -> ReplyFuture {
        unreachable!("there is no nested caller")
    }

    fn call_wait(&self, _nested: &NestedCall<'_>) -> CallReply {
        unreachable!("there is no nested caller")
    }

    fn call_for_worker(&self, _nested: &NestedCall<'_>) -> Box<dyn NestedReply> {
        unreachable!("there is no nested caller")
    }
}

type FakeMethod = Box<dyn Fn(&[u8]) + Send + Sync>;

/// A target whose only method runs a closure and returns its params.
pub(super) struct FakeTarget {
    method: FakeMethod,
    direct_calls: AtomicUsize,
    abandoned_timeouts: AtomicUsize,
}

impl FakeTarget {
    pub(super) fn new(method: impl Fn(&[u8]) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            method: Box::new(method),
            direct_calls: AtomicUsize::new(0),
            abandoned_timeouts: AtomicUsize::new(0),
        })
    }

    pub(super) fn doing_nothing() -> Arc<Self> {
        Self::new(|_| ())
    }

    pub(super) fn direct_calls(&self) -> usize {
        self.direct_calls.load(Ordering::Relaxed)
    }

    pub(super) fn abandoned_timeouts(&self) -> usize {
        self.abandoned_timeouts.load(Ordering::Relaxed)
    }
}

impl CallTarget for FakeTarget {
    fn running_code(&self, method: u32, _facts: &CallFacts<'_>) -> RunningCode {
        RunningCode::new(1, method)
    }

    fn reply_limit(&self) -> usize {
        usize::MAX
    }

    fn run(&self, _method: u32, _facts: &CallFacts<'_>, params: &[u8], out: &mut Vec<u8>) -> CallEnd {
        (self.method)(params);
        out.extend_from_slice(params);
        CallEnd::Done
    }

    fn start_future(
        &self,
        _method: u32,
        _facts: &Arc<CallFacts<'static>>,
        _params: &[u8],
    ) -> Result<PluginFuture, CallEnd> {
        unreachable!("a fake target has no async method")
    }

    fn record_first_poll(&self, _method: u32, _is_ready: bool, _length: Duration) {}

    fn method_name(&self, _method: u32) -> &str {
        "test.method"
    }

    fn record_abandoned_timeout(&self, _facts: &CallFacts<'_>) {
        self.abandoned_timeouts.fetch_add(1, Ordering::Relaxed);
    }

    fn record_end(&self, _method: u32, _facts: &CallFacts<'_>, _end: &CallEnd) {}

    fn add_direct_call(&self) {
        self.direct_calls.fetch_add(1, Ordering::Relaxed);
    }

    fn remove_direct_call(&self) {
        self.direct_calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A sink that sends the output and the end of its call.
struct ChannelSink(mpsc::Sender<(Vec<u8>, CallEnd)>);

impl ReplySink for ChannelSink {
    fn open(&self, _out: &mut Vec<u8>) -> Option<ReplyHead> {
        None
    }

    fn close(&self, _head: Option<ReplyHead>, out: &mut Vec<u8>, end: CallEnd) {
        // A test that does not look at the result has dropped the receiver.
        let _ = self.0.send((out.clone(), end));
    }
}

/// Receives the output and the end of a call.
pub(crate) type CallEnds = mpsc::Receiver<(Vec<u8>, CallEnd)>;

/// Creates a call, and the receiver of its output and its end.
pub(crate) fn call_of<G: CallTarget>(
    target: &Arc<G>,
    method: u32,
    run: Run,
    deadline: Time,
    params: &[u8],
) -> (Arc<Call<G>>, CallEnds) {
    call_with(target, method, call_facts(run, deadline), params)
}

/// Creates a call with these facts, and the receiver of its output and its end.
pub(crate) fn call_with<G: CallTarget>(
    target: &Arc<G>,
    method: u32,
    facts: CallFacts<'static>,
    params: &[u8],
) -> (Arc<Call<G>>, CallEnds) {
    let (sender, ends) = mpsc::channel();
    let (facts, target) = (Arc::new(facts), Arc::clone(target));
    let permits = CallPermits::default();
    (Call::new(facts, target, method, params, ChannelSink(sender), permits, client()), ends)
}

/// Creates a `blocking` call that is the trial call of a circuit breaker whose open time was zero.
pub(super) fn fake_trial_call(deadline: Time) -> (Arc<CircuitBreaker>, Arc<Call<FakeTarget>>) {
    let open = Duration::ZERO;
    let limits = BreakerConfig { failures: 1, window: Duration::from_secs(10), open };
    let breaker = Arc::new(CircuitBreaker::new(limits));
    assert!(breaker.count(true, None).is_some());
    let permits = CallPermits::new(None, breaker.admit(Time::now()).unwrap());

    let trial = permits.trial_number();
    let facts = Arc::new(CallFacts { trial, ..call_facts(Run::Blocking, deadline) });
    let sink = ChannelSink(mpsc::channel().0);
    (breaker, Call::new(facts, FakeTarget::doing_nothing(), 0, b"", sink, permits, client()))
}

fn client() -> Caller {
    Caller::Client { connection: 1, peer: None }
}

/// Returns the facts of a call that no client has made.
pub(super) fn call_facts(run: Run, deadline: Time) -> CallFacts<'static> {
    CallFacts::new(deadline.0, RequestId::new(None, String::new), run)
}

/// Creates a `blocking` call of a fake target, and the receiver of its output and its end.
pub(super) fn fake_call(
    target: &Arc<FakeTarget>,
    deadline: Time,
    params: &[u8],
) -> (Arc<Call<FakeTarget>>, CallEnds) {
    call_of(target, 0, Run::Blocking, deadline, params)
}

//! A generation in worker processes, which an invented runtime stands for.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use jackfield_plugin_api::abi::{CallEnd, ProcessEnd};
use jackfield_plugin_api::manifest::DeclaredMethod;

use super::super::ExportedState;
use super::super::generation::{Generation, GenerationId, GenerationParts, PluginCall};
use super::super::phase_error::WorkerPhaseError;
use super::super::retirement::{EndDeadline, IoThreadReplacer, RetirementOutcome};
use super::super::test_support::{CallEnds, call_facts, call_of, memory_crash_record};
use super::*;
use crate::clock::Time;
use crate::config::BreakerConfig;
use crate::loader::LoadErrorReason;
use crate::sync::lock;
use crate::worker::report::RestartCounts;

const METHOD: u32 = 0;
const LIMIT: Duration = Duration::from_secs(30);

/// The state of the workers, for tests.
#[derive(Default)]
struct Seen {
    calls: Mutex<Vec<Arc<PluginCall>>>,
    states: Mutex<Vec<(u32, Vec<u8>)>>,
    is_down: AtomicBool,
    is_killed: AtomicBool,
    is_ended: AtomicBool,
}

impl Seen {
    /// Ends the calls as the death of their process does.
    fn crash(&self) {
        for call in lock(&self.calls).drain(..) {
            let mut out = Vec::new();
            let head = call.sink.open(&mut out);
            call.sink.close(head, &mut out, CallEnd::Crashed(ProcessEnd::Signal(9)));
        }
    }
}

struct FakeWorker(Arc<Seen>);

impl WorkerRuntime<Generation> for FakeWorker {
    fn submit(
        &self,
        _run: Run,
        calls: &mut dyn ExactSizeIterator<Item = Arc<PluginCall>>,
    ) -> Result<(), SubmitError> {
        lock(&self.0.calls).extend(calls);
        Ok(())
    }

    fn overdue_calls(&self) -> usize {
        let now = Time::now();
        lock(&self.0.calls).iter().filter(|call| now.0 >= call.facts.deadline).count()
    }

    fn is_serving(&self) -> bool {
        !self.0.is_down.load(Ordering::Relaxed)
    }

    fn export_state(&self, _limit: Duration, gives_up: &dyn Fn() -> bool) -> Result<Vec<u8>, PhaseError> {
        if gives_up() { Err(WorkerPhaseError::GivenUp.into()) } else { Ok(b"state".to_vec()) }
    }

    fn import_state(
        &self,
        schema: u32,
        state: &[u8],
        _limit: Duration,
        _gives_up: &dyn Fn() -> bool,
    ) -> Result<(), PhaseError> {
        lock(&self.0.states).push((schema, state.to_vec()));
        Ok(())
    }

    fn kept_image(&self) -> Result<KeptImage, LoadError> {
        Err(LoadError::new(LoadErrorReason::NoResources, "no descriptor"))
    }

    fn signature(&self) -> Option<VerifiedSignature> {
        None
    }

    fn kill(&self) {
        self.0.is_killed.store(true, Ordering::Relaxed);
        self.0.crash();
    }

    fn end(self: Box<Self>, _until: Instant) {
        self.0.is_ended.store(true, Ordering::Relaxed);
    }

    fn report(&self) -> WorkerReport {
        WorkerReport { workers: Vec::new(), restarts: RestartCounts::default() }
    }
}

struct NoIoThreads;

impl IoThreadReplacer for NoIoThreads {
    fn replace_all(&self, _until: Instant) -> usize {
        unreachable!("no I/O thread runs code of a worker")
    }
}

fn generation() -> (Arc<Generation>, Arc<Seen>) {
    let identity = GenerationId::built_in(1, "t");
    let methods = vec![DeclaredMethod { name: "t.method".to_owned(), run: Run::Blocking }];
    let registration = identity.register(&methods, &memory_crash_record());
    let parts = GenerationParts {
        identity,
        methods,
        registration,
        breaker: BreakerConfig { failures: 2, ..BreakerConfig::default() },
        reply_limit: 1 << 20,
        probation: None,
        state_schema: Some(3),
        contract: Arc::default(),
    };
    let seen = Arc::<Seen>::default();
    let runtime = Runtime::Worker(Box::new(FakeWorker(Arc::clone(&seen))));
    (Arc::new(Generation::new(parts, runtime)), seen)
}

/// Submits a call with this deadline, and returns the receiver of its end.
fn submit(generation: &Arc<Generation>, deadline: Time) -> CallEnds {
    let (call, ends) = call_of(generation, METHOD, Run::Blocking, deadline, b"1");
    generation.submit(Run::Blocking, &mut std::iter::once(call)).unwrap();
    ends
}

fn retire(generation: Arc<Generation>, deadline: &EndDeadline) -> RetirementOutcome {
    Generation::retire(generation, deadline, &NoIoThreads)
}

#[test]
fn submits_calls_to_the_workers_and_runs_none_in_this_process() {
    let (generation, seen) = generation();
    let ends = submit(&generation, Time::NEVER);
    assert_eq!((lock(&seen.calls).len(), generation.direct_calls()), (1, 1));
    seen.crash();
    assert_eq!(ends.recv_timeout(LIMIT).unwrap().1, CallEnd::Crashed(ProcessEnd::Signal(9)));
    assert_eq!(generation.direct_calls(), 0);

    let facts = call_facts(Run::Inline, Time::NEVER);
    let end = generation.run_inline(METHOD, &facts, b"1", &mut Vec::new());
    assert!(matches!(end, CallEnd::Failed { .. }), "{end:?}");
    assert!(!generation.demote(METHOD));
}

#[test]
fn counts_a_crash_for_the_circuit_breaker() {
    use super::super::call::CallTarget as _;

    let (generation, _) = generation();
    let facts = call_facts(Run::Blocking, Time::NEVER);
    for _ in 0..2 {
        assert!(generation.admit(Time::now()).is_ok());
        generation.record_end(METHOD, &facts, &CallEnd::Crashed(ProcessEnd::ExitCode(1)));
    }
    assert!(generation.admit(Time::now()).is_err());
}

#[test]
fn is_unhealthy_while_no_worker_serves() {
    let (generation, seen) = generation();
    assert!(generation.health().is_healthy && generation.unhealthy_reason().is_none());
    seen.is_down.store(true, Ordering::Relaxed);
    assert!(!generation.health().is_healthy);
    assert_eq!(generation.unhealthy_reason(), Some("no worker process runs at the moment"));
}

#[test]
fn reports_calls_past_their_deadline() {
    let (generation, seen) = generation();
    let _ends = [Time::NEVER, Time::now()].map(|deadline| submit(&generation, deadline));
    generation.supervise_calls();
    assert_eq!((generation.health().lost_threads, generation.unfinished_calls()), (1, 1));
    assert!(generation.worker_report().is_some());
    seen.crash();
}

#[test]
fn exports_and_imports_the_state_of_the_worker() {
    let (generation, seen) = generation();
    assert_eq!(generation.export_state(LIMIT, &|| false).unwrap(), b"state");
    assert!(generation.export_state(LIMIT, &|| true).unwrap_err().is_given_up());

    let state = Arc::new(ExportedState { schema: 7, bytes: b"other".to_vec() });
    generation.import_state(&state, LIMIT, &|| false).unwrap();
    assert_eq!(*lock(&seen.states), [(7, b"other".to_vec())]);
}

#[test]
fn ends_the_workers_once_their_calls_have_ended() {
    let (generation, seen) = generation();
    let _ends = submit(&generation, Time::NEVER);
    let retired = thread::spawn(|| retire(generation, &EndDeadline::default()));
    assert!(!seen.is_ended.load(Ordering::Relaxed));
    seen.crash();
    assert!(matches!(retired.join().unwrap(), RetirementOutcome::Unloaded));
    assert!(seen.is_ended.load(Ordering::Relaxed) && !seen.is_killed.load(Ordering::Relaxed));
}

#[test]
fn kills_the_workers_whose_calls_have_not_ended_at_the_deadline() {
    let (generation, seen) = generation();
    let ends = submit(&generation, Time::NEVER);
    let deadline = EndDeadline::default();
    deadline.set(Instant::now());

    assert!(matches!(retire(generation, &deadline), RetirementOutcome::Unloaded));
    assert_eq!(ends.recv_timeout(LIMIT).unwrap().1, CallEnd::Crashed(ProcessEnd::Signal(9)));
    assert!(seen.is_killed.load(Ordering::Relaxed) && seen.is_ended.load(Ordering::Relaxed));
}

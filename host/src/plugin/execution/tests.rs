//! Generations of a plugin whose methods report the threads that they run on.

use std::future::poll_fn;
use std::sync::mpsc;
use std::thread::{self, ThreadId};
use std::time::Instant;

use jackfield_plugin_api::{Error, Methods};

use super::*;
use crate::config::Config;
use crate::plugin::test_support::{CallEnds, call_facts, call_of, start_built_in};
use crate::plugin::{BuiltInPlugin, Generation};

const INLINE: u32 = 0;
const BLOCKING: u32 = 1;
const READY: u32 = 2;
const READY_LATER: u32 = 3;
const NEVER_READY: u32 = 4;
const LIMIT: Duration = Duration::from_secs(30);

struct TestPlugin {
    ran_on: mpsc::Sender<ThreadId>,
}

/// Reports the thread on which it is dropped.
struct ReportOnDrop(mpsc::Sender<ThreadId>);

impl Drop for ReportOnDrop {
    fn drop(&mut self) {
        self.0.send(thread::current().id()).unwrap();
    }
}

impl TestPlugin {
    fn add_one(&self, number: u32) -> Result<u32, Error> {
        self.ran_on.send(thread::current().id()).unwrap();
        Ok(number + 1)
    }

    async fn ready(self: Arc<Self>, number: u32) -> Result<u32, Error> {
        self.add_one(number)
    }

    async fn ready_later(self: Arc<Self>, number: u32) -> Result<u32, Error> {
        let mut is_polled = false;
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if std::mem::replace(&mut is_polled, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.add_one(number)
    }

    async fn never_ready(self: Arc<Self>) -> Result<(), Error> {
        self.ran_on.send(thread::current().id()).unwrap();
        let _reports = ReportOnDrop(self.ran_on.clone());
        std::future::pending().await
    }
}

fn generation() -> (Arc<Generation>, mpsc::Receiver<ThreadId>) {
    let (ran_on, threads) = mpsc::channel();
    let methods = Methods::new()
        .inline("t.inline", TestPlugin::add_one)
        .blocking("t.blocking", TestPlugin::add_one)
        .asynchronous("t.ready", TestPlugin::ready)
        .asynchronous("t.ready_later", TestPlugin::ready_later)
        .asynchronous("t.never_ready", TestPlugin::never_ready);
    let plugin = BuiltInPlugin::new("t", TestPlugin { ran_on }, methods);
    (start_built_in(plugin, &Config::default()), threads)
}

fn result(ends: &CallEnds) -> String {
    let (out, end) = ends.recv_timeout(LIMIT).unwrap();
    assert_eq!(end, CallEnd::Done);
    String::from_utf8(out).unwrap()
}

fn submit(generation: &Generation, run: Run, call: &Arc<PluginCall>) {
    generation.submit(run, &mut std::iter::once(Arc::clone(call))).unwrap();
}

#[test]
fn runs_an_inline_method_on_the_calling_thread() {
    let (generation, threads) = generation();
    let mut out = b"head".to_vec();
    let end = generation.run_inline(INLINE, &call_facts(Run::Inline, Time::NEVER), b"1", &mut out);
    assert_eq!((end, &*out), (CallEnd::Done, &b"head2"[..]));
    assert_eq!(threads.try_recv(), Ok(thread::current().id()));
}

#[test]
fn returns_the_result_of_a_method_that_is_ready_at_its_first_poll() {
    let (generation, threads) = generation();
    let mut out = Vec::new();
    let facts = Arc::new(call_facts(Run::Async, Time::NEVER));
    let Ok(end) = generation.poll_first(READY, &facts, b"1", &mut out) else { panic!("it is suspended") };
    assert_eq!((end, &*out), (CallEnd::Done, &b"2"[..]));
    assert_eq!(threads.try_recv(), Ok(thread::current().id()));
}

#[test]
fn resumes_a_suspended_call_on_the_async_thread() {
    let (generation, threads) = generation();
    let (call, ends) = call_of(&generation, READY_LATER, Run::Async, Time::NEVER, b"1");
    let polled = generation.poll_first(READY_LATER, &call.facts, &call.params, &mut Vec::new());
    let Err(suspended) = polled else { panic!("it was ready") };
    generation.resume(&call, suspended).unwrap();

    assert_eq!(result(&ends), "2");
    assert_ne!(threads.recv_timeout(LIMIT).unwrap(), thread::current().id());
}

#[test]
fn reports_the_results_of_submitted_calls_from_its_own_threads() {
    let (generation, threads) = generation();
    for (method, run) in [(BLOCKING, Run::Blocking), (READY, Run::Async), (READY_LATER, Run::Async)] {
        let (call, ends) = call_of(&generation, method, run, Time::NEVER, b"41");
        submit(&generation, run, &call);
        assert_eq!(result(&ends), "42");
        assert_ne!(threads.recv_timeout(LIMIT).unwrap(), thread::current().id());
    }
}

#[test]
fn drops_the_future_of_a_cancelled_call_on_the_async_thread() {
    let (generation, threads) = generation();
    let (call, ends) = call_of(&generation, NEVER_READY, Run::Async, Time::NEVER, b"null");
    submit(&generation, Run::Async, &call);
    let async_thread = threads.recv_timeout(LIMIT).unwrap();
    call.cancel();

    assert_eq!(threads.recv_timeout(LIMIT), Ok(async_thread));
    drop(call);
    assert!(ends.recv_timeout(LIMIT).is_err(), "a cancelled call has no result");
}

#[test]
fn drops_all_futures_when_the_async_thread_is_joined() {
    let (generation, threads) = generation();
    let (call, _) = call_of(&generation, NEVER_READY, Run::Async, Time::NEVER, b"null");
    submit(&generation, Run::Async, &call);
    let async_thread = threads.recv_timeout(LIMIT).unwrap();

    let own = generation.runtime.in_process().unwrap();
    assert_eq!(own.threads.async_executor.join(Instant::now() + LIMIT), 0);
    assert_eq!(threads.try_recv(), Ok(async_thread));
    let (call, _) = call_of(&generation, READY, Run::Async, Time::NEVER, b"1");
    let submitted = generation.submit(Run::Async, &mut std::iter::once(Arc::clone(&call)));
    assert_eq!(submitted, Err(SubmitError::QueueFull));
}

#[test]
fn counts_the_failures_of_calls_that_somebody_waits_for() {
    let facts = || call_facts(Run::Blocking, Time::NEVER);
    let cancelled = facts();
    cancelled.cancelled.set();
    let late_for_its_client = CallFacts { deadline: 1, ..facts() };

    for (facts, is_counted) in [(cancelled, false), (late_for_its_client, false), (facts(), true)] {
        let (generation, _) = generation();
        let panicked = CallEnd::Panicked(String::new());
        (0..100).for_each(|_| generation.record_end(BLOCKING, &facts, &panicked));
        assert_eq!(generation.admit(Time::now()).is_err(), is_counted);
    }
}

#[test]
fn counts_a_time_out_of_a_client_but_not_of_a_calling_plugin() {
    for (depth, is_counted) in [(0, true), (1, false)] {
        let (generation, _) = generation();
        let facts = CallFacts { depth, ..call_facts(Run::Blocking, Time(1)) };
        (0..100).for_each(|_| generation.record_abandoned_timeout(&facts));
        assert_eq!(generation.admit(Time::now()).is_err(), is_counted);
    }
}

//! Nested calls of workers.

use std::collections::BTreeSet;
use std::sync::{Mutex, mpsc};
use std::thread;

use jackfield_plugin_api::abi::{CallFacts, Content, OutgoingCall, RequestId};
use jackfield_plugin_api::{Error, Methods, Run};
use jackfield_protocol::Code;

use super::super::dispatcher::ConnectionRules;
use super::super::route_permits::RoutePermits;
use super::super::table::RoutingTable;
use super::super::table_builder::{CallHold, HeldPlugins, TableBuilder};
use super::*;
use crate::config::Config;
use crate::metrics::MethodNames;
use crate::plugin::test_support::{memory_crash_record, start_built_in};
use crate::plugin::{BuiltInPlugin, Generation};
use crate::sync::lock;
use crate::wake_count::WakeCount;

const LIMIT: Duration = Duration::from_secs(30);

/// A plugin whose method waits until the test has sent something.
struct WaitingPlugin(Mutex<mpsc::Receiver<u32>>);

impl WaitingPlugin {
    fn get(&self) -> Result<u32, Error> {
        lock(&self.0).recv().map_err(|_| Error::internal("the test has ended"))
    }
}

/// A dispatcher with the method `device.get`.
struct Fixture {
    dispatcher: Arc<Dispatcher>,
    device: Arc<Generation>,
    method_names: MethodNames,
    replies: mpsc::Sender<u32>,
}

impl Fixture {
    fn new() -> Self {
        let (replies, received) = mpsc::channel();
        let methods = Methods::new().blocking("device.get", WaitingPlugin::get);
        let plugin = BuiltInPlugin::new("device", WaitingPlugin(Mutex::new(received)), methods);
        let mut config = Config::default();
        config.plugin.entry("device".to_owned()).or_default().threads = 1;
        let device = start_built_in(plugin, &config);
        let dispatcher = Dispatcher::new(ConnectionRules::of(&config), memory_crash_record());
        let fixture = Self { dispatcher, device, method_names: MethodNames::default(), replies };
        fixture.publish(CallHold::None);
        fixture
    }

    fn publish(&self, hold: CallHold<'_>) {
        let table = TableBuilder {
            config: &Config::default(),
            built_in: &BTreeSet::new(),
            permits: &RoutePermits::default(),
            hold,
            method_names: &self.method_names,
        };
        let table: RoutingTable = table.build(vec![Arc::clone(&self.device)], Vec::new());
        assert!(self.dispatcher.publish(&Arc::new(table)));
    }

    fn call(&self, run: Run, timeout: Duration, waits: bool) -> Box<dyn NestedReply> {
        let parent = caller(run);
        self.dispatcher.call_for_worker(&NestedCall {
            call: OutgoingCall { timeout: Some(timeout), ..DEVICE_GET },
            is_waiting: waits,
            ..waiting_call(&Arc::from("other"), &parent)
        })
    }

    /// Calls the method on behalf of `parent`, and waits for the reply.
    fn call_wait(&self, parent: &CallFacts<'_>) -> CallReply {
        self.dispatcher.call_wait(&waiting_call(&Arc::from("other"), parent))
    }
}

const DEVICE_GET: OutgoingCall<'static> =
    OutgoingCall { method: "device.get", params: b"null", content: Content::Json, timeout: None };

fn waiting_call<'a>(plugin: &'a Arc<str>, parent: &'a CallFacts<'a>) -> NestedCall<'a> {
    NestedCall { plugin, parent, call: DEVICE_GET, is_waiting: true }
}

/// Returns the facts of a calling method.
fn caller(run: Run) -> CallFacts<'static> {
    CallFacts::new(Time::now().after(LIMIT).0, RequestId::new(None, String::new), run)
}

/// Polls until the reply has arrived.
fn wait(mut call: Box<dyn NestedReply>) -> CallReply {
    let wakes = Arc::<WakeCount>::default();
    let waker = Waker::from(Arc::clone(&wakes));
    loop {
        let wakes_before = wakes.get();
        if let Poll::Ready(reply) = call.poll(&waker) {
            return reply;
        }
        while wakes.get() == wakes_before && Time::now() < call.deadline() {
            thread::yield_now();
        }
    }
}

#[track_caller]
fn assert_fails(reply: Poll<CallReply>, code: Code) {
    let Poll::Ready(Err(error)) = reply else { panic!("no error") };
    assert_eq!(error.code(), code.as_i64(), "{}", error.message());
}

#[test]
fn wakes_the_host_when_the_reply_arrives() {
    let fixture = Fixture::new();
    for waits in [false, true] {
        let mut call = fixture.call(Run::Blocking, LIMIT, waits);
        assert!(call.poll(Waker::noop()).is_pending());
        fixture.replies.send(7).unwrap();
        assert_eq!(wait(call).unwrap().bytes, b"7");
    }
}

#[test]
fn ends_at_the_deadline_if_it_is_polled_then() {
    let fixture = Fixture::new();
    let call = fixture.call(Run::Blocking, Duration::from_millis(1), false);
    let expired = wait(call);
    assert_fails(Poll::Ready(expired), Code::DeadlineExceeded);
    fixture.replies.send(7).unwrap();
}

#[test]
fn refuses_to_wait_on_a_thread_that_may_not_wait() {
    let fixture = Fixture::new();
    let mut call = fixture.call(Run::Async, LIMIT, true);
    assert_fails(call.poll(Waker::noop()), Code::InternalError);
}

#[test]
fn starts_a_held_call_when_the_gate_opens() {
    let fixture = Fixture::new();
    let held = HeldPlugins { plugins: ["device".to_owned()].into(), ..HeldPlugins::default() };
    fixture.publish(CallHold::AtGate(&held));
    let mut call = fixture.call(Run::Async, LIMIT, false);
    assert!(call.poll(Waker::noop()).is_pending());
    fixture.replies.send(7).unwrap();
    assert!(call.poll(Waker::noop()).is_pending(), "it is held");

    fixture.publish(CallHold::None);
    held.gate.open();
    assert_eq!(wait(call).unwrap().bytes, b"7");
}

#[test]
fn cancels_a_call_that_is_dropped() {
    let fixture = Fixture::new();
    // The plugin has one thread, so the second call waits behind the first one.
    let first = fixture.call(Run::Blocking, LIMIT, false);
    drop(fixture.call(Run::Blocking, LIMIT, false));
    let third = fixture.call(Run::Blocking, LIMIT, false);

    (7..9).for_each(|reply| fixture.replies.send(reply).unwrap());
    assert_eq!(wait(first).unwrap().bytes, b"7");
    assert_eq!(wait(third).unwrap().bytes, b"8");
}

#[test]
fn stops_waiting_when_the_caller_is_cancelled_and_starts_nothing_then() {
    let fixture = Fixture::new();
    // The only thread of the plugin is busy, so the nested call waits in its queue.
    let first = fixture.call(Run::Blocking, LIMIT, false);
    let parent = caller(Run::Blocking);
    thread::scope(|scope| {
        let waits = scope.spawn(|| fixture.call_wait(&parent));
        while fixture.device.direct_calls() < 2 {
            thread::yield_now();
        }
        parent.cancelled.set();
        assert_fails(Poll::Ready(waits.join().unwrap()), Code::Cancelled);
    });
    assert_fails(Poll::Ready(fixture.call_wait(&parent)), Code::Cancelled);

    let last = fixture.call(Run::Blocking, LIMIT, false);
    (7..9).for_each(|reply| fixture.replies.send(reply).unwrap());
    assert_eq!(wait(first).unwrap().bytes, b"7");
    assert_eq!(wait(last).unwrap().bytes, b"8");
}

#[test]
fn stops_waiting_at_a_gate_when_the_caller_is_cancelled() {
    let fixture = Fixture::new();
    let held = HeldPlugins { plugins: ["device".to_owned()].into(), ..HeldPlugins::default() };
    fixture.publish(CallHold::AtGate(&held));
    let parent = caller(Run::Blocking);
    thread::scope(|scope| {
        let waits = scope.spawn(|| fixture.call_wait(&parent));
        parent.cancelled.set();
        assert_fails(Poll::Ready(waits.join().unwrap()), Code::Cancelled);
    });
}

#[test]
fn fails_with_the_deadline_if_the_caller_is_cancelled_then() {
    let fixture = Fixture::new();
    let client = Time::now().after(Duration::from_millis(20));
    let parent = CallFacts { deadline: client.0, ..caller(Run::Blocking) };
    thread::scope(|scope| {
        let waits = scope.spawn(|| fixture.call_wait(&parent));
        while Time::now() < client {
            thread::yield_now();
        }
        parent.cancelled.set();
        assert_fails(Poll::Ready(waits.join().unwrap()), Code::DeadlineExceeded);
    });
    assert_fails(Poll::Ready(fixture.call_wait(&parent)), Code::DeadlineExceeded);
    fixture.replies.send(7).unwrap();
}

#[test]
fn cancels_the_nested_call_of_a_worker_whose_call_is_cancelled() {
    let fixture = Fixture::new();
    let parent = caller(Run::Blocking);
    let mut call = fixture.dispatcher.call_for_worker(&waiting_call(&Arc::from("other"), &parent));
    let wakes = Arc::<WakeCount>::default();
    assert!(call.poll(&Waker::from(Arc::clone(&wakes))).is_pending());

    parent.cancelled.set();
    assert_eq!(wakes.get(), 1);
    assert_fails(call.poll(Waker::noop()), Code::Cancelled);
    fixture.replies.send(7).unwrap();
}

#[test]
fn leaves_a_trial_undecided_that_is_late_for_the_client_alone() {
    let fixture = Fixture::new();
    // Opens the circuit breaker, and waits until it admits a trial call.
    while fixture.device.admit(Time::now()).is_ok_and(|trial| trial.is_none()) {
        fixture.device.record_timeout(None);
    }
    while fixture.device.admit(Time::now()).is_err() {
        thread::yield_now();
    }

    let client = Time::now().after(Duration::from_millis(20));
    let parent = CallFacts { deadline: client.0, ..caller(Run::Blocking) };
    assert_fails(Poll::Ready(fixture.call_wait(&parent)), Code::DeadlineExceeded);
    assert!(fixture.device.admit(Time::now()).is_ok_and(|trial| trial.is_some()));
    fixture.replies.send(7).unwrap();
}

//! A worker on one end of a socket pair, and the test as the host on the other end.

use std::future::pending;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jackfield_plugin_api::abi::{HostCell, Instance};
use jackfield_plugin_api::manifest::DeclaredMethod;
use jackfield_plugin_api::{Context, Error, Level, Methods, Run};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::nested_calls::NestedCalls;
use super::serve::{ChannelEnd, Server, read_spec};
use super::services::WorkerServices;
use super::start::PluginThreads;
use super::worker_channel::WorkerChannel;
use crate::clock::Time;
use crate::sync::lock;
use crate::worker::channel_reader::{ChannelReader, Received};
use crate::worker::channel_writer::{ChannelWriter, WhenFull};
use crate::worker::message::{CallMessage, HostMessage, MessageEnd, WorkerMessage};

const LIMIT: Duration = Duration::from_secs(30);
const BLOCKING: u32 = 0;
const ASYNC: u32 = 1;
const WAITS: u32 = 2;
const NEVER: u32 = 3;
const PANICS: u32 = 4;
const FAILS: u32 = 5;
const CALLS_AND_WAITS: u32 = 6;
const CALLS: u32 = 7;
const REPEATS: u32 = 8;
const INLINE: u32 = 9;
const DROPS_A_CALL: u32 = 10;

struct TestPlugin {
    /// Reports that a method has started which waits.
    started: Sender<()>,
    resumed: Mutex<Receiver<()>>,
}

impl TestPlugin {
    fn add_one(&self, number: u32) -> Result<u32, Error> {
        Ok(number + 1)
    }

    async fn add_one_later(self: Arc<Self>, number: u32, cx: Context<'static>) -> Result<u32, Error> {
        cx.host().sleep(Duration::from_millis(1)).await;
        Ok(number + 1)
    }

    fn wait(&self, cx: &Context<'_>) -> Result<bool, Error> {
        self.started.send(()).unwrap();
        lock(&self.resumed).recv().unwrap();
        Ok(cx.is_cancelled())
    }

    async fn never(self: Arc<Self>) -> Result<(), Error> {
        self.started.send(()).unwrap();
        pending().await
    }

    fn panic(&self) -> Result<(), Error> {
        panic!("planned");
    }

    fn fail(&self, cx: &Context<'_>) -> Result<(), Error> {
        cx.host().log(Level::Warn, "about to fail");
        cx.host().log(Level::Debug, "not wanted");
        Err(Error::new(7, "no").with_data(&[1]))
    }

    fn call_and_wait(&self, params: u32, cx: &Context<'_>) -> Result<u32, Error> {
        cx.call_wait("other.m", &params)
    }

    async fn call(self: Arc<Self>, params: u32, cx: Context<'static>) -> Result<u32, Error> {
        cx.call("other.m", &params).await
    }

    fn repeat(&self, length: usize, cx: &Context<'_>) -> Result<String, Error> {
        Ok(cx.id().repeat(length))
    }

    async fn drop_a_call(self: Arc<Self>, cx: Context<'static>) -> Result<(), Error> {
        drop(cx.call::<u32>("other.m", &1));
        Ok(())
    }
}

fn methods() -> Methods<TestPlugin> {
    Methods::new()
        .blocking("t.blocking", TestPlugin::add_one)
        .asynchronous("t.async", TestPlugin::add_one_later)
        .blocking("t.waits", TestPlugin::wait)
        .asynchronous("t.never", TestPlugin::never)
        .blocking("t.panics", TestPlugin::panic)
        .blocking("t.fails", TestPlugin::fail)
        .blocking("t.calls_and_waits", TestPlugin::call_and_wait)
        .asynchronous("t.calls", TestPlugin::call)
        .blocking("t.repeats", TestPlugin::repeat)
        .inline("t.inline", TestPlugin::add_one)
        .asynchronous("t.drops_a_call", TestPlugin::drop_a_call)
}

/// The end of the host, and a worker on other threads of this process.
struct TestHost {
    reader: ChannelReader,
    writer: ChannelWriter,
    worker: JoinHandle<ChannelEnd>,
    nested: Arc<NestedCalls>,

    has_started: Receiver<()>,
    resume: Sender<()>,

    /// Disconnected when the worker would end its process after a stop.
    has_stopped: Receiver<()>,
}

impl TestHost {
    /// Starts a worker with this number of threads.
    fn start(threads: usize) -> Self {
        let (near, far) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        set_socket_timeout(&near, Timeout::Recv, Some(LIMIT)).unwrap();
        let (near, far) = (Arc::new(near), Arc::new(far));
        let (started, has_started) = channel();
        let (resume, resumed) = channel();
        let plugin = TestPlugin { started, resumed: Mutex::new(resumed) };

        let sender = Arc::new(WorkerChannel::new(Arc::clone(&far)));
        let nested = NestedCalls::new(Arc::clone(&sender));
        let parts = PluginThreads::new("t").unwrap();
        let services = WorkerServices {
            channel: Arc::clone(&sender),
            nested: Arc::clone(&nested),
            executor: Arc::clone(&parts.executor),
            log_level: Level::Info as u8,
        };
        let methods = methods();
        let declared: Vec<_> =
            methods.declared().map(|(name, run)| DeclaredMethod { name: name.to_owned(), run }).collect();
        let instance = Instance::local(plugin, methods, &HostCell::new(Arc::new(services)));
        let running = parts.run(instance, &declared, threads, 1000).unwrap();

        let (ready, receives) = std::sync::mpsc::sync_channel(1);
        ready.send(running).unwrap();
        let (stopped, has_stopped) = channel();
        let mut server = Server::new(sender, Arc::clone(&nested), receives, move || drop(stopped));
        let worker = thread::spawn(move || server.serve(&mut ChannelReader::new(far, 1 << 20)));
        Self {
            reader: ChannelReader::new(Arc::clone(&near), 1 << 20),
            writer: ChannelWriter::new(near, WhenFull::Wait),
            worker,
            nested,
            has_started,
            resume,
            has_stopped,
        }
    }

    fn send(&self, messages: &[HostMessage<'_>]) {
        self.writer.send(|out| messages.iter().for_each(|message| out.push_host(message)));
    }

    /// Sends a call that has no deadline.
    fn call(&self, call: u64, method: u32, params: &str) {
        self.send(&[HostMessage::Call(call_message(call, method, params, Time::NEVER))]);
    }

    /// Returns the next message of the worker as text.
    fn next(&mut self) -> String {
        loop {
            if let Some((kind, body)) = self.reader.next_frame().unwrap() {
                return describe(&WorkerMessage::decode(kind, body).unwrap());
            }
            assert_eq!(self.reader.receive(true).unwrap(), Received::Bytes);
        }
    }

    /// Returns the next messages in the order of their texts.
    fn next_sorted(&mut self, count: usize) -> Vec<String> {
        let mut messages: Vec<_> = (0..count).map(|_| self.next()).collect();
        messages.sort();
        messages
    }

    /// Waits until a method has started that waits.
    fn wait_for_start(&self) {
        self.has_started.recv_timeout(LIMIT).unwrap();
    }

    /// Stops the plugin and checks that nothing but the end of the phase is left to be read: each
    /// call has had its end, and no more than one.
    fn stop(mut self) {
        self.send(&[HostMessage::Stop]);
        assert_eq!(self.next(), "phase: done ");
        assert!(self.has_stopped.recv_timeout(LIMIT).is_err());
        assert_eq!(self.nested.waiting(), 0);

        drop((self.reader, self.writer));
        assert!(matches!(self.worker.join().unwrap(), ChannelEnd::Closed));
    }
}

fn call_message(call: u64, method: u32, params: &str, deadline: Time) -> CallMessage<'_> {
    let run = if [ASYNC, NEVER, CALLS, DROPS_A_CALL].contains(&method) { Run::Async } else { Run::Blocking };
    CallMessage { call, method, run, depth: 0, deadline: deadline.0, id: "id", params: params.as_bytes() }
}

fn describe(message: &WorkerMessage<'_>) -> String {
    match *message {
        WorkerMessage::End { call, end } => format!("{call}: {}", describe_end(end)),
        WorkerMessage::Nested { nested, parent, waits, timeout: 0, method, params } => {
            let params = String::from_utf8_lossy(params);
            format!("nested {nested} of {parent}: {method} {params}, waits: {waits}")
        }
        WorkerMessage::Log { level, call, line } => format!("log {level} of {call}: {line}"),
        WorkerMessage::PhaseEnd(end) => format!("phase: {}", describe_end(end)),
        ref other => format!("{other:?}"),
    }
}

fn describe_end(end: MessageEnd<'_>) -> String {
    match end {
        MessageEnd::Done(result) => format!("done {}", String::from_utf8_lossy(result)),
        MessageEnd::Failed { code, message, data } => format!("failed {code} {message} {data:?}"),
        MessageEnd::Panicked(text) => format!("panicked {text}"),
        MessageEnd::Cancelled => "cancelled".to_owned(),
    }
}

fn done(nested: u64, result: &str) -> HostMessage<'_> {
    HostMessage::Reply { nested, end: MessageEnd::Done(result.as_bytes()) }
}

#[test]
fn runs_all_kinds_of_methods_and_ends_each_call_once() {
    let mut host = TestHost::start(2);
    let calls = [BLOCKING, ASYNC, INLINE].repeat(20);
    let messages: Vec<_> = (1..)
        .zip(&calls)
        .map(|(number, method)| HostMessage::Call(call_message(number, *method, "41", Time::NEVER)))
        .collect();
    host.send(&messages);

    let mut expected: Vec<_> = (1..=calls.len()).map(|number| format!("{number}: done 42")).collect();
    expected.sort();
    assert_eq!(host.next_sorted(calls.len()), expected);
    host.stop();
}

#[test]
fn reports_errors_panics_and_results_that_are_too_large() {
    let mut host = TestHost::start(1);
    host.call(1, PANICS, "null");
    assert_eq!(host.next(), "1: panicked planned");
    host.call(2, REPEATS, "499");
    assert_eq!(host.next(), format!("2: done \"{}\"", "id".repeat(499)));
    host.call(3, REPEATS, "500");
    // The detail goes to the log, as of any internal error.
    let logged = host.next();
    assert!(logged.starts_with("log 1 of 3: ") && logged.contains("1000 bytes"), "{logged}");
    let failed = host.next();
    assert!(failed.starts_with("3: failed -32603 the result does not fit in a frame of 1000"), "{failed}");
    host.stop();
}

#[test]
fn logs_for_the_call_that_runs_on_the_thread_up_to_the_level() {
    let mut host = TestHost::start(1);
    host.call(9, FAILS, "null");
    assert_eq!(host.next(), "log 2 of 9: about to fail");
    assert_eq!(host.next(), "9: failed 7 no Some(\"[1]\")");
    host.stop();
}

#[test]
fn ends_a_cancelled_call_at_once_if_it_waits_and_when_it_returns_if_it_runs() {
    let mut host = TestHost::start(1);
    host.call(1, WAITS, "null");
    host.wait_for_start();
    host.call(2, BLOCKING, "1");
    host.send(&[HostMessage::Cancel(2), HostMessage::Cancel(2), HostMessage::Cancel(99)]);
    assert_eq!(host.next(), "2: cancelled");

    host.send(&[HostMessage::Cancel(1)]);
    // A call that was sent after the cancellation is behind it in the channel.
    host.call(3, ASYNC, "1");
    assert_eq!(host.next(), "3: done 2");
    host.resume.send(()).unwrap();
    assert_eq!(host.next(), "1: done true");
    host.stop();
}

#[test]
fn drops_the_future_of_a_cancelled_call() {
    let mut host = TestHost::start(1);
    host.call(1, NEVER, "null");
    host.wait_for_start();
    host.send(&[HostMessage::Cancel(1)]);
    assert_eq!(host.next(), "1: cancelled");
    host.stop();
}

#[test]
fn does_not_run_calls_that_were_cancelled_or_are_past_their_deadlines() {
    let mut host = TestHost::start(1);
    let past = |call, method| HostMessage::Call(call_message(call, method, "null", Time(1)));
    // The cancellation is read together with its call.
    host.send(&[
        HostMessage::Call(call_message(1, WAITS, "null", Time::NEVER)),
        HostMessage::Cancel(1),
        past(2, WAITS),
        past(3, NEVER),
    ]);
    assert_eq!(host.next_sorted(3), ["1: cancelled", "2: cancelled", "3: cancelled"]);
    assert!(host.has_started.try_recv().is_err());
    host.stop();
}

#[test]
fn makes_nested_calls_while_every_thread_of_the_plugin_waits_for_one() {
    let mut host = TestHost::start(2);
    for call in [1, 2] {
        host.call(call, CALLS_AND_WAITS, &call.to_string());
    }
    let mut nested = host.next_sorted(2);
    // Each thread has its own number, in any order.
    let first = nested.iter().position(|text| text.ends_with("other.m 1, waits: true")).unwrap();
    nested.swap(0, first);
    let number = |text: &str| text.split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(nested[0], format!("nested {} of 1: other.m 1, waits: true", number(&nested[0])));

    // The async thread calls, too, and its reply arrives first.
    host.call(3, CALLS, "3");
    assert_eq!(host.next(), "nested 3 of 3: other.m 3, waits: false");
    host.send(&[done(3, "30")]);
    assert_eq!(host.next(), "3: done 30");

    let failed = MessageEnd::Failed { code: -32002, message: "full", data: Some("{\"a\":1}") };
    host.send(&[
        HostMessage::Reply { nested: number(&nested[1]), end: failed },
        done(number(&nested[0]), "10"),
        done(99, "0"),
    ]);
    let mut ends: Vec<_> = (0..3).map(|_| host.next()).collect();
    ends.sort();
    assert_eq!(ends[0], "1: done 10");
    assert_eq!(ends[1], "2: failed -32603 a called method failed: full (-32002) Some(\"{\\\"a\\\":1}\")");
    assert!(ends[2].starts_with("log 1 of 2: "), "{ends:?}");
    host.stop();
}

#[test]
fn gives_up_a_nested_call_after_the_deadline_of_its_caller() {
    let mut host = TestHost::start(1);
    for (call, method) in [(1, CALLS_AND_WAITS), (2, CALLS)] {
        let deadline = Time::now().after(Duration::from_millis(200));
        host.send(&[HostMessage::Call(call_message(call, method, "1", deadline))]);
        assert!(host.next().starts_with(&format!("nested {call} of {call}: ")));

        let messages = host.next_sorted(3);
        let failed =
            format!("{call}: failed -32603 a called method failed: the request had no result within");
        assert!(messages[0].starts_with(&failed), "{messages:?}");
        assert_eq!(messages[1], format!("NestedCancelled({call})"));
    }
    host.stop();
}

#[test]
fn cancels_a_nested_call_that_nothing_waits_for_any_more() {
    let mut host = TestHost::start(1);
    host.call(1, DROPS_A_CALL, "null");
    assert_eq!(host.next(), "nested 1 of 1: other.m 1, waits: false");
    assert_eq!(host.next(), "NestedCancelled(1)");
    assert_eq!(host.next(), "1: done null");

    host.call(2, CALLS, "1");
    assert_eq!(host.next(), "nested 2 of 2: other.m 1, waits: false");
    host.send(&[HostMessage::Cancel(2), done(1, "1")]);
    assert_eq!(host.next_sorted(2), ["2: cancelled", "NestedCancelled(2)"]);
    host.stop();
}

#[test]
fn reports_the_end_of_each_phase() {
    let mut host = TestHost::start(1);
    host.send(&[HostMessage::Export]);
    let exported = host.next();
    assert!(exported.starts_with("phase: failed -32603 "), "{exported}");
    host.send(&[HostMessage::Import { schema: 1, state: b"1" }]);
    assert!(host.next().starts_with("phase: "));
    host.stop();
}

#[test]
fn stops_after_the_last_call_has_ended() {
    let mut host = TestHost::start(1);
    host.call(1, WAITS, "null");
    host.wait_for_start();
    host.call(2, BLOCKING, "1");
    host.send(&[HostMessage::Stop]);
    // The queue is discarded, and the running call is awaited.
    assert_eq!(host.next(), "2: cancelled");
    host.resume.send(()).unwrap();
    assert_eq!(host.next(), "1: done false");
    assert_eq!(host.next(), "phase: done ");
    assert!(host.has_stopped.recv_timeout(LIMIT).is_err());
}

#[test]
fn ends_at_the_end_of_the_channel_whatever_runs() {
    let host = TestHost::start(1);
    host.call(1, WAITS, "null");
    host.call(2, NEVER, "null");
    host.wait_for_start();
    drop((host.reader, host.writer));
    assert!(matches!(host.worker.join().unwrap(), ChannelEnd::Closed));
    drop(host.resume);
}

#[test]
fn ends_at_a_message_that_it_does_not_expect() {
    let stop_twice: &[_] = &[HostMessage::Stop, HostMessage::Stop];
    let call = HostMessage::Call(call_message(1, BLOCKING, "1", Time::NEVER));
    let end = MessageEnd::Cancelled;
    for messages in [stop_twice, &[HostMessage::Start(b"{}")], &[call, call]] {
        let host = TestHost::start(1);
        host.send(messages);
        let end = host.worker.join().unwrap();
        assert!(matches!(end, ChannelEnd::OutOfTurn(_)), "{messages:?}: {end}");
    }

    let host = TestHost::start(1);
    host.send(&[HostMessage::Reply { nested: 1, end }]);
    assert!(matches!(host.worker.join().unwrap(), ChannelEnd::Message(_)));
}

#[test]
fn reads_the_specification_first() {
    let (near, far) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let mut reader = ChannelReader::new(Arc::new(far), 1 << 20);
    let writer = ChannelWriter::new(Arc::new(near), WhenFull::Wait);
    writer.send(|out| out.push_host(&HostMessage::Start(b"{")));
    assert!(matches!(read_spec(&mut reader), Err(ChannelEnd::Spec(_))));
    writer.send(|out| out.push_host(&HostMessage::Cancel(1)));
    assert!(matches!(read_spec(&mut reader), Err(ChannelEnd::OutOfTurn(_))));
    drop(writer);
    assert!(matches!(read_spec(&mut reader), Err(ChannelEnd::Closed)));
}

//! Tests of a worker: it is on one end of a socket pair, and the test as the host on the other end.

mod calls;
mod lifecycle;
mod nested;

use std::future::pending;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jackfield_plugin_api::abi::{Content, HostCell, Instance};
use jackfield_plugin_api::manifest::DeclaredMethod;
use jackfield_plugin_api::{Bytes, Context, Error, Level, Methods, Run};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::channel_polling::ChannelPolling;
use super::outgoing_calls::OutgoingCalls;
use super::serve::{ChannelEnd, WorkerServer};
use super::services::WorkerServices;
use super::start::WorkerThreads;
use super::worker_channel::WorkerChannel;
use crate::clock::Time;
use crate::sync::lock;
use crate::worker::channel_reader::{ChannelReader, Received};
use crate::worker::channel_writer::{ChannelWriter, WhenFull};
use crate::worker::message::{CallMessage, HostMessage, MessageEnd, WorkerMessage};
use crate::worker::message_context::{SentCaller, SentOrigin};

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
const CALLS_WITH_BYTES: u32 = 11;

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

    fn call_with_bytes(&self, params: Bytes, cx: &Context<'_>) -> Result<Bytes, Error> {
        cx.call_wait("other.m", &params)
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
        .blocking("t.calls_with_bytes", TestPlugin::call_with_bytes)
}

/// The end of the host, and a worker on other threads of this process.
struct TestHost {
    reader: ChannelReader,
    writer: ChannelWriter,
    worker: JoinHandle<ChannelEnd>,
    nested: Arc<OutgoingCalls>,

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

        let sender = Arc::new(WorkerChannel::new(Arc::clone(&far), || ()));
        let nested = OutgoingCalls::new(Arc::clone(&sender));
        let parts = WorkerThreads::new("t").unwrap();
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
        sender.start_flusher().unwrap();
        let end_process = move || drop(stopped);
        let polling = ChannelPolling::new(Duration::from_micros(50));
        let mut server =
            WorkerServer::new(sender, Arc::clone(&nested), receives, threads, polling, end_process);
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
    let caller = SentCaller { place: 3, origin: Some(SentOrigin::Program) };
    CallMessage {
        call,
        method,
        run,
        depth: 0,
        deadline: deadline.0,
        content: Content::Json,
        id: "id",
        caller,
        trace: None,
        meta: None,
        params: params.as_bytes(),
    }
}

fn describe(message: &WorkerMessage<'_>) -> String {
    match *message {
        WorkerMessage::End { call, end } => format!("{call}: {}", describe_end(end)),
        WorkerMessage::Nested { nested, parent, waits, timeout: 0, content, method, params } => {
            let params = match content {
                Content::Json => String::from_utf8_lossy(params).into_owned(),
                Content::Bytes => format!("{params:?}"),
            };
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
        MessageEnd::DoneBytes(result) => format!("done {result:?}"),
        MessageEnd::Failed { code, message, data } => format!("failed {code} {message} {data:?}"),
        MessageEnd::Panicked(text) => format!("panicked {text}"),
        MessageEnd::Cancelled => "cancelled".to_owned(),
    }
}

fn done(nested: u64, result: &str) -> HostMessage<'_> {
    HostMessage::Reply { nested, end: MessageEnd::Done(result.as_bytes()) }
}

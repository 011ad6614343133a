//! Tests of the queue before the workers, with channels whose other end is the test.

use std::os::fd::OwnedFd;
use std::time::Duration;

use jackfield_plugin_api::{Error, Methods};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::super::super::BuiltInPlugin;
use super::super::super::generation::Generation;
use super::super::super::test_support::{call_of, start_built_in};
use super::*;
use crate::config::Config;
use crate::worker::channel_reader::{ChannelReader, Received};
use crate::worker::channel_writer::WhenFull;
use crate::worker::message::HostMessage;
use crate::worker::payload_file::DETACHED_MIN;

const THREADS: usize = 2;
const QUEUE: usize = 4;

/// A queue, and the plugin whose calls it takes.
struct Fixture {
    dispatch: Dispatch,
    signal: Arc<Signal>,
    generation: Arc<Generation>,
}

/// The other end of a line.
struct Far(ChannelReader);

impl Far {
    /// Returns the numbers and params of the calls that have arrived, and the numbers of those that
    /// were cancelled.
    fn receive(&mut self) -> (Vec<(CallNumber, Vec<u8>)>, Vec<CallNumber>) {
        let (mut calls, mut cancelled) = (Vec::new(), Vec::new());
        while self.0.receive(false).unwrap() == Received::Bytes {
            while let Some((kind, body)) = self.0.next_frame().unwrap() {
                match HostMessage::decode(kind, body).unwrap() {
                    HostMessage::Call(call) => calls.push((call.call, call.params.to_vec())),
                    HostMessage::Cancel { call, .. } => cancelled.push(call),
                    other => panic!("{other:?}"),
                }
            }
        }
        (calls, cancelled)
    }

    fn params(&mut self) -> Vec<Vec<u8>> {
        self.receive().0.into_iter().map(|(_, params)| params).collect()
    }
}

impl Fixture {
    fn new() -> Self {
        let methods = Methods::new().blocking("t.nothing", |_: &()| Ok::<_, Error>(()));
        let generation = start_built_in(BuiltInPlugin::new("t", (), methods), &Config::default());
        let signal = Arc::new(Signal::new().unwrap());
        let dispatch = Dispatch::new(QUEUE, THREADS, Arc::clone(&signal));
        Self { dispatch, signal, generation }
    }

    fn add_line(&self, number: u32) -> Far {
        let (near, far): (OwnedFd, OwnedFd) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        let writer = Arc::new(ChannelWriter::new(Arc::new(near), WhenFull::Return));
        let grace = Duration::from_secs(1);
        let line = Line::new(LineId(number), 0, writer, THREADS, grace, Time::now());
        self.dispatch.lock().lines.push(line);
        Far(ChannelReader::new(Arc::new(far), 64 << 20))
    }

    fn call(&self, run: Run, params: &[u8]) -> Arc<PluginCall> {
        call_of(&self.generation, 0, run, Time::NEVER, params).0
    }

    fn submit(&self, run: Run, calls: &[Arc<PluginCall>]) -> Result<(), SubmitError> {
        self.dispatch.submit(run, &mut calls.iter().cloned())
    }

    fn submit_blocking(&self, params: &[&[u8]]) -> Result<(), SubmitError> {
        let calls: Vec<_> = params.iter().map(|params| self.call(Run::Blocking, params)).collect();
        self.submit(Run::Blocking, &calls)
    }
}

#[test]
fn sends_as_many_blocking_calls_as_there_are_threads() {
    let fixture = Fixture::new();
    let mut far = fixture.add_line(1);
    fixture.submit_blocking(&[b"1", b"2", b"3"]).unwrap();
    let (calls, _) = far.receive();
    assert_eq!(calls.iter().map(|(_, params)| &params[..]).collect::<Vec<_>>(), [b"1", b"2"]);

    assert!(fixture.dispatch.end(LineId(1), calls[0].0).is_some());
    fixture.dispatch.send_queued();
    assert_eq!(far.params(), [b"3"]);
}

#[test]
fn shares_the_threads_of_the_plugin_among_the_workers() {
    let fixture = Fixture::new();
    let (mut first, mut second) = (fixture.add_line(1), fixture.add_line(2));
    fixture.submit_blocking(&[b"1", b"2", b"3"]).unwrap();
    assert_eq!((first.params().len(), second.params().len()), (1, 1));
}

#[test]
fn sends_async_calls_without_waiting_for_threads() {
    let fixture = Fixture::new();
    let mut far = fixture.add_line(1);
    let calls: Vec<_> = (0..100).map(|_| fixture.call(Run::Async, b"")).collect();
    fixture.submit(Run::Async, &calls).unwrap();
    assert_eq!(far.params().len(), 100);
}

#[test]
fn keeps_calls_until_there_is_a_worker_and_rejects_those_beyond_the_queue() {
    let fixture = Fixture::new();
    let calls: Vec<_> = (0..QUEUE + 1).map(|_| fixture.call(Run::Blocking, b"")).collect();
    assert_eq!(fixture.submit(Run::Blocking, &calls), Err(SubmitError::QueueFull));

    let mut far = fixture.add_line(1);
    fixture.dispatch.send_queued();
    assert_eq!(far.params().len(), THREADS);
    assert_eq!(fixture.dispatch.close().len(), QUEUE - THREADS);
    assert_eq!(fixture.submit_blocking(&[b""]), Err(SubmitError::QueueFull));
}

#[test]
fn never_sends_a_call_that_is_over() {
    let fixture = Fixture::new();
    let calls = [fixture.call(Run::Blocking, b"1"), fixture.call(Run::Blocking, b"2")];
    fixture.submit(Run::Blocking, &calls).unwrap();
    calls[0].cancel();

    let mut far = fixture.add_line(1);
    fixture.dispatch.send_queued();
    assert_eq!(far.params(), [b"2"]);
}

#[test]
fn reports_the_cancellation_of_a_call_that_was_sent() {
    let fixture = Fixture::new();
    let mut far = fixture.add_line(1);
    let call = fixture.call(Run::Blocking, b"");
    fixture.submit(Run::Blocking, &[Arc::clone(&call)]).unwrap();
    let (calls, _) = far.receive();

    call.cancel();
    assert_eq!(fixture.signal.take().cancelled, [(LineId(1), calls[0].0)]);
    assert!(fixture.dispatch.open_call(LineId(1), calls[0].0).is_some(), "it has not ended");
}

#[test]
fn knows_only_the_calls_of_a_worker_as_its_own() {
    let fixture = Fixture::new();
    let (mut first, _second) = (fixture.add_line(1), fixture.add_line(2));
    fixture.submit_blocking(&[b""]).unwrap();
    let number = first.receive().0[0].0;

    assert!(fixture.dispatch.end(LineId(2), number).is_none());
    assert!(fixture.dispatch.end(LineId(1), number + 1).is_none());
    assert!(fixture.dispatch.end(LineId(1), number).is_some());
    assert!(fixture.dispatch.end(LineId(1), number).is_none(), "it has ended already");
}

#[test]
fn leaves_large_calls_to_the_supervisor() {
    let fixture = Fixture::new();
    let mut far = fixture.add_line(1);
    let large = vec![b'x'; DETACHED_MIN];
    fixture.submit_blocking(&[&large]).unwrap();
    assert!(far.params().is_empty());

    fixture.dispatch.send_queued();
    assert_eq!(far.params(), [large]);
}

#[test]
fn sends_nothing_to_a_worker_that_drains() {
    let fixture = Fixture::new();
    let mut far = fixture.add_line(1);
    fixture.dispatch.lock().line(LineId(1)).unwrap().begin_drain();
    fixture.submit_blocking(&[b""]).unwrap();
    assert!(far.params().is_empty());
}

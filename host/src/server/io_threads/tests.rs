//! Tests with real I/O threads: their end, and the work of a thread that is being replaced.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use jackfield_plugin_api::{Error, Methods, Run};
use jackfield_protocol::Framing;

use super::super::io_work::AcceptedConnection;
use super::*;
use crate::clock::Time;
use crate::config::Config;
use crate::connection::ListenerOptions;
use crate::plugin::test_support::{CallEnds, call_of, memory_crash_record, start_built_in};
use crate::plugin::{BuiltInPlugin, Generation};
use crate::routing::ConnectionRules;

const LIMIT: Duration = Duration::from_secs(30);

fn io_threads(count: usize) -> Arc<IoThreads> {
    let rules = ConnectionRules::of(&Config::default());
    IoThreads::start(count, &Dispatcher::new(rules, memory_crash_record())).unwrap()
}

/// Blocks its callers until it is opened.
#[derive(Default)]
struct Latch {
    is_reached: AtomicBool,
    is_open: AtomicBool,
}

fn wait_until(holds: impl Fn() -> bool) {
    let until = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < until);
        std::thread::sleep(MIN_POLL);
    }
}

/// Returns a generation whose method 0 waits for the latch, and whose method 1 does nothing.
fn generation(latch: &Arc<Latch>) -> Arc<Generation> {
    let methods = Methods::new()
        .inline("t.wait", |latch: &Arc<Latch>, (): ()| {
            latch.is_reached.store(true, SeqCst);
            wait_until(|| latch.is_open.load(SeqCst));
            Ok::<_, Error>(())
        })
        .inline("t.nothing", |_: &Arc<Latch>, (): ()| Ok::<_, Error>(()));
    start_built_in(BuiltInPlugin::new("t", Arc::clone(latch), methods), &Config::default())
}

/// Runs a method on an I/O thread. Returns whether the call was accepted, and what reports its end.
fn run_inline(io: &IoThreads, generation: &Arc<Generation>, method: u32) -> (bool, CallEnds) {
    let (call, ends) = call_of(generation, method, Run::Inline, Time::NEVER, b"null");
    (io.run_inline(call), ends)
}

/// A request for a method that no plugin has.
const REQUEST: &[u8] = b"{\"id\":\"a\",\"method\":\"no.such\"}\n";

/// Sends a new connection with a request to an I/O thread and returns the end of its client.
fn connect(io: &IoThreads) -> UnixStream {
    let (mut client, stream) = UnixStream::pair().unwrap();
    client.write_all(REQUEST).unwrap();
    stream.set_nonblocking(true).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let manner = ListenerOptions {
        framing: Framing::Line,
        line: Arc::default(),
        close_after_reply: false,
        remote: false,
        listener: "run/test.sock".into(),
        admin: false,
    };
    let permit = io.dispatcher.connections.take().unwrap();
    let accepted = AcceptedConnection { number: 1, stream, manner, peer: None, permit };
    assert!(io.send(IoThreadWork::Serve(accepted)).is_ok());
    client
}

fn finish(io: &IoThreads, threads: &[IoThread]) {
    send_to_all(threads, || IoThreadCommand::Finish);
    wait_until(|| threads.iter().all(IoThread::has_ended));
    assert_eq!(io.dispatcher.connections.held(), 0);
}

#[test]
fn serves_connections_and_runs_calls_until_it_is_finished() {
    let io = io_threads(4);
    let generation = generation(&Arc::default());
    let threads = io.drain();
    assert!(io.respond_within(LIMIT), "each thread has received the command");

    let mut client = connect(&io);
    let mut replies = String::new();
    client.read_to_string(&mut replies).unwrap();
    assert!(replies.starts_with("{\"id\":\"a\",\"error\":{"), "{replies}");

    for _ in 0..8 {
        let (is_accepted, ends) = run_inline(&io, &generation, 1);
        assert!(is_accepted && ends.recv_timeout(LIMIT).is_ok());
    }

    finish(&io, &threads);
    assert!(!run_inline(&io, &generation, 1).0, "a thread that has ended accepts no call");
}

#[test]
fn runs_a_call_that_was_queued_before_the_thread_ended() {
    let io = io_threads(1);
    let latch = Arc::<Latch>::default();
    let generation = generation(&latch);
    let (_, waits) = run_inline(&io, &generation, 0);
    wait_until(|| latch.is_reached.load(SeqCst));

    let threads = io.drain();
    send_to_all(&threads, || IoThreadCommand::Cut);
    let (is_accepted, ends) = run_inline(&io, &generation, 1);
    latch.is_open.store(true, SeqCst);

    assert!(waits.recv_timeout(LIMIT).is_ok());
    assert!(is_accepted && ends.recv_timeout(LIMIT).is_ok());
    finish(&io, &threads);
}

#[test]
fn takes_over_the_work_that_waits_for_a_stalled_thread() {
    let io = io_threads(1);
    let latch = Arc::<Latch>::default();
    let generation = generation(&latch);
    let (_, waits) = run_inline(&io, &generation, 0);
    wait_until(|| latch.is_reached.load(SeqCst));
    let (is_accepted, ends) = run_inline(&io, &generation, 1);
    let mut client = connect(&io);
    assert!(is_accepted && ends.try_recv().is_err());

    assert!(io.replace_stalled(0));

    assert!(ends.recv_timeout(LIMIT).is_ok());
    assert_eq!(client.read(&mut [0]).unwrap(), 1, "another thread serves the connection");
    drop(client);

    latch.is_open.store(true, SeqCst);
    assert!(waits.recv_timeout(LIMIT).is_ok());
    let threads = io.drain();
    wait_until(|| io.dispatcher.connections.held() == 0);
    finish(&io, &threads);
}

#[test]
fn passes_on_work_if_the_chosen_thread_has_ended() {
    let io = io_threads(2);
    let generation = generation(&Arc::default());
    let _client = connect(&io);
    let senders = io.senders.load_full();
    let idle = senders.iter().position(|sender| sender.connections() == 0).unwrap();

    senders[idle].send(IoThreadCommand::Cut).unwrap_or_else(|_| panic!("it has ended"));
    wait_until(|| !senders[idle].is_open());

    let (is_accepted, ends) = run_inline(&io, &generation, 1);
    assert!(is_accepted && ends.recv_timeout(LIMIT).is_ok());
    let threads = io.drain();
    wait_until(|| io.dispatcher.connections.held() == 0);
    finish(&io, &threads);
}

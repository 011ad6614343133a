//! Restarts under load with socket activation: calls are counted when they are sent, when they are
//! answered, and when the plugin executes them. No call is idempotent, and no caller sees an error.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jackfield_client::{Client, Error, Mode, blocking};
use serde_json::{Value, json};

use crate::support::background::BackgroundThread;
use crate::support::build::root;
use crate::support::hello::{ALL, BLOCK, GOING_AWAY_NOTICE, V1_2, WITH_BYTES, hello, without_block};
use crate::support::peer::{GOING_AWAY, HEARTBEAT, SYNC, V1_0, envelope, frame};
use crate::support::program::{command, finish};
use crate::support::{CEILING, Peer, is_soak, wait_until};
use crate::systemd::supervisor::{SupervisedHost, Supervisor};

const CONFIG: &str = "[timeouts]\ndrain = \"30s\"\n[plugin.journal]\nthreads = 2\nbreaker = { failures = 0 }\n\
    [plugin.journal.settings]\ndirectory = \"journal\"\n";

/// Calls of each client between two restarts.
const CALLS: usize = 5;

/// The calls of one client.
#[derive(Debug, Default)]
struct Calls {
    sent: u64,
    answered: u64,
    errors: Vec<String>,
}

impl Calls {
    fn count<T>(&mut self, outcome: Result<T, impl std::fmt::Debug>) {
        match outcome {
            Ok(_) => self.answered += 1,
            Err(error) => self.errors.push(format!("{error:?}")),
        }
    }
}

/// A client that appends the numbers of its calls to the journal of a topic, until it is stopped.
type Appending = (String, BackgroundThread<Calls>);

fn params(topic: &str, entry: u64) -> Value {
    json!({ "topic": topic, "entry": entry })
}

/// A thread with the blocking Rust client.
fn rust_blocking(socket: PathBuf, topic: &str) -> Appending {
    let name = topic.to_owned();
    let work = move |is_over: &AtomicBool| {
        let client = blocking::Client::builder(&socket).timeout(CEILING).build();
        let mut calls = Calls::default();
        while !is_over.load(Ordering::Relaxed) {
            let params = params(&name, calls.sent);
            calls.sent += 1;
            calls.count(client.call::<_, Value>("journal.append", &params));
        }
        client.close();
        calls
    };
    (topic.to_owned(), BackgroundThread::start(work))
}

/// The async Rust client with several calls at once, multiplexed or not.
fn rust_async(socket: PathBuf, topic: &str, mode: Mode) -> Appending {
    let name = topic.to_owned();
    let work = move |is_over: &AtomicBool| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = Client::builder(&socket).timeout(CEILING).build();
            let mut calls = Calls::default();
            while !is_over.load(Ordering::Relaxed) {
                let params: Vec<_> = (0..8).map(|call| params(&name, calls.sent + call)).collect();
                calls.sent += 8;
                let requests =
                    params.iter().map(|params| client.request("journal.append", params).mode(mode));
                let outcomes: Vec<Result<Value, Error>> = client.batch(requests).await;
                outcomes.into_iter().for_each(|outcome| calls.count(outcome));
            }
            client.close();
            calls
        })
    };
    (topic.to_owned(), BackgroundThread::start(work))
}

/// A process with the PHP client.
fn php(socket: PathBuf, directory: &Path, topic: &str, mode: &str) -> Appending {
    let end = directory.join(format!("end-{topic}"));
    let mut php = command("php");
    php.arg(root().join("tests/e2e/context/restarts.php"))
        .arg(root())
        .arg(socket)
        .args([topic, mode])
        .arg(&end);
    let work = move |is_over: &AtomicBool| {
        thread::scope(|scope| {
            let running = scope.spawn(move || finish(&mut php));
            while !is_over.load(Ordering::Relaxed) && !running.is_finished() {
                thread::sleep(Duration::from_millis(2));
            }
            std::fs::write(end, "").expect("the file that ends the client");
            let finished = running.join().expect("a process");
            assert_eq!((finished.code, &*finished.stderr), (0, ""), "{finished:?}");
            let calls: Value = serde_json::from_str(&finished.stdout).expect("JSON");
            let number = |name: &str| calls[name].as_u64().expect("a number");
            let errors = calls["errors"].as_array().expect("errors").iter().map(Value::to_string).collect();
            Calls { sent: number("sent"), answered: number("answered"), errors }
        })
    };
    (topic.to_owned(), BackgroundThread::start(work))
}

/// Starts a host that inherits the socket.
fn start(supervisor: &Supervisor, listener: &UnixListener) -> SupervisedHost {
    let host = supervisor.start_with(vec![OwnedFd::from(listener.try_clone().unwrap())], "");
    supervisor.wait_for_notification("READY=1");
    host
}

/// Returns how often each number is in the journal of a topic.
fn executed(supervisor: &Supervisor, topic: &str) -> BTreeMap<u64, u64> {
    let text =
        std::fs::read_to_string(supervisor.path(&format!("journal/{topic}.jsonl"))).unwrap_or_default();
    let mut times = BTreeMap::new();
    for line in text.lines() {
        *times.entry(line.parse().expect("a number")).or_default() += 1;
    }
    times
}

#[test]
fn hides_restarts_from_the_callers_of_both_clients() {
    let restarts = if is_soak() { 200 } else { 8 };
    let supervisor = Supervisor::new(CONFIG, &["journal"]);
    let listener = supervisor.bind("run/jackfield.sock");
    let mut host = start(&supervisor, &listener);

    let (socket, directory) = (supervisor.path("run/jackfield.sock"), supervisor.path("."));
    let clients: Vec<Appending> = vec![
        rust_blocking(socket.clone(), "rust-blocking"),
        rust_async(socket.clone(), "rust-multiplexed", Mode::Multiplexed),
        rust_async(socket.clone(), "rust-exclusive", Mode::Exclusive),
        php(socket.clone(), &directory, "php-sync", "sync"),
        php(socket.clone(), &directory, "php-persistent", "persistent"),
        php(socket, &directory, "php-async", "async"),
    ];
    let wait_for_calls = || {
        let counts = || clients.iter().map(|(topic, _)| executed(&supervisor, topic).len());
        let before: Vec<_> = counts().collect();
        wait_until("each client is served", || {
            counts().zip(&before).all(|(count, before)| count >= before + CALLS)
        });
    };

    let began = Instant::now();
    for _ in 0..restarts {
        wait_for_calls();
        host.terminate();
        host = start(&supervisor, &listener);
    }
    wait_for_calls();

    let mut total = (0, 0, 0);
    let mut faults = Vec::new();
    for (topic, mut client) in clients {
        let calls = client.stop().expect("a client");
        let executed = executed(&supervisor, &topic);
        let executions: u64 = executed.values().sum();
        println!(
            "{topic}: sent {}, answered {}, executed {executions}, errors {}",
            calls.sent,
            calls.answered,
            calls.errors.len()
        );
        total = (total.0 + calls.sent, total.1 + calls.answered, total.2 + executions);
        let is_once = (0..calls.sent).all(|entry| executed.get(&entry) == Some(&1));
        if (calls.answered, executions, is_once) != (calls.sent, calls.sent, true) {
            let twice: Vec<_> = executed.iter().filter(|(_, times)| **times > 1).collect();
            faults.push(format!("{topic}: {calls:?}, executed {executions}, twice {twice:?}"));
        }
    }
    println!("{restarts} restarts in {:?}: {total:?} sent, answered, executed", began.elapsed());
    assert!(faults.is_empty(), "{faults:#?}");
    host.terminate();
}

/// Clients that keep to the protocol without code of the project: they send a request again if it
/// was answered GOING_AWAY, or not answered behind the notice.
#[test]
fn answers_or_refuses_each_request_that_crosses_with_the_end() {
    let restarts = if is_soak() { 100 } else { 5 };
    let supervisor = Supervisor::new(CONFIG, &["journal"]);
    let listener = supervisor.bind("run/jackfield.sock");
    let mut host = start(&supervisor, &listener);

    let socket = supervisor.path("run/jackfield.sock");
    let client = |number: usize| {
        let (socket, topic) = (socket.clone(), format!("raw-{number}"));
        (topic.clone(), BackgroundThread::start(move |is_over| append_raw(&socket, &topic, is_over)))
    };
    let mut clients: Vec<_> = (0..4).map(client).collect();
    for _ in 0..restarts {
        let sizes = |topic: &str| executed(&supervisor, topic).len();
        let before: Vec<_> = clients.iter().map(|(topic, _)| sizes(topic)).collect();
        wait_until("each client is served", || {
            clients.iter().zip(&before).all(|((topic, _), before)| sizes(topic) >= before + CALLS)
        });
        host.terminate();
        host = start(&supervisor, &listener);
    }

    for (topic, client) in &mut clients {
        let (sent, refused) = client.stop().expect("a client");
        let executed = executed(&supervisor, topic);
        println!("{topic}: {sent} sent, {refused} sent again, {} executed", executed.values().sum::<u64>());
        assert!((0..sent).all(|entry| executed.get(&entry) == Some(&1)), "{topic}: {sent}, {executed:?}");
        assert_eq!(executed.len() as u64, sent);
    }
    host.terminate();
}

/// Appends numbers one after another until `is_over`. Returns how many, and how many requests were
/// sent once more.
fn append_raw(socket: &Path, topic: &str, is_over: &AtomicBool) -> (u64, u64) {
    let (mut sent, mut refused) = (0, 0);
    while !is_over.load(Ordering::Relaxed) {
        let Some(mut peer) = greet(socket) else { continue };
        while !is_over.load(Ordering::Relaxed) {
            match append_once(&mut peer, topic, sent) {
                Outcome::Executed => sent += 1,
                Outcome::NotBegun => {
                    refused += 1;
                    break;
                }
            }
        }
    }
    (sent, refused)
}

/// Opens a connection. A host that ends before it answers the hello has begun nothing.
fn greet(socket: &Path) -> Option<Peer> {
    let mut peer = Peer::connect(socket);
    peer.try_send(frame(V1_0, HEARTBEAT, hello(ALL, 1, WITH_BYTES))).ok()?;
    matches!(peer.receive_within(CEILING), Ok(Some(answer)) if answer.kind == HEARTBEAT).then_some(peer)
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Executed,
    NotBegun,
}

/// Sends one request, without reading before whether the host has announced its end.
fn append_once(peer: &mut Peer, topic: &str, entry: u64) -> Outcome {
    let request = frame(V1_2, SYNC, envelope("journal.append", &params(topic, entry)));
    if peer.try_send(request).is_err() {
        return Outcome::NotBegun;
    }
    let mut is_told = false;
    loop {
        match peer.receive_within(CEILING) {
            Ok(Some(notice)) if notice.kind == GOING_AWAY_NOTICE => is_told = true,
            Ok(Some(reply)) => {
                assert_eq!((reply.version, reply.kind), (V1_2, SYNC | BLOCK), "{reply:?}");
                let code = without_block(reply).code();
                assert!(matches!(code, None | Some(GOING_AWAY)), "{code:?}");
                return if code.is_none() { Outcome::Executed } else { Outcome::NotBegun };
            }
            Ok(None) => panic!("no reply to {entry} within {CEILING:?}"),
            Err(left) => {
                assert_eq!((left, is_told), (0, true), "closed without a notice while {entry} was in flight");
                return Outcome::NotBegun;
            }
        }
    }
}

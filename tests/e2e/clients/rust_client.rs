//! The Rust client against the real host: a thousand calls at once, a host restarted under it, and
//! the examples.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use jackfield_client::{Client, Error, Mode, Stats, blocking};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::build::{example_of, root};
use crate::support::program::finish;
use crate::support::scratch::Scratch;
use crate::support::{CEILING, HostBuilder, HostProcess};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Waits for a condition, and lets everything else on the runtime go on meanwhile.
async fn comes(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + CEILING;
    while !holds() {
        assert!(Instant::now() < end, "not within {CEILING:?}: {what}");
        tokio::task::yield_now().await;
    }
}

/// D04 and G07.
#[test]
fn thousands_in_flight_are_all_answered_with_their_own() {
    let host = HostProcess::with(&["device"]);
    runtime().block_on(async {
        let client = Client::builder(host.socket()).timeout(CEILING).build();
        let params: Vec<Value> =
            (0..4_000).map(|n| json!({ "deviceId": format!("dev_{n}"), "status": "online" })).collect();
        let calls = params.iter().map(|params| client.request("device.status.update", params));
        for (updated, params) in client.batch::<_, Value>(calls).await.into_iter().zip(&params) {
            assert_eq!(updated.unwrap()["deviceId"], params["deviceId"]);
        }
        let Stats { in_flight, retries, stray_frames, .. } = client.stats();
        assert_eq!((in_flight, retries, stray_frames), (0, 0, 0));
        client.close();
    });
    let client = blocking::Client::connect(host.socket()).unwrap();
    let listed: Value = client.call("device.list", &json!({ "limit": 1 })).unwrap();
    assert_eq!(listed["total"], 4_000);
    client.close();
}

#[test]
fn errors_of_the_host_and_of_plugins_come_as_they_are() {
    let host = HostProcess::with(&["device"]);
    let client = blocking::Client::connect(host.socket()).unwrap();
    for mode in [Mode::Exclusive, Mode::Multiplexed] {
        let code = |method: &str, params: &Value| {
            let error = client.request(method, params).mode(mode).send::<Value>().unwrap_err();
            assert!(!error.is_retryable());
            error.code()
        };
        assert_eq!(code("no.such.method", &Value::Null), Some(-32601));
        assert_eq!(code("device.status.get", &json!({ "deviceId": "unknown" })), Some(404));
        assert_eq!(code("device.status.get", &json!({ "deviceId": 1 })), Some(-32602));
        let number: Result<u8, Error> = client.request("system.echo", &"text").mode(mode).send();
        assert!(matches!(number, Err(Error::Decode(_))));
    }
    client.close();
}

/// Calls of each kind, for each host that ends.
const CALLS: usize = 300;
/// And so many more, at its end.
const SENT_LAST: usize = 20;

/// A host on a socket, and with a journal, that are there for the next one too.
fn host_at(lasting: &Path) -> HostBuilder {
    let (socket, journal) = (lasting.join("host.sock"), lasting.join("journal"));
    let config = format!(
        "[[listener]]\nsocket = {socket:?}\n[plugin.journal.settings]\ndirectory = {journal:?}\n[timeouts]\ndrain = \"20s\""
    );
    HostProcess::builder().plugin("journal").config(&config)
}

/// How often each number stands in the journal.
fn entries(lasting: &Path, topic: &str) -> BTreeMap<usize, usize> {
    let text = std::fs::read_to_string(lasting.join(format!("journal/{topic}.jsonl"))).expect("a journal");
    let mut times = BTreeMap::new();
    for line in text.lines() {
        *times.entry(line.parse().expect("a number")).or_default() += 1;
    }
    times
}

/// Killed in the middle, then told to stop in the middle, with a successor each time: what is
/// idempotent succeeds, the rest succeeds or says why not, and the journal shows that none of it
/// ran twice.
#[test]
fn a_host_restarted_in_the_middle() {
    let lasting = Scratch::new();
    let host = host_at(lasting.path()).start();
    let mut successors = [host_at(lasting.path()), host_at(lasting.path())].into_iter();
    let (again, once) = runtime().block_on(async {
        // A client for each mode: what is multiplexed then never waits for a connection.
        let modes = [Mode::Multiplexed, Mode::Multiplexed, Mode::Exclusive];
        let client = Client::builder(lasting.join("host.sock")).timeout(CEILING).build();
        let exclusive = Client::builder(lasting.join("host.sock")).timeout(CEILING).build();
        let append = |topic: &str, n: usize| {
            let params = json!({ "topic": topic, "entry": n });
            let mode = modes[n % modes.len()];
            let client = if mode == Mode::Exclusive { &exclusive } else { &client };
            let call = client.request("journal.append", &params).idempotent(topic == "again");
            tokio::spawn(call.mode(mode).send::<Value>())
        };
        let (mut again, mut once) = (Vec::new(), Vec::new());
        let mut host = host;
        for signal in [Signal::KILL, Signal::TERM] {
            again.extend((again.len()..again.len() + CALLS).map(|n| append("again", n)));
            once.extend((once.len()..once.len() + CALLS).map(|n| append("once", n)));
            let newest = || again.iter().chain(&once).rev().take(CALLS);
            comes("some are answered", || newest().any(|call| call.is_finished())).await;
            // However fast the host is: these are sent, and not answered, when it ends.
            host.signal(Signal::STOP);
            again.extend((again.len()..again.len() + SENT_LAST).map(|n| append("again", n)));
            once.extend((once.len()..once.len() + SENT_LAST).map(|n| append("once", n)));
            comes("they are sent", || client.stats().in_flight >= SENT_LAST).await;
            host.signal(signal);
            host.signal(Signal::CONT);
            let successor = successors.next().expect("one for each signal");
            // The client is to be at it all the while, so the test does not block here.
            host = tokio::task::spawn_blocking(move || {
                host.wait();
                successor.start()
            })
            .await
            .unwrap();
        }
        let mut outcomes = [Vec::new(), Vec::new()];
        for (calls, outcomes) in [again, once].into_iter().zip(&mut outcomes) {
            for call in calls {
                outcomes.push(call.await.unwrap());
            }
        }
        client.close();
        exclusive.close();
        host.terminate();
        let [again, once] = outcomes;
        (again, once)
    });

    let written = entries(lasting.path(), "again");
    for (n, outcome) in again.iter().enumerate() {
        assert!(outcome.is_ok(), "the idempotent call {n}: {outcome:?}");
        assert!(written.contains_key(&n), "the call {n} was answered and is not written");
    }
    let written = entries(lasting.path(), "once");
    assert!(written.values().all(|times| *times == 1), "some ran twice: {written:?}");
    let mut lost = 0;
    for (n, outcome) in once.iter().enumerate() {
        match outcome {
            Ok(_) => assert!(written.contains_key(&n), "the call {n} was answered and is not written"),
            Err(error) if error.is_retryable() => {
                assert!(!written.contains_key(&n), "the call {n} ran, and says it did not: {error:?}");
            }
            Err(error) => {
                assert!(matches!(error, Error::ConnectionLost { sent: true, .. }), "the call {n}: {error:?}");
                lost += 1;
            }
        }
    }
    assert!(lost > 0, "nothing was in flight when the host was killed: the test shows nothing");
}

/// The README's examples are these files, and print what it says they print.
#[test]
fn the_examples_of_the_readme() {
    let package = root().join("clients/rust");
    let readme = std::fs::read_to_string(package.join("README.md")).unwrap();
    let examples = ["one_call", "many_calls", "failures", "deadline", "threads"];
    let blocks: Vec<&str> = readme.split("```rust\n").skip(1).collect();
    assert_eq!(blocks.len(), examples.len());
    for (name, block) in examples.into_iter().zip(blocks) {
        let (code, rest) = block.split_once("```\n```text\n").expect("code, and then what it prints");
        let (printed, _) = rest.split_once("```\n").expect("the end of what it prints");
        let file = std::fs::read_to_string(package.join(format!("examples/{name}.rs"))).unwrap();
        let (_, body) = file.split_once("\n\n").expect("a line that says what it shows, and the code");
        assert_same(code, body, name);
        let host = HostProcess::with(&["device"]);
        let program = example_of("jackfield-client", name);
        let finished = finish(Command::new(program).current_dir(host.directory()));
        assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{name}: {finished:?}");
        assert_same(printed, &finished.stdout, name);
    }
}

#[track_caller]
fn assert_same(readme: &str, found: &str, name: impl Display) {
    assert!(readme == found, "{name}: the README says\n{readme}\nand it is\n{found}");
}

/// Not the whole of it is in flight at once, and yet nothing waits for a time-out.
#[test]
fn more_connections_than_the_host_allows_are_an_answer() {
    let host = HostProcess::builder().config("[limits]\nconnections = 2").start();
    let first = blocking::Client::connect(host.socket()).unwrap();
    let second = blocking::Client::connect(host.socket()).unwrap();
    let third = blocking::Client::builder(host.socket()).timeout(Duration::from_secs(5)).build();
    let error = third.ping().unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    first.close();
    second.close();
    let pong: String = third.request("system.ping", &()).timeout(CEILING).send().unwrap();
    assert_eq!(pong, "pong");
    third.close();
}

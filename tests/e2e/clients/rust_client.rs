//! The Rust client against the real host: thousands of concurrent calls, restarts of the host, and
//! the examples.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, Instant};

use jackfield_client::{Client, Error, Mode, Stats, blocking};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::build::{example_of, root};
use crate::support::program::{command, finish};
use crate::support::scratch::Scratch;
use crate::support::{CEILING, HostBuilder, HostProcess};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Waits for a condition while the other tasks of the runtime continue.
async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + CEILING;
    while !holds() {
        assert!(Instant::now() < end, "not within {CEILING:?}: {what}");
        tokio::task::yield_now().await;
    }
}

#[test]
fn answers_thousands_of_concurrent_calls() {
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
fn returns_errors_of_the_host_and_of_plugins_unchanged() {
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

/// Calls of each kind per host.
const CALLS: usize = 300;
/// Additional calls that are in flight when the host ends.
const IN_FLIGHT_AT_END: usize = 20;

/// Returns a host whose socket and journal are in a directory that the next host shares.
fn host_at(shared: &Path) -> HostBuilder {
    let (socket, journal) = (shared.join("host.sock"), shared.join("journal"));

    let config = format!(
        "[[listener]]\nsocket = {socket:?}\n[plugin.journal.settings]\ndirectory = {journal:?}\n[timeouts]\ndrain = \"20s\""
    );
    HostProcess::builder().plugin("journal").config(&config)
}

/// Returns how often each number occurs in the journal.
fn entries(shared: &Path, topic: &str) -> BTreeMap<usize, usize> {
    let text = std::fs::read_to_string(shared.join(format!("journal/{topic}.jsonl"))).expect("a journal");
    let mut times = BTreeMap::new();

    for line in text.lines() {
        *times.entry(line.parse().expect("a number")).or_default() += 1;
    }
    times
}

/// The first host is killed and the second one is terminated, each with requests in flight and
/// replaced by the next one. Idempotent calls succeed. Others succeed or return an error, and the
/// journal shows that none ran twice.
#[test]
fn runs_each_call_at_most_once_across_restarts() {
    let shared = Scratch::new();
    let host = host_at(shared.path()).start();

    let mut successors = [host_at(shared.path()), host_at(shared.path())].into_iter();
    let (again, once) = runtime().block_on(async {
        // One client per mode, so that multiplexed calls never wait for a connection.
        let modes = [Mode::Multiplexed, Mode::Multiplexed, Mode::Exclusive];
        let client = Client::builder(shared.join("host.sock")).timeout(CEILING).build();
        let exclusive = Client::builder(shared.join("host.sock")).timeout(CEILING).build();
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
            wait_until("some are answered", || newest().any(|call| call.is_finished())).await;

            // While the host is stopped, requests are sent but not answered, however fast the host
            // is.
            host.signal(Signal::STOP);
            again.extend((again.len()..again.len() + IN_FLIGHT_AT_END).map(|n| append("again", n)));
            once.extend((once.len()..once.len() + IN_FLIGHT_AT_END).map(|n| append("once", n)));
            wait_until("the calls are sent", || client.stats().in_flight >= IN_FLIGHT_AT_END).await;

            host.signal(signal);
            host.signal(Signal::CONT);

            let successor = successors.next().expect("one for each signal");
            // The client must keep running, so the test must not block its thread.
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

    let written = entries(shared.path(), "again");
    for (n, outcome) in again.iter().enumerate() {
        assert!(outcome.is_ok(), "the idempotent call {n}: {outcome:?}");
        assert!(written.contains_key(&n), "the call {n} was answered and is not written");
    }

    let written = entries(shared.path(), "once");
    assert!(written.values().all(|times| *times == 1), "some ran twice: {written:?}");
    let mut lost = 0;

    for (n, outcome) in once.iter().enumerate() {
        match outcome {
            Ok(_) => assert!(written.contains_key(&n), "the call {n} was answered and is not written"),
            Err(error) if error.is_retryable() => {
                assert!(
                    !written.contains_key(&n),
                    "the call {n} ran, but its error says that it did not: {error:?}"
                );
            }
            Err(error) => {
                assert!(matches!(error, Error::ConnectionLost { sent: true, .. }), "the call {n}: {error:?}");
                lost += 1;
            }
        }
    }
    assert!(lost > 0, "no call was in flight when the host was killed: this run proves nothing");
}

/// The examples of the README are identical to the example programs and print the documented
/// output.
#[test]
fn runs_the_examples_of_the_readme() {
    let package = root().join("clients/rust");
    let readme = std::fs::read_to_string(package.join("README.md")).unwrap();
    let examples = ["one_call", "many_calls", "failures", "deadline", "threads"];
    let blocks: Vec<&str> = readme.split("```rust\n").skip(1).collect();
    assert_eq!(blocks.len(), examples.len());

    for (name, block) in examples.into_iter().zip(blocks) {
        let (code, rest) = block.split_once("```\n```text\n").expect("code and its output");
        let (printed, _) = rest.split_once("```\n").expect("the end of the output");
        let file = std::fs::read_to_string(package.join(format!("examples/{name}.rs"))).unwrap();
        let (_, body) = file.split_once("\n\n").expect("a documentation line and the code");
        assert_same(code, body, name);

        let host = HostProcess::with(&["device"]);
        let program = example_of("jackfield-client", name);
        let finished = finish(command(program).current_dir(host.directory()));

        assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{name}: {finished:?}");
        assert_same(printed, &finished.stdout, name);
    }
}

#[track_caller]
fn assert_same(readme: &str, found: &str, name: impl Display) {
    assert!(readme == found, "{name}: the README contains\n{readme}\nbut the actual text is\n{found}");
}

/// A connection beyond the limit is answered at once with a retryable error and does not wait for a
/// time-out.
#[test]
fn reports_the_connection_limit_as_a_retryable_error() {
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

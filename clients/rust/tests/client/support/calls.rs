//! One interface to both clients: calls that begin in a given order and are awaited at the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use jackfield_client::{Builder, Client, Error, Mode, Stats, blocking};
use serde_json::Value;
use serde_json::value::RawValue;

use super::wait::{wait_until, yield_until};

/// Returns a value as raw JSON.
pub(crate) fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).expect("a value is JSON")
}

/// A call to be made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) params: Box<RawValue>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) idempotent: bool,
    pub(crate) mode: Mode,
    /// Whether it begins after all previous calls have ended.
    pub(crate) alone: bool,
}

impl Call {
    pub(crate) fn echo(mode: Mode, params: Value) -> Call {
        Call {
            name: params.to_string(),
            method: "system.echo".to_owned(),
            params: raw(&params),
            timeout: None,
            idempotent: false,
            mode,
            alone: false,
        }
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Call {
        self.timeout = Some(timeout);
        self
    }

    /// Returns whether the next call waits for this one.
    fn is_awaited(&self) -> bool {
        self.mode == Mode::Exclusive
    }
}

/// The outcome of a call, and its duration.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Box<RawValue>, Error>,
    pub(crate) took: Duration,
}

/// The client that makes the calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClientKind {
    Async,
    Blocking,
}

impl ClientKind {
    pub(crate) const BOTH: [ClientKind; 2] = [ClientKind::Async, ClientKind::Blocking];

    /// Makes the calls with one client, closes it, and returns their outcomes by name.
    ///
    /// Multiplexed calls are begun one after another and awaited at the end. Exclusive calls are
    /// awaited before the next call.
    pub(crate) fn perform(
        self,
        socket: &Path,
        settings: Settings,
        calls: &[Call],
    ) -> BTreeMap<String, Outcome> {
        match self {
            ClientKind::Async => runtime().block_on(async {
                let client = settings.apply(Client::builder(socket)).build();
                let outcomes = perform_async(&client, calls).await;
                client.close();
                outcomes
            }),
            ClientKind::Blocking => {
                let client = settings.apply(blocking::Client::builder(socket)).build();
                let outcomes = perform_blocking(&client, calls);
                client.close();
                outcomes
            }
        }
    }

    /// Makes one call with a client of its own.
    pub(crate) fn perform_one(self, socket: &Path, settings: Settings, call: &Call) -> Outcome {
        self.perform(socket, settings, std::slice::from_ref(call)).into_values().next().expect("one outcome")
    }
}

/// Returns a single-threaded runtime.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("build a runtime")
}

/// Settings for either client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) timeout: Duration,
    pub(crate) connections: usize,
    /// Whether the client sends a hello.
    pub(crate) negotiate: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { timeout: Duration::from_secs(20), connections: 20, negotiate: true }
    }
}

impl Settings {
    fn apply<C>(self, builder: Builder<C>) -> Builder<C> {
        builder.timeout(self.timeout).max_connections(self.connections).negotiate(self.negotiate)
    }
}

/// Returns whether one more request is in flight or waits than before.
fn has_begun(before: &Stats, now: &Stats) -> bool {
    now.in_flight + now.waiting > before.in_flight + before.waiting
}

async fn perform_async(client: &Client, calls: &[Call]) -> BTreeMap<String, Outcome> {
    let mut outcomes = BTreeMap::new();
    let mut tasks = Vec::new();

    for call in calls {
        if call.alone {
            join_tasks(&mut tasks, &mut outcomes).await;
        }

        let mut request =
            client.request(&call.method, &call.params).idempotent(call.idempotent).mode(call.mode);
        if let Some(timeout) = call.timeout {
            request = request.timeout(timeout);
        }
        let before = client.stats();
        let began = Instant::now();
        let sent = request.send();
        let task = tokio::spawn(async move { Outcome { result: sent.await, took: began.elapsed() } });
        yield_until("the call begins", || task.is_finished() || has_begun(&before, &client.stats())).await;

        if call.is_awaited() {
            outcomes.insert(call.name.clone(), task.await.expect("the task does not panic"));
        } else {
            tasks.push((call.name.clone(), task));
        }
    }

    join_tasks(&mut tasks, &mut outcomes).await;
    outcomes
}

async fn join_tasks(
    tasks: &mut Vec<(String, tokio::task::JoinHandle<Outcome>)>,
    outcomes: &mut BTreeMap<String, Outcome>,
) {
    for (name, task) in tasks.drain(..) {
        outcomes.insert(name, task.await.expect("the task does not panic"));
    }
}

fn perform_blocking(client: &blocking::Client, calls: &[Call]) -> BTreeMap<String, Outcome> {
    let mut outcomes = BTreeMap::new();
    thread::scope(|scope| {
        let mut threads = Vec::new();

        for call in calls {
            if call.alone {
                join_threads(&mut threads, &mut outcomes);
            }
            if call.is_awaited() {
                outcomes.insert(call.name.clone(), make(client, call));
                continue;
            }

            let before = client.stats();
            let thread = scope.spawn(move || make(client, call));
            wait_until("the call begins", || thread.is_finished() || has_begun(&before, &client.stats()));
            threads.push((call.name.clone(), thread));
        }

        join_threads(&mut threads, &mut outcomes);
    });
    outcomes
}

/// Makes a call with the blocking client.
fn make(client: &blocking::Client, call: &Call) -> Outcome {
    let mut request = client.request(&call.method, &call.params).idempotent(call.idempotent).mode(call.mode);
    if let Some(timeout) = call.timeout {
        request = request.timeout(timeout);
    }
    let began = Instant::now();
    Outcome { result: request.send(), took: began.elapsed() }
}

fn join_threads(
    threads: &mut Vec<(String, ScopedJoinHandle<'_, Outcome>)>,
    outcomes: &mut BTreeMap<String, Outcome>,
) {
    for (name, thread) in threads.drain(..) {
        outcomes.insert(name, thread.join().expect("the thread does not panic"));
    }
}

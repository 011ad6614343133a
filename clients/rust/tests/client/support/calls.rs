//! Both clients behind one face: calls that are begun in an order, and awaited at the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use jackfield_client::{Builder, Client, Error, Mode, Stats, blocking};
use serde_json::Value;
use serde_json::value::RawValue;

use super::wait::{comes, until};

/// JSON as it is written.
pub(crate) fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).expect("a value is JSON")
}

/// One call to be made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) params: Box<RawValue>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) idempotent: bool,
    pub(crate) mode: Mode,
    /// It begins after all before it have ended.
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

    fn is_awaited(&self) -> bool {
        self.mode == Mode::Exclusive
    }
}

/// What a call came to, and how long it took.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Box<RawValue>, Error>,
    pub(crate) took: Duration,
}

/// Which client makes the calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Front {
    Async,
    Blocking,
}

impl Front {
    pub(crate) const BOTH: [Front; 2] = [Front::Async, Front::Blocking];

    /// Makes the calls with one client of the socket, and closes it. Multiplexed ones are begun one after another and
    /// awaited at the end, exclusive ones are awaited before the next.
    pub(crate) fn perform(
        self,
        socket: &Path,
        settings: Settings,
        calls: &[Call],
    ) -> BTreeMap<String, Outcome> {
        match self {
            Front::Async => runtime().block_on(async {
                let client = settings.apply(Client::builder(socket)).build();
                let outcomes = perform_async(&client, calls).await;
                client.close();
                outcomes
            }),
            Front::Blocking => {
                let client = settings.apply(blocking::Client::builder(socket)).build();
                let outcomes = perform_blocking(&client, calls);
                client.close();
                outcomes
            }
        }
    }

    /// Makes one call with a client of its own.
    pub(crate) fn one(self, socket: &Path, settings: Settings, call: &Call) -> Outcome {
        self.perform(socket, settings, std::slice::from_ref(call)).into_values().next().expect("one outcome")
    }
}

/// A runtime as most programs have it in their tests.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Settings for either builder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) timeout: Duration,
    pub(crate) connections: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { timeout: Duration::from_secs(20), connections: 20 }
    }
}

impl Settings {
    fn apply<C>(self, builder: Builder<C>) -> Builder<C> {
        builder.timeout(self.timeout).max_connections(self.connections)
    }
}

/// Whether one more request is in flight, or waits, than before.
fn has_begun(before: &Stats, now: &Stats) -> bool {
    now.in_flight + now.waiting > before.in_flight + before.waiting
}

async fn perform_async(client: &Client, calls: &[Call]) -> BTreeMap<String, Outcome> {
    let mut outcomes = BTreeMap::new();
    let mut under_way = Vec::new();
    for call in calls {
        if call.alone {
            settle(&mut under_way, &mut outcomes).await;
        }
        let mut request =
            client.request(&call.method, &call.params).idempotent(call.idempotent).mode(call.mode);
        if let Some(timeout) = call.timeout {
            request = request.timeout(timeout);
        }
        let (before, began, sent) = (client.stats(), Instant::now(), request.send());
        let task = tokio::spawn(async move { Outcome { result: sent.await, took: began.elapsed() } });
        comes("the call begins", || task.is_finished() || has_begun(&before, &client.stats())).await;
        under_way.push((call.name.clone(), task));
        if call.is_awaited() {
            let (name, task) = under_way.pop().expect("just begun");
            outcomes.insert(name, task.await.expect("the task does not panic"));
        }
    }
    settle(&mut under_way, &mut outcomes).await;
    outcomes
}

async fn settle(
    under_way: &mut Vec<(String, tokio::task::JoinHandle<Outcome>)>,
    outcomes: &mut BTreeMap<String, Outcome>,
) {
    for (name, task) in under_way.drain(..) {
        outcomes.insert(name, task.await.expect("the task does not panic"));
    }
}

fn perform_blocking(client: &blocking::Client, calls: &[Call]) -> BTreeMap<String, Outcome> {
    let mut outcomes = BTreeMap::new();
    thread::scope(|scope| {
        let mut under_way = Vec::new();
        for call in calls {
            let make = || {
                let mut request =
                    client.request(&call.method, &call.params).idempotent(call.idempotent).mode(call.mode);
                if let Some(timeout) = call.timeout {
                    request = request.timeout(timeout);
                }
                let began = Instant::now();
                Outcome { result: request.send(), took: began.elapsed() }
            };
            if call.alone {
                for (name, thread) in under_way.drain(..) {
                    outcomes.insert(
                        name,
                        thread::ScopedJoinHandle::join(thread).expect("the thread does not panic"),
                    );
                }
            }
            if call.is_awaited() {
                outcomes.insert(call.name.clone(), make());
                continue;
            }
            let before = client.stats();
            let thread = scope.spawn(make);
            until("the call begins", || thread.is_finished() || has_begun(&before, &client.stats()));
            under_way.push((call.name.clone(), thread));
        }
        for (name, thread) in under_way {
            outcomes.insert(name, thread.join().expect("the thread does not panic"));
        }
    });
    outcomes
}

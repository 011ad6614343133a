//! A plugin tested by its author: the real entries and the real catching of panics, without a host or a file.
//!
//! Time is the test's own: it stands still until [`Harness::advance`] moves it, or a call that waits for a sleep
//! does. Other methods are answered by closures given to [`Harness::answer`].

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use serde_json::Value;

use crate::abi::{
    CallEnd, CallFacts, CallReply, HostCell, Instance, PluginFuture, ReplyFuture, RequestId, Root, Services,
    SleepFuture, StartFailure,
};
use crate::{Error, Exported, INTERNAL_ERROR, Level, Methods, Run};

/// How long a call may wait for a wake-up that no sleep of the plugin's explains, before the test is failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// The deadline of every call: 30 s on the test's clock, as long as the host's default time-out.
const TIMEOUT: Duration = Duration::from_secs(30);
const REPLY_MAX: usize = 16 << 20;

type Answer = Box<dyn Fn(Value) -> Result<Value, Error> + Send + Sync>;

#[derive(Default)]
struct World {
    now: u64,
    sleeping: Vec<(u64, Waker)>,
    log: Vec<(Level, String)>,
}

#[derive(Default)]
struct Shared {
    world: Mutex<World>,
    answers: Mutex<HashMap<String, Answer>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Sleep {
    shared: Arc<Shared>,
    until: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut world = lock(&self.shared.world);
        if world.now >= self.until {
            return Poll::Ready(());
        }
        world.sleeping.push((self.until, cx.waker().clone()));
        Poll::Pending
    }
}

impl Shared {
    fn answer(&self, method: &str, params: &[u8]) -> CallReply {
        let answers = lock(&self.answers);
        let answer = answers.get(method).ok_or_else(|| {
            Error::from_wire(-32601, format!("method not found: {method} (see Harness::answer)"), None)
        })?;
        let params = if params.is_empty() { Value::Null } else { serde_json::from_slice(params)? };
        Ok(serde_json::to_vec(&answer(params)?)?)
    }

    fn advance_to(&self, now: u64) {
        let mut world = lock(&self.world);
        world.now = world.now.max(now);
        let now = world.now;
        let (due, later) =
            std::mem::take(&mut world.sleeping).into_iter().partition(|(until, _)| *until <= now);
        world.sleeping = later;
        drop(world);
        let due: Vec<(u64, Waker)> = due;
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

struct Host(Arc<Shared>);

impl Services for Host {
    fn log_enabled(&self, _level: Level) -> bool {
        true
    }

    fn log(&self, level: Level, line: &str) {
        lock(&self.0.world).log.push((level, line.to_owned()));
    }

    fn now(&self) -> u64 {
        lock(&self.0.world).now
    }

    fn sleep(&self, until: u64) -> SleepFuture {
        Box::pin(Sleep { shared: Arc::clone(&self.0), until })
    }

    fn call(
        &self,
        _parent: &CallFacts<'_>,
        method: &str,
        params: &[u8],
        _timeout: Option<Duration>,
    ) -> ReplyFuture {
        let reply = self.0.answer(method, params);
        Box::pin(async move { reply })
    }

    fn call_wait(
        &self,
        _parent: &CallFacts<'_>,
        method: &str,
        params: &[u8],
        _timeout: Option<Duration>,
    ) -> CallReply {
        self.0.answer(method, params)
    }
}

/// A running plugin under test.
pub struct Harness<S> {
    instance: Option<Instance>,
    methods: Methods<S>,
    shared: Arc<Shared>,
}

impl<S: Exported> Harness<S> {
    /// Starts the plugin with `settings`, a JSON object.
    ///
    /// # Errors
    /// What `start` said, or panicked with.
    pub fn start(settings: impl Into<Value>) -> Result<Self, StartFailure> {
        let shared = Arc::new(Shared::default());
        let cell = HostCell::new(Arc::new(Host(Arc::clone(&shared))));
        let settings = settings.into().to_string();
        let instance = Instance::start(&Root::linked::<S>(), &cell, settings.as_bytes())?;
        Ok(Self { instance: Some(instance), methods: S::methods(), shared })
    }

    /// Answers calls that the plugin makes to `method`.
    pub fn answer(
        &self,
        method: &str,
        answer: impl Fn(Value) -> Result<Value, Error> + Send + Sync + 'static,
    ) {
        lock(&self.shared.answers).insert(method.to_owned(), Box::new(answer));
    }

    /// Calls `method` to its end. An `async` method that waits for a sleep gets the time it waits for.
    ///
    /// # Errors
    /// The method's error; a panic is one of [`INTERNAL_ERROR`] that says so.
    ///
    /// # Panics
    /// When an `async` method waits for something that does not come.
    pub fn call(&self, method: &str, params: impl Into<Value>) -> Result<Value, Error> {
        let (number, run) = self.find(method)?;
        let params = params.into().to_string();
        if run == Run::Async {
            return self.begin_numbered(number, &params)?.finish();
        }
        let Some(instance) = &self.instance else { return Err(Error::internal("the plugin was stopped")) };
        let mut out = Vec::new();
        let end = instance.call(number, &self.facts(), params.as_bytes(), &mut out, REPLY_MAX);
        read(end, &out)
    }

    /// Begins an `async` method, to be polled by hand; dropping it cancels it.
    ///
    /// # Errors
    /// Params that do not fit, or a method that is not there or not `async`.
    pub fn begin(&self, method: &str, params: impl Into<Value>) -> Result<Running, Error> {
        let (number, _) = self.find(method)?;
        self.begin_numbered(number, &params.into().to_string())
    }

    /// Moves the clock.
    pub fn advance(&self, by: Duration) {
        let now = lock(&self.shared.world).now;
        self.shared.advance_to(now.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)));
    }

    /// What the plugin has logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<(Level, String)> {
        lock(&self.shared.world).log.clone()
    }

    /// Tries the plugin out, as a probe does.
    ///
    /// # Errors
    /// What its `self_test` said, or panicked with.
    pub fn self_test(&self) -> Result<(), StartFailure> {
        self.running()?.self_test()
    }

    /// The state for a successor, with its layout.
    ///
    /// # Errors
    /// What its `hand_over` said, or panicked with; also that it hands over nothing.
    pub fn hand_over(&self) -> Result<(u32, Vec<u8>), StartFailure> {
        let nothing = || StartFailure::Refused("it has no STATE".to_owned());
        let schema = S::STATE.ok_or_else(nothing)?;
        Ok((schema, self.running()?.hand_over()?))
    }

    /// Gives it the state of a predecessor, in that one's layout.
    ///
    /// # Errors
    /// What its `take_over` said, or panicked with.
    pub fn take_over(&self, schema: u32, state: &[u8]) -> Result<(), StartFailure> {
        self.running()?.take_over(schema, state)
    }

    fn running(&self) -> Result<&Instance, StartFailure> {
        self.instance.as_ref().ok_or_else(|| StartFailure::Refused("the plugin was stopped".to_owned()))
    }

    /// Stops the plugin.
    ///
    /// # Errors
    /// The text of a panic in `stop` or `Drop`.
    pub fn stop(mut self) -> Result<(), String> {
        self.instance.take().map_or(Ok(()), Instance::stop)
    }

    fn find(&self, method: &str) -> Result<(u32, Run), Error> {
        (0..)
            .zip(self.methods.declared())
            .find(|(_, (name, _))| *name == method)
            .map(|(number, (_, run))| (number, run))
            .ok_or_else(|| Error::from_wire(-32601, format!("method not found: {method}"), None))
    }

    fn facts(&self) -> CallFacts<'static> {
        let now = lock(&self.shared.world).now;
        CallFacts {
            deadline: now + u64::try_from(TIMEOUT.as_nanos()).unwrap_or(u64::MAX),
            id: RequestId::new(Some("test".into()), String::new),
            depth: 0,
            run: Run::Blocking,
            cancelled: AtomicBool::new(false),
        }
    }

    fn begin_numbered(&self, number: u32, params: &str) -> Result<Running, Error> {
        let Some(instance) = &self.instance else { return Err(Error::internal("the plugin was stopped")) };
        let begun = instance.begin(number, &Arc::new(self.facts()), params.as_bytes());
        match begun {
            Ok(future) => {
                Ok(Running { future, shared: Arc::clone(&self.shared), woken: Arc::new(Woken::default()) })
            }
            Err(end) => Err(read(end, &[]).err().unwrap_or_else(|| Error::internal("there is no future"))),
        }
    }
}

impl<S> Drop for Harness<S> {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take() {
            let _ = instance.stop();
        }
    }
}

fn read(end: CallEnd, out: &[u8]) -> Result<Value, Error> {
    match end {
        CallEnd::Done => Ok(serde_json::from_slice(out)?),
        CallEnd::Failed { code, message, data } => Err(Error::from_wire(code, message, data)),
        CallEnd::Panicked(text) => {
            Err(Error::from_wire(INTERNAL_ERROR, format!("the method panicked: {text}"), None))
        }
    }
}

#[derive(Default)]
struct Woken {
    yes: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        *lock(&self.yes) = true;
        self.changed.notify_one();
    }
}

/// An `async` method that has begun.
pub struct Running {
    future: PluginFuture,
    shared: Arc<Shared>,
    woken: Arc<Woken>,
}

impl Running {
    /// Polls it once: `None` while it waits.
    pub fn poll(&mut self) -> Option<Result<Value, Error>> {
        let mut out = Vec::new();
        match self.future.poll(&Waker::from(Arc::clone(&self.woken)), &mut out, REPLY_MAX) {
            Poll::Pending => None,
            Poll::Ready(end) => Some(read(end, &out)),
        }
    }

    /// Polls it to its end, moving the clock to the next sleep whenever nothing else wakes it.
    ///
    /// # Errors
    /// The method's error.
    ///
    /// # Panics
    /// When nothing wakes it within 30 s.
    pub fn finish(&mut self) -> Result<Value, Error> {
        loop {
            *lock(&self.woken.yes) = false;
            if let Some(end) = self.poll() {
                return end;
            }
            if *lock(&self.woken.yes) {
                continue;
            }
            let next = lock(&self.shared.world).sleeping.iter().map(|(until, _)| *until).min();
            if let Some(until) = next {
                self.shared.advance_to(until);
                continue;
            }
            let (woken, _) = self
                .woken
                .changed
                .wait_timeout_while(lock(&self.woken.yes), PATIENCE, |yes| !*yes)
                .unwrap_or_else(PoisonError::into_inner);
            assert!(*woken, "the method waits for something that does not come");
        }
    }
}

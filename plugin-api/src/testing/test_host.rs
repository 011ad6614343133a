//! The host of the test harness: a clock that the test moves, a log in memory, and answers by
//! closures.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use serde_json::Value;

use crate::abi::{
    CallFacts, CallOutput, CallReply, Content, OutgoingCall, ReplyFuture, Services, SleepFuture,
};
use crate::{Error, Level, Params};

/// Code of JSON-RPC 2.0: the method does not exist.
pub(super) const METHOD_NOT_FOUND: i64 = -32601;

/// Answers the plugin's calls to one method.
pub(super) type Answer = Box<dyn Fn(Params<Value>) -> Result<Params<Value>, Error> + Send + Sync>;

/// The host of one plugin under test.
#[derive(Default)]
pub(super) struct TestHost {
    state: Mutex<State>,
    answers: Mutex<HashMap<String, Answer>>,
    /// The calls that may run.
    calls: Mutex<Vec<Weak<CallFacts<'static>>>>,
}

#[derive(Default)]
struct State {
    /// The time in nanoseconds.
    now: u64,
    /// The end of each pending sleep, in nanoseconds, and the waker of its task.
    sleeping: Vec<(u64, Waker)>,
    log: Vec<(Level, String)>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestHost {
    pub(super) fn services(self: &Arc<Self>) -> Arc<dyn Services> {
        Arc::new(TestServices(Arc::clone(self)))
    }

    pub(super) fn set_answer(&self, method: &str, answer: Answer) {
        lock(&self.answers).insert(method.to_owned(), answer);
    }

    pub(super) fn now(&self) -> u64 {
        lock(&self.state).now
    }

    pub(super) fn log(&self) -> Vec<(Level, String)> {
        lock(&self.state).log.clone()
    }

    /// Returns the end of the earliest pending sleep, in nanoseconds.
    pub(super) fn next_sleep_end(&self) -> Option<u64> {
        lock(&self.state).sleeping.iter().map(|(until, _)| *until).min()
    }

    /// Moves the clock to `now`, in nanoseconds, and wakes the sleeps that have ended. The clock
    /// never moves back.
    pub(super) fn advance_to(&self, now: u64) {
        let mut state = lock(&self.state);
        state.now = state.now.max(now);
        let now = state.now;
        let (due, pending): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.sleeping).into_iter().partition(|(until, _)| *until <= now);
        state.sleeping = pending;

        // A waker may call the host, so it must run without the lock.
        drop(state);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Keeps a call, so that it can be cancelled while it runs.
    pub(super) fn remember(&self, call: &Arc<CallFacts<'static>>) {
        let mut calls = lock(&self.calls);
        calls.retain(|call| call.strong_count() > 0);
        calls.push(Arc::downgrade(call));
    }

    pub(super) fn cancel_calls(&self) {
        let calls = lock(&self.calls);
        calls.iter().filter_map(Weak::upgrade).for_each(|call| call.cancelled.set());
    }

    fn call(&self, call: OutgoingCall<'_>) -> CallReply {
        let answers = lock(&self.answers);
        let answer = answers.get(call.method).ok_or_else(|| {
            let message = format!("method not found: {} (see Harness::answer)", call.method);
            Error::from_wire(METHOD_NOT_FOUND, message, None)
        })?;
        let params = match call.content {
            Content::Bytes => Params::Bytes(call.params.into()),
            Content::Json if call.params.is_empty() => Params::Json(Value::Null),
            Content::Json => Params::Json(serde_json::from_slice(call.params)?),
        };

        match answer(params)? {
            Params::Json(result) => Ok(CallOutput::json(serde_json::to_vec(&result)?)),
            Params::Bytes(bytes) => Ok(CallOutput { content: Content::Bytes, bytes: bytes.into_vec() }),
        }
    }
}

struct Sleep {
    host: Arc<TestHost>,
    until: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Cloning a waker runs code of the plugin, so it happens without the lock.
        let waker = cx.waker().clone();
        let mut state = lock(&self.host.state);
        if state.now >= self.until {
            return Poll::Ready(());
        }
        state.sleeping.push((self.until, waker));
        Poll::Pending
    }
}

struct TestServices(Arc<TestHost>);

impl Services for TestServices {
    fn log_enabled(&self, _level: Level) -> bool {
        true
    }

    fn log(&self, level: Level, line: &str) {
        lock(&self.0.state).log.push((level, line.to_owned()));
    }

    fn now(&self) -> u64 {
        self.0.now()
    }

    fn sleep(&self, until: u64) -> SleepFuture {
        Box::pin(Sleep { host: Arc::clone(&self.0), until })
    }

    fn call(&self, _parent: &CallFacts<'_>, call: OutgoingCall<'_>) -> ReplyFuture {
        let reply = self.0.call(call);
        Box::pin(async move { reply })
    }

    fn call_wait(&self, _parent: &CallFacts<'_>, call: OutgoingCall<'_>) -> CallReply {
        self.0.call(call)
    }
}

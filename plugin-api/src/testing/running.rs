//! An `async` method under test, polled by the test.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use serde_json::Value;

use super::test_host::{TestHost, lock};
use crate::abi::{CallEnd, PluginFuture};
use crate::{Error, INTERNAL_ERROR, Params};

/// Real time that a call may wait for a wake-up by something other than a sleep, before the test
/// fails. 30 s is far above the time that a thread of a plugin under test needs.
const MAX_WAKE_UP: Duration = Duration::from_secs(30);

/// The largest result, in bytes: 16 MiB, the default frame limit of the protocol.
pub(super) const MAX_REPLY: usize = 16 << 20;

/// Converts the end of a call. `out` holds the result.
pub(super) fn read_end(end: CallEnd, out: Vec<u8>) -> Result<Params<Value>, Error> {
    match end {
        CallEnd::Done => Ok(Params::Json(serde_json::from_slice(&out)?)),
        CallEnd::DoneBytes => Ok(Params::Bytes(out.into())),
        CallEnd::Failed { code, message, data } => Err(Error::from_wire(code, message, data)),
        CallEnd::Panicked(text) => {
            Err(Error::from_wire(INTERNAL_ERROR, format!("the method panicked: {text}"), None))
        }
        // Methods under test run in the process of the test.
        CallEnd::Crashed(end) => {
            Err(Error::from_wire(INTERNAL_ERROR, format!("the process of the plugin ended: {end:?}"), None))
        }
    }
}

/// Returns a result that is JSON.
pub(super) fn json_of(result: Params<Value>) -> Result<Value, Error> {
    result.json().ok_or_else(|| Error::internal("the method returned opaque bytes (see Request::send)"))
}

/// Whether the task was woken, and a signal for it.
#[derive(Default)]
struct WakeFlag {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        *lock(&self.is_set) = true;
        self.changed.notify_one();
    }
}

/// An `async` method that has begun. Dropping it cancels the method.
pub struct Running {
    future: PluginFuture,
    host: Arc<TestHost>,
    woken: Arc<WakeFlag>,
}

impl Running {
    pub(super) fn new(future: PluginFuture, host: Arc<TestHost>) -> Self {
        Self { future, host, woken: Arc::new(WakeFlag::default()) }
    }

    /// Polls the method once. Returns `None` if it is not ready.
    pub fn poll(&mut self) -> Option<Result<Value, Error>> {
        self.poll_any().map(|end| json_of(end?))
    }

    fn poll_any(&mut self) -> Option<Result<Params<Value>, Error>> {
        let mut out = Vec::new();
        match self.future.poll(&Waker::from(Arc::clone(&self.woken)), &mut out, MAX_REPLY) {
            Poll::Pending => None,
            Poll::Ready(end) => Some(read_end(end, out)),
        }
    }

    /// Polls the method to its end. If nothing else wakes it, the clock moves to the end of the
    /// next sleep.
    ///
    /// # Errors
    ///
    /// The error of the method; or its result is opaque bytes.
    ///
    /// # Panics
    ///
    /// Nothing wakes the method within 30 s.
    pub fn finish(&mut self) -> Result<Value, Error> {
        json_of(self.finish_any()?)
    }

    /// Polls the method to its end like [`Running::finish`], and returns JSON or opaque bytes.
    ///
    /// # Errors
    ///
    /// The error of the method.
    ///
    /// # Panics
    ///
    /// As for [`Running::finish`].
    pub fn finish_any(&mut self) -> Result<Params<Value>, Error> {
        loop {
            *lock(&self.woken.is_set) = false;
            if let Some(end) = self.poll_any() {
                return end;
            }
            if *lock(&self.woken.is_set) {
                continue;
            }

            if let Some(until) = self.host.next_sleep_end() {
                self.host.advance_to(until);
                continue;
            }

            let (woken, _) = self
                .woken
                .changed
                .wait_timeout_while(lock(&self.woken.is_set), MAX_WAKE_UP, |is_set| !*is_set)
                .unwrap_or_else(PoisonError::into_inner);
            assert!(*woken, "the method waits for an event that does not occur");
        }
    }
}

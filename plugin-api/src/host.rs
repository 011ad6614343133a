//! The host as a plugin sees it, and the call that a method is running.

use std::borrow::Cow;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::abi::{CallHandle, HostHandle};

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Something failed that somebody must look at.
    Error = 1,
    /// Something is off, and the plugin goes on.
    Warn = 2,
    /// What an operator wants to know.
    Info = 3,
    /// What one looking for a fault wants to know.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

impl Level {
    /// The level behind a number that crossed the boundary; an unknown one is the most detailed.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Error,
            2 => Self::Warn,
            3 => Self::Info,
            4 => Self::Debug,
            _ => Self::Trace,
        }
    }
}

/// The host's services: settings, log, clock. Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    handle: HostHandle,
    settings: Box<[u8]>,
}

impl Host {
    pub(crate) fn new(handle: HostHandle, settings: &[u8]) -> Self {
        Self(Arc::new(Inner { handle, settings: settings.into() }))
    }

    pub(crate) fn handle(&self) -> &HostHandle {
        &self.0.handle
    }

    /// The table `[plugin.NAME.settings]` of the configuration; an empty one when it is not there.
    ///
    /// # Errors
    /// The settings do not fit `T`; the message names the key.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, Error> {
        crate::params::read_settings(&self.0.settings)
    }

    /// Writes a line to the host's log, which adds the plugin's name and generation.
    pub fn log(&self, level: Level, line: impl Display) {
        let number = level as u8;
        if self.0.handle.log_enabled(number) {
            self.0.handle.log(number, &line.to_string());
        }
    }

    /// A line at [`Level::Error`].
    pub fn error(&self, line: impl Display) {
        self.log(Level::Error, line);
    }

    /// A line at [`Level::Warn`].
    pub fn warn(&self, line: impl Display) {
        self.log(Level::Warn, line);
    }

    /// A line at [`Level::Info`].
    pub fn info(&self, line: impl Display) {
        self.log(Level::Info, line);
    }

    /// A line at [`Level::Debug`].
    pub fn debug(&self, line: impl Display) {
        self.log(Level::Debug, line);
    }

    /// Time on the host's monotonic clock; only differences mean something.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.0.handle.now())
    }

    /// Ready once `length` has passed. Coarse: a few milliseconds late is normal, early never.
    pub fn sleep(&self, length: Duration) -> impl Future<Output = ()> + Send + 'static {
        let until = self.monotonic().saturating_add(length);
        let sleeping = self.0.handle.sleep(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX));
        async move {
            let _ = sleeping.await;
        }
    }
}

/// The call that a method is running: who asked, until when, and what it may ask of the host.
pub struct Context<'a> {
    host: Cow<'a, Host>,
    call: CallHandle,
}

impl<'a> Context<'a> {
    pub(crate) fn new(host: Cow<'a, Host>, call: CallHandle) -> Self {
        Self { host, call }
    }

    /// The host's services.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The request's id as text, for logs; a request that came without one is given a `UUIDv4` by the host.
    #[must_use]
    pub fn id(&self) -> Cow<'_, str> {
        self.call.id()
    }

    /// How long until the client is told DEADLINE_EXCEEDED; zero when that has happened.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        Duration::from_nanos(self.call.deadline()).saturating_sub(self.host.monotonic())
    }

    /// Whether nobody waits for the result any more: the deadline passed, or the client has gone. A long `blocking`
    /// method looks at it now and then; an `async` one need not, it is dropped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.call.is_cancelled()
    }

    /// Calls another method, whichever plugin has it, and awaits its result. The time left to this call bounds it.
    ///
    /// # Errors
    /// The method's own error, the host's (not found, overloaded, deadline), or a result that does not fit `R`.
    pub fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        params: &impl Serialize,
    ) -> impl Future<Output = Result<R, Error>> + Send + 'static {
        let begun = serde_json::to_vec(params)
            .map_err(Error::from)
            .map(|params| self.host.handle().call(&self.call, method, &params, 0));
        async move { Ok(serde_json::from_slice(&begun?.await?)?) }
    }

    /// As [`Context::call`], waiting on this thread: for `blocking` methods. An `inline` method may only reach
    /// methods that are `inline` too, for it must not wait.
    ///
    /// # Errors
    /// As for [`Context::call`].
    pub fn call_wait<R: DeserializeOwned>(&self, method: &str, params: &impl Serialize) -> Result<R, Error> {
        let params = serde_json::to_vec(params)?;
        let result = self.host.handle().call_wait(&self.call, method, &params, 0)?;
        Ok(serde_json::from_slice(&result)?)
    }
}

//! The services of the host as a plugin sees them, and the context of a running call.

use std::borrow::Cow;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::abi::{CallHandle, HostHandle};
use crate::failure_text::INTERNAL_ERROR_LINE;

/// The severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// A failure that an operator must look at.
    Error = 1,
    /// A problem after which the plugin continues.
    Warn = 2,
    /// Information for operators.
    Info = 3,
    /// Information for finding a fault.
    Debug = 4,
    /// Everything else.
    Trace = 5,
}

impl Level {
    /// Returns the level of a number that crossed the ABI. An unknown number is the most detailed
    /// level.
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

/// The services of the host: settings, log, clock. Cheap to clone, and usable from any thread.
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

    /// Reads the table `[plugin.NAME.settings]` of the configuration. A missing table is read as an
    /// empty one.
    ///
    /// # Errors
    ///
    /// The settings do not fit `T`; the message names the key.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, Error> {
        crate::params::read_settings(&self.0.settings)
    }

    /// Returns whether a line at `level` would be written, for lines that are expensive to make.
    #[must_use]
    pub fn is_enabled(&self, level: Level) -> bool {
        self.0.handle.log_enabled(level as u8)
    }

    /// Writes a line to the host's log. The host adds the name and the generation of the plugin.
    pub fn log(&self, level: Level, line: impl Display) {
        if self.is_enabled(level) {
            self.0.handle.log(level as u8, &line.to_string());
        }
    }

    /// Writes a line at [`Level::Error`].
    pub fn error(&self, line: impl Display) {
        self.log(Level::Error, line);
    }

    /// Writes a line at [`Level::Warn`].
    pub fn warn(&self, line: impl Display) {
        self.log(Level::Warn, line);
    }

    /// Writes a line at [`Level::Info`].
    pub fn info(&self, line: impl Display) {
        self.log(Level::Info, line);
    }

    /// Writes a line at [`Level::Debug`].
    pub fn debug(&self, line: impl Display) {
        self.log(Level::Debug, line);
    }

    /// Returns the time on the host's monotonic clock. Only differences are meaningful.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.0.handle.now())
    }

    /// Returns the result of the service that only later hosts have.
    #[cfg(feature = "__grown_abi")]
    #[doc(hidden)]
    #[must_use]
    pub fn later_service(&self) -> Option<u64> {
        self.0.handle.later_service()
    }

    /// Returns a future that is ready after `length`.
    ///
    /// The timer is coarse: the future may be a few milliseconds late, but is never early.
    pub fn sleep(&self, length: Duration) -> impl Future<Output = ()> + Send + 'static {
        let until = self.monotonic().saturating_add(length);
        let sleeping = self.0.handle.sleep(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX));
        async move {
            let _ = sleeping.await;
        }
    }

    /// Logs the detail of a method's error, and returns the error as the client may see it.
    pub(crate) fn log_detail(&self, error: Error) -> Error {
        let mut error = error.without_reserved_code();
        if let Some(detail) = error.take_detail() {
            self.log(Level::Error, format_args!("{INTERNAL_ERROR_LINE}{detail}"));
        }
        error
    }
}

/// The context of the running call: its id, its deadline, and calls to other methods.
pub struct Context<'a> {
    host: Cow<'a, Host>,
    call: CallHandle,
}

impl<'a> Context<'a> {
    pub(crate) fn new(host: Cow<'a, Host>, call: CallHandle) -> Self {
        Self { host, call }
    }

    /// Returns the services of the host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the id of the request as text, for logs. The host generates a `UUIDv4` for a request
    /// without an id.
    #[must_use]
    pub fn id(&self) -> Cow<'_, str> {
        self.call.id()
    }

    /// Returns the time until the client receives DEADLINE_EXCEEDED; zero if the deadline has
    /// passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        Duration::from_nanos(self.call.deadline()).saturating_sub(self.host.monotonic())
    }

    /// Returns whether nobody waits for the result any more, because the deadline has passed or the
    /// client has closed the connection.
    ///
    /// A long `blocking` method should check it regularly. An `async` method need not: its future
    /// is dropped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.call.is_cancelled()
    }

    /// Calls another method, of any plugin, and awaits its result within the remaining time of this
    /// call.
    ///
    /// # Errors
    ///
    /// The error of the method, an error of the host (not found, overloaded, deadline exceeded), or
    /// a result that does not fit `R`.
    pub fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        params: &impl Serialize,
    ) -> impl Future<Output = Result<R, Error>> + Send + 'static {
        let begun = serde_json::to_vec(params)
            .map_err(Error::from)
            .map(|params| self.host.handle().call(&self.call, method, &params, 0));
        async move { Ok(serde_json::from_slice(&begun?.await?.bytes)?) }
    }

    /// Calls another method like [`Context::call`], and blocks this thread until it returns.
    ///
    /// It is meant for `blocking` methods. An `inline` method must not wait, so it can reach only
    /// methods that are `inline` too.
    ///
    /// # Errors
    ///
    /// As for [`Context::call`].
    pub fn call_wait<R: DeserializeOwned>(&self, method: &str, params: &impl Serialize) -> Result<R, Error> {
        let params = serde_json::to_vec(params)?;
        let result = self.host.handle().call_wait(&self.call, method, &params, 0)?;
        Ok(serde_json::from_slice(&result.bytes)?)
    }
}

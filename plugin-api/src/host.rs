//! The services of the host as a plugin sees them.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::Error;
use crate::abi::HostHandle;
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

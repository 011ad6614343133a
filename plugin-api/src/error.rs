//! A method's error: a code and a message for the client, and perhaps a detail that only the log sees.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use crate::{Host, Level};

/// JSON-RPC 2.0: the params do not fit the method.
pub const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC 2.0: the method could not do its work.
pub const INTERNAL_ERROR: i64 = -32603;

/// Codes that a plugin may not give to errors of its own: JSON-RPC 2.0 keeps -32768..=-32000 for protocols.
/// [`INVALID_PARAMS`] and [`INTERNAL_ERROR`] are the two it may use.
#[must_use]
pub const fn is_reserved(code: i64) -> bool {
    -32768 <= code && code <= -32000 && code != INVALID_PARAMS && code != INTERNAL_ERROR
}

/// Why a method has no result.
///
/// Any `std::error::Error` becomes one with `?`: the client is told "internal error" (-32603), and the text goes to
/// the host's log, because it may name paths or addresses that are no client's business.
pub struct Error(Box<Parts>);

struct Parts {
    code: i64,
    message: Cow<'static, str>,
    data: Option<String>,
    detail: Option<String>,
}

impl Error {
    /// An error of the plugin's own: `code` outside -32768..=-32000, a message for the client.
    ///
    /// A reserved code (see [`is_reserved`]) is answered as [`INTERNAL_ERROR`].
    pub fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Self {
        let code = if is_reserved(code) { INTERNAL_ERROR } else { code };
        Self::raw(code, message.into())
    }

    /// Params that do not fit: names the field, and says why.
    #[must_use]
    pub fn invalid_params(field: &str, reason: &str) -> Self {
        #[derive(Serialize)]
        struct Data<'a> {
            field: &'a str,
            reason: &'a str,
        }
        let message = if field.is_empty() {
            format!("invalid params: {reason}")
        } else {
            format!("invalid params: {field}: {reason}")
        };
        Self::raw(INVALID_PARAMS, message.into()).with_data(&Data { field, reason })
    }

    /// A failure that is not the client's: the message is for the client, so say nothing of the inside.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::raw(INTERNAL_ERROR, message.into())
    }

    /// Adds what the client may read by program. What cannot be written as JSON is left out.
    #[must_use]
    pub fn with_data(mut self, data: &impl Serialize) -> Self {
        self.0.data = serde_json::to_string(data).ok();
        self
    }

    /// The wire code.
    #[must_use]
    pub fn code(&self) -> i64 {
        self.0.code
    }

    /// The message for the client.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The data for the client, as JSON.
    #[must_use]
    pub fn data_json(&self) -> Option<&str> {
        self.0.data.as_deref()
    }

    /// An error as another method answered it.
    #[must_use]
    pub fn from_wire(code: i64, message: String, data: Option<String>) -> Self {
        let mut error = Self::raw(code, message.into());
        error.0.data = data;
        error
    }

    fn raw(code: i64, message: Cow<'static, str>) -> Self {
        Self(Box::new(Parts { code, message, data: None, detail: None }))
    }

    /// The detail goes to the log, the rest to the client.
    pub(crate) fn seen_by(mut self, host: &Host) -> Self {
        if let Some(detail) = self.0.detail.take() {
            host.log(Level::Error, format_args!("{}: {detail}", self.0.message));
        }
        // Another method's error passed on as it came may carry a reserved code; it is not this plugin's to give.
        if is_reserved(self.0.code) {
            self.0.message = format!("a called method failed: {} ({})", self.0.message, self.0.code).into();
            self.0.code = INTERNAL_ERROR;
        }
        self
    }

    /// The detail joins the message: who reads it may know all.
    pub(crate) fn for_operator(mut self) -> Self {
        if let Some(detail) = self.0.detail.take() {
            self.0.message = detail.into();
        }
        self
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut detail = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            detail.push_str(": ");
            detail.push_str(&cause.to_string());
            source = cause.source();
        }
        let mut made = Self::raw(INTERNAL_ERROR, "internal error".into());
        made.0.detail = Some(detail);
        made
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.message, self.0.code)?;
        self.0.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

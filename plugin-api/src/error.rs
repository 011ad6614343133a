//! The error of a method: a code and a message for the client, and optionally a detail for the log.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// Code of JSON-RPC 2.0: the params do not fit the method.
pub const INVALID_PARAMS: i64 = -32602;
/// Code of JSON-RPC 2.0: the method failed.
pub const INTERNAL_ERROR: i64 = -32603;

/// Returns whether a plugin may not use `code` for its own errors.
///
/// JSON-RPC 2.0 reserves -32768..=-32000 for protocols. Of these, a plugin may use only
/// [`INVALID_PARAMS`] and [`INTERNAL_ERROR`].
#[must_use]
pub const fn is_reserved(code: i64) -> bool {
    -32768 <= code && code <= -32000 && code != INVALID_PARAMS && code != INTERNAL_ERROR
}

/// The error of a method.
///
/// The `?` operator converts any `std::error::Error`. The client then receives "internal error"
/// (-32603), and the text goes to the host's log, because it may name paths or addresses that must
/// not reach a client.
pub struct Error(Box<Parts>);

struct Parts {
    code: i64,
    message: Cow<'static, str>,
    data: Option<String>,
    /// For the log only.
    detail: Option<String>,
}

impl Error {
    /// Creates an error with a code outside -32768..=-32000 and a message for the client.
    ///
    /// A reserved code (see [`is_reserved`]) is replaced by [`INTERNAL_ERROR`], which the log
    /// reports when the method returns the error.
    pub fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Self::with_any_code(code, message.into());
        if is_reserved(code) {
            error.0.code = INTERNAL_ERROR;
            error.0.detail = Some(format!(
                "{} (the code {code} is reserved, so the reply has {INTERNAL_ERROR})",
                error.0.message
            ));
        }
        error
    }

    /// Creates an [`INVALID_PARAMS`] error that names the field and the reason. `field` is empty if
    /// the params as a whole are at fault.
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
        Self::with_any_code(INVALID_PARAMS, message.into()).with_data(&Data { field, reason })
    }

    /// Creates an [`INTERNAL_ERROR`], for a failure that the client did not cause.
    ///
    /// The client reads the message, so it must not reveal internals.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_any_code(INTERNAL_ERROR, message.into())
    }

    /// Adds data for the client. Data that cannot be written as JSON is omitted.
    #[must_use]
    pub fn with_data(mut self, data: &impl Serialize) -> Self {
        self.0.data = serde_json::to_string(data).ok();
        self
    }

    /// Returns the code on the wire.
    #[must_use]
    pub fn code(&self) -> i64 {
        self.0.code
    }

    /// Returns the message for the client.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the data for the client, as JSON.
    #[must_use]
    pub fn data_json(&self) -> Option<&str> {
        self.0.data.as_deref()
    }

    /// Creates an error from the reply of another method. The code may be reserved.
    #[must_use]
    pub fn from_wire(code: i64, message: String, data: Option<String>) -> Self {
        let mut error = Self::with_any_code(code, message.into());
        error.0.data = data;
        error
    }

    fn with_any_code(code: i64, message: Cow<'static, str>) -> Self {
        Self(Box::new(Parts { code, message, data: None, detail: None }))
    }

    /// Takes the detail, which must not reach a client.
    pub(crate) fn take_detail(&mut self) -> Option<String> {
        self.0.detail.take()
    }

    /// Creates the error for a result of more than `limit` bytes.
    #[cold]
    #[inline(never)]
    pub(crate) fn result_too_large(limit: usize) -> Self {
        #[derive(Serialize)]
        struct Data {
            limit: usize,
        }

        let message = format!("the result does not fit in a frame of {limit} bytes (limits.frame)");
        let mut error = Self::internal(message.clone()).with_data(&Data { limit });
        error.0.detail = Some(message);
        error
    }

    /// Creates the error for opaque bytes that were passed to a host which knows none.
    #[cold]
    #[inline(never)]
    pub(crate) fn bytes_of_later_host() -> Self {
        let mut error = Self::with_any_code(INTERNAL_ERROR, "internal error".into());
        error.0.detail =
            Some("opaque bytes need a host with plugin API 0.1.1 or later: install a newer host".to_owned());
        error
    }

    /// Replaces a reserved code by [`INTERNAL_ERROR`] and names it in the message and the log.
    ///
    /// A plugin that passes on the error of another method may have one; it must not answer with
    /// it.
    pub(crate) fn without_reserved_code(mut self) -> Self {
        if is_reserved(self.0.code) {
            let message = format!("a called method failed: {} ({})", self.0.message, self.0.code);
            self.0.code = INTERNAL_ERROR;
            self.0.detail.get_or_insert_with(|| message.clone());
            self.0.message = message.into();
        }
        self
    }

    /// Replaces the message by the detail, for operators, who may read both.
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

        let mut converted = Self::with_any_code(INTERNAL_ERROR, "internal error".into());
        converted.0.detail = Some(detail);
        converted
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_reserved_codes() {
        let mut replaced = Error::new(-32001, "x");
        assert_eq!((replaced.code(), replaced.message()), (INTERNAL_ERROR, "x"));
        assert!(replaced.take_detail().is_some_and(|detail| detail.starts_with("x (the code -32001 is ")));
        assert_eq!(Error::new(INVALID_PARAMS, "x").code(), INVALID_PARAMS);
        assert_eq!(Error::new(1001, "x").code(), 1001);

        let passed_on = Error::from_wire(-32002, "busy".to_owned(), None).without_reserved_code();
        assert_eq!(
            (passed_on.code(), passed_on.message()),
            (INTERNAL_ERROR, "a called method failed: busy (-32002)")
        );
        assert_eq!(passed_on.0.detail.as_deref(), Some(passed_on.message()));
    }

    #[test]
    fn keeps_the_text_of_a_converted_error_out_of_the_message() {
        let mut error = Error::from(std::io::Error::other("/etc/secret"));
        assert_eq!((error.code(), error.message()), (INTERNAL_ERROR, "internal error"));
        assert_eq!(error.take_detail().as_deref(), Some("/etc/secret"));
    }
}

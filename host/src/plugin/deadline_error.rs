//! The text of DEADLINE_EXCEEDED, which the host and its worker processes answer with.

use std::borrow::Cow;
use std::time::Duration;

use jackfield_plugin_api::Error;
use jackfield_protocol::Code;
use serde_json::json;

use crate::log::ShortDuration;

/// Returns the message for a request that had no result within `timeout`.
pub(crate) fn deadline_message(timeout: Duration) -> Cow<'static, str> {
    match timeout {
        Duration::ZERO => "the deadline had passed before the call".into(),
        timeout => format!("the request had no result within {}", ShortDuration(timeout)).into(),
    }
}

/// Returns the data for the same request, for programs.
pub(crate) fn deadline_data(timeout: Duration) -> serde_json::Value {
    json!({ "timeout_ms": u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX) })
}

/// Returns the error that the calling plugin gets.
pub(super) fn deadline_error(timeout: Duration) -> Error {
    let (message, data) = (deadline_message(timeout).into_owned(), deadline_data(timeout).to_string());
    Error::from_wire(Code::DeadlineExceeded.as_i64(), message, Some(data))
}

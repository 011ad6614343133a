//! The errors that a request is answered with, and the one table that maps them to the wire: code,
//! message and data, and the metrics label of those that are rejections.

use std::borrow::Cow;
use std::time::Duration;

use jackfield_plugin_api::Error;
use jackfield_plugin_api::abi::ProcessEnd;
use jackfield_protocol::{BlockError, Code, EnvelopeError, FrameError, Kind, Version};
use serde_json::json;

use super::exhausted_resource::ExhaustedResource;
use super::line_error::LineError;
use crate::loader::SignalNumber;
use crate::log::ShortDuration;
use crate::metrics::RejectionReason;
use crate::plugin::{SubmitError, deadline_data, deadline_message};

/// Suggested delay before a request that was rejected for load is sent again: long enough for a
/// full queue of short calls to empty.
const RETRY_OVERLOADED: Duration = Duration::from_millis(100);

/// Suggested delay before a request for a missing plugin is sent again: about as long as the last
/// step of a build or a copy.
pub(super) const RETRY_UNAVAILABLE: Duration = Duration::from_secs(1);

/// Suggested delay before a request is sent to a host that is shutting down: about as long as a
/// restart.
const RETRY_GOING_AWAY: Duration = Duration::from_secs(1);

/// Upper bound for the message of a plugin's error, in bytes. Longer messages are cut.
const MAX_MESSAGE: usize = 8 * 1024;

/// Why a request is answered with an error.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// The payload is not a request.
    Envelope(EnvelopeError),

    /// The payload of the frame was not read.
    Rejected(FrameError),

    /// A line was rejected.
    Line(LineError),

    /// The extension block of the request cannot be used.
    Block(BlockError),

    /// The method returned opaque bytes, which the client has not asked for.
    BytesNotAccepted,

    /// The client cancelled the request.
    Cancelled,

    /// The id is already in flight on this connection.
    DuplicateId,

    /// The client sent a kind of frame that only a server sends.
    ServerKind(Kind),

    MethodNotFound(String),

    /// The listener or the route does not allow this user.
    PermissionDenied,

    /// There was no result within this time-out.
    DeadlineExceeded(Duration),

    /// The host is shutting down, and there was no result within this time-out.
    CutShort(Duration),

    Overloaded(ExhaustedResource),

    /// This plugin panicked.
    PluginPanicked(String),

    /// The process that ran the method ended before the method did.
    PluginCrashed {
        plugin: String,
        end: ProcessEnd,
    },

    /// The plugin is missing, has no thread left, or its circuit breaker is open.
    PluginUnavailable {
        plugin: String,
        retry_after: Duration,

        /// Why the plugin, or its content with this method, was refused, as one word.
        reason: Option<&'static str>,
    },

    /// The host is shutting down.
    GoingAway,

    /// The result does not fit a frame of this many bytes.
    ResultTooLarge(u32),

    /// The result does not fit the largest payload that the client accepts, in bytes.
    ResultTooLargeForClient(u32),

    /// A frame was begun and not completed within this time-out.
    SlowFrame(Duration),

    /// Nested calls exceeded this depth.
    TooDeep(u32),

    /// A method that may not wait called this method, whose reply must be waited for.
    WouldWait(String),

    /// The plugin returned an error of its own.
    Plugin {
        code: i64,
        message: String,
        data: Option<String>,
    },
}

impl RequestError {
    /// Returns the error for a plugin that is missing or has no thread left.
    pub(crate) fn unavailable(plugin: &str) -> Self {
        Self::unavailable_for(plugin, RETRY_UNAVAILABLE)
    }

    /// Returns the error for a plugin whose circuit breaker is open for this time.
    pub(crate) fn unavailable_for(plugin: &str, retry_after: Duration) -> Self {
        Self::PluginUnavailable { plugin: plugin.to_owned(), retry_after, reason: None }
    }

    /// Returns the error for a call that a generation did not accept.
    pub(crate) fn not_submitted(error: SubmitError, plugin: &str) -> Self {
        match error {
            SubmitError::QueueFull => Self::Overloaded(ExhaustedResource::Queue),
            SubmitError::ThreadsLost => Self::unavailable(plugin),
        }
    }

    /// Returns the code on the wire.
    pub(crate) fn code(&self) -> i64 {
        match self {
            Self::Envelope(error) => error.code().as_i64(),
            Self::Rejected(error) => error.code().as_i64(),
            Self::Line(error) => error.code().as_i64(),
            Self::Block(BlockError::Unsupported(_)) | Self::BytesNotAccepted => {
                Code::UnsupportedExtension.as_i64()
            }
            Self::DuplicateId | Self::ServerKind(_) | Self::Block(_) => Code::InvalidRequest.as_i64(),
            Self::Cancelled => Code::Cancelled.as_i64(),
            Self::MethodNotFound(_) => Code::MethodNotFound.as_i64(),
            Self::PermissionDenied => Code::PermissionDenied.as_i64(),
            Self::DeadlineExceeded(_) | Self::CutShort(_) | Self::SlowFrame(_) => {
                Code::DeadlineExceeded.as_i64()
            }
            Self::Overloaded(_) => Code::Overloaded.as_i64(),
            Self::PluginPanicked(_) => Code::PluginPanicked.as_i64(),
            Self::PluginCrashed { .. } => Code::PluginCrashed.as_i64(),
            Self::PluginUnavailable { .. } => Code::PluginUnavailable.as_i64(),
            Self::GoingAway => Code::GoingAway.as_i64(),
            Self::ResultTooLarge(_)
            | Self::ResultTooLargeForClient(_)
            | Self::TooDeep(_)
            | Self::WouldWait(_) => Code::InternalError.as_i64(),

            // A plugin may not use the codes of the protocol.
            Self::Plugin { code, .. } if jackfield_plugin_api::is_reserved(*code) => {
                Code::InternalError.as_i64()
            }
            Self::Plugin { code, .. } => *code,
        }
    }

    /// Returns the metrics label of a rejection; `None` if plugin code ran for the request.
    pub(crate) fn rejection(&self) -> Option<RejectionReason> {
        Some(match self {
            Self::Envelope(_) | Self::DuplicateId | Self::ServerKind(_) | Self::Block(_) => {
                RejectionReason::Invalid
            }
            Self::Rejected(FrameError::TooLarge { .. }) => RejectionReason::TooLarge,
            Self::Rejected(FrameError::UnsupportedVersion { .. }) => RejectionReason::Version,
            Self::Line(error) => error.rejection(),
            Self::MethodNotFound(_) => RejectionReason::MethodNotFound,
            Self::PermissionDenied => RejectionReason::Denied,
            Self::Overloaded(ExhaustedResource::Connections) => RejectionReason::Connections,
            Self::Overloaded(ExhaustedResource::InFlight) => RejectionReason::InFlight,
            Self::Overloaded(ExhaustedResource::Route) => RejectionReason::Route,
            Self::Overloaded(ExhaustedResource::Queue) => RejectionReason::Queue,
            Self::Overloaded(ExhaustedResource::Buffers) => RejectionReason::Buffers,
            Self::PluginUnavailable { .. } => RejectionReason::Unavailable,
            Self::GoingAway => RejectionReason::GoingAway,
            Self::SlowFrame(_) => RejectionReason::SlowFrame,

            Self::BytesNotAccepted
            | Self::Cancelled
            | Self::DeadlineExceeded(_)
            | Self::CutShort(_)
            | Self::PluginPanicked(_)
            | Self::PluginCrashed { .. }
            | Self::ResultTooLarge(_)
            | Self::ResultTooLargeForClient(_)
            | Self::TooDeep(_)
            | Self::WouldWait(_)
            | Self::Plugin { .. } => return None,
        })
    }

    /// Returns the message on the wire.
    pub(crate) fn message(&self) -> Cow<'_, str> {
        match self {
            Self::Envelope(error) => error.to_string().into(),
            Self::Rejected(error) => error.to_string().into(),
            Self::Line(error) => error.to_string().into(),
            Self::Block(error) => error.to_string().into(),
            Self::BytesNotAccepted => {
                "the result is opaque bytes, which this connection has not asked for in a hello".into()
            }
            Self::Cancelled => "the client cancelled the request".into(),
            Self::DuplicateId => "a request with this id is in flight on this connection already".into(),
            Self::ServerKind(kind) => format!("only the host sends frames of this kind ({kind})").into(),

            Self::MethodNotFound(method) => format!("method not found: {method}").into(),
            // Neither the users that are allowed nor the user of the client: the log has them.
            Self::PermissionDenied => "permission denied".into(),
            Self::DeadlineExceeded(timeout) => deadline_message(*timeout),
            Self::CutShort(timeout) => {
                let timeout = ShortDuration(*timeout);
                format!("the host is shutting down, and the request had no result yet (time-out {timeout})")
                    .into()
            }
            Self::Overloaded(resource) => format!("overloaded: {}", resource.text()).into(),

            Self::PluginPanicked(plugin) => format!("plugin {plugin} panicked in this call").into(),
            Self::PluginCrashed { plugin, end } => {
                let process = format_args!("the process of plugin {plugin} ended during this call");
                match end {
                    ProcessEnd::Signal(signal) => format!("{process}: {}", SignalNumber(*signal)),
                    ProcessEnd::ExitCode(code) => format!("{process}: exit code {code}"),
                    ProcessEnd::Unknown => process.to_string(),
                }
                .into()
            }
            Self::PluginUnavailable { plugin, retry_after, reason } => {
                let retry_after = ShortDuration(*retry_after);
                match reason {
                    None => format!("plugin {plugin} is unavailable; retry in {retry_after}"),
                    Some(reason) => format!(
                        "plugin {plugin} does not serve this method at the moment ({reason}); \
                         retry in {retry_after}"
                    ),
                }
                .into()
            }
            Self::GoingAway => "the host is shutting down; retry on a new connection".into(),
            Self::ResultTooLarge(limit) => {
                format!("the result does not fit in a frame of {limit} bytes (limits.frame)").into()
            }
            Self::ResultTooLargeForClient(limit) => format!(
                "the result does not fit in {limit} bytes, the largest payload that the client accepts"
            )
            .into(),
            Self::SlowFrame(timeout) => {
                let timeout = ShortDuration(*timeout);
                format!("the frame was not complete within {timeout} and 1 s per 64 KiB (timeouts.frame)")
                    .into()
            }
            Self::TooDeep(limit) => format!("methods call one another more than {limit} deep").into(),
            Self::WouldWait(method) => {
                format!("{method} is not inline, and an inline or async method may not wait for it").into()
            }
            Self::Plugin { message, .. } => {
                Cow::Borrowed(&message[..message.floor_char_boundary(MAX_MESSAGE)])
            }
        }
    }

    /// Returns the data on the wire as JSON, for programs.
    pub(crate) fn data(&self) -> Option<String> {
        let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);

        let data = match self {
            Self::CutShort(timeout) => {
                json!({ "timeout_ms": millis(*timeout), "retry_after_ms": millis(RETRY_GOING_AWAY) })
            }
            Self::DeadlineExceeded(timeout) | Self::SlowFrame(timeout) => deadline_data(*timeout),
            Self::Overloaded(_) => json!({ "retry_after_ms": millis(RETRY_OVERLOADED) }),
            Self::PluginPanicked(plugin) => json!({ "plugin": plugin }),
            Self::PluginCrashed { plugin, end } => match end {
                ProcessEnd::Signal(signal) => {
                    let mut data = json!({ "plugin": plugin, "signal": signal });
                    if let Some(name) = SignalNumber(*signal).name() {
                        data["signal_name"] = name.into();
                    }
                    data
                }
                ProcessEnd::ExitCode(code) => json!({ "plugin": plugin, "exit_code": code }),
                ProcessEnd::Unknown => json!({ "plugin": plugin }),
            },
            Self::PluginUnavailable { plugin, retry_after, reason: None } => {
                json!({ "plugin": plugin, "retry_after_ms": millis(*retry_after) })
            }
            Self::PluginUnavailable { plugin, retry_after, reason: Some(reason) } => {
                json!({ "plugin": plugin, "reason": reason, "retry_after_ms": millis(*retry_after) })
            }
            Self::GoingAway => json!({ "retry_after_ms": millis(RETRY_GOING_AWAY) }),
            Self::Line(error) => error.data()?,
            Self::ResultTooLarge(limit)
            | Self::ResultTooLargeForClient(limit)
            | Self::Rejected(FrameError::TooLarge { limit, .. }) => {
                json!({ "limit": limit })
            }
            Self::Rejected(FrameError::UnsupportedVersion { .. }) => {
                json!({ "supported": Version::ALL.iter().map(ToString::to_string).collect::<Vec<_>>() })
            }
            // The data of a plugin is passed on unchanged, if it is JSON.
            Self::Plugin { data, .. } => {
                let is_json = |data: &&String| serde_json::from_str::<serde::de::IgnoredAny>(data).is_ok();
                return data.as_ref().filter(is_json).cloned();
            }
            Self::Block(BlockError::Unsupported(tag)) => json!({ "tag": tag }),
            Self::BytesNotAccepted => json!({ "tag": BlockError::CONTENT_TYPE_TAG }),
            Self::Envelope(_)
            | Self::Block(_)
            | Self::Cancelled
            | Self::DuplicateId
            | Self::ServerKind(_)
            | Self::MethodNotFound(_)
            | Self::PermissionDenied
            | Self::TooDeep(_)
            | Self::WouldWait(_) => return None,
        };
        Some(data.to_string())
    }
}

/// The error that a plugin gets for a nested call.
impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Error::from_wire(error.code(), error.message().into_owned(), error.data())
    }
}

#[cfg(test)]
mod tests;

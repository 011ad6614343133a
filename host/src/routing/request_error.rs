//! Why a request has no result, and the one table that turns the reason into what the wire says.

use std::borrow::Cow;
use std::time::Duration;

use jackfield_protocol::{Code, EnvelopeError, Refusal, Version};
use serde_json::json;

use crate::metrics::RejectionReason;
use crate::plugin::SubmitError;

/// When a client that was refused for load may come back: long enough for a full queue of short calls to empty.
const RETRY_OVERLOADED: Duration = Duration::from_millis(100);
/// When a plugin that is not there may be back: about as long as a build's or a copy's last step.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(1);
/// When a host that goes away may be back: about as long as a restart.
const RETRY_AWAY: Duration = Duration::from_secs(1);

/// The longest message that a plugin's error carries to a client, in bytes.
const LONGEST_MESSAGE: usize = 8 * 1024;

/// What there is no room for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ExhaustedResource {
    Connections,
    InFlight,
    /// The route's own share.
    Route,
    /// The plugin's queue.
    Queue,
    Buffers,
}

impl ExhaustedResource {
    fn words(self) -> &'static str {
        match self {
            Self::Connections => "too many connections",
            Self::InFlight => "too many requests are in flight",
            Self::Route => "the route is at its max_in_flight",
            Self::Queue => "the plugin's queue is full",
            Self::Buffers => "the bytes that may be buffered are all held",
        }
    }
}

/// Why a request has no result.
#[derive(Debug)]
pub(crate) enum RequestError {
    Envelope(EnvelopeError),
    Refused(Refusal),
    /// The id is in flight on this connection already.
    DuplicateId,
    /// A kind that only a server sends.
    ServerKind(jackfield_protocol::Kind),
    MethodNotFound(String),
    /// The listener or the route is for others.
    PermissionDenied,
    DeadlineExceeded(Duration),
    /// The host ends, and the request has had so long.
    CutShort(Duration),
    Overloaded(ExhaustedResource),
    PluginPanicked(String),
    /// It is not there, or is asked no more for so long.
    PluginUnavailable {
        plugin: String,
        retry_after: Duration,
    },
    GoingAway,
    /// The result does not fit a frame of so many bytes.
    ResultTooLarge(u32),
    /// A frame was begun and not finished in time.
    SlowFrame(Duration),
    /// Methods called one another too deep.
    TooDeep(u32),
    /// A method that may not wait asked for one that must be waited for.
    WouldWait(String),
    /// The plugin's own error.
    Plugin {
        code: i64,
        message: String,
        data: Option<String>,
    },
}

impl RequestError {
    /// The plugin is not there, or has no thread left.
    pub(crate) fn unavailable(plugin: &str) -> Self {
        Self::PluginUnavailable { plugin: plugin.to_owned(), retry_after: RETRY_UNAVAILABLE }
    }

    /// A generation did not take a call.
    pub(crate) fn not_submitted(why: SubmitError, plugin: &str) -> Self {
        match why {
            SubmitError::QueueFull => Self::Overloaded(ExhaustedResource::Queue),
            SubmitError::ThreadsLost => Self::unavailable(plugin),
        }
    }

    /// The code on the wire.
    pub(crate) fn code(&self) -> i64 {
        match self {
            Self::Envelope(error) => error.code().as_i64(),
            Self::Refused(refusal) => refusal.code().as_i64(),
            Self::DuplicateId | Self::ServerKind(_) => Code::InvalidRequest.as_i64(),
            Self::MethodNotFound(_) => Code::MethodNotFound.as_i64(),
            Self::PermissionDenied => Code::PermissionDenied.as_i64(),
            Self::DeadlineExceeded(_) | Self::CutShort(_) | Self::SlowFrame(_) => {
                Code::DeadlineExceeded.as_i64()
            }
            Self::Overloaded(_) => Code::Overloaded.as_i64(),
            Self::PluginPanicked(_) => Code::PluginPanicked.as_i64(),
            Self::PluginUnavailable { .. } => Code::PluginUnavailable.as_i64(),
            Self::GoingAway => Code::GoingAway.as_i64(),
            Self::ResultTooLarge(_) | Self::TooDeep(_) | Self::WouldWait(_) => Code::InternalError.as_i64(),
            // A plugin speaks for itself, not for the protocol.
            Self::Plugin { code, .. } if jackfield_plugin_api::is_reserved(*code) => {
                Code::InternalError.as_i64()
            }
            Self::Plugin { code, .. } => *code,
        }
    }

    /// As what it is counted, if nothing of a plugin ran for it; `None` when something did.
    pub(crate) fn rejection(&self) -> Option<RejectionReason> {
        Some(match self {
            Self::Envelope(_) | Self::DuplicateId | Self::ServerKind(_) => RejectionReason::Invalid,
            Self::Refused(Refusal::TooLarge { .. }) => RejectionReason::TooLarge,
            Self::Refused(Refusal::UnsupportedVersion { .. }) => RejectionReason::Version,
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
            Self::DeadlineExceeded(_)
            | Self::CutShort(_)
            | Self::PluginPanicked(_)
            | Self::ResultTooLarge(_)
            | Self::TooDeep(_)
            | Self::WouldWait(_)
            | Self::Plugin { .. } => return None,
        })
    }

    /// The sentence on the wire.
    pub(crate) fn message(&self) -> Cow<'_, str> {
        match self {
            Self::Envelope(error) => error.to_string().into(),
            Self::Refused(refusal) => refusal.to_string().into(),
            Self::DuplicateId => "this id is in flight on this connection already".into(),
            Self::ServerKind(kind) => format!("{kind} is a kind that only a server sends").into(),
            Self::MethodNotFound(method) => format!("method not found: {method}").into(),
            // Not who may instead, nor who the caller was taken for: that is in the log.
            Self::PermissionDenied => "permission denied".into(),
            Self::DeadlineExceeded(timeout) => format!("no result within {timeout:?}").into(),
            Self::CutShort(timeout) => format!("no result within {timeout:?}, and the host ends").into(),
            Self::Overloaded(what) => format!("overloaded: {}", what.words()).into(),
            Self::PluginPanicked(plugin) => format!("the plugin {plugin} panicked in this call").into(),
            Self::PluginUnavailable { plugin, .. } => format!("the plugin {plugin} is not available").into(),
            Self::GoingAway => "the host is going away".into(),
            Self::ResultTooLarge(limit) => format!("the result does not fit a frame of {limit} bytes").into(),
            Self::SlowFrame(timeout) => {
                format!("a frame was not complete within {timeout:?} and the time for its size").into()
            }
            Self::TooDeep(limit) => format!("methods called one another more than {limit} deep").into(),
            Self::WouldWait(method) => {
                format!("{method} must be waited for, and the caller may not wait").into()
            }
            Self::Plugin { message, .. } => {
                Cow::Borrowed(&message[..message.floor_char_boundary(LONGEST_MESSAGE)])
            }
        }
    }

    /// What a program can read of it, as JSON.
    pub(crate) fn data(&self) -> Option<String> {
        let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let data = match self {
            Self::CutShort(timeout) => {
                json!({ "timeout_ms": millis(*timeout), "retry_after_ms": millis(RETRY_AWAY) })
            }
            Self::DeadlineExceeded(timeout) | Self::SlowFrame(timeout) => {
                json!({ "timeout_ms": millis(*timeout) })
            }
            Self::Overloaded(_) => json!({ "retry_after_ms": millis(RETRY_OVERLOADED) }),
            Self::PluginPanicked(plugin) => json!({ "plugin": plugin }),
            Self::PluginUnavailable { plugin, retry_after } => {
                json!({ "plugin": plugin, "retry_after_ms": millis(*retry_after) })
            }
            Self::GoingAway => json!({ "retry_after_ms": millis(RETRY_AWAY) }),
            Self::ResultTooLarge(limit) | Self::Refused(Refusal::TooLarge { limit, .. }) => {
                json!({ "limit": limit })
            }
            Self::Refused(Refusal::UnsupportedVersion { .. }) => {
                json!({ "supported": Version::ALL.iter().map(ToString::to_string).collect::<Vec<_>>() })
            }
            // A plugin's words go out as they came, if they are JSON at all.
            Self::Plugin { data, .. } => {
                let is_json = |data: &&String| serde_json::from_str::<serde::de::IgnoredAny>(data).is_ok();
                return data.as_ref().filter(is_json).cloned();
            }
            Self::Envelope(_)
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

//! Methods that are known although no generation serves them, and the error for their requests.
//!
//! A method is known from a route whose plugin is missing, or from the manifest of content that was
//! refused. Requests are answered PLUGIN_UNAVAILABLE instead of METHOD_NOT_FOUND, so that clients
//! try again.

use std::sync::Arc;
use std::time::Duration;

use super::request_error::{RETRY_UNAVAILABLE, RequestError};
use crate::config::{Allow, Route};
use crate::metrics::MethodId;

/// The content of a plugin that was refused although it is trusted, or was stopped, and its
/// methods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnavailablePlugin {
    pub(crate) plugin: String,

    /// The reason as one word, which requests are answered with.
    pub(crate) reason: &'static str,

    /// When to send a request again; `None` for [`RETRY_UNAVAILABLE`].
    pub(crate) retry_after: Option<Duration>,

    pub(crate) methods: Vec<String>,

    /// Whether the plugin has served and could not be started again.
    pub(crate) is_down: bool,
}

/// The entry of a routing table for a method, or for a prefix route, that no generation serves.
pub(super) struct UnavailableTarget {
    plugin: String,

    /// The clients that may learn that the plugin is unavailable.
    pub(super) allow: Option<Arc<Allow>>,

    pub(super) counted: MethodId,
    reason: Option<&'static str>,
    retry_after: Duration,
}

impl UnavailableTarget {
    /// Returns the entry for methods of `plugin`, for which `route` decides if there is one.
    /// `refused` is the content of the plugin that was refused.
    pub(super) fn new(
        plugin: &str,
        route: Option<&Route>,
        refused: Option<&UnavailablePlugin>,
        counted: MethodId,
    ) -> Self {
        Self {
            plugin: plugin.to_owned(),
            allow: route.and_then(|route| route.allow.clone()),
            counted,
            reason: refused.map(|refused| refused.reason),
            retry_after: refused.and_then(|refused| refused.retry_after).unwrap_or(RETRY_UNAVAILABLE),
        }
    }

    /// Returns the error that a request is answered with.
    pub(super) fn error(&self) -> RequestError {
        let Self { plugin, reason, retry_after, .. } = self;
        RequestError::PluginUnavailable { plugin: plugin.clone(), retry_after: *retry_after, reason: *reason }
    }
}

//! The methods of the admin API and their parameters.

use serde::{Deserialize, Serialize};

/// The names of the methods.
pub mod method {
    /// Applies the configuration file and the plugin directory. Replies `true`.
    pub const RELOAD: &str = "admin.reload";
    /// Replies with [`HostStats`](super::super::HostStats).
    pub const STATS: &str = "admin.stats";
    /// Replies with a [`SlowLogReport`](super::super::SlowLogReport).
    pub const SLOW_LOG: &str = "admin.slowlog";
    /// Replies with a list of [`PluginStatus`](super::super::PluginStatus).
    pub const PLUGIN_LIST: &str = "admin.plugin.list";
    /// Replies with a list of [`PluginReloadResult`](super::super::PluginReloadResult).
    pub const PLUGIN_RELOAD: &str = "admin.plugin.reload";
    /// Replies with a [`PluginReloadResult`](super::super::PluginReloadResult).
    pub const PLUGIN_ROLLBACK: &str = "admin.plugin.rollback";
    /// Replies with a [`PluginReloadResult`](super::super::PluginReloadResult).
    pub const PLUGIN_ISOLATE: &str = "admin.plugin.isolate";
}

/// The parameters of [`method::STATS`].
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatsParams {
    /// Whether the reply contains the latency histograms of the methods.
    #[serde(default)]
    pub lengths: bool,
}

/// The parameters of [`method::PLUGIN_RELOAD`].
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadParams {
    /// The name of the plugin; `None` reloads all plugins. Only with a name, content is loaded that
    /// was rolled back.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether content is loaded that breaks callers of what serves. Only with a name.
    #[serde(default)]
    pub allow_incompatible: bool,
}

/// The parameters of [`method::PLUGIN_ROLLBACK`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackParams {
    /// The name of the plugin.
    pub name: String,
}

/// The parameters of [`method::PLUGIN_ISOLATE`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IsolateParams {
    /// The name of the plugin.
    pub name: String,
    /// Whether the plugin returns to where it is configured to run.
    #[serde(default)]
    pub off: bool,
}

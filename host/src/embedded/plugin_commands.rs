//! The commands of operators as functions of the running host: list, reload and roll back
//! plugins.

use std::future::Future;

use tokio::sync::oneshot;

use crate::admin::{PluginReloadOutcome, PluginReloadResult, PluginStatus, Refusal};
use crate::decisions::Decider;
use crate::host::Host;
use crate::plugin_events::PluginEvents;
use crate::reload::ReloadCommand;

/// The options of a reload of one plugin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReloadOptions {
    /// Whether content is loaded that breaks callers of what serves, which
    /// `plugins.incompatible = "refuse"` prevents otherwise.
    pub allow_incompatible: bool,
}

/// The reason why a plugin was not reloaded or rolled back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginCommandError {
    /// The content was refused, or there is none. What served before still does.
    #[error("plugin {plugin}: {} ({})", .refusal.detail, .refusal.reason)]
    Refused {
        /// The plugin.
        plugin: String,
        /// The code of the reason, and the details.
        refusal: Refusal,
    },
    /// The host ends, or has ended.
    #[error("the host has ended")]
    HostEnded,
}

impl Host {
    /// Returns the plugins that have, or had, files, by name. Those of the host itself and of the
    /// program are not among them.
    ///
    /// The future works in any async runtime, also after the host was moved or dropped, as the
    /// futures of the following functions.
    ///
    /// # Errors
    ///
    /// The host has ended.
    pub fn plugins(
        &self,
    ) -> impl Future<Output = Result<Vec<PluginStatus>, PluginCommandError>> + Send + use<> {
        answered(self.commands.ask(ReloadCommand::List))
    }

    /// Loads the file of a plugin, even if its content serves already, was refused, or was rolled
    /// back. When the future is ready, the content serves, or what served before still does.
    ///
    /// # Errors
    ///
    /// The file was refused, or there is none for this plugin; or the host has ended.
    pub fn reload_plugin(
        &self,
        plugin: &str,
        options: ReloadOptions,
    ) -> impl Future<Output = Result<PluginReloadResult, PluginCommandError>> + Send + use<> {
        let name = Some(plugin.to_owned());
        let ReloadOptions { allow_incompatible } = options;
        let results = self.commands.ask(|reply| ReloadCommand::Reload { name, allow_incompatible, reply });
        async move {
            let result = answered(results).await?.into_iter().next();
            published(result.ok_or(PluginCommandError::HostEnded)?)
        }
    }

    /// Returns a plugin to its previous content, as `jackfield plugin rollback` does: the content
    /// that served is not loaded again until [`Host::reload_plugin`] or a new file.
    ///
    /// # Errors
    ///
    /// There is no previous content, or it was refused; or the host has ended.
    pub fn rollback_plugin(
        &self,
        plugin: &str,
    ) -> impl Future<Output = Result<PluginReloadResult, PluginCommandError>> + Send + use<> {
        let plugin = plugin.to_owned();
        let by = Decider::Operator { uid: Some(rustix::process::getuid().as_raw()) };
        let result = self.commands.ask(|reply| ReloadCommand::RollBack { plugin, by, reply });
        async move { published(answered(result).await?) }
    }

    /// Subscribes to what happens to plugins from now on.
    ///
    /// [`Builder::events`](crate::Builder::events) also has the events of the start.
    #[must_use]
    pub fn events(&self) -> PluginEvents {
        match self.events.upgrade() {
            Some(events) => events.subscribe(),
            None => PluginEvents::ended(),
        }
    }
}

async fn answered<T>(answer: oneshot::Receiver<T>) -> Result<T, PluginCommandError> {
    answer.await.map_err(|_| PluginCommandError::HostEnded)
}

fn published(result: PluginReloadResult) -> Result<PluginReloadResult, PluginCommandError> {
    match (result.outcome, result.refused) {
        (PluginReloadOutcome::Refused, Some(refusal)) => {
            Err(PluginCommandError::Refused { plugin: result.plugin, refusal })
        }
        (_, refused) => Ok(PluginReloadResult { refused, ..result }),
    }
}

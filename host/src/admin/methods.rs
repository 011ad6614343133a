//! The built-in plugin `admin`, which only the admin socket reaches.

use std::sync::{Arc, Weak};

use jackfield_plugin_api::{Error, Methods};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::requests::{IsolateParams, ReloadParams, RollbackParams, StatsParams, method};
use super::{ADMIN, HostStats, PluginReloadResult, PluginStatus, SlowLogReport, collect};
use crate::decisions::Decider;
use crate::plugin::{BuiltInPlugin, DISCOVER, discovery_document};
use crate::reload::{CommandReply, CommandSender, ReloadCommand};
use crate::routing::Dispatcher;

/// The error code of `admin.reload` when nothing was applied. It is in the range of a plugin's own
/// codes, because the fault is in the files of the operator.
pub const NOTHING_APPLIED: i64 = 78;

/// A request of an operator to apply the configuration file and the plugin directory.
///
/// The operator waits for [`ReloadRequest::answer`].
#[derive(Debug)]
pub struct ReloadRequest(oneshot::Sender<Result<(), Vec<String>>>);

impl ReloadRequest {
    /// Answers the operator: everything was applied, or nothing, for these reasons.
    pub fn answer(self, outcome: Result<(), Vec<String>>) {
        // The operator may have given up waiting.
        let _ = self.0.send(outcome);
    }
}

/// The plugin `admin`.
pub(crate) struct AdminPlugin {
    commands: CommandSender,

    /// Where the counters are; dropped when the host ends.
    dispatcher: Weak<Dispatcher>,

    /// Carries reload requests to the program; `None` if the program did not ask for them.
    reload_requests: Option<UnboundedSender<ReloadRequest>>,
}

impl AdminPlugin {
    /// Returns the plugin; `commands` lead to the plugin owner.
    pub(crate) fn plugin(
        commands: CommandSender,
        dispatcher: Weak<Dispatcher>,
        reload_requests: Option<UnboundedSender<ReloadRequest>>,
    ) -> BuiltInPlugin {
        let methods = Methods::new()
            .asynchronous(method::RELOAD, Self::reload_all)
            .asynchronous(method::STATS, Self::stats)
            .asynchronous(method::SLOW_LOG, Self::slow_log)
            .asynchronous(method::PLUGIN_LIST, Self::list_plugins)
            .asynchronous(method::PLUGIN_RELOAD, Self::reload_plugins)
            .asynchronous(method::PLUGIN_ROLLBACK, Self::roll_back_plugin)
            .asynchronous(method::PLUGIN_ISOLATE, Self::isolate_plugin)
            .asynchronous(DISCOVER, Self::discover);

        let plugin = BuiltInPlugin::new(ADMIN, Self { commands, dispatcher, reload_requests }, methods);
        plugin.described(include_str!("admin_methods.json"))
    }

    async fn reload_all(self: Arc<Self>) -> Result<bool, Error> {
        let Some(requests) = &self.reload_requests else {
            return Err(Error::internal("this program cannot reload its configuration"));
        };

        let (reply, outcome) = oneshot::channel();
        requests.send(ReloadRequest(reply)).map_err(|_| host_stops())?;

        match outcome.await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(reasons)) => Err(Error::new(NOTHING_APPLIED, reasons.join("\n"))),
            Err(_) => Err(host_stops()),
        }
    }

    /// Reads the counters without the plugin owner, which may be busy with one plugin for seconds.
    async fn stats(self: Arc<Self>, params: Option<StatsParams>) -> Result<HostStats, Error> {
        let params = params.unwrap_or_default();
        Ok(collect::host_stats(&*self.dispatcher()?, &params))
    }

    async fn slow_log(self: Arc<Self>) -> Result<SlowLogReport, Error> {
        Ok(collect::slow_log(&*self.dispatcher()?))
    }

    async fn list_plugins(self: Arc<Self>) -> Result<Vec<PluginStatus>, Error> {
        self.ask(ReloadCommand::List).await
    }

    async fn reload_plugins(
        self: Arc<Self>,
        params: Option<ReloadParams>,
    ) -> Result<Vec<PluginReloadResult>, Error> {
        let ReloadParams { name, allow_incompatible } = params.unwrap_or_default();
        if name.is_none() && allow_incompatible {
            return Err(Error::invalid_params("allow_incompatible", "must be false without a name"));
        }
        self.ask(|reply| ReloadCommand::Reload { name, allow_incompatible, reply }).await
    }

    async fn roll_back_plugin(self: Arc<Self>, params: RollbackParams) -> Result<PluginReloadResult, Error> {
        let by = self.operator()?;
        self.ask(|reply| ReloadCommand::RollBack { plugin: params.name, by, reply }).await
    }

    async fn isolate_plugin(self: Arc<Self>, params: IsolateParams) -> Result<PluginReloadResult, Error> {
        let by = self.operator()?;
        let IsolateParams { name: plugin, off: is_off } = params;
        self.ask(|reply| ReloadCommand::Isolate { plugin, is_off, by, reply }).await
    }

    /// Describes the methods of the admin socket. In its table, this method takes the place of the
    /// one of the plugin `system`, which describes those of the other sockets.
    async fn discover(self: Arc<Self>) -> Result<Value, Error> {
        let dispatcher = self.dispatcher()?;
        Ok(discovery_document(move || dispatcher.admin_contract()).await)
    }

    /// Returns the one who sent the command.
    fn operator(&self) -> Result<Decider, Error> {
        let uid = self.dispatcher()?.metrics.open_connections.operator();
        Ok(Decider::Operator { uid })
    }

    async fn ask<T>(&self, command: impl FnOnce(CommandReply<T>) -> ReloadCommand) -> Result<T, Error> {
        self.commands.ask(command).await.map_err(|_| host_stops())
    }

    fn dispatcher(&self) -> Result<Arc<Dispatcher>, Error> {
        self.dispatcher.upgrade().ok_or_else(host_stops)
    }
}

fn host_stops() -> Error {
    Error::internal("the host is stopping")
}

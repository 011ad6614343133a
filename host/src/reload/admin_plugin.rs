//! The methods `admin.*`, which only the operators' socket reaches.

use std::sync::{Arc, Weak};

use jackfield_plugin_api::{Error, Methods};
use serde::Deserialize;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::CommandSender;
use super::command::{CommandReply, PluginListing, ReloadCommand, ReloadResult};
use crate::plugin::BuiltInPlugin;
use crate::routing::{Dispatcher, SlowLogReply, StatsReply};

/// The name that no file and no route may take.
pub(crate) const ADMIN: &str = "admin";

/// The plugin `admin`.
pub(crate) struct AdminPlugin {
    orders: CommandSender,
    /// What is counted; gone when the host ends.
    seen: Weak<Dispatcher>,
    /// The way to the program, if it reads its configuration anew when asked.
    program: Option<UnboundedSender<ReloadRequest>>,
}

/// An operator asked for the configuration and the plugin directory to be read anew, and waits.
#[derive(Debug)]
pub struct ReloadRequest(oneshot::Sender<Result<(), Vec<String>>>);

impl ReloadRequest {
    /// Tells the operator how it went: all of it is applied, or every reason why it is not.
    pub fn answer(self, outcome: Result<(), Vec<String>>) {
        // Nobody waits any more when the time is over.
        let _ = self.0.send(outcome);
    }
}

/// `NOTHING_APPLIED`: a plugin's own kind of code, for it is the operator's file that is at fault.
const NOTHING_APPLIED: i64 = 78;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParams {}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatsParams {
    /// Whether to say how many requests took how long.
    #[serde(default)]
    lengths: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReloadParams {
    /// All plugins, when it is not there.
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RollbackParams {
    name: String,
}

impl AdminPlugin {
    /// The plugin; `orders` lead to the plugins' thread.
    pub(crate) fn plugin(
        orders: CommandSender,
        seen: Weak<Dispatcher>,
        program: Option<UnboundedSender<ReloadRequest>>,
    ) -> BuiltInPlugin {
        let methods = Methods::new()
            .asynchronous("admin.reload", Self::reload_all)
            .asynchronous("admin.stats", Self::stats)
            .asynchronous("admin.slowlog", Self::slowlog)
            .asynchronous("admin.plugin.list", Self::list)
            .asynchronous("admin.plugin.reload", Self::reload)
            .asynchronous("admin.plugin.rollback", Self::rollback);
        BuiltInPlugin::new(ADMIN, Self { orders, seen, program }, methods)
    }

    async fn ask<T>(&self, order: impl FnOnce(CommandReply<T>) -> ReloadCommand) -> Result<T, Error> {
        self.orders.ask(order).await.map_err(|_| Error::internal("the host ends"))
    }

    /// Does not wait for the plugins' thread, which may be busy with a plugin for seconds.
    async fn stats(self: Arc<Self>, params: Option<StatsParams>) -> Result<StatsReply, Error> {
        let StatsParams { lengths } = params.unwrap_or_default();
        Ok(self.seen()?.stats(lengths))
    }

    async fn slowlog(self: Arc<Self>, params: Option<NoParams>) -> Result<SlowLogReply, Error> {
        let NoParams {} = params.unwrap_or_default();
        Ok(self.seen()?.slowest())
    }

    fn seen(&self) -> Result<Arc<Dispatcher>, Error> {
        self.seen.upgrade().ok_or_else(|| Error::internal("the host ends"))
    }

    async fn list(self: Arc<Self>, params: Option<NoParams>) -> Result<Vec<PluginListing>, Error> {
        let NoParams {} = params.unwrap_or_default();
        self.ask(ReloadCommand::List).await
    }

    async fn reload_all(self: Arc<Self>, params: Option<NoParams>) -> Result<bool, Error> {
        let NoParams {} = params.unwrap_or_default();
        let (reply, answer) = oneshot::channel();
        let sent = self.program.as_ref().map(|program| program.send(ReloadRequest(reply)));
        match sent {
            None => return Err(Error::internal("this program does not read its configuration anew")),
            Some(Err(_)) => return Err(Error::internal("the host ends")),
            Some(Ok(())) => {}
        }
        match answer.await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(reasons)) => Err(Error::new(NOTHING_APPLIED, reasons.join("\n"))),
            Err(_) => Err(Error::internal("the host ends")),
        }
    }

    async fn reload(self: Arc<Self>, params: Option<ReloadParams>) -> Result<Vec<ReloadResult>, Error> {
        let ReloadParams { name } = params.unwrap_or_default();
        self.ask(|reply| ReloadCommand::Reload(name, reply)).await
    }

    async fn rollback(self: Arc<Self>, params: RollbackParams) -> Result<ReloadResult, Error> {
        self.ask(|reply| ReloadCommand::Rollback(params.name, reply)).await
    }
}

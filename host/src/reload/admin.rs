//! The methods `admin.*`, which only the operators' socket reaches.

use std::sync::Arc;

use jackfield_plugin_api::{Error, Methods};
use serde::Deserialize;

use super::Orders;
use super::order::{Order, PluginRow, Reply, Verdict};
use crate::plugin::LocalPlugin;

/// The name that no file and no route may take.
pub(crate) const ADMIN: &str = "admin";

/// The plugin `admin`.
pub(crate) struct Admin {
    orders: Orders,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParams {}

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

impl Admin {
    /// The plugin; `orders` lead to the plugins' thread.
    pub(crate) fn plugin(orders: Orders) -> LocalPlugin {
        let methods = Methods::new()
            .asynchronous("admin.plugin.list", Self::list)
            .asynchronous("admin.plugin.reload", Self::reload)
            .asynchronous("admin.plugin.rollback", Self::rollback);
        LocalPlugin::new(ADMIN, Self { orders }, methods)
    }

    async fn ask<T>(&self, order: impl FnOnce(Reply<T>) -> Order) -> Result<T, Error> {
        self.orders.ask(order).await.map_err(|_| Error::internal("the host ends"))
    }

    async fn list(self: Arc<Self>, params: Option<NoParams>) -> Result<Vec<PluginRow>, Error> {
        let NoParams {} = params.unwrap_or_default();
        self.ask(Order::List).await
    }

    async fn reload(self: Arc<Self>, params: Option<ReloadParams>) -> Result<Vec<Verdict>, Error> {
        let ReloadParams { name } = params.unwrap_or_default();
        self.ask(|reply| Order::Reload(name, reply)).await
    }

    async fn rollback(self: Arc<Self>, params: RollbackParams) -> Result<Verdict, Error> {
        self.ask(|reply| Order::Rollback(params.name, reply)).await
    }
}

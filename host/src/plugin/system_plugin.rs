//! The host's own methods, `system.*`: always there, and written like any plugin's.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use jackfield_plugin_api::{Error, Methods};
use serde::Serialize;
use serde_json::value::RawValue;

use super::built_in::BuiltInPlugin;
use crate::clock::Time;

/// What `system.info` and `system.methods` tell, from whoever knows it.
pub(crate) trait HostInfo: Send + Sync + 'static {
    /// Every counter and gauge by name.
    fn counts(&self) -> BTreeMap<&'static str, u64>;
    /// Every plugin that serves.
    fn plugins(&self) -> Vec<PluginInfo>;
    /// The names of those that are not well: refused for their failures, without a thread, or holding an I/O thread.
    fn unhealthy(&self) -> Vec<String>;
    /// Every method that a request can reach.
    fn methods(&self) -> Vec<String>;
}

/// One plugin, as `system.info` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct PluginInfo {
    pub(crate) name: String,
    pub(crate) generation: u64,
    pub(crate) version: String,
    pub(crate) hash: String,
}

/// The plugin `system`.
pub(crate) struct SystemPlugin {
    started: Time,
    told: Weak<dyn HostInfo>,
}

#[derive(Serialize)]
struct Facts {
    name: &'static str,
    version: &'static str,
    protocol: &'static [&'static str],
    pid: u32,
    uptime_ms: u128,
    counts: BTreeMap<&'static str, u64>,
    plugins: Vec<PluginInfo>,
}

impl SystemPlugin {
    /// The name that no file and no route may take.
    pub(crate) const NAME: &'static str = "system";

    /// The plugin; `told` knows the host.
    pub(crate) fn plugin(told: Weak<dyn HostInfo>) -> BuiltInPlugin {
        let methods = Methods::new()
            .inline("system.ping", Self::ping)
            .inline("system.echo", Self::echo)
            .inline("system.info", Self::info)
            .inline("system.methods", Self::methods);
        BuiltInPlugin::new(Self::NAME, Self { started: Time::now(), told }, methods)
    }

    fn ping(&self, _params: Option<Box<RawValue>>) -> Result<&'static str, Error> {
        Ok("pong")
    }

    fn echo(&self, params: Box<RawValue>) -> Result<Box<RawValue>, Error> {
        Ok(params)
    }

    fn info(&self, _params: Option<Box<RawValue>>) -> Result<Facts, Error> {
        let told = self.told()?;
        Ok(Facts {
            name: "jackfield",
            version: env!("CARGO_PKG_VERSION"),
            protocol: &["1.0", "1.1"],
            pid: std::process::id(),
            uptime_ms: Time::now().since(self.started).as_millis(),
            counts: told.counts(),
            plugins: told.plugins(),
        })
    }

    fn methods(&self, _params: Option<Box<RawValue>>) -> Result<Vec<String>, Error> {
        Ok(self.told()?.methods())
    }

    fn told(&self) -> Result<Arc<dyn HostInfo>, Error> {
        self.told.upgrade().ok_or_else(|| Error::internal("the host ends"))
    }
}

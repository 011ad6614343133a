//! The host's own methods: `system.*` and `rpc.discover`. They always exist, and are written like
//! those of any plugin.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use jackfield_contract::Contract;
use jackfield_plugin_api::{Caller, Context, Error, Methods};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::built_in::BuiltInPlugin;
use super::discovery::{self, DISCOVER};
use crate::clock::Time;
use crate::trace::{ReportedSpans, Tracer};

/// The state of a host that its own methods report. The dispatcher implements it.
pub(crate) trait HostInfo: Send + Sync + 'static {
    /// Returns every counter and gauge by name.
    fn counts(&self) -> BTreeMap<&'static str, u64>;

    /// Returns every plugin that serves.
    fn plugins(&self) -> Vec<PluginInfo>;

    /// Returns the names of the plugins that are not healthy: their circuit breaker is open, they
    /// have no thread left, or they stall an I/O thread.
    fn unhealthy(&self) -> Vec<String>;

    /// Returns every method that a request can reach.
    fn methods(&self) -> Vec<String>;

    /// Returns the contract of the methods that a caller may call.
    fn contract(&self, caller: &Caller) -> Contract;
}

/// One plugin, as `system.info` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct PluginInfo {
    pub(crate) name: String,
    pub(crate) generation: u64,
    pub(crate) version: String,
    pub(crate) hash: String,
}

/// The built-in plugin `system`.
pub(crate) struct SystemPlugin {
    started: Time,
    host: Weak<dyn HostInfo>,

    /// Takes the spans of clients; `None` if the host takes none.
    tracer: Option<Arc<Tracer>>,
}

/// The result of `system.info`.
#[derive(Serialize)]
struct InfoReply {
    name: &'static str,
    version: &'static str,
    protocol: &'static [&'static str],
    pid: u32,
    uptime_ms: u128,
    counts: BTreeMap<&'static str, u64>,
    plugins: Vec<PluginInfo>,
}

/// The result of `system.spans`.
#[derive(Serialize)]
struct SpansReply {
    accepted: usize,
    dropped: usize,
}

impl SystemPlugin {
    /// The plugin's name. No file and no route may use it.
    pub(crate) const NAME: &'static str = "system";

    /// Creates the plugin.
    pub(crate) fn plugin(host: Weak<dyn HostInfo>, tracer: Option<Arc<Tracer>>) -> BuiltInPlugin {
        let mut methods = Methods::new()
            .inline("system.ping", Self::ping)
            .inline("system.echo", Self::echo)
            .inline("system.info", Self::info)
            .inline("system.methods", Self::methods)
            .asynchronous(DISCOVER, Self::discover);
        if tracer.is_some() {
            methods = methods.inline("system.spans", Self::spans);
        }
        let plugin = BuiltInPlugin::new(Self::NAME, Self { started: Time::now(), host, tracer }, methods);
        plugin.described(include_str!("system_methods.json"))
    }

    fn ping(&self, _params: Option<Box<RawValue>>) -> Result<&'static str, Error> {
        Ok("pong")
    }

    fn echo(&self, params: Box<RawValue>) -> Result<Box<RawValue>, Error> {
        Ok(params)
    }

    fn info(&self, _params: Option<Box<RawValue>>) -> Result<InfoReply, Error> {
        let host = self.host()?;
        Ok(InfoReply {
            name: "jackfield",
            version: env!("CARGO_PKG_VERSION"),
            protocol: &["1.0", "1.1"],
            pid: std::process::id(),
            uptime_ms: Time::now().since(self.started).as_millis(),
            counts: host.counts(),
            plugins: host.plugins(),
        })
    }

    fn methods(&self, _params: Option<Box<RawValue>>) -> Result<Vec<String>, Error> {
        Ok(self.host()?.methods())
    }

    async fn discover(self: Arc<Self>, cx: Context<'static>) -> Result<Value, Error> {
        let host = self.host()?;
        let caller = cx.caller();
        Ok(discovery::document(move || host.contract(&caller)).await)
    }

    #[expect(clippy::boxed_local, reason = "raw JSON has no other owned form")]
    fn spans(&self, params: Box<RawValue>) -> Result<SpansReply, Error> {
        let tracer = self.tracer.as_ref().ok_or_else(|| Error::internal("the host takes no spans"))?;
        let spans = ReportedSpans::parse(params.get())
            .map_err(|fault| Error::invalid_params("", &fault.to_string()))?;

        let total = spans.len();
        let accepted = tracer.record_reported(spans);
        Ok(SpansReply { accepted, dropped: total - accepted })
    }

    fn host(&self) -> Result<Arc<dyn HostInfo>, Error> {
        self.host.upgrade().ok_or_else(|| Error::internal("the host is shutting down"))
    }
}

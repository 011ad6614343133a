//! The host as a value: built from a configuration, run until a future says stop.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Instant;

use jackfield_plugin_api::Methods;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

use crate::admin::{ADMIN, AdminPlugin, ReloadRequest};
use crate::config::Config;
use crate::control::{ControlThread, RETIRE_LIMIT, ServeParts};
use crate::crash_record::CrashRecord;
use crate::loader::{ProbeEntry, Prober};
use crate::log::Logging;
use crate::output::OutputCapture;
use crate::plugin::{BuiltInPlugin, GenerationFactory, HostInfo, NestedCaller, SystemPlugin};
use crate::reload::{CommandSender, PluginOwner, ReloadCommand, Reloader};
use crate::routing::{ConnectionRules, Dispatcher, RoutingTable};
use crate::server::{BindError, HealthCheck, HttpEndpoint, Inherited, Server, ShutdownStage, SocketClaims};

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket could not be bound.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// The system gave no thread or no reactor.
    #[error("the host's threads could not be started: {0}")]
    Threads(#[from] io::Error),
    /// A program gave a plugin a name that is taken or cannot be one.
    #[error("no plugin of the program can be named {0:?}")]
    Name(String),
}

/// A host that has not started: its configuration, and what the program adds to it.
pub struct Builder {
    config: Config,
    prober: Prober,
    locals: Vec<BuiltInPlugin>,
    names: BTreeSet<String>,
    inherited: Inherited,
    reloads: Option<UnboundedSender<ReloadRequest>>,
    captures_output: bool,
}

impl Builder {
    /// A host of `config`. `entry` shows that the program called [`enter`](crate::enter) first: plugins are opened
    /// in a process of their own before this one, and that process is this program, started once more.
    #[must_use]
    pub fn new(config: Config, entry: &ProbeEntry) -> Self {
        let prober = Prober::this_program(entry);
        let (locals, names, inherited) = (Vec::new(), BTreeSet::new(), Inherited::default());
        Self { config, prober, locals, names, inherited, reloads: None, captures_output: false }
    }

    /// Adds methods that are part of this program, as the plugin `name`. `[plugin.NAME]` and `[[route]]` apply to it
    /// as to any other.
    ///
    /// # Errors
    /// The name is taken by another one, or is `system` or `admin`.
    pub fn plugin<S: Send + Sync + 'static>(
        mut self,
        name: &str,
        state: S,
        methods: Methods<S>,
    ) -> Result<Self, StartError> {
        if name == SystemPlugin::NAME || name == ADMIN || !self.names.insert(name.to_owned()) {
            return Err(StartError::Name(name.to_owned()));
        }
        self.locals.push(BuiltInPlugin::new(name, state, methods));
        Ok(self)
    }

    /// Serves these sockets, where they belong to a listener or to the operators, instead of binding new ones.
    #[must_use]
    pub fn inherit(mut self, inherited: Inherited) -> Self {
        self.inherited = inherited;
        self
    }

    /// Leads whatever this process writes to stdout and stderr into the log, from its start to its end, with the
    /// plugin's name where it can be told. `_log` shows that the log itself goes elsewhere.
    #[must_use]
    pub fn capture_output(mut self, _log: &Logging) -> Self {
        self.captures_output = true;
        self
    }

    /// Lets operators ask this program, by `admin.reload`, to read its configuration anew: what they ask comes out
    /// of [`Reloads`]. Without it, they are told that this program does not do that.
    #[must_use]
    pub fn reloads(mut self) -> (Self, Reloads) {
        let (asked, received) = unbounded_channel();
        self.reloads = Some(asked);
        (self, Reloads(received))
    }

    /// Claims the sockets, loads the plugins, binds. When it returns, requests are answered.
    ///
    /// Blocks for as long as the plugins take to start. A plugin that cannot be loaded is an error in the log, not
    /// here: the others serve.
    ///
    /// # Errors
    /// A socket that cannot be bound, or threads that cannot be had; nothing is left behind.
    pub fn start(self) -> Result<Host, StartError> {
        let Self { config, prober, locals, inherited, reloads, captures_output, .. } = self;
        let claims = SocketClaims::take(&config.listeners, config.admin.as_ref(), inherited)?;
        let recorder = CrashRecord::open(&config.plugins.deaths)?;
        let dispatcher = Dispatcher::new(ConnectionRules::of(&config), Arc::clone(&recorder));
        dispatcher.doors.set(&config.listeners);
        // Before any code of a plugin's runs, and to the end of the last.
        let captured =
            captures_output.then(|| OutputCapture::begin(&recorder, Arc::clone(&dispatcher.metrics)));
        let captured = captured.and_then(|captured| {
            let not = |error| tracing::error!(%error, "what plugins write to stdout and stderr stays out of the log");
            captured.map_err(not).ok()
        });
        let calls: Weak<dyn NestedCaller> =
            Arc::downgrade(&(Arc::clone(&dispatcher) as Arc<dyn NestedCaller>));
        let told: Weak<dyn HostInfo> = Arc::downgrade(&(Arc::clone(&dispatcher) as Arc<dyn HostInfo>));
        let endpoint = config.metrics.listen.as_ref().map(HttpEndpoint::bind).transpose()?;
        let control = ControlThread::start(endpoint, Arc::clone(&dispatcher))?;
        let server = Server::start(config.io.threads, &dispatcher)?;
        let (orders, received) = CommandSender::channel();
        let nursery = GenerationFactory::new(calls, Arc::clone(&recorder));
        let mut plugins = PluginOwner::new(config, prober, nursery, &dispatcher, &orders, server.turnover());
        let system = plugins.add_built_in(SystemPlugin::plugin(told))?;
        let admin = plugins.add_built_in(AdminPlugin::plugin(
            orders.clone(),
            Arc::downgrade(&dispatcher),
            reloads,
        ))?;
        for local in locals {
            plugins.add_built_in(local)?;
        }
        plugins.load_all();
        dispatcher
            .admin
            .store(Arc::new(RoutingTable::of_own(vec![system, admin], &dispatcher.metrics.names)));
        let sockets = match claims.bind() {
            Ok(sockets) => sockets,
            Err(error) => {
                plugins.retire_all(&received, Instant::now() + RETIRE_LIMIT);
                recorder.close();
                return Err(error.into());
            }
        };
        let pulse = server.pulse(&sockets);
        let told: Weak<dyn HostInfo> = Arc::downgrade(&(Arc::clone(&dispatcher) as Arc<dyn HostInfo>));
        let reloader = Reloader::start(plugins, received)?;
        let (ending, watched) = watch::channel(ShutdownStage::Serve);
        let (done, ended) = oneshot::channel();
        control.serve(ServeParts { server, sockets, reloader, captured, ending: watched, done });
        Ok(Host { ending, ended, orders, pulse: Arc::new(pulse), told })
    }

    /// Starts, serves until `shutdown` is ready, drains, ends.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
        let host = self.start()?;
        shutdown.await;
        host.stop().await?;
        Ok(())
    }
}

/// What operators ask of the program around the host.
pub struct Reloads(UnboundedReceiver<ReloadRequest>);

impl Reloads {
    /// Ready when somebody asks for the configuration to be read anew; never once the host has ended.
    pub async fn next(&mut self) -> ReloadRequest {
        match self.0.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }
}

/// How a host is, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Connections open.
    pub connections: u64,
    /// Requests accepted and not answered.
    pub in_flight: u64,
    /// Plugins that serve, those of the program included.
    pub plugins: usize,
    /// Those of them that are not well.
    pub unhealthy: usize,
}

/// A host that serves. Dropped, it drains by itself.
pub struct Host {
    orders: CommandSender,
    pulse: Arc<HealthCheck>,
    told: Weak<dyn HostInfo>,
    ending: watch::Sender<ShutdownStage>,
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Host {
    /// Stops accepting, answers what is in flight (within the drain time-out), and ends when all of that is done.
    /// Needs no particular async runtime.
    ///
    /// # Errors
    /// The sockets could not be watched, so that nothing was served.
    pub async fn stop(mut self) -> io::Result<()> {
        self.begin_stop();
        self.ended().await
    }

    /// As the first half of [`Host::stop`]: returns at once.
    pub fn begin_stop(&self) {
        self.ending.send_if_modified(|ending| {
            std::mem::replace(ending, (*ending).max(ShutdownStage::Drain)) == ShutdownStage::Serve
        });
    }

    /// Looks at the whole plugin directory now, and tries again what was refused. Returns at once.
    pub fn look(&self) {
        self.orders.send(ReloadCommand::ScanAll(None));
    }

    /// As [`Host::look`]: ready when what was found is done, and what can be loaded serves.
    pub async fn look_through(&self) {
        // No answer: the host ends.
        let _ = self.orders.ask(|done| ReloadCommand::ScanAll(Some(done))).await;
    }

    /// A way to find out, from another thread, whether the host answers.
    #[must_use]
    pub fn pulse(&self) -> Arc<HealthCheck> {
        Arc::clone(&self.pulse)
    }

    /// A way to ask, from another thread, how the host is; `None` once it has ended.
    pub fn status(&self) -> impl Fn() -> Option<Status> + Send + 'static {
        let told = Weak::clone(&self.told);
        move || {
            let told = told.upgrade()?;
            let counts = told.counts();
            let count = |name| counts.get(name).copied().unwrap_or(0);
            let (connections, in_flight) = (count("connections_open"), count("in_flight"));
            let (plugins, unhealthy) = (told.plugins().len(), told.unhealthy().len());
            Some(Status { connections, in_flight, plugins, unhealthy })
        }
    }

    /// A way to ask, from another thread, which plugins are not well: refused for their failures, without a thread left,
    /// or holding up a thread that serves connections. None when the host has ended.
    pub fn unhealthy(&self) -> impl Fn() -> Vec<String> + Send + 'static {
        let told = Weak::clone(&self.told);
        move || told.upgrade().map(|told| told.unhealthy()).unwrap_or_default()
    }

    /// Changes to another configuration while it serves: routes, limits, time-outs, and the settings of plugins,
    /// which are started anew for that. All of it takes effect or nothing. What needs a restart is logged and waits.
    ///
    /// # Errors
    /// Every plugin that did not take its new settings, with its words.
    pub fn reconfigure(
        &self,
        config: Config,
    ) -> impl Future<Output = Result<(), Vec<String>>> + Send + use<> {
        let answer = self.orders.ask(|reply| ReloadCommand::Configure(Arc::new(config), reply));
        async move { answer.await.unwrap_or_else(|_| Err(vec!["the host ends".to_owned()])) }
    }

    /// Ends at once: what is in flight is answered DEADLINE_EXCEEDED, its time being over.
    pub fn cut(&self) {
        self.ending.send_replace(ShutdownStage::Cut);
    }

    /// Ready when the host has ended.
    ///
    /// # Errors
    /// As [`Host::stop`].
    pub async fn ended(&mut self) -> io::Result<()> {
        match (&mut self.ended).await {
            Ok(served) => served,
            Err(_) => Err(io::Error::other("the host's control thread ended by itself")),
        }
    }
}

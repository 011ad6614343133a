//! Builds a host: a configuration, and what the embedding program adds to it.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Instant;

use jackfield_plugin_api::Methods;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::admin::{AdminPlugin, ReloadRequest, is_own_plugin};
use crate::config::{Config, TraceConfig};
use crate::control::{ControlThread, RETIRE_LIMIT, ServeParts};
use crate::crash_record::CrashRecord;
use crate::embedded::MethodCaller;
use crate::host::{Host, Reloads};
use crate::loader::{ProbeEntry, Prober, ProcessGuard};
use crate::log::Logging;
use crate::output::OutputCapture;
use crate::plugin::{BuiltInPlugin, GenerationFactory, HostInfo, NestedCaller, SystemPlugin, WorkerProgram};
use crate::plugin_events::{EventPublisher, PluginEvents};
use crate::reload::{CommandSender, PluginOwner, Reloader, ReportProgress, StartProgress};
use crate::routing::{ConnectionRules, Dispatcher, RoutingTable};
use crate::server::{BindError, HttpEndpoint, Inherited, Server, SocketClaims};
use crate::shutdown::Shutdown;
use crate::system_failure::WithRemedy;
use crate::thread_locals;
use crate::trace::TraceExporter;

/// The reason why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket could not be bound.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// The system provides no thread, reactor or memory.
    #[error("the host cannot start: cannot {what}: {}", WithRemedy(source))]
    System {
        /// The failed action.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The host was stopped before it had started.
    #[error("the host was stopped before it had started")]
    Stopped,
    /// The embedding program gave a plugin a name that is taken or reserved.
    #[error("the plugin name {0:?} is taken or reserved")]
    Name(String),
}

impl StartError {
    /// Returns a function that turns a failed system call into an error.
    pub(crate) fn of_system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// A host that has not started: its configuration, and what the embedding program adds to it.
pub struct Builder {
    config: Config,
    prober: Prober,
    built_in: Vec<BuiltInPlugin>,
    names: BTreeSet<String>,
    inherited: Inherited,
    reloads: Option<UnboundedSender<ReloadRequest>>,
    captures_output: bool,
    progress: Box<ReportProgress>,
    shutdown: Shutdown,
    guards_process_state: bool,
    events: EventPublisher,
}

impl Builder {
    /// Returns a builder for a host with `config`.
    ///
    /// `entry` proves that the program called [`enter`](crate::enter) first: plugins are probed in
    /// a separate process, which is this program, started once more.
    #[must_use]
    pub fn new(config: Config, entry: &ProbeEntry) -> Self {
        Self {
            config,
            prober: Prober::this_program(entry),
            built_in: Vec::new(),
            names: BTreeSet::new(),
            inherited: Inherited::default(),
            reloads: None,
            captures_output: false,
            progress: Box::new(|_| ()),
            shutdown: Shutdown::default(),
            guards_process_state: false,
            events: EventPublisher::default(),
        }
    }

    /// Adds methods of the embedding program as the plugin `name`. `[plugin.NAME]` and `[[route]]`
    /// apply to it as to any other plugin.
    ///
    /// # Errors
    ///
    /// The name is taken, or is `system` or `admin`.
    pub fn plugin<S: Send + Sync + 'static>(
        mut self,
        name: &str,
        state: S,
        methods: Methods<S>,
    ) -> Result<Self, StartError> {
        if is_own_plugin(name) || !self.names.insert(name.to_owned()) {
            return Err(StartError::Name(name.to_owned()));
        }
        self.built_in.push(BuiltInPlugin::new(name, state, methods));
        Ok(self)
    }

    /// Serves these sockets instead of binding new ones, where they belong to a listener or are the
    /// admin socket.
    #[must_use]
    pub fn inherit(mut self, inherited: Inherited) -> Self {
        self.inherited = inherited;
        self
    }

    /// Redirects stdout and stderr of this process into the log while the host runs, with the name
    /// of the plugin that wrote each line where that is known. `_log` proves that the log itself
    /// uses another descriptor.
    #[must_use]
    pub fn capture_output(mut self, _log: &Logging) -> Self {
        self.captures_output = true;
        self
    }

    /// Checks every few seconds, while the host serves, whether signal handlers, signal masks of
    /// I/O threads, the working directory, the umask, the environment, resource limits or
    /// descriptors differ from those when [`Builder::start`] was called. The first four are
    /// restored, and all differences are logged.
    ///
    /// It is for programs that change none of these themselves while the host runs.
    #[must_use]
    pub fn guard_process_state(mut self) -> Self {
        self.guards_process_state = true;
        self
    }

    /// Lets operators request a reload of the configuration with `admin.reload`. The requests are
    /// received from [`Reloads`].
    ///
    /// Without this call, `admin.reload` answers that the program does not support it.
    #[must_use]
    pub fn reloads(mut self) -> (Self, Reloads) {
        let (requests, received) = unbounded_channel();
        self.reloads = Some(requests);
        (self, Reloads(received))
    }

    /// Has `report` called while plugins start, from any thread: at the beginning, and after each
    /// step of a plugin.
    #[must_use]
    pub fn report_progress(mut self, report: impl Fn(StartProgress) + Send + Sync + 'static) -> Self {
        self.progress = Box::new(report);
        self
    }

    /// Subscribes to what happens to plugins, from the start of the host on.
    pub fn events(&self) -> PluginEvents {
        self.events.subscribe()
    }

    /// Returns the shutdown of the host that is built.
    pub(crate) fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Claims the sockets, loads the plugins and binds the sockets. Requests are answered when it
    /// returns.
    ///
    /// Blocks while the plugins start; [`Builder::start_in_background`] does not. A plugin that
    /// cannot be loaded is reported in the log and is not an error here: the other plugins serve.
    ///
    /// # Errors
    ///
    /// A socket cannot be bound, or the system provides no threads. Nothing is left behind.
    pub fn start(self) -> Result<Host, StartError> {
        thread_locals::touch();
        let Self {
            config,
            prober,
            built_in,
            inherited,
            reloads,
            captures_output,
            guards_process_state,
            progress,
            shutdown,
            events,
            ..
        } = self;
        let claims = SocketClaims::take(&config.listeners, config.admin.as_ref(), inherited)?;
        let crash_record = CrashRecord::open(&config.plugins.crash)
            .map_err(StartError::of_system("map memory for the crash record"))?;
        let unstarted = UnstartedHost(Some(Arc::clone(&crash_record)));
        let dispatcher = Dispatcher::new(ConnectionRules::of(&config), Arc::clone(&crash_record));
        dispatcher.events.adopt(events);
        dispatcher.acls.set(&config.listeners, config.admin.as_ref());
        let takes_spans = config.trace.spans;
        let exporter = start_exporter(&config.trace, &dispatcher)
            .map_err(StartError::of_system("start the thread that exports spans"))?;

        // Before any code of a plugin runs, and until the last of it has ended.
        let output = captures_output.then(|| capture_output(&crash_record, &dispatcher)).flatten();

        let guard = guards_process_state.then(ProcessGuard::begin);

        let endpoint = config.metrics.listen.as_ref().map(HttpEndpoint::bind).transpose()?;
        let control = ControlThread::start(endpoint, Arc::clone(&dispatcher))
            .map_err(StartError::of_system("start the control thread"))?;
        let server = Server::start(config.io.threads, &dispatcher, guard)
            .map_err(StartError::of_system("start the I/O threads of io.threads"))?;

        let caller: Weak<dyn NestedCaller> =
            Arc::downgrade(&(Arc::clone(&dispatcher) as Arc<dyn NestedCaller>));
        let factory = GenerationFactory::new(caller, Arc::clone(&crash_record), WorkerProgram::of(&prober));
        let (commands, received) = CommandSender::channel();
        let replacer = server.io_thread_replacer();
        let mut plugins =
            PluginOwner::new(config, prober, factory, &dispatcher, &commands, replacer, &shutdown);
        let mut add_built_in = |plugin| {
            plugins
                .add_built_in(plugin)
                .map_err(StartError::of_system("start the threads of a built-in plugin"))
        };
        let span_taker = dispatcher.tracer.get().filter(|_| takes_spans).cloned();
        let system = add_built_in(SystemPlugin::plugin(host_info(&dispatcher), span_taker))?;
        let admin = AdminPlugin::plugin(commands.clone(), Arc::downgrade(&dispatcher), reloads);
        let admin = add_built_in(admin)?;
        for plugin in built_in {
            add_built_in(plugin)?;
        }
        plugins.load_all(&*progress);
        let admin_table = RoutingTable::of_built_in(vec![system, admin], &dispatcher.metrics.method_names);
        dispatcher.admin_table.store(Arc::new(admin_table));

        let is_stopped = shutdown.has_begun();
        let bound = if is_stopped { Err(StartError::Stopped) } else { claims.bind().map_err(Into::into) };
        let sockets = match bound {
            Ok(sockets) => sockets,
            Err(error) => {
                plugins.retire_all(&received, Instant::now() + RETIRE_LIMIT);
                return Err(error);
            }
        };
        let health_check = Arc::new(server.health_check(&sockets));
        let info = host_info(&dispatcher);
        let events = Arc::downgrade(&dispatcher.events);
        let caller = MethodCaller::new(Arc::downgrade(&dispatcher));
        let reloader = Reloader::start(plugins, received)
            .map_err(StartError::of_system("start the thread that loads plugins"))?;

        let stages = shutdown.subscribe();
        let (done, ended) = oneshot::channel();
        unstarted.has_started();
        control.serve(ServeParts { server, sockets, reloader, output, exporter, shutdown: stages, done });
        Ok(Host { shutdown, ended, commands, health_check, info, events, caller })
    }
}

/// The crash record of a host that starts. Dropping it closes the record: a start that fails, for
/// whatever reason, is no crash.
struct UnstartedHost(Option<Arc<CrashRecord>>);

impl UnstartedHost {
    /// Leaves the record open, because the control thread closes it when the host ends.
    fn has_started(mut self) {
        self.0 = None;
    }
}

impl Drop for UnstartedHost {
    fn drop(&mut self) {
        if let Some(crash_record) = &self.0 {
            crash_record.close();
        }
    }
}

fn host_info(dispatcher: &Arc<Dispatcher>) -> Weak<dyn HostInfo> {
    Arc::downgrade(&(Arc::clone(dispatcher) as Arc<dyn HostInfo>))
}

/// Starts the export of spans if it is configured.
fn start_exporter(config: &TraceConfig, dispatcher: &Dispatcher) -> io::Result<Option<TraceExporter>> {
    let started = TraceExporter::start(config, dispatcher.instance, &dispatcher.metrics)?;
    Ok(started.map(|(tracer, exporter)| {
        dispatcher.tracer.get_or_init(|| tracer);
        exporter
    }))
}

/// Captures the output of this process; a failure is logged, because the host can serve without it.
fn capture_output(crash_record: &Arc<CrashRecord>, dispatcher: &Dispatcher) -> Option<OutputCapture> {
    let capture = OutputCapture::begin(crash_record, Arc::clone(&dispatcher.metrics));
    let report = |error: io::Error| {
        let error = WithRemedy(&error);
        tracing::error!(
            %error,
            "cannot capture the output of plugins: {error}; their stdout and stderr stay out of the log"
        );
    };
    capture.map_err(report).ok()
}

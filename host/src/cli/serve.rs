//! `jackfield serve`: runs the host until a signal stops it.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use jackfield::config::Config;
use jackfield::log::{Counted, LogError, Logging};
use jackfield::{
    Builder, Host, InheritError, Inherited, ProbeEntry, ReloadRequest, Reloads, StartError, StartingHost,
    WithRemedy,
};

use super::config_file::{ConfigError, load_config};
use super::config_watcher::{ConfigWatcher, ReadConfig};
use super::end_limit::EndLimit;
use super::exit_code::{self, fail};
use super::init;
use super::output::print_message;
use super::readiness::ReadinessReporter;
use super::sd_notify::SdNotify;
use super::signals::{SignalAction, Signals};

/// Time that the supervisor grants for a shutdown in addition to the drain time-out: for goodbye
/// frames, and for plugins to stop.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// Time in addition to the drain time-out after which the process is ended by force. A regular end
/// takes less than 9 s more than the drain, and the exit handlers of the process 1 s.
const END_MARGIN: Duration = Duration::from_secs(9);

/// Runs the host. SIGTERM or SIGINT drains it; a second one ends it at once.
pub(crate) fn serve(file: Option<&Path>, entry: &ProbeEntry) -> ExitCode {
    init::run_as_init().unwrap_or_else(|| run(file, entry, true))
}

/// The reason why the host did not start, or ended with an error.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Log(#[from] LogError),
    #[error("{0}")]
    Inherit(#[from] InheritError),
    #[error("{0}")]
    Start(#[from] StartError),
    #[error("the host cannot start: cannot {what}: {}", WithRemedy(source))]
    System { what: &'static str, source: io::Error },
    #[error("the host ended: {}", WithRemedy(.0))]
    Ended(io::Error),
}

impl ServeError {
    /// Returns a function that turns a failed system call into an error.
    fn of_system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Log(_) => exit_code::CONFIGURATION,
            Self::Inherit(_) | Self::Start(_) | Self::System { .. } | Self::Ended(_) => exit_code::SYSTEM,
        }
    }
}

fn warn_about_deprecated_keys(config: &Config) {
    let file = config.file.as_deref().unwrap_or(Path::new("the configuration")).display();
    for key in &config.deprecated {
        tracing::warn!("{file}: {} is deprecated: rename it to {}", key.deprecated, key.name);
    }
}

/// Runs the host. The output of plugins goes to the log if `captures_output` is set, otherwise to
/// the stdout and stderr of this process.
pub(super) fn run(file: Option<&Path>, entry: &ProbeEntry, captures_output: bool) -> ExitCode {
    let end_limit = match EndLimit::start().map_err(ServeError::of_system("start a thread")) {
        Ok(end_limit) => end_limit,
        Err(error) => return fail(exit_code::SYSTEM, &error),
    };

    let code = match try_run(file, entry, captures_output, &end_limit) {
        Ok(()) => exit_code::SUCCESS,
        Err(error) => {
            print_message(&error);
            error.exit_code()
        }
    };
    tracing::debug!("shutdown: the process ends with exit code {code}");
    end_limit.set_for_exit(code);
    ExitCode::from(code)
}

fn try_run(
    file: Option<&Path>,
    entry: &ProbeEntry,
    captures_output: bool,
    end_limit: &EndLimit,
) -> Result<(), ServeError> {
    // First, while the process has only one thread.
    let inherited = Inherited::from_environment();

    let config = load_config(file)?;
    let logging = jackfield::log::start(&config.log)?;
    // This thread handles the signals, so it must not wait for a plugin.
    jackfield::touch_thread_locals();
    warn_about_deprecated_keys(&config);
    let inherited = inherited?;

    // This runtime only waits for signals and files. Requests are served on other threads.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(ServeError::of_system("watch for signals"))?;
    let context = runtime.enter();
    // Before the host starts, so that a signal during the start stops it.
    let mut signals = Signals::watch().map_err(ServeError::of_system("watch for signals"))?;
    let watcher = ConfigWatcher::start(&config);
    let sockets: Vec<_> =
        config.listeners.iter().map(|listener| listener.socket.display().to_string()).collect();

    let (mut builder, reloads) =
        Builder::new(config, entry).inherit(inherited).guard_process_state().reloads();
    if captures_output {
        log_panics();
        builder = builder.capture_output(&logging);
    }
    let mut readiness = ReadinessReporter::new(SdNotify::from_environment());
    let mut starting = builder.report_progress(readiness.progress()).start_in_background()?;
    let host = match runtime.block_on(signals.unless_stopped(starting.started())) {
        Ok(started) => started?,
        Err(signal) => {
            let stopped = stop_start(starting, signal, signals, readiness, end_limit);
            let ended = runtime.block_on(stopped);
            logging.report_drops_now();
            return Ok(ended?);
        }
    };
    if let Err(error) = readiness.watch(&host) {
        // Without its end, the next host would report a crash of this one.
        let _ = runtime.block_on(host.stop());
        return Err(ServeError::of_system("start the thread that reports readiness")(error));
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        "ready on {}",
        sockets.join(", ")
    );

    let drops = logging.clone();
    runtime.spawn(async move { drops.report_drops().await });
    let running = RunningHost { host, watcher, logging: logging.clone(), readiness, end_limit };
    let ended = runtime.block_on(running.run(signals, reloads));
    logging.report_drops_now();
    drop(context);
    // There are no blocking tasks, for which dropping the runtime would wait.
    runtime.shutdown_background();
    ended.map_err(ServeError::Ended)
}

/// Stops a host that starts; a second signal gives up the plugins that are starting.
async fn stop_start(
    mut starting: StartingHost,
    signal: &'static str,
    mut signals: Signals,
    mut readiness: ReadinessReporter,
    end_limit: &EndLimit,
) -> Result<(), StartError> {
    tracing::info!("stopping on {signal}: the host has not started yet (signal again to stop now)");
    readiness.report_stopping(STOP_MARGIN);
    end_limit.set_for_host(STOP_MARGIN, signal);
    starting.begin_stop();

    match signals.unless_stopped(starting.ended()).await {
        Ok(ended) => return ended,
        Err(name) => tracing::warn!("stopping now on {name}: plugins that are starting are left behind"),
    }
    starting.cut();
    starting.ended().await
}

/// Logs panics of the host. The default hook writes to stderr, which is captured as the output of
/// plugins.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("no text");
        tracing::error!(place, "the host panicked at {place}: {text}; please report this");
    }));
}

/// A host that serves, with the parts that the program adds to it.
struct RunningHost<'a> {
    host: Host,
    watcher: ConfigWatcher,
    logging: Logging,
    readiness: ReadinessReporter,
    end_limit: &'a EndLimit,
}

/// An event while the host serves.
enum ServeEvent {
    Ended(io::Result<()>),
    Signal(SignalAction),
    ReloadRequested(ReloadRequest),
    FileChanged(Box<ReadConfig>),
}

impl RunningHost<'_> {
    /// Handles events until a signal stops the host, and then waits for its end.
    async fn run(mut self, mut signals: Signals, mut reloads: Reloads) -> io::Result<()> {
        let signal = loop {
            let event = tokio::select! {
                ended = self.host.ended() => ServeEvent::Ended(ended),
                action = signals.next() => ServeEvent::Signal(action),
                request = reloads.next() => ServeEvent::ReloadRequested(request),
                read = self.watcher.changed() => ServeEvent::FileChanged(Box::new(read)),
            };

            let handled = match event {
                ServeEvent::Ended(ended) => return ended,
                ServeEvent::Signal(SignalAction::Stop(name)) => break name,
                ServeEvent::Signal(SignalAction::Reload) => {
                    tracing::info!("reload requested by SIGHUP");
                    // The sender of a signal finds the outcome in the log.
                    signals.unless_stopped(self.reload()).await.map(drop)
                }
                ServeEvent::ReloadRequested(request) => {
                    tracing::info!("reload requested by an operator");
                    signals.unless_stopped(self.reload()).await.map(|outcome| request.answer(outcome))
                }
                ServeEvent::FileChanged(read) => {
                    let apply = self.watcher.apply(*read, &self.host, &self.logging);
                    signals.unless_stopped(apply).await.map(drop)
                }
            };
            if let Err(name) = handled {
                break name;
            }
        };
        self.stop(signal, signals).await
    }

    /// Drains the host; a second signal ends it at once.
    async fn stop(mut self, signal: &'static str, mut signals: Signals) -> io::Result<()> {
        let in_flight = self.host.status()().map_or(0, |status| status.in_flight);
        let requests = Counted(in_flight, "request");
        tracing::info!("stopping on {signal}: finishing {requests} (signal again to stop now)");
        self.readiness.report_stopping(self.watcher.drain_timeout() + STOP_MARGIN);
        self.end_limit.set_for_host(self.watcher.drain_timeout() + END_MARGIN, signal);
        self.host.begin_stop();

        match signals.unless_stopped(self.host.ended()).await {
            Ok(ended) => return ended,
            Err(name) => {
                self.end_limit.set_for_host(END_MARGIN, name);
                tracing::warn!("stopping now on {name}: requests in flight are answered DEADLINE_EXCEEDED")
            }
        }
        self.host.cut();
        self.host.ended().await
    }

    /// Reads the configuration and scans the plugin directory. Returns when everything that can be
    /// applied is applied.
    async fn reload(&mut self) -> Result<(), Vec<String>> {
        self.readiness.report_reloading();
        let read = self.watcher.read().await;
        let outcome = self.watcher.apply(read, &self.host, &self.logging).await;
        self.host.rescan_plugins().await;
        self.readiness.report_reloaded();
        outcome
    }
}

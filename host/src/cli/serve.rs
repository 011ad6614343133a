//! `jackfield serve`: runs the host until a signal ends it.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use jackfield::log::Logging;
use jackfield::{Builder, Host, Inherited, ProbeEntry, ReloadRequest, Reloads};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::config_watcher::{ConfigWatcher, ReadConfig};
use super::readiness::ReadinessReporter;
use super::sd_notify::SdNotify;
use super::{CONFIGURATION, SYSTEM, failed, load};

/// What stopping may take besides the drain: last words, and plugins that stop.
const FAREWELL: Duration = Duration::from_secs(10);

/// Runs the host. SIGTERM and SIGINT drain it; a second one cuts.
pub(crate) fn serve(file: Option<&Path>, entry: &ProbeEntry) -> ExitCode {
    run(file, entry, true)
}

/// Runs the host; what plugins print goes to the log, or stays where it is.
pub(super) fn run(file: Option<&Path>, entry: &ProbeEntry, captures_output: bool) -> ExitCode {
    // While there is one thread.
    let inherited = Inherited::from_environment();
    let config = match load(file) {
        Ok(config) => config,
        Err(unusable) => return failed(CONFIGURATION, &unusable),
    };
    let logging = match jackfield::log::start(&config.log) {
        Ok(logging) => logging,
        Err(error) => return failed(CONFIGURATION, &error),
    };
    for key in &config.deprecated {
        let file = config.file.as_deref().unwrap_or(Path::new("the configuration")).display();
        tracing::warn!("{file}: {} is deprecated: rename it to {}", key.deprecated, key.name);
    }
    let inherited = match inherited {
        Ok(inherited) => inherited,
        Err(error) => return failed(SYSTEM, &error),
    };
    // The runtime waits for signals and nothing else; requests have threads of their own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(SYSTEM, &error),
    };
    // Signals are watched before there is anything to drain.
    let _inside = runtime.enter();
    let signals = match Signals::watch() {
        Ok(signals) => signals,
        Err(error) => return failed(SYSTEM, &error),
    };
    let sockets: Vec<_> =
        config.listeners.iter().map(|listener| listener.socket.display().to_string()).collect();
    let follower = ConfigWatcher::start(&config);
    let (builder, reloads) = Builder::new(config, entry).inherit(inherited).reloads();
    let builder = if captures_output {
        // The host's own words are not to be taken for a plugin's.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            tracing::error!(place, "the host panicked: {}", panic.payload_as_str().unwrap_or("no text"));
        }));
        builder.capture_output(&logging)
    } else {
        builder
    };
    let host = match builder.start() {
        Ok(host) => host,
        Err(error) => return failed(SYSTEM, &error),
    };
    let keeper = match ReadinessReporter::start(SdNotify::from_environment(), &host) {
        Ok(keeper) => keeper,
        Err(error) => return failed(SYSTEM, &error),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        "ready on {}",
        sockets.join(", ")
    );
    let floods = logging.clone();
    runtime.spawn(async move { floods.report_drops().await });
    let at_last = logging.clone();
    let running = RunningHost { host, follower, logging, keeper };
    let ended = runtime.block_on(running.until_ended(signals, reloads));
    at_last.report_drops_now();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(SYSTEM, &error),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// Whether a hang-up came while something else was being done.
    hung_up: bool,
}

impl Signals {
    fn watch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            hung_up: false,
        })
    }

    async fn next(&mut self) -> SignalAction {
        if std::mem::take(&mut self.hung_up) {
            return SignalAction::HangUp;
        }
        tokio::select! {
            _ = self.terminate.recv() => SignalAction::End("SIGTERM"),
            _ = self.interrupt.recv() => SignalAction::End("SIGINT"),
            _ = self.hang_up.recv() => SignalAction::HangUp,
        }
    }
}

impl Signals {
    /// Does `work`, which may take as long as a plugin takes to start, unless a signal to end comes: then its name.
    async fn unless_ended<T>(&mut self, work: impl Future<Output = T>) -> Result<T, &'static str> {
        let mut work = pin!(work);
        let mut hung_up = false;
        loop {
            tokio::select! {
                done = &mut work => {
                    // It may be about what changed after it was looked at: it is obeyed once this is done.
                    self.hung_up = hung_up;
                    return Ok(done);
                }
                heard = self.next() => match heard {
                    SignalAction::End(name) => return Err(name),
                    SignalAction::HangUp => hung_up = true,
                },
            }
        }
    }
}

/// What a signal asks for.
enum SignalAction {
    End(&'static str),
    HangUp,
}

/// A host that serves, and what goes with it.
struct RunningHost {
    host: Host,
    follower: ConfigWatcher,
    logging: Logging,
    keeper: ReadinessReporter,
}

/// What there is to do while it serves.
enum ServeEvent {
    Ended(io::Result<()>),
    Signal(SignalAction),
    Asked(ReloadRequest),
    FileChanged(Box<ReadConfig>),
}

impl RunningHost {
    async fn until_ended(mut self, mut signals: Signals, mut reloads: Reloads) -> io::Result<()> {
        let name = loop {
            let event = tokio::select! {
                ended = self.host.ended() => ServeEvent::Ended(ended),
                heard = signals.next() => ServeEvent::Signal(heard),
                asked = reloads.next() => ServeEvent::Asked(asked),
                read = self.follower.changed() => ServeEvent::FileChanged(Box::new(read)),
            };
            let done = match event {
                ServeEvent::Ended(ended) => return ended,
                ServeEvent::Signal(SignalAction::End(name)) => break name,
                ServeEvent::Signal(SignalAction::HangUp) => {
                    tracing::info!("SIGHUP: reading the configuration and the plugin directory anew");
                    // How it went is in the log, which is where a signal is answered.
                    signals.unless_ended(self.read_anew()).await.map(drop)
                }
                ServeEvent::Asked(asked) => {
                    tracing::info!("an operator: reading the configuration and the plugin directory anew");
                    signals.unless_ended(self.read_anew()).await.map(|applied| asked.answer(applied))
                }
                ServeEvent::FileChanged(read) => {
                    let apply = self.follower.apply(*read, &self.host, &self.logging);
                    signals.unless_ended(apply).await.map(drop)
                }
            };
            if let Err(name) = done {
                break name;
            }
        };
        tracing::info!("{name}: answering what is in flight; once more ends at once");
        self.keeper.stopping(self.follower.drain_timeout() + FAREWELL);
        self.host.begin_stop();
        match signals.unless_ended(self.host.ended()).await {
            Ok(ended) => return ended,
            Err(name) => tracing::warn!("{name}: ending at once"),
        }
        self.host.cut();
        self.host.ended().await
    }

    /// Reads the configuration and the plugin directory anew; when it returns, what can be applied is.
    async fn read_anew(&mut self) -> Result<(), Vec<String>> {
        self.keeper.reloading();
        let read = self.follower.read();
        let applied = self.follower.apply(read, &self.host, &self.logging).await;
        self.host.rescan_plugins().await;
        self.keeper.reloaded();
        applied
    }
}

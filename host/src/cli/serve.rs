//! `jackfield serve`: runs the host until a signal ends it.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use jackfield::log::Logging;
use jackfield::{Builder, Entry, Host, Inherited, Reloads};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::follow::Follower;
use super::keeper::Keeper;
use super::notify::Notifier;
use super::{CONFIGURATION, SYSTEM, failed, load};

/// What stopping may take besides the drain: last words, and plugins that stop.
const FAREWELL: Duration = Duration::from_secs(10);

/// Runs the host. SIGTERM and SIGINT drain it; a second one cuts.
pub(crate) fn serve(file: Option<&Path>, entry: &Entry) -> ExitCode {
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
    let follower = Follower::start(&config);
    let (builder, reloads) = Builder::new(config, entry).inherit(inherited).reloads();
    let host = match builder.start() {
        Ok(host) => host,
        Err(error) => return failed(SYSTEM, &error),
    };
    let keeper = match Keeper::start(Notifier::from_environment(), &host) {
        Ok(keeper) => keeper,
        Err(error) => return failed(SYSTEM, &error),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        "ready on {}",
        sockets.join(", ")
    );
    let running = Running { host, follower, logging, keeper };
    match runtime.block_on(running.until_ended(signals, reloads)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(SYSTEM, &error),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn watch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.terminate.recv() => Heard::End("SIGTERM"),
            _ = self.interrupt.recv() => Heard::End("SIGINT"),
            _ = self.hang_up.recv() => Heard::HangUp,
        }
    }
}

/// What a signal asks for.
enum Heard {
    End(&'static str),
    HangUp,
}

/// A host that serves, and what goes with it.
struct Running {
    host: Host,
    follower: Follower,
    logging: Logging,
    keeper: Keeper,
}

impl Running {
    async fn until_ended(mut self, mut signals: Signals, mut reloads: Reloads) -> io::Result<()> {
        loop {
            tokio::select! {
                ended = self.host.ended() => return ended,
                heard = signals.next() => match heard {
                    Heard::End(name) => {
                        tracing::info!("{name}: answering what is in flight; once more ends at once");
                        break;
                    }
                    Heard::HangUp => {
                        tracing::info!("SIGHUP: reading the configuration and the plugin directory anew");
                        // It is in the log, which is where a signal is answered.
                        let _ = self.read_anew().await;
                    }
                },
                asked = reloads.next() => {
                    tracing::info!("an operator: reading the configuration and the plugin directory anew");
                    asked.answer(self.read_anew().await);
                }
                () = self.follower.changed() => {
                    // As with a signal.
                    let _ = self.follower.apply(&self.host, &self.logging).await;
                }
            }
        }
        self.keeper.stopping(self.follower.drain_timeout() + FAREWELL);
        self.host.begin_stop();
        loop {
            tokio::select! {
                ended = self.host.ended() => return ended,
                // A hang-up is nothing to a host that ends.
                heard = signals.next() => if let Heard::End(name) = heard {
                    tracing::warn!("{name}: ending at once");
                    break;
                },
            }
        }
        self.host.cut();
        self.host.ended().await
    }

    /// Reads the configuration and the plugin directory anew; when it returns, what can be applied is.
    async fn read_anew(&mut self) -> Result<(), Vec<String>> {
        self.keeper.reloading();
        let applied = self.follower.apply(&self.host, &self.logging).await;
        self.host.look_through().await;
        self.keeper.reloaded();
        applied
    }
}
